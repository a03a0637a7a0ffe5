"""Webhooks: where users have events posted, the deliveries, and their signatures."""
