"""Content: the script that is spoken and the captions that are read."""
