"""Validation: the only door for media from outside; fetches, probes, and refuses what is unsafe or cannot be played."""
