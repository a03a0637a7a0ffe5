"""NATS JetStream: the job queue, the relay of the outbox, and notifications between instances."""
