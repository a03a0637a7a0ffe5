"""API keys: long-lived credentials of machines."""
