"""Perceptual distance: how far apart a network sees a decoded picture and the presented one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import pearson
from braindec.metrics import Metric

AT_ONCE = 2**23  # values converted to float64 together: 64 MiB


def correlation_distance(presented: Tensor, decoded: Tensor) -> Tensor:
    """One minus the correlation of each pair's features.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
        Flattened after the first axis; any unit.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 2]; 1 where either side is constant.
    """
    return _in_blocks(lambda x, y: 1 - pearson(x, y), presented, decoded)


def cosine_similarity(presented: Tensor, decoded: Tensor) -> Tensor:
    """Cosine of each pair's embeddings.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
        Flattened after the first axis; any unit.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [-1, 1]; 0 where either side is zero.
    """
    return _in_blocks(lambda x, y: torch.nn.functional.cosine_similarity(x, y, dim=1), presented, decoded)


def embedding_cosine(presented: Tensor, decoded: Tensor, groups: Tensor | None = None) -> Tensor:
    """`cosine_similarity` of true and predicted vectors; the fold an item was held out in (`groups`) plays no part."""
    return cosine_similarity(presented, decoded)


def squared_distance(presented: Tensor, decoded: Tensor) -> Tensor:
    """Squared Euclidean distance of each pair's features.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, ...)
        Of a node ``perceptual``: layers of a network, every position scaled to unit length over channels and weighted,
        so that their squared distance is the learned perceptual distance (LPIPS).

    Returns
    -------
    Tensor of float64, shape (n_items,)
        >= 0.
    """
    return _in_blocks(lambda x, y: (x - y).square().sum(1), presented, decoded)


def _in_blocks(compute: Callable[[Tensor, Tensor], Tensor], presented: Tensor, decoded: Tensor) -> Tensor:
    """`compute` of flattened float64 features, a few items at a time."""
    checks.same_length("item", presented=presented, decoded=decoded)
    first = checks.finite("presented", presented).flatten(1)
    second = checks.finite("decoded", decoded).flatten(1)
    checks.same_length("dim", presented=first.T, decoded=second.T)
    step = max(1, AT_ONCE // first.shape[1])
    return torch.cat(
        [
            compute(first[i : i + step].double(), second[i : i + step].double())
            for i in range(0, len(first), step)
        ]
    )


_DISTANCE = (
    "Ozcelik & VanRullen 2023, Scotti et al. 2023, arXiv:2305.18274: correlation distance of the features of the "
    "average pool, mean over pairs. Network: "
)
_LPIPS = "Zhang et al. 2018, arXiv:1801.03924 (LPIPS)"

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "effnet_b1_distance", "features:efficientnet_b1.avgpool", None, "lower",
            _DISTANCE + "EfficientNet-B1 (torchvision, IMAGENET1K_V2)", correlation_distance,
        ),
        Metric(
            "swav_distance", "features:swav_resnet50.avgpool", None, "lower",
            _DISTANCE + "ResNet-50 trained by SwAV for 800 passes", correlation_distance,
        ),
        Metric(
            "effnet_lite0_distance", "features:efficientnet_lite0.pooled", None, "lower",
            _DISTANCE + "EfficientNet-Lite0, which comes as a package", correlation_distance,
        ),
        Metric(
            "lpips_alexnet", "features:alexnet.perceptual", None, "lower",
            _LPIPS + ": five layers of AlexNet, learned weights of version 0.1, at 128 pixels", squared_distance,
        ),
        Metric(
            "perceptual_effnet_lite0", "features:efficientnet_lite0.perceptual", None, "lower",
            "After " + _LPIPS + ", without learned weights: five stages of EfficientNet-Lite0",
            squared_distance,
        ),
        Metric(
            "clip_similarity", "features:clip_vit_l14.final", None, "higher",
            "Cosine of OpenAI CLIP ViT-L/14 embeddings of both pictures", cosine_similarity,
        ),
        Metric(
            "embedding_cosine", "vectors", None, "higher", "Cosine of predicted and true embedding", embedding_cosine
        ),
    )
}  # fmt: skip
