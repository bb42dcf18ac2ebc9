"""A world with a known truth: scenes, brains that watch them, and what an ideal observer could read from those brains."""
