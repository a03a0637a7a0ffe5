"""Monitoring: the health of the whole, from the health of every service."""
