"""Fonts: the font files at hand, and the font that shows each character."""
