"""Authentication: password hashing, reauthentication, and the throttling of failed attempts."""
