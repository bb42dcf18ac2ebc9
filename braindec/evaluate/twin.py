"""Which score to expect of a recording: the recipe runs on copies whose signal is no stronger than the data support.

Copies come from `data.simulated.twin`. One number is calibrated on top: the gain of the signal, by which a plain ridge
decoder, cross-validated over pieces of evidence that share nothing, gets on a copy what it gets on the recording. That
fold structure is the twin's own: neither repeats of a stimulus nor trials of one block lie on both sides, whatever the
recipe's folds do. A recipe whose score lies above all that honest copies reach knows something that stimuli did not
tell it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats
from tqdm.auto import tqdm

from braindec import checks
from braindec.data import NeuralDataset, Split, splits
from braindec.evaluate.exam import Exam
from braindec.evaluate.measures import metric_table, protocol_named
from braindec.evaluate.systems import Fitter, RidgeFitter, decoder_fitter, signal_features
from braindec.evaluate.twin_copies import Copy, calibrated, scores
from braindec.evaluate.twin_result import Expectation, Settings, TwinResult, Values
from braindec.evaluate.twin_sizes import resized
from braindec.types import Embeddings


def folds_of(recipe: Any, dataset: NeuralDataset) -> list[Split]:
    """The folds a recipe judges on: those its settings name, each run (session, subject) in turn, or its split."""
    protocol = protocol_named(recipe.protocol)
    if "folds" in recipe.settings:
        return splits.named(dataset, recipe.settings["folds"])
    if protocol.unit in ("run", "session", "subject"):
        return splits.leave_one_out(dataset, protocol.unit)
    if dataset.split is None:
        raise ValueError("this dataset has no split; give it one with with_split(...).")
    return [dataset.split]


def twin(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folds: Sequence[Split] | None = None,
    *,
    settings: Settings | None = None,
    fit: Fitter | None = None,
    scored: Values | None = None,
    progress: bool = True,
) -> TwinResult:
    """Runs a recipe on copies of a recording and compares its score there with the one on the recording.

    Parameters
    ----------
    recipe : Recipe
    dataset : NeuralDataset
        Whole.
    embeddings : Embeddings
    folds : sequence of Split, optional
        Those of the recipe if not given (`folds_of`).
    settings : Settings, optional
    fit : callable, optional
        What runs instead of `settings.system`.
    scored : mapping of str to mapping of str to float, optional
        By subject and metric: scores on the recording, where it was judged elsewhere; judged here if not given.
    """
    settings = settings or Settings()
    protocol = protocol_named(recipe.protocol)
    chosen = list(folds) if folds is not None else folds_of(recipe, dataset)
    exam = Exam(dataset, embeddings, chosen, protocol, recipe.seed, recipe.label_column, progress=False)
    anchor = RidgeFitter(signal_features(recipe.preprocessing))
    own = fit or (decoder_fitter(recipe) if settings.system == "braindec" else anchor)
    copies = calibrated(exam, anchor, settings.n_copies, progress)
    bar = tqdm(copies.made, desc="copies", disable=not progress, leave=False)
    found: list[Values] = [scores(replace(copies.exam, dataset=copy.of(dataset)), own) for copy in bar]
    growth = _growth(copies.exam, own, copies.made, settings, found, progress)
    real = scored if scored is not None else scores(exam, own)
    alternatives = {key: len(d.candidates) for key, d in exam.decode(anchor).items()}
    expectations = tuple(
        _expectation(key, name, value, alternatives[key], growth, exam, settings)
        for key, metrics in real.items()
        for name, value in metrics.items()
    )
    gains = {key: np.array([copy.gain[key] for copy in copies.made]) for key in dataset.trials}
    return TwinResult(expectations, gains, copies.reached, copies.folds, settings)


def band(copies: np.ndarray, n: int | None = None, level: float = 0.95) -> tuple[float, float]:
    """Where one more value like these lies with chance `level`: a t interval of prediction.

    Parameters
    ----------
    copies : array, shape (n_copies,)
        At least two.
    n : int or None
        Of shares in [0, 1]: the trials behind each. They are compared as arcsin sqrt, whose spread does not depend on
        the share and is at least half of what `n` independent trials have (copies that all reach 1 leave doubt too).
        None: values without limits.
    level : float
        In (0, 1).
    """
    x = np.asarray(copies, dtype=np.float64)
    checks.at_least("number of copies", len(x), 2)
    if n is not None:
        x = np.arcsin(np.sqrt(np.clip(x, 0.0, 1.0)))
    spread = max(float(x.std(ddof=1)), 0.0 if n is None else 0.25 / np.sqrt(n))
    half = stats.t.ppf((1 + level) / 2, len(x) - 1) * spread * np.sqrt(1 + 1 / len(x))
    low, high = float(x.mean() - half), float(x.mean() + half)
    if n is None:
        return low, high
    low, high = np.sin(np.clip([low, high], 0.0, np.pi / 2)) ** 2
    return float(low), float(high)


def _n_judged(exam: Exam, key: str) -> int:
    """Test trials, or test stimuli where repeats are averaged, over all folds."""
    total = 0
    for split in exam.folds:
        found = exam.dataset.with_split(split).part("test").trials.get(key)
        if found is not None:
            averaged = exam.protocol.repeats != "none"
            total += len(np.unique(found.table["stimulus_id"])) if averaged else found.n_trials
    return total


def _growth(
    exam: Exam,
    fit: Fitter,
    copies: Sequence[Copy],
    settings: Settings,
    found: Sequence[Values],
    progress: bool,
) -> dict[float, list[Values]]:
    """Scores of copies by size of the training set; size 1 is the band's copies."""
    out: dict[float, list[Values]] = {1.0: list(found)}
    jobs = [(size, copy) for size in settings.sizes for copy in copies[: settings.n_growth]]
    for size, copy in tqdm(jobs, desc="sizes", disable=not progress, leave=False):
        own = replace(exam, dataset=copy.of(exam.dataset))
        out.setdefault(size, []).append(scores(own, resized(fit, copy.more, size)))
    return out


def _expectation(
    key: str, name: str, value: float, n_alternatives: int, growth: Mapping[float, Sequence[Values]],
    exam: Exam, settings: Settings,
) -> Expectation:  # fmt: skip
    grown = {size: np.array([f[key][name] for f in found]) for size, found in growth.items() if found}
    metric = metric_table()[name]
    n = _n_judged(exam, key) if metric.best_value == 1.0 else None
    trials = exam.dataset.trials[key]
    return Expectation(
        key, name, value, grown[1.0], band(grown[1.0], n, settings.level), metric.chance_of(n_alternatives), grown,
        trials.subject, trials.modality,
    )  # fmt: skip
