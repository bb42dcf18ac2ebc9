"""How a representation changes over learning, and whether a model's changes as a brain's does.

The arrays may be anybody's: representations (checkpoint, state, unit) of a model, recordings (run, state, channel) of a
brain before and after learning. What changes is the RDM of the states, so that units need not be matched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.evaluate import study
from braindec.evaluate.compare_report import effective_dimensions
from braindec.maths.correlation import pearson, standardise
from braindec.maths.ranks import spearman
from braindec.rdm import distances
from braindec.rdm.pairs import condensed, square
from braindec.stats.permutation import p_value


@dataclass(frozen=True, eq=False)
class Course:
    """A representation at every checkpoint of learning.

    Parameters
    ----------
    successor : float array, shape (n_checkpoints,)
        Rank correlation over pairs of states of their distance with the steps between them.
    dimensions : float array, shape (n_checkpoints,)
        Participation ratio of the variances along principal axes: falling, it collapses.
    moved : float array, shape (n_checkpoints,)
        1 - correlation of the RDM with that of the first checkpoint.
    """

    successor: np.ndarray
    dimensions: np.ndarray
    moved: np.ndarray


@dataclass(frozen=True, eq=False)
class Aligned:
    """How alike the changes of a model's and a brain's RDM are.

    Parameters
    ----------
    value, interval, null, p : float, (float, float), float array, float
        Correlation over pairs of states; 95 % over states; the same with the model's states permuted; one-sided p.
    """

    value: float
    interval: tuple[float, float]
    null: np.ndarray
    p: float


def learning_course(latents: np.ndarray, steps: np.ndarray) -> Course:
    """Successor-likeness, dimensions and change of a representation over learning.

    Parameters
    ----------
    latents : float array, shape (n_checkpoints, n_states, n_units)
        The first checkpoint is what change is measured from.
    steps : float array, shape (n_states, n_states)
        Temporal distance: steps from state to state.

    Raises
    ------
    ValueError
        If states differ in number.
    """
    checks.n_axes("latents", latents, ("checkpoint", "state", "unit"))
    checks.same_length("state", latents=latents[0], steps=steps)
    found = distances.euclidean(_double(latents))
    return Course(
        np.array([successor_likeness(one, steps) for one in found]),
        np.array([effective_dimensions(one) for one in latents]),
        (1 - pearson(found, found[:1].expand_as(found))).numpy(),
    )


def successor_likeness(found: Tensor, steps: np.ndarray) -> float:
    """Rank correlation over pairs of states of distances (n_pairs,) with steps between states (n_states, n_states)."""
    return float(spearman(found, condensed(_double(steps)), 0))


def model_change(latents: np.ndarray) -> Tensor:
    """Change of squared distances from the first to the last checkpoint, (n_pairs,).

    Parameters
    ----------
    latents : float array, shape (n_checkpoints, n_states, n_units)
    """
    checks.n_axes("latents", latents, ("checkpoint", "state", "unit"))
    return distances.euclidean(_double(latents[-1])) - distances.euclidean(_double(latents[0]))


def brain_change(before: np.ndarray, after: np.ndarray) -> Tensor:
    """Change of cross-run distances (crossnobis, noise white) of a brain's states, (n_pairs,).

    Parameters
    ----------
    before, after : float array, shape (n_runs, n_states, n_channels)
        Patterns, the same channels or not; two runs or more of each. Distances of patterns of different runs carry no
        bias of noise, so that more noise after learning is no change.
    """
    return recorded_distances(after, "after") - recorded_distances(before, "before")


def recorded_distances(patterns: np.ndarray, name: str = "patterns") -> Tensor:
    """Cross-run distances (n_pairs,) of patterns (n_runs, n_states, n_channels); of noise zero in the mean."""
    checks.n_axes(name, patterns, ("run", "state", "channel"))
    checks.at_least(f"runs of {name}", len(patterns), 2)
    return distances.crossnobis(_double(patterns), None)


def mean_change(changes: Tensor) -> Tensor:
    """What changes (n_models, n_pairs) of several networks of a kind share: the mean after each is standardised."""
    checks.n_axes("changes", changes, ("model", "pair"))
    return standardise(changes).mean(0)


def align_change(brain: Tensor, model: Tensor, n_states: int, *, n_null: int = 199, seed: int = 0) -> Aligned:
    """Whether a model's RDM changes where a brain's does.

    Parameters
    ----------
    brain, model : Tensor, shape (n_pairs,)
        `brain_change`, and `model_change` or `mean_change`, of the same states in the same order.
    n_states, n_null, seed : int

    Raises
    ------
    ValueError
        If the pairs are not those of `n_states`.
    """
    checks.same_length("pair", brain=brain, model=model, states=range(n_states * (n_states - 1) // 2))
    ours, theirs = square(brain.double()), square(model.double())

    def alike(rows: Tensor, order: Tensor) -> float:
        above = torch.triu_indices(len(rows), len(rows), 1)
        pair = above[0], above[1]
        return float(pearson(ours[rows][:, rows][pair], theirs[order][:, order][pair], dim=0))

    rows = torch.arange(n_states)
    draw = seeding.torch_generator(seed, "states permuted")
    null = np.array([alike(rows, torch.randperm(n_states, generator=draw)) for _ in range(n_null)])
    value = alike(rows, rows)
    ends = study.jackknife(lambda kept: alike(kept, kept), rows, seed=seed)
    return Aligned(value, ends, null, p_value(value, null))


def most_alike(aligned: Mapping[str, Aligned]) -> str:
    """Which model's change is most like the brain's."""
    return max(aligned, key=lambda name: aligned[name].value)


def _double(values: np.ndarray) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64))
