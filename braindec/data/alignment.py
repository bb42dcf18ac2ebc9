"""Preprocessing steps that bring subjects into one space by training responses to stimuli that all of them saw."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data.components import project, projected
from braindec.data.step import JointStep, State
from braindec.data.unit_steps import feature_parts, named, names_of
from braindec.maths import srm
from braindec.maths.groups import group_means
from braindec.maths.procrustes import generalised_procrustes, polar, procrustes
from braindec.types import UNKNOWN, SubjectSignal, Table

MAX_BYTES = 384 << 20  # of all subjects' mean responses, float64; fitting takes four times as much
MODELS = {"probabilistic": srm.probabilistic_srm, "deterministic": srm.deterministic_srm}


class Alignment(JointStep):
    """Each subject's features in a basis in which the responses to shared stimuli agree.

    Fitted on the means over repeats of the stimuli that occur in the training rows of every subject (epochs: channels
    are aligned, each time sample of a stimulus' mean epoch counts as one more stimulus), applied to any rows. A subject
    that comes later is brought to the shared responses of the first fit, by the stimuli that it saw of them.
    """

    scope: str

    @abc.abstractmethod
    def bases(self, responses: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """A basis (n_features, k) for each subject, and the shared response (k, n_samples)."""

    @abc.abstractmethod
    def basis_onto(self, response: Tensor, shared: Tensor) -> Tensor:
        """The basis (n_features, k) of one subject in which its response is closest to a shared one."""

    def fit(self, x: np.ndarray, table: Table, signal: SubjectSignal) -> State:
        return self.fit_jointly({signal.key: x}, {signal.key: table}, {signal.key: signal})[signal.key]

    def fit_jointly(
        self,
        x: Mapping[str, np.ndarray],
        tables: Mapping[str, Table],
        signals: Mapping[str, SubjectSignal],
        reference: State | None = None,
    ) -> dict[str, State]:
        seen = {key: _known_ids(table) for key, table in tables.items()}
        if reference is not None:
            return {key: self._brought(key, x[key], tables[key], seen[key], reference) for key in x}
        stimuli = _all_saw(seen)
        _check_size(x, len(stimuli))
        means, responses = {}, {}
        for key, values in x.items():
            means[key], responses[key] = _mean_responses(values, tables[key], stimuli)
        n_times = {key: values.shape[2:] for key, values in x.items()}
        if len(set(n_times.values())) > 1:
            raise ValueError(
                f"subjects have epochs of other lengths ({n_times}); crop and resample them alike first."
            )
        found, shared = self.bases(responses)
        return {key: _state(means[key], found[key], stimuli, shared) for key in x}

    def apply(self, x: np.ndarray, table: Table, signal: SubjectSignal, state: State) -> np.ndarray:
        return project(x, state["mean"], state["basis"])

    def output(self, signal: SubjectSignal, state: State) -> SubjectSignal:
        return projected(signal, state["basis"])

    def _brought(self, key: str, x: np.ndarray, table: Table, seen: np.ndarray, reference: State) -> State:
        """The state of a subject that joins a fit which is done."""
        known = stimuli_of(reference)
        shared = torch.from_numpy(reference["shared"]).double()
        shared = shared.reshape(len(shared), len(known), -1)  # (k, stimulus, time)
        both = np.intersect1d(known, seen)
        checks.at_least(f"stimuli of {key} that the fitted subjects were aligned on", len(both), 2)
        _check_size({key: x}, len(both))
        place = np.searchsorted(known, both)
        mean, response = _mean_responses(x, table, both)
        return _state(
            mean, self.basis_onto(response, shared[:, place].flatten(1)), both, shared[:, place].flatten(1)
        )


@dataclass(frozen=True)
class AlignShared(Alignment):
    """Features replaced by a shared response of `n_features` dimensions (the shared response model).

    One subject alone is given its principal components.

    Parameters
    ----------
    n_features : int
        At most the features of every subject, and the stimuli (times the time samples) that all saw.
    model : str
        ``"probabilistic"`` (noisy subjects count less) or ``"deterministic"`` (least squares).
    n_iterations : int
    scope : str
        Only ``"train"``.
    """

    n_features: int = 50
    model: str = "probabilistic"
    n_iterations: int = 20
    scope: str = "train"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        checks.one_of("model", self.model, list(MODELS))
        checks.at_least("n_features", self.n_features, 1)
        checks.at_least("n_iterations", self.n_iterations, 1)

    def bases(self, responses: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        generator = seeding.torch_generator(0, "shared response")
        fitted = MODELS[self.model](list(responses.values()), self.n_features, generator, self.n_iterations)
        return dict(zip(responses, fitted.bases, strict=True)), fitted.shared

    def basis_onto(self, response: Tensor, shared: Tensor) -> Tensor:
        _enough_features(response, shared)
        return polar(response @ shared.T)


@dataclass(frozen=True)
class AlignProcrustes(Alignment):
    """Features rotated onto the mean of all subjects (hyperalignment); subjects need equally many of them.

    Put ``Pca(n_components=k)`` before it where they have not. One subject alone is rotated to its principal axes.

    Parameters
    ----------
    scaling : bool
        Each subject is also scaled.
    n_rounds : int
    scope : str
        Only ``"train"``.
    """

    scaling: bool = False
    n_rounds: int = 20
    scope: str = "train"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        checks.at_least("n_rounds", self.n_rounds, 1)

    def bases(self, responses: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        sizes = {key: len(r) for key, r in responses.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"subjects have {sizes} features; put Pca(n_components=...) before this step.")
        sets = [r.T for r in responses.values()]
        twice = sets * 2 if len(sets) == 1 else sets
        found = generalised_procrustes(twice, scaling=self.scaling, n_rounds=self.n_rounds)
        own = found.rotations[: len(responses)]  # one subject alone was given twice
        bases = {key: r.scale * r.matrix for key, r in zip(responses, own, strict=True)}
        return bases, found.shared.T

    def basis_onto(self, response: Tensor, shared: Tensor) -> Tensor:
        _enough_features(response, shared)
        rotation = procrustes(response.T, shared.T, scaling=self.scaling)
        return rotation.scale * rotation.matrix


def stimuli_of(state: State) -> np.ndarray:
    """Sorted ids of the stimuli that a fitted alignment was made of."""
    return np.array(named(state["stimuli"]))


def _state(mean: np.ndarray, basis: Tensor, stimuli: np.ndarray, shared: Tensor) -> State:
    names = names_of(stimuli.tolist())
    return {"mean": mean, "basis": basis.float().numpy(), "stimuli": names, "shared": shared.float().numpy()}


def _known_ids(table: Table) -> np.ndarray:
    ids = np.unique(table["stimulus_id"].astype(str))
    return ids[ids != UNKNOWN]


def _all_saw(seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sorted ids that occur in every subject's training rows."""
    shared, *others = seen.values()
    for ids in others:
        shared = np.intersect1d(shared, ids)
    if len(shared) < 2:
        counts = {key: len(ids) for key, ids in seen.items()}
        raise ValueError(
            f"the training rows of {list(seen)} have {len(shared)} stimuli in common (each has {counts}); alignment "
            "needs stimuli that every subject saw: take subjects who did, or leave the step out."
        )
    return shared


def _check_size(x: Mapping[str, np.ndarray], n_stimuli: int) -> None:
    n_bytes = sum(8 * n_stimuli * int(np.prod(values.shape[1:], dtype=np.int64)) for values in x.values())
    if n_bytes > MAX_BYTES:
        raise checks.ConfigError(
            f"mean responses of {list(x)} to {n_stimuli} stimuli would take {n_bytes / 1e9:.1f} GB of memory; put "
            "SelectReliable, SelectRegion or Pca before the alignment."
        )


def _mean_responses(x: np.ndarray, table: Table, stimuli: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """Mean of each feature (n_features,), and centred mean responses to the stimuli (n_features, stimulus * time)."""
    ids = table["stimulus_id"].astype(str)
    rows = np.flatnonzero(np.isin(ids, stimuli))
    place = np.searchsorted(stimuli, ids[rows])
    n_samples = len(stimuli) * int(np.prod(x.shape[2:], dtype=np.int64))
    flat = np.empty((x.shape[1], n_samples))
    for part in feature_parts(len(rows), x.shape):
        averaged = group_means(x[rows, part], place, len(stimuli))  # (stimulus, feature, ...)
        flat[part] = np.moveaxis(averaged, 1, 0).reshape(averaged.shape[1], -1)
    mean = flat.mean(1)
    flat -= mean[:, None]
    return mean, torch.from_numpy(flat)


def _enough_features(response: Tensor, shared: Tensor) -> None:
    if response.shape[0] < shared.shape[0]:
        raise ValueError(
            f"a subject of {response.shape[0]} features cannot fill a shared response of {shared.shape[0]}."
        )
