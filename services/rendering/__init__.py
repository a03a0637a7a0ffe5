"""Finishes a video: sound and picture together, poster, and a check of the result."""
