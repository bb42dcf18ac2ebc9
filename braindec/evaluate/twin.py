"""Which score to expect of a recording: the recipe runs on copies whose signal is no stronger than the data support.

Copies come from `data.simulated.twin`. One number is calibrated on top: the gain of the signal, by which a plain ridge
decoder, cross-validated over pieces of evidence that share nothing, gets on a copy what it gets on the recording. That
fold structure is the twin's own: neither repeats of a stimulus nor trials of one block lie on both sides, whatever the
recipe's folds do. A recipe whose score lies above all that honest copies reach knows something that stimuli did not
tell it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import stats
from tqdm.auto import tqdm

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, splits
from braindec.data.simulated import twin as simulated
from braindec.evaluate.exam import Exam
from braindec.evaluate.honest_folds import honest_folds
from braindec.evaluate.measures import metric_table, protocol_named, values
from braindec.evaluate.systems import Fitter, RidgeFitter, decoder_fitter, signal_features
from braindec.evaluate.twin_sizes import resized
from braindec.protocols import Protocol
from braindec.types import Embeddings, Trials

SYSTEMS = ("braindec", "ridge")
GAINS = (0.0, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)  # of the signal, tried on every copy
VERDICTS = ("above", "inside", "below")
Values = Mapping[str, Mapping[str, float]]  # key -> metric -> value


@dataclass(frozen=True)
class Settings:
    """How many copies are made and judged.

    Parameters
    ----------
    system : str
        What runs on copies: ``"braindec"``, the recipe's own decoder, or ``"ridge"`` on its signals, in seconds.
    n_copies, n_growth : int
        Copies behind the band, and behind each size of the training set.
    sizes : tuple of float
        Training trials over those there are: below 1 fewer runs or stimuli, above 1 (whole numbers) the same design
        recorded again.
    level : float
        Of the band, in (0, 1).
    """

    system: str = "braindec"
    n_copies: int = 20
    n_growth: int = 3
    sizes: tuple[float, ...] = (0.5, 2.0, 4.0)
    level: float = 0.95

    def __post_init__(self) -> None:
        checks.one_of("system", self.system, SYSTEMS)
        checks.at_least("n_copies", self.n_copies, 3)
        for size in self.sizes:
            if not (0 < size < 1 or (size > 1 and size == int(size))):
                raise ValueError(
                    f"sizes must lie in (0, 1) or be whole numbers above 1, got {size}; 1 is always there."
                )


@dataclass(frozen=True, eq=False)
class Expectation:
    """One metric of one subject: what the recording scored, and what its copies did.

    Parameters
    ----------
    key, metric : str
    value : float
        Of the recording.
    copies : float array, shape (n_copies,)
    band : tuple of float
        Where the score of another recording like this one lies.
    chance : float or None
    growth : mapping of float to float array
        Scores of copies by size of the training set.
    """

    key: str
    metric: str
    value: float
    copies: np.ndarray
    band: tuple[float, float]
    chance: float | None
    growth: Mapping[float, np.ndarray] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``"above"`` the band (suspect a leak), ``"inside"`` or ``"below"`` it."""
        return "above" if self.value > self.band[1] else "below" if self.value < self.band[0] else "inside"

    def size_for(self, target: float) -> float | None:
        """Training trials, over those there are, at which copies reach a score; None where the largest does not."""
        sizes = np.array(sorted(self.growth))
        means = np.maximum.accumulate([float(self.growth[s].mean()) for s in sizes])
        if target > means[-1]:
            return None
        if target <= means[0]:
            return float(sizes[0])
        above = int(np.argmax(means >= target))
        low, high = np.log(sizes[above - 1]), np.log(sizes[above])
        share = (target - means[above - 1]) / max(means[above] - means[above - 1], 1e-12)
        return float(np.exp(low + share * (high - low)))

    def to_json(self) -> dict[str, Any]:
        """The entry in the record."""
        growth = {f"{size:g}": [float(v) for v in found] for size, found in sorted(self.growth.items())}
        return {"key": self.key, "metric": self.metric, "value": self.value, "chance": self.chance,
                "expected": float(self.copies.mean()), "band": list(self.band), "verdict": self.verdict,
                "copies": [float(v) for v in self.copies], "growth": growth}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TwinResult:
    """Expectations by subject and metric, the calibrated gains, and how the anchor was folded."""

    expectations: tuple[Expectation, ...]
    gains: Mapping[str, np.ndarray]
    anchor: Values
    honest_folds: str
    settings: Settings

    def of(self, metric: str, key: str | None = None) -> Expectation:
        """The one expectation of a metric (and subject)."""
        found = [e for e in self.expectations if e.metric == metric and key in (None, e.key)]
        if len(found) != 1:
            have = sorted({(e.metric, e.key) for e in self.expectations})
            raise checks.ConfigError(
                f"{len(found)} expectations match {metric!r}, {key!r}; there are {have}."
            )
        return found[0]

    def to_json(self) -> dict[str, Any]:
        """The record of a twin."""
        return {
            "system": self.settings.system, "n_copies": self.settings.n_copies, "level": self.settings.level,
            "folds_of_the_anchor": self.honest_folds,
            "anchor": {k: dict(v) for k, v in self.anchor.items()},
            "gain": {k: [float(g) for g in v] for k, v in self.gains.items()},
            "expectations": [e.to_json() for e in self.expectations],
        }  # fmt: skip


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
    twins = {key: _fit(trials, embeddings, protocol) for key, trials in dataset.trials.items()}
    honest, said = honest_folds(exam, twins)
    reached = None if honest is None else scores(honest, anchor)
    # Copies know no trick either: what is tested is not trained on under another name. (Runs need no such care: the
    # noise of a copy is drawn for each run by itself.)
    judged = honest if honest is not None and honest.dataset is dataset else exam
    copies = [_Copy(twins, recipe.seed, number) for number in range(settings.n_copies)]
    bar = tqdm(copies, desc="copies", disable=not progress, leave=False)
    found: list[Values] = []
    for copy in bar:
        copy.calibrate(judged, anchor, reached)
        found.append(scores(replace(judged, dataset=copy.of(dataset)), own))
    growth = _growth(judged, own, copies, settings, found, progress)
    real = scored if scored is not None else scores(exam, own)
    expectations = tuple(
        _expectation(key, name, value, [f[key][name] for f in found], growth, exam, settings)
        for key, metrics in real.items()
        for name, value in metrics.items()
    )
    gains = {key: np.array([copy.gain[key] for copy in copies]) for key in twins}
    return TwinResult(expectations, gains, reached or {}, said, settings)


