"""Identification: is a decoded item more like the presented one than like a distractor?"""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import standardise
from braindec.maths.nearest import ROUNDING
from braindec.metrics import Metric

FEATURES = "features:efficientnet_lite0.pooled"  # a network that no shipped decoder is trained towards


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
    true = standardise(checks.finite("presented", presented).flatten(1).double())
    made = standardise(checks.finite("decoded", decoded).flatten(1).double())
    checks.same_length("dim", presented=true.T, decoded=made.T)
    return true @ made.T


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
    tie = ROUNDING * torch.finfo(presented.dtype if presented.is_floating_point() else torch.float64).eps
    wins = torch.where(margin.abs() <= tie, 0.5, (margin > 0).double())
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


_TWO_WAY = (
    "Ozcelik & VanRullen 2023 and Scotti et al. 2023, arXiv:2305.18274: correlation matrix of features, share of "
    "distractors beaten; ties half. Network: EfficientNet-Lite0 (timm layout, ImageNet), global average pool, 1280-d"
)
_PAIRWISE = (
    "Shen et al. 2019, doi:10.1371/journal.pcbi.1006633: pairwise identification by correlation; ties half"
)

METRICS = {
    metric.name: metric
    for metric in (
        Metric("two_way_identification", FEATURES, 0.5, "higher", _TWO_WAY, correlation_wins, pairwise=True),
        Metric(
            "pairwise_identification", "vectors", 0.5, "higher", _PAIRWISE, correlation_wins, pairwise=True
        ),
        Metric(
            "pairwise_identification_within_class",
            "vectors",
            0.5,
            "higher",
            _PAIRWISE + "; distractors of the same class",
            within_class_wins,
            pairwise=True,
        ),
    )
}
