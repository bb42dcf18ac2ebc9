"""Digits that a person saw: the meter by jackknife+, as there are too few to set some aside."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from braindec.data import NeuralDataset, catalogue, splits
from braindec.evaluate import hallucination as meter
from braindec.evaluate.hallucination_beliefs import Intervals, Numbers
from braindec.evaluate.hallucination_readouts import Attribute
from braindec.stats import conformal
from braindec.stats.corrections import holm

SIDE = 28
PENALTY = 1.0  # in units of the mean squared length of a standardised response
FOLDS = "10_fold/"


def attributes(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers read from pictures (n, 28, 28) in [0, 1]: ink, how it leans, and where its tail is.

    Digits are centred by their mass; a six has its tail above, a nine below: the skewness of the rows of ink tells them
    apart.
    """
    ink = np.clip(pictures, 0, 1)
    total = ink.sum((1, 2)) + 1e-9
    y, x = np.mgrid[:SIDE, :SIDE]
    down, across = ((ink * axis).sum((1, 2)) / total for axis in (y, x))
    dy, dx = y - down[:, None, None], x - across[:, None, None]
    slant = (ink * dy * dx).sum((1, 2)) / ((ink * dy**2).sum((1, 2)) + 1e-9)
    spread = (ink * dy**2).sum((1, 2)) / total + 1e-9
    tail = (ink * dy**3).sum((1, 2)) / total / spread**1.5
    return {"ink": ink.mean((1, 2)), "slant": slant, "tail": tail}


def measured(folder: Path, *, shuffled: int | None = None) -> list[dict[str, Any]]:
    """A row an attribute, over the folds that the dataset dealt; `shuffled` permutes which digit was seen when."""
    with TemporaryDirectory() as out:
        catalogue.load("digits69")["prepare"](folder, Path(out))
        dataset = NeuralDataset.read(out)
        trials = next(iter(dataset.trials.values()))
        ids = trials.table["stimulus_id"]
        x = np.asarray(trials.responses[:], np.float64).reshape(len(ids), -1)
        pictures = dataset.stimuli.images(ids.tolist())[..., 0].astype(np.float64) / 255
        parts = [np.isin(ids, split.parts["test"]) for split in splits.named(dataset, FOLDS)]
    if shuffled is not None:
        pictures = pictures[np.random.default_rng(shuffled).permutation(len(pictures))]
    if pictures.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"digits are {pictures.shape[1:]} pixels, not {SIDE} x {SIDE}.")
    found = [_fold(x, pictures, held) for held in parts]
    return [_joined([rows[i] for rows in found]) for i in range(len(found[0]))]


def _fold(x: np.ndarray, pictures: np.ndarray, held: np.ndarray) -> list[dict[str, Any]]:
    """Verdicts on the held-out digits, calibrated on digits that were each left out of training once."""
    mean, spread = x[~held].mean(0), x[~held].std(0)
    train = (x[~held] - mean) / np.where(spread > 0, spread, 1.0)
    test = (x[held] - mean) / np.where(spread > 0, spread, 1.0)
    kernel, across = train @ train.T, test @ train.T
    truth = attributes(pictures[~held])
    made, asked = _left_out(kernel, across, pictures[~held])
    left = attributes(made)
    told = [attributes(one) for one in asked]
    centres = {name: np.stack([values[name] for values in told]) for name in truth}
    gauges, judged = [], []
    for name, own in truth.items():
        one = Attribute(name, (), lambda values: values, {})
        before = Numbers(left[name], np.ones(len(own)))
        p = meter.carried_p(before, own, 999, np.random.default_rng(0))
        gauges.append(meter.Gauge(one, before, own, own, p, meter.SETTINGS, 0))
        limits = conformal.jackknife_plus(centres[name], np.abs(own - left[name]), meter.SETTINGS.level)
        judged.append(Intervals(limits[:, 0], limits[:, 1], own))
    rows = []
    for gauge, sets, p in zip(gauges, judged, holm([g.p for g in gauges]), strict=True):
        name = gauge.attribute.name
        belief = Numbers(np.median(centres[name], axis=0), np.ones(len(test)))
        reading = gauge.judge(belief, float(p), sets=sets)
        true = attributes(pictures[held])[name]
        made, wrong = meter.false_claims(reading, true, gauge.prior)
        rows.append({
            "attribute": name, "n": len(true), "covered": int(sets.holds(true).sum()),
            "carried_folds": int(reading.carried),
            "width": float((sets.high - sets.low).sum()), "claims": made, "wrong_claims": wrong,
            **{v: reading.verdicts.count(v) for v in meter.VERDICTS},
        })  # fmt: skip
    return rows


def _left_out(kernel: np.ndarray, across: np.ndarray, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What ridges that left out one training digit each make of it, and of every test digit.

    Returns
    -------
    ndarray, shape (n, 28, 28), and ndarray, shape (n, n_test, 28, 28)
        Exact, from one inverse: without row i the dual weights are ``w - G[:, i] w[i] / G[i, i]``. An intercept is a
        feature of the size of a whole response.
    """
    size = np.trace(kernel) / len(kernel)
    inverse = np.linalg.inv(kernel + size + PENALTY * size * np.eye(len(kernel)))
    flat = pictures.reshape(len(pictures), -1)
    weights = inverse @ flat  # (digit, pixel)
    gone = weights / np.diag(inverse)[:, None]
    own = flat - gone
    seen = (across + size) @ weights
    tests = seen[None] - ((across + size) @ inverse).T[:, :, None] * gone[:, None]  # (left out, test, pixel)
    return own.reshape(-1, SIDE, SIDE), tests.reshape(len(flat), -1, SIDE, SIDE)


def _joined(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over folds."""
    return {key: rows[0][key] if key == "attribute" else sum(row[key] for row in rows) for key in rows[0]}
