"""Monitoring: the health of the platform, from the health of every service."""
