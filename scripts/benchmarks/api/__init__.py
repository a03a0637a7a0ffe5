"""What `scripts/bench api` is made of: the load, and a gateway without filters."""
