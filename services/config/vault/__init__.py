"""Vault: secrets in HashiCorp Vault or OpenBao, in a mount of the key-value engine, version 2."""
