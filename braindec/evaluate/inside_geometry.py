"""Distances of one M/EEG subject over time beside the levels that drive it in a simulated world, and its ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from braindec.data import NeuralDataset
from braindec.data.simulated.meeg import LATENCY_S
from braindec.data.simulated.truth import StoredTruth, truth_path
from braindec.evaluate import compare_geometries, compare_sources
from braindec.evaluate.compare_geometries import Comparison, Settings
from braindec.rdm.comparators import compare_rdms


def level_geometries(folder: str | Path, key: str, ids: Sequence[str]) -> list[compare_sources.Geometry]:
    """Correlation distances of what drives each level of a simulated subject and no other, early to late.

    Parameters
    ----------
    folder : path
        Prepared folder of a simulated dataset.
    key : str
        ``sub-05_eeg``.
    ids : sequence of str
        Stimuli.
    """
    truth = StoredTruth(truth_path(folder, key))
    return [
        compare_sources.of_features(f"{level} level", truth.ids, values, ids)
        for level, values in truth.driven().items()
    ]


def levels_over_time(
    dataset: NeuralDataset, folder: str | Path, key: str, settings: Settings, beside: Sequence[str] = ()
) -> Comparison:
    """When the geometry of one subject is that of each planted level, inside the ceiling of its own repeats.

    Parameters
    ----------
    dataset : NeuralDataset
        Its test part is compared.
    folder : path
    key : str
    settings : Settings
    beside : sequence of str
        Further models by name, as in `compare_geometries.compare`: controls.
    """
    own = dataset.select(keys=[key]).part("test")
    ids = sorted(set(own.trials[key].table["stimulus_id"].tolist()))
    levels = level_geometries(folder, key, ids)
    found = compare_geometries.compare(own, [*levels, *beside], settings, name=key.replace("_", " "))
    if found.course is None:
        raise ValueError(f"{key} has no time axis.")
    ceiling = repeat_ceiling(own, key, found.conditions, settings)
    return replace(found, course=replace(found.course, ceiling=ceiling))


def repeat_ceiling(
    dataset: NeuralDataset, key: str, conditions: Sequence[str], settings: Settings
) -> np.ndarray | None:
    """What a model without noise would reach at each time: with half of the repeats, and with all, (n_times, 2).

    Parameters
    ----------
    dataset : NeuralDataset
    key : str
    conditions : sequence of str
    settings : Settings

    Returns
    -------
    float array or None
        None where a stimulus has fewer than four repeats, so that no half has two.

    Notes
    -----
    How alike the distances of two halves of the repeats are has noise on both sides, a model's likeness on one: its
    root. With all repeats it is first lengthened by Spearman and Brown's formula. Halves that agree less than by chance
    give 0. Only for one subject: several bring a ceiling of their own (`rdm.noise_ceiling`).
    """
    trials = dataset.trials[key]
    shown = trials.table["stimulus_id"].astype(str)
    order = np.argsort(shown, kind="stable")
    starts = np.flatnonzero(np.r_[True, shown[order][1:] != shown[order][:-1]])
    counts = np.diff(np.r_[starts, len(shown)])
    if counts.min() < 4:
        return None
    number = np.empty(len(shown), dtype=int)
    number[order] = np.arange(len(shown)) - np.repeat(starts, counts)
    halves = []
    for side in (0, 1):
        part = NeuralDataset.from_trials(
            [trials.take(number % 2 == side)], dataset.stimuli, None, name=dataset.name
        )
        made = compare_sources.brain(key, part, settings.choices, conditions).over_time
        if made is None:
            return None
        halves.append(made.mean("subject"))
    agreement = compare_rdms(halves[0], halves[1], settings.comparator)
    share = np.clip(np.diagonal(agreement.numpy()) if agreement.ndim > 1 else agreement.numpy(), 0.0, 1.0)
    return np.sqrt(np.stack([share, 2 * share / (1 + share)], 1))


def sentences(found: Comparison) -> list[str]:
    """When each level leads, in words."""
    course = found.course
    if course is None:
        return []
    lines = []
    for k, model in enumerate(found.models):
        level = model.name.removesuffix(" level")
        at = int(course.values[:, k].argmax())
        passed = np.flatnonzero(course.p[:, k] < 0.05)
        told = f" (planted {1000 * LATENCY_S[level]:.0f} ms)" if level in LATENCY_S else ""
        if not len(passed):
            lines.append(f"{model.name}: at no time above shuffled stimuli{told}.")
            continue
        lines.append(
            f"{model.name}: above shuffled stimuli from {1000 * course.times[passed[0]]:.0f} to "
            f"{1000 * course.times[passed[-1]]:.0f} ms, most at {1000 * course.times[at]:.0f} ms "
            f"({course.values[at, k]:.2f}){told}."
        )
    return lines
