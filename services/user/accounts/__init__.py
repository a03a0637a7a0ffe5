"""Accounts: who may sign in, how accounts are made, changed and administered."""
