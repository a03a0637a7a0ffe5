"""Encoder: encodes a stream of raw frames, on a GPU where there is one."""
