"""BrainDecoder: subjects' signals in, embeddings, retrieved stimuli and pictures out; fitted, adapted, saved, loaded."""

from __future__ import annotations

from braindec.decoder.brain_decoder import BrainDecoder, Settings
from braindec.decoder.prediction import Prediction, Repeats, average_groups, group_repeats, with_repeats
from braindec.decoder.saving import versions

__all__ = [
    "BrainDecoder",
    "Prediction",
    "Repeats",
    "Settings",
    "average_groups",
    "group_repeats",
    "versions",
    "with_repeats",
]
