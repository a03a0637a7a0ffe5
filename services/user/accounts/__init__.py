"""Accounts: registration, profiles, password resets, and administration."""
