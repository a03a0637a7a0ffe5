"""Calls of external providers over HTTP: keys, limits, circuit breakers, fallback and usage."""
