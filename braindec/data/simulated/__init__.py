"""A world with a known truth: scenes, brains that watch them, and what ideal observers could read from those brains."""
