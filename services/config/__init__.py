"""Config: secrets, kept encrypted, each handed only to the workload that it belongs to."""
