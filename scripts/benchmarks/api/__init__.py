"""`scripts/bench api`: the load generator, the bare gateway and the attacks."""
