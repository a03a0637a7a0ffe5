"""Scripts: the text of a video, written from a template or read from the caller's own, as sentences."""
