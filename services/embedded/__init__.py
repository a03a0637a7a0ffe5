"""The laptop platform: PostgreSQL, NATS, Envoy and a certificate authority, from wheels, in one data folder."""
