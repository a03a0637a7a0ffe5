"""Config: encrypted secrets, each readable only by the workload that owns it."""
