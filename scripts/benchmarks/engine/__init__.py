"""What `scripts/bench engine` is made of: clips, the ways to make a video of them, and what each took."""
