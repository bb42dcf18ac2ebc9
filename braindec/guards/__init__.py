"""What stops or saves a training step that cannot be made: memory that runs out, numbers that are none."""

from __future__ import annotations

from braindec.guards.divergence import Where, refuse_divergence, refuse_weights
from braindec.guards.memory import batch_norm, divide, in_pieces, is_shortage, next_pieces, too_large

__all__ = [
    "Where",
    "batch_norm",
    "divide",
    "in_pieces",
    "is_shortage",
    "next_pieces",
    "refuse_divergence",
    "refuse_weights",
    "too_large",
]
