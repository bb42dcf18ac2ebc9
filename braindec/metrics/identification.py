"""Identification: is a decoded item more like the presented one than like a distractor?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from braindec import checks
from braindec.metrics import Metric
from braindec.metrics._clusters import same_cluster
from braindec.metrics._two_way import (
    TIE,
    correlation_matrix,
    count_wins,
    mismatched_share,
    share_and_interval,
)
from braindec.stats.arrays import as_labels
from braindec.types import Score

OFFLINE = (
    "efficientnet_lite0.pooled"  # a network that comes as a package; no shipped decoder is trained towards it
)

# What published evaluations look through (Ozcelik & VanRullen 2023; Scotti et al. 2023), by the name they give it.
PUBLISHED_NODES = {
    "alexnet_2": "alexnet.features.4",
    "alexnet_5": "alexnet.features.11",
    "alexnet_features_2": "alexnet.features.2",  # what one paper took for layers 2 and 5 by another index
    "alexnet_features_9": "alexnet.features.9",
    "inception": "inception_v3.avgpool",
    "clip": "clip_vit_l14.final",
}


def two_way_identification(
    predicted: Any,
    target: Any,
    *,
    labels: Any | None = None,
    units: Any | None = None,
    name: str = "two_way_identification",
    system: str = "braindec",
    protocol: str = "given_arrays",
    subject: int | str = "unnamed",
    modality: str = "unnamed",
) -> Score:
    """How often a prediction correlates more with its own truth than with another item's.

    Parameters
    ----------
    predicted, target : Tensor or array, shape (n_trials, n_dims)
        Row i of `predicted` is the prediction of row i of `target`; any unit and real dtype.
    labels : sequence, length n_trials, optional
        Class, cluster or fold of each item: only items that share it are compared, so that knowing it earns nothing.
    units : sequence, length n_trials, optional
        Stimulus of each trial where stimuli repeat: trials of one stimulus are no distractors of each other, and are
        resampled together.
    name, system, protocol, subject, modality
        What the score is of; see `braindec.types.Score`.

    Returns
    -------
    Score
        `value`, the share of comparisons won, ties half, is exactly 1.0 where every prediction is its truth and all
        truths differ. The 95 % interval resamples items (or units) with weights w_i w_j. `null` is what the same
        predictions score against wrong truths, averaged over all of them; `per_sample` the share each item wins, NaN
        for an item without distractors.

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or no pair is left to compare.

    Notes
    -----
    Of n items 2048 by 2048 are compared at a time: memory does not grow with n squared.
    """
    made, true = as_items("predicted", predicted), as_items("target", target)
    n = checks.same_length("trial", predicted=made, target=true)
    checks.same_length("dim", predicted=made.T, target=true.T)
    checks.at_least("trials to tell apart", n, 2)
    member = None if labels is None else as_labels("labels", labels, n)
    unit = None if units is None else as_labels("units", units, n)
    on = made.device
    counts = count_wins(
        made, true.to(on), *(None if x is None else torch.as_tensor(x, device=on) for x in (member, unit))
    )
    value, interval, n_units = share_and_interval(counts, unit)
    return Score(
        name, system, protocol, subject, modality, value, (interval.low, interval.high), chance=0.5,
        null=mismatched_share(counts), n=n_units, per_sample=(counts.won / counts.made).cpu().numpy(),
        details={"null_kind": "mean over all wrong truths", "interval_kind": interval.method, "source": _TWO_WAY},
    )  # fmt: skip


def as_items(name: str, values: Any) -> Tensor:
    """The values as a finite Tensor (trial, dim)."""
    tensor = torch.as_tensor(values).detach()
    checks.n_axes(name, tensor, ("trial", "dim"))
    return checks.finite(name, tensor)


def correlations(presented: Tensor, decoded: Tensor) -> Tensor:
    """Correlation of every presented item with every decoded one.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
        Flattened after the first axis; any unit.

    Returns
    -------
    Tensor of float64, shape (n_items, n_items)
        Presented in rows, decoded in columns; 0 where either item is constant.
    """
    n = checks.same_length("item", presented=presented, decoded=decoded)
    checks.at_least("items to tell apart", n, 2)
    true = checks.finite("presented", presented).flatten(1)
    made = checks.finite("decoded", decoded).flatten(1)
    checks.same_length("dim", presented=true.T, decoded=made.T)
    return correlation_matrix(true, made)


def correlation_wins(presented: Tensor, decoded: Tensor, groups: Tensor | None = None) -> Tensor:
    """Which of two presented items each decoded one correlates with more, for every pair of items.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
        Flattened after the first axis; any unit.
    groups : integer Tensor, shape (n_items,), optional
        Only items of one group are compared, e.g. the held-out fold, or fold and class.

    Returns
    -------
    Tensor of float64, shape (n_items, n_items)
        Row i: decoded item i against distractor j; 1 when r(decoded i, presented i) > r(decoded i, presented j), 0.5
        for a tie, NaN on the diagonal and between groups.

    Notes
    -----
    The off-diagonal block of the correlation matrix of both sets, as in the published evaluations (MindEye's
    `two_way_identification`); those count a tie as lost.
    """
    r = correlations(presented, decoded).T  # (decoded, presented)
    margin = r.diagonal()[:, None] - r
    wins = torch.where(margin.abs() <= TIE, 0.5, (margin > 0).double())
    compared = ~torch.eye(len(r), dtype=torch.bool, device=r.device)
    if groups is not None:
        checks.same_length("item", presented=presented, groups=groups)
        compared &= groups[:, None] == groups[None]
    return wins.masked_fill(~compared, torch.nan)


def within_class_wins(
    presented: Tensor, decoded: Tensor, labels: Tensor, groups: Tensor | None = None
) -> Tensor:
    """`correlation_wins` against distractors of the item's own class only, so that the class alone earns nothing.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
    labels : integer Tensor, shape (n_items,)
        Class of each presented item.
    groups : integer Tensor, shape (n_items,), optional
        As in `correlation_wins`.
    """
    checks.same_length("item", presented=presented, labels=labels)
    both = labels if groups is None else torch.stack([labels, groups.to(labels)], 1)
    return correlation_wins(presented, decoded, torch.unique(both, dim=0, return_inverse=True)[1])


def same_cluster_wins(presented: Tensor, decoded: Tensor) -> Tensor:
    """`correlation_wins` against distractors of the item's own cluster of presented items.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
        Clusters are of the presented items' features: see `same_cluster`.
    """
    return correlation_wins(presented, decoded, same_cluster(presented))


def two_way(node: str, name: str | None = None) -> Metric:
    """Two-way identification in the eyes of any layer of any network that is a target.

    Parameters
    ----------
    node : str
        ``"<target member>.<node>"``, e.g. ``"alexnet.features.4"``.
    name : str, optional
        As it stands in report.json; ``"two_way:<node>"`` if not given.
    """
    return Metric(
        name or f"two_way:{node}", f"features:{node}", 0.5, "higher", f"{_TWO_WAY}. Layer: {node}", correlation_wins,
        pairwise=True,
    )  # fmt: skip


_TWO_WAY = (
    "Ozcelik & VanRullen 2023 and Scotti et al. 2023, arXiv:2305.18274: correlation matrix of features, share of "
    "distractors beaten; ties half"
)
_PAIRWISE = (
    "Shen et al. 2019, doi:10.1371/journal.pcbi.1006633: pairwise identification by correlation; ties half"
)
_CLUSTER = (
    "distractors of the same cluster of presented items (Ward, about 25 items each): what is left when knowing the "
    "kind of picture earns nothing; after Shirakawa et al. 2024, arXiv:2405.10078"
)

METRICS = {
    metric.name: metric
    for metric in (
        two_way(OFFLINE, "two_way_identification"),
        Metric(
            "two_way_identification_same_cluster", f"features:{OFFLINE}", 0.5, "higher",
            f"{_TWO_WAY}; {_CLUSTER}", same_cluster_wins, pairwise=True,
        ),
        *(two_way(node, f"two_way_{name}") for name, node in PUBLISHED_NODES.items()),
        Metric(
            "pairwise_identification", "vectors", 0.5, "higher", _PAIRWISE, correlation_wins, pairwise=True
        ),
        Metric(
            "pairwise_identification_within_class", "vectors", 0.5, "higher",
            _PAIRWISE + "; distractors of the same class", within_class_wins, pairwise=True,
        ),
    )
}  # fmt: skip
