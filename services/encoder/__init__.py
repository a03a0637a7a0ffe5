"""Encoder: encodes streams of raw frames, on a GPU where there is one."""
