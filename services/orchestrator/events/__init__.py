"""Events: the lifecycle events of jobs, and the feed that clients follow."""
