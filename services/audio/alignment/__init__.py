"""Alignment of a text with the sound of any voice: the text is spoken with known word times, and both are matched."""
