"""PostgreSQL: where the orchestrator keeps jobs, events, webhooks and uploads; each change with what tells of it."""
