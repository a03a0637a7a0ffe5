"""Audit: the tamper-evident audit log of the platform."""