def scores(exam: Exam, fit: Fitter) -> dict[str, dict[str, float]]:
    """Metric values of what `fit` makes of an exam, by signal key."""
    decoded = exam.decode(fit)
    labels = exam.labels(decoded)
    return {key: values(d, exam.protocol, labels[key]) for key, d in decoded.items()}


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


def _fit(trials: Trials, embeddings: Embeddings, protocol: Protocol) -> simulated.Twin:
    responses = np.asarray(trials.responses[np.arange(trials.n_trials)]).reshape(trials.n_trials, -1)
    features = embeddings.of(trials.table["stimulus_id"].tolist()).reshape(trials.n_trials, -1)
    by_stimulus = protocol.unit in ("stimulus", "concept")
    design = simulated.Design(
        np.asarray(features, dtype=np.float64),
        trials.table["run"],
        trials.table["acquisition_order"],
        by_stimulus,
    )
    return simulated.fit(responses, design)


class _Copy:
    """One copy of every subject: a signal from the posterior, its gain, and noise; drawn again when needed."""

    def __init__(self, twins: Mapping[str, simulated.Twin], seed: int, number: int):
        self._twins, self._seed, self._number = twins, seed, number
        self.gain = dict.fromkeys(twins, 1.0)

    def calibrate(self, exam: Exam, anchor: Fitter, reached: Values | None) -> None:
        """Sets each subject's gain to the one at which ridge reaches on this copy what it reached on the recording.

        The copy's own noise takes part, so gains of several copies differ by as much as one recording can tell.
        """
        if reached is None:  # no evidence that is not shared: no signal
            self.gain = dict.fromkeys(self._twins, 0.0)
            return
        name = exam.protocol.metrics[0]
        signal, noise = self._signals(), self._noises("calibration")
        found: dict[float, Values] = {}

        def at(gain: float) -> Values:
            if gain not in found:
                part = _with(exam.dataset, {k: self._made(k, gain, signal[k], noise[k]) for k in self._twins})
                found[gain] = scores(replace(exam, dataset=part), anchor)
            return found[gain]

        for key in self._twins:
            place = GAINS.index(1.0)
            step = 1 if at(GAINS[place])[key][name] < reached[key][name] else -1
            while 0 <= place + step < len(GAINS) and (at(GAINS[place])[key][name] < reached[key][name]) == (
                step > 0
            ):
                place += step
                at(GAINS[place])
            tried = sorted(found)
            rising = np.maximum.accumulate([found[g][key][name] for g in tried])
            self.gain[key] = float(_first_crossing(rising, tried, reached[key][name]))

    def of(self, dataset: NeuralDataset) -> NeuralDataset:
        """The dataset with this copy's responses."""
        signal, noise = self._signals(), self._noises("noise")
        return _with(dataset, {k: self._made(k, self.gain[k], signal[k], noise[k]) for k in self._twins})

    def more(self, key: str, number: int) -> np.ndarray:
        """Responses of the same design recorded once more, (n_trials, n_features)."""
        noise = simulated.draw_more_noise(self._twins[key], self._generator("more", key, number))
        return self._made(key, self.gain[key], self._signal(key), noise)

    def _made(self, key: str, gain: float, signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return self._twins[key].baseline + gain * signal + noise

    def _signal(self, key: str) -> np.ndarray:
        return simulated.draw_signal(self._twins[key], self._generator("signal", key))

    def _signals(self) -> dict[str, np.ndarray]:
        return {key: self._signal(key) for key in self._twins}

    def _noises(self, purpose: str) -> dict[str, np.ndarray]:
        return {k: simulated.draw_noise(t, self._generator(purpose, k)) for k, t in self._twins.items()}

    def _generator(self, *purpose: Any) -> np.random.Generator:
        return seeding.numpy_generator(self._seed, "twin", self._number, *purpose)


def _first_crossing(rising: np.ndarray, gains: Sequence[float], level: float) -> float:
    """Gain at which rising values first reach a level, linear in between; the ends where they never or always do."""
    if level <= rising[0]:
        return gains[0]
    if level > rising[-1]:
        return gains[-1]
    i = int(np.argmax(rising >= level))
    share = (level - rising[i - 1]) / (rising[i] - rising[i - 1])
    return gains[i - 1] + share * (gains[i] - gains[i - 1])


def _with(dataset: NeuralDataset, responses: Mapping[str, np.ndarray]) -> NeuralDataset:
    """The dataset with other responses (n_trials, n_features); tables, stimuli and splits stay."""
    made = {
        key: replace(t, responses=responses[key].reshape(t.responses.shape).astype(np.float32))
        for key, t in dataset.trials.items()
    }
    return replace(dataset, trials=made)


def _growth(
    exam: Exam,
    fit: Fitter,
    copies: Sequence[_Copy],
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
    key: str, name: str, value: float, copies: Sequence[float], growth: Mapping[float, Sequence[Values]],
    exam: Exam, settings: Settings,
) -> Expectation:  # fmt: skip
    reached = np.array(copies)
    grown = {size: np.array([f[key][name] for f in found]) for size, found in growth.items() if found}
    metric = metric_table()[name]
    n = _n_judged(exam, key) if metric.best_value == 1.0 else None
    chance = None if callable(metric.chance) else metric.chance
    return Expectation(key, name, value, reached, band(reached, n, settings.level), chance, grown)
