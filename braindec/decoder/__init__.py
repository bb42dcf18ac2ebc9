"""BrainDecoder: subjects' signals in, embeddings, stimuli and pictures out; fitted, adapted, saved."""

from __future__ import annotations

from braindec.decoder.brain_decoder import BrainDecoder
from braindec.decoder.prediction import (
    Direction,
    Prediction,
    Repeats,
    average_groups,
    group_repeats,
    with_repeats,
)
from braindec.decoder.saving import versions
from braindec.decoder.settings import Settings, steps_for

__all__ = [
    "BrainDecoder",
    "Direction",
    "Prediction",
    "Repeats",
    "Settings",
    "average_groups",
    "group_repeats",
    "steps_for",
    "versions",
    "with_repeats",
]
