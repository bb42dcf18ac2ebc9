"""Protocols run: systems fitted, decoded, judged beside baselines and refitted nulls, and reported."""

from __future__ import annotations

from braindec.evaluate import class_panels, panels
from braindec.evaluate.adaptation import adaptation
from braindec.evaluate.audit import audited_split, training_part
from braindec.evaluate.brain_correlations import brain_correlations, ridge_encoders, ridge_encoding
from braindec.evaluate.contest import Contender, Contest, Rules, contest
from braindec.evaluate.decoded import Decoded, cross_decode, decode, join
from braindec.evaluate.exam import Exam
from braindec.evaluate.hallucination_readouts import attributes_of, latent_attribute, latent_attributes
from braindec.evaluate.inverse_crime import inflation
from braindec.evaluate.laps import Laps
from braindec.evaluate.measures import Measured, measure, protocol_named
from braindec.evaluate.neighbours import neighbours
from braindec.evaluate.nulls import fit_nulls, fit_with_nulls, null_values, permuted
from braindec.evaluate.oracles import simulated_ceilings
from braindec.evaluate.pictures import measure_pictures, render
from braindec.evaluate.pseudo_trials import AveragingCurve, averaging_curve, pseudo_trials
from braindec.evaluate.published_fits import best_test_step, half_range
from braindec.evaluate.reconstructions import reconstructions
from braindec.evaluate.regions import by_region, predictability
from braindec.evaluate.saved import Seen, fitted_on, seen_trials, unseen
from braindec.evaluate.scoring import (
    Judged,
    check_scopes,
    compare,
    group_scores,
    judge,
    parse_key,
    scores_of,
)
from braindec.evaluate.systems import (
    NuisanceFitter,
    RidgeFitter,
    System,
    decoder_fitter,
    fit_mean,
    nuisance_features,
    signal_features,
)
from braindec.evaluate.temporal_generalisation import TemporalGeneralisation, temporal_generalisation
from braindec.evaluate.texts_and_clips import measure_captions, video_scores
from braindec.evaluate.time_course import TimeCourse, auc_of_averages, averaged_trials, time_course
from braindec.evaluate.whole import Evaluation, Plan, cross_validate, held_out

__all__ = [
    "AveragingCurve",
    "Contender",
    "Contest",
    "Decoded",
    "Evaluation",
    "Exam",
    "Judged",
    "Laps",
    "Measured",
    "NuisanceFitter",
    "Plan",
    "RidgeFitter",
    "Rules",
    "Seen",
    "System",
    "TemporalGeneralisation",
    "TimeCourse",
    "auc_of_averages",
    "audited_split",
    "averaged_trials",
    "averaging_curve",
    "adaptation",
    "attributes_of",
    "best_test_step",
    "brain_correlations",
    "by_region",
    "check_scopes",
    "class_panels",
    "compare",
    "contest",
    "cross_decode",
    "cross_validate",
    "decode",
    "decoder_fitter",
    "fit_mean",
    "fit_nulls",
    "fit_with_nulls",
    "fitted_on",
    "group_scores",
    "half_range",
    "held_out",
    "inflation",
    "join",
    "judge",
    "latent_attribute",
    "latent_attributes",
    "measure",
    "measure_captions",
    "measure_pictures",
    "neighbours",
    "null_values",
    "nuisance_features",
    "panels",
    "parse_key",
    "permuted",
    "predictability",
    "protocol_named",
    "pseudo_trials",
    "reconstructions",
    "render",
    "ridge_encoders",
    "ridge_encoding",
    "scores_of",
    "simulated_ceilings",
    "seen_trials",
    "signal_features",
    "temporal_generalisation",
    "time_course",
    "training_part",
    "unseen",
    "video_scores",
]
