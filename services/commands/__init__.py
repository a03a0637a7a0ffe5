"""The commands of `moneyprinter` beside those that run services: how each is typed, and what it does."""
