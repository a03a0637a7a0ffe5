"""Captions: cues and title cards, when they are on screen, and the files that hold them."""
