"""Rate limits: counts the calls of each user and address over all gateways, in Redis, for Envoy."""
