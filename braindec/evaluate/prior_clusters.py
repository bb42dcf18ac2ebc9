"""Whether a prior works for clusters of stimuli that it never saw, or draws what it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from braindec import checks, seeding
from braindec.maths import nearest
from braindec.stats.paired import PairedDifference, paired_difference

Draw = Callable[[Tensor], Tensor]  # conditions (n, n_tokens, n_dims) to mean draws of the same shape


@dataclass(frozen=True, eq=False)
class Generalisation:
    """What becomes of stimuli of a kind that a prior was never trained on.

    Parameters
    ----------
    unseen, seen : float array, shape (n,)
        Two-way identification of each stimulus within its own cluster, chance 0.5: by a prior trained without that
        cluster, and by one trained without as many stimuli, half of the cluster among them.
    difference : PairedDifference
        Unseen minus seen; a stimulus is the unit.
    """

    unseen: np.ndarray
    seen: np.ndarray
    difference: PairedDifference


def held_out_clusters(
    fit: Callable[[Tensor], Draw], condition: Tensor, target: Tensor, *, n_clusters: int = 5, seed: int = 0
) -> Generalisation:
    """Leaves out each cluster of stimuli once.

    Parameters
    ----------
    fit : callable
        ``fit(rows)`` trains a prior on these rows; what it gives maps conditions to mean draws.
    condition, target : Tensor, shape (n, n_tokens, n_dims)
        A row a stimulus: out-of-fold predictions and their truths.
    n_clusters : int
        K-means of the truths.

    Notes
    -----
    Shirakawa et al. 2024, arXiv:2405.10078: what reconstructs by what is like its training set fails on clusters that
    this lacks.
    """
    from sklearn.cluster import KMeans

    n = checks.same_length("stimulus", condition=condition, target=target)
    found = KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(target.flatten(1).numpy())
    cluster = torch.from_numpy(found)
    draw = seeding.torch_generator(seed, "clusters")
    unseen, seen = np.zeros(n), np.zeros(n)
    for number in range(n_clusters):
        held = (cluster == number).nonzero().flatten()
        checks.at_least(f"stimuli of cluster {number}", len(held), 4)
        without = (cluster != number).nonzero().flatten()
        unseen[held] = _within(fit(without)(condition[held]), target[held], torch.arange(len(held)))
        places = torch.randperm(len(held), generator=draw)
        for half in places.tensor_split(2):
            others = without[torch.randperm(len(without), generator=draw)[: len(held) - len(half)]]
            kept = torch.ones(n, dtype=torch.bool)
            kept[held[half]], kept[others] = False, False
            made = fit(kept.nonzero().flatten())(condition[held[half]])
            seen[held[half]] = _within(made, target[held], half)
    difference = paired_difference(unseen, seen, seeding.numpy_generator(seed, "clusters"))
    return Generalisation(unseen, seen, difference)


def _within(made: Tensor, gallery: Tensor, own: Tensor) -> np.ndarray:
    """Share of a gallery's other truths that lie further from each draw, by the angle about the gallery's mean."""
    centre = gallery.double().mean(0)
    query, known = (normalize((v.double() - centre).flatten(1), dim=1) for v in (made, gallery))
    better, tied = nearest.ranks_in(query @ known.T, own)
    return np.asarray(1 - nearest.mid_ranks(better, tied) / (len(gallery) - 1), dtype=float)
