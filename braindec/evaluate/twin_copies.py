"""Copies of a recording whose signal is as strong as ridge says that the recording's is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.data.simulated import twin as simulated
from braindec.evaluate.exam import Exam
from braindec.evaluate.honest_folds import honest_folds
from braindec.evaluate.measures import values
from braindec.evaluate.systems import Fitter
from braindec.evaluate.twin_result import Values
from braindec.protocols import Protocol
from braindec.types import Embeddings, Trials

GAINS = (0.0, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)  # of the signal, tried on every copy


@dataclass(frozen=True, eq=False)
class Copies:
    """Calibrated copies of a dataset.

    Parameters
    ----------
    exam : Exam
        Where copies are judged: nothing that is tested is trained on under another name. Its dataset is the recording.
    made : sequence of Copy
    reached : mapping
        What ridge gets on the recording over folds that share no evidence; empty where there are none.
    folds : str
        How those folds were made.
    """

    exam: Exam
    made: Sequence[Copy]
    reached: Values
    folds: str


def calibrated(exam: Exam, anchor: Fitter, n_copies: int, progress: bool) -> Copies:
    """Copies of an exam's dataset, each with the gain at which `anchor` reaches there what the recording gives it."""
    dataset = exam.dataset
    twins = {key: _fit(trials, exam.embeddings, exam.protocol) for key, trials in dataset.trials.items()}
    honest, said = honest_folds(exam, twins)
    reached = None if honest is None else scores(honest, anchor)
    # Copies know no trick either: what is tested is not trained on under another name. (Runs need no such care: the
    # noise of a copy is drawn for each run by itself.)
    judged = honest if honest is not None and honest.dataset is dataset else exam
    made = [Copy(twins, exam.seed, number) for number in range(n_copies)]
    for copy in tqdm(made, desc="gains", disable=not progress, leave=False):
        copy.calibrate(judged, anchor, reached)
    return Copies(judged, made, reached or {}, said)


def scores(exam: Exam, fit: Fitter) -> dict[str, dict[str, float]]:
    """Metric values of what `fit` makes of an exam, by signal key."""
    decoded = exam.decode(fit)
    labels = exam.labels(decoded)
    return {key: values(d, exam.protocol, labels[key]) for key, d in decoded.items()}


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


class Copy:
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
