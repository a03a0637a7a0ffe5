"""The contracts of MoneyPrinter, and the client that speaks them."""
