"""Footage: find clips for the scenes of a script, and choose the cuts that fill them."""
