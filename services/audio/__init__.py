"""Audio: speech with word timings, background music, mixing and mastering."""
