"""The contracts of MoneyPrinter, and their Python client."""
