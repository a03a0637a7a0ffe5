"""Audit: the tamper-evident log of what was done on the platform."""
