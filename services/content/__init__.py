"""Content: scripts, and the captions of what is spoken."""
