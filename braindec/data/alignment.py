"""Preprocessing steps that bring subjects into one space by training responses to stimuli that all of them saw."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data.components import project, projected
from braindec.data.mean_responses import MeanResponses, StandIns
from braindec.data.step import JointStep, State
from braindec.data.unit_steps import named, names_of
from braindec.maths import srm
from braindec.maths.procrustes import generalised_procrustes, polar
from braindec.types import UNKNOWN, SubjectSignal, Table

MODELS = {"probabilistic": srm.probabilistic_srm, "deterministic": srm.deterministic_srm}


class Alignment(JointStep):
    """Each subject's features in a basis in which the responses to shared stimuli agree.

    Fitted on the means over repeats of the stimuli that occur in the training rows of every subject (epochs: channels
    are aligned, each time sample of a stimulus' mean epoch counts as one more stimulus), applied to any rows. A subject
    that comes later is brought to the shared responses of the first fit, by the stimuli that it saw of them; of long
    epochs of many stimuli only some are kept for that (`mean_responses.SHARED_BYTES`).
    """

    scope: str
    products: ClassVar[bool] = False  # whether it can be made of products with responses that are not held

    @abc.abstractmethod
    def bases(
        self, responses: Mapping[str, Tensor | MeanResponses], n_features: Sequence[int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """A basis (n_rows, k) for each subject, and the shared response (k, n_samples).

        Responses are (n_rows, n_samples); where `products`, they may not be held, or have fewer rows than features.
        """

    @abc.abstractmethod
    def basis_onto(self, response: MeanResponses, shared: Tensor) -> Tensor:
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
        n_times = {key: values.shape[2:] for key, values in x.items()}
        if len(set(n_times.values())) > 1:
            raise ValueError(
                f"subjects have epochs of other lengths ({n_times}); crop and resample them alike first."
            )
        responses = {key: MeanResponses(values, tables[key], stimuli) for key, values in x.items()}
        small = StandIns(responses, products=self.products)
        found, shared = self.bases(small.given, [r.shape[0] for r in responses.values()])
        kept, shared = small.shared(shared)
        bases = {key: small.basis(key, basis) for key, basis in found.items()}
        return {key: _state(responses[key].mean, bases[key], stimuli[kept], shared) for key in x}

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
        some = shared[:, np.searchsorted(known, both)].flatten(1)
        response = MeanResponses(x, table, both)
        _enough_features(response, some)
        return _state(response.mean, self.basis_onto(response, some), both, some)


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

    products: ClassVar[bool] = True

    n_features: int = 50
    model: str = "probabilistic"
    n_iterations: int = 20
    scope: str = "train"

    def __post_init__(self) -> None:
        checks.one_of("scope", self.scope, ("train",))
        checks.one_of("model", self.model, list(MODELS))
        checks.at_least("n_features", self.n_features, 1)
        checks.at_least("n_iterations", self.n_iterations, 1)

    def bases(
        self, responses: Mapping[str, Tensor | MeanResponses], n_features: Sequence[int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        generator = seeding.torch_generator(0, "shared response")
        fit = MODELS[self.model]
        fitted = fit(list(responses.values()), self.n_features, generator, self.n_iterations, n_features)
        return dict(zip(responses, fitted.bases, strict=True)), fitted.shared

    def basis_onto(self, response: MeanResponses, shared: Tensor) -> Tensor:
        return polar(response.times(shared.T))


@dataclass(frozen=True)
class AlignProcrustes(Alignment):
    """Features rotated onto the mean of all subjects (hyperalignment); subjects need equally many of them.

    Put ``Pca(n_components=k)`` before it where they have not. One subject alone is rotated to its principal axes. A
    rotation has a value for each pair of features, which sets the limit: refused is where those of all subjects take
    more than 768 MiB as float64, or both their mean responses and second moments more than 384 MiB. Within it are 8
    subjects of 3,500 features with NSD's 1,000 shared images, 3 of 2,300 with THINGS' 8,640, 10 of 700 sensors with
    any number; more features than that are noise to rotate, and `AlignShared` takes them.

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

    def bases(
        self, responses: Mapping[str, Tensor | MeanResponses], n_features: Sequence[int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        sizes = {key: r.shape[0] for key, r in responses.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"subjects have {sizes} features; put Pca(n_components=...) before this step.")
        sets = [checks.of_type("responses", r, Tensor).T for r in responses.values()]
        twice = sets * 2 if len(sets) == 1 else sets
        found = generalised_procrustes(twice, scaling=self.scaling, n_rounds=self.n_rounds)
        own = found.rotations[: len(responses)]  # one subject alone was given twice
        bases = {key: r.scale * r.matrix for key, r in zip(responses, own, strict=True)}
        return bases, found.shared.T

    def basis_onto(self, response: MeanResponses, shared: Tensor) -> Tensor:
        matrix = polar(response.times(shared.T))  # as maths.procrustes, which has all of the response at once
        if not self.scaling:
            return matrix
        moved = response.under(matrix)
        power = float(moved.square().sum())
        return matrix * (float((moved * shared).sum()) / power if power > 0 else 1.0)


def stimuli_of(state: State) -> np.ndarray:
    """Sorted ids of the stimuli whose shared responses a fitted alignment keeps for subjects that come later."""
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


def _enough_features(response: MeanResponses, shared: Tensor) -> None:
    if response.shape[0] < shared.shape[0]:
        raise ValueError(
            f"a subject of {response.shape[0]} features cannot fill a shared response of {shared.shape[0]}."
        )
