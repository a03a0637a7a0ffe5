"""`scripts/bench engine`: clips, the ways to make a video from them, and the measurement of each."""
