"""Moderation: finds texts that a deployment does not accept, and decides what happens with them."""
