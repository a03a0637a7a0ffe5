"""Finishes a video: mux, poster, thumbnails and animation, and a check of the result."""
