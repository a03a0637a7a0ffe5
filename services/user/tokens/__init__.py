"""Tokens: access tokens, the keys that sign them, and which credentials are valid."""
