"""BrainDecoder: subjects' signals in, embeddings, stimuli and pictures out; fitted, adapted, saved."""

from __future__ import annotations

from braindec.decoder.adaptation import Mode, leave_one_subject_out
from braindec.decoder.brain_decoder import BrainDecoder
from braindec.decoder.prediction import (
    Direction,
    Prediction,
    Repeats,
    average_groups,
    group_repeats,
    told_apart,
    with_repeats,
)
from braindec.decoder.rules import rules_of, searched, stopping_of, validation_of
from braindec.decoder.saving import versions
from braindec.decoder.settings import Settings, settings_of, steps_for

__all__ = [
    "BrainDecoder",
    "Direction",
    "Mode",
    "Prediction",
    "Repeats",
    "Settings",
    "average_groups",
    "group_repeats",
    "leave_one_subject_out",
    "rules_of",
    "searched",
    "settings_of",
    "steps_for",
    "stopping_of",
    "told_apart",
    "validation_of",
    "versions",
    "with_repeats",
]
