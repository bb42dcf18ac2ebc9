"""Protocols run: systems fitted, decoded, judged beside baselines and refitted nulls, and reported."""

from __future__ import annotations

from braindec.evaluate.decoded import Decoded, cross_decode, decode, join
from braindec.evaluate.judge import Measured, measure, protocol_named
from braindec.evaluate.pictures import Pictures, draw, measure_pictures, render
from braindec.evaluate.scoring import (
    Judged,
    check_scopes,
    compare,
    group_scores,
    judge,
    null_values,
    parse_key,
    permuted,
    scores_of,
)
from braindec.evaluate.systems import (
    RidgeFitter,
    System,
    decoder_fitter,
    fit_mean,
    nuisance_features,
    signal_features,
)
from braindec.evaluate.whole import Evaluation, Plan, cross_validate, held_out

__all__ = [
    "Decoded",
    "Evaluation",
    "Judged",
    "Measured",
    "Pictures",
    "Plan",
    "RidgeFitter",
    "System",
    "check_scopes",
    "compare",
    "cross_decode",
    "cross_validate",
    "decode",
    "decoder_fitter",
    "draw",
    "fit_mean",
    "group_scores",
    "held_out",
    "join",
    "judge",
    "measure",
    "measure_pictures",
    "null_values",
    "nuisance_features",
    "parse_key",
    "permuted",
    "protocol_named",
    "render",
    "scores_of",
    "signal_features",
]
