"""PostgreSQL: storage of jobs, events, webhooks and uploads; each change with the message that announces it."""
