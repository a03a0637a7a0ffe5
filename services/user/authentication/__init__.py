"""Authentication: passwords, repeated proofs of identity, and the throttling of failed attempts."""
