"""The commands of `moneyprinter`, one file for each noun: their options and help. `actions/` does the work."""
