"""Providers: speech of external providers over HTTP."""
