"""N-way classification: does a classifier see in the decoded picture what it sees in the presented one?"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import hypergeom
from torch import Tensor

from braindec import checks
from braindec.maths.nearest import ROUNDING
from braindec.metrics import Metric

VIDEO_TRUTHS = 3  # classes of a presented clip that count as right, Chen et al. 2023 (Mind-Video)


def n_way(presented: Tensor, decoded: Tensor, *, n: int = 50, k: int = 1, n_truths: int = 1) -> Tensor:
    """Chance that the presented class is in the decoded item's top k, among n - 1 other classes drawn at random.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_classes)
        Logits or probabilities of one classifier.
    n : int
        Classes to choose among, at most as many as the classifier has besides further truths.
    k : int
        In [1, n].
    n_truths : int
        So many of the presented item's first classes count as right and are no distractors; the one that the decoded
        item likes best is taken.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1]: the exact mean over all draws of the other classes, which published evaluations draw 100 to 1000
        times. Ties count as a guess among them.

    Notes
    -----
    Chen et al. 2023 (MinD-Vis), arXiv:2211.06956. Of the other classes some beat the true one; n - 1 of all are drawn:
    the number of better ones drawn is hypergeometric. Chance is k / n for one truth; more truths raise it.
    """
    checks.n_axes("presented", presented, ("item", "class"))
    checks.same_length("item", presented=presented, decoded=decoded)
    checks.same_length("class", presented=presented.T, decoded=decoded.T)
    checks.finite("presented", presented)
    checks.finite("decoded", decoded)
    checks.in_range("n", n, 2, presented.shape[1] - n_truths + 1)
    checks.in_range("k", k, 1, n)
    true = torch.zeros_like(presented, dtype=torch.bool)
    true.scatter_(1, presented.topk(n_truths, dim=1).indices, True)
    return _expected_hits(decoded, true, n, k)


def _expected_hits(scores: Tensor, true: Tensor, n: int, k: int) -> Tensor:
    """Exact hit rate of the best true class over draws of n - 1 other ones, ties at random, float64 (n_items,)."""
    own = scores.masked_fill(~true, -torch.inf).amax(1, keepdim=True)
    margin = ROUNDING * torch.finfo(scores.dtype).eps * scores.abs().amax(1, keepdim=True)
    better = ((scores > own + margin) & ~true).sum(1).cpu().numpy()
    tied = (((scores - own).abs() <= margin) & ~true).sum(1).cpu().numpy()
    n_others = int((~true[0]).sum())
    # A guess among t tied classes lies behind 0..t of them with equal chance: average over those places.
    most = int(tied.max())
    total = torch.zeros(len(scores), dtype=torch.float64)
    for behind in range(most + 1):
        hit = hypergeom.cdf(k - 1, n_others, better + behind, n - 1)
        total += torch.as_tensor(np.where(behind <= tied, hit, 0.0))
    return (total / torch.as_tensor(tied + 1)).to(scores.device)


def frame_n_way(presented: Tensor, decoded: Tensor, *, n: int = 50) -> Tensor:
    """`n_way` of every frame, averaged over a clip's frames.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_frames, n_classes)
        Logits of an image classifier; the first three classes of a presented frame count as right.
    """
    checks.n_axes("presented", presented, ("item", "frame", "class"))
    checks.same_length("item", presented=presented, decoded=decoded)
    checks.same_length("frame", presented=presented.movedim(1, 0), decoded=decoded.movedim(1, 0))
    flat = n_way(presented.flatten(0, 1), decoded.flatten(0, 1), n=n, n_truths=VIDEO_TRUTHS)
    return flat.reshape(presented.shape[:2]).mean(1)


def clip_n_way(presented: Tensor, decoded: Tensor, *, n: int = 50) -> Tensor:
    """`n_way` of whole clips in the eyes of a video classifier; three classes of the presented clip count as right."""
    return n_way(presented, decoded, n=n, n_truths=VIDEO_TRUTHS)


def _two(presented: Tensor, decoded: Tensor) -> Tensor:
    return n_way(presented, decoded, n=2)


def _fifty_top1(presented: Tensor, decoded: Tensor) -> Tensor:
    return n_way(presented, decoded, n=50)


def _frame_two(presented: Tensor, decoded: Tensor) -> Tensor:
    return frame_n_way(presented, decoded, n=2)


def _clip_two(presented: Tensor, decoded: Tensor) -> Tensor:
    return clip_n_way(presented, decoded, n=2)


_N_WAY = "Chen et al. 2023 (MinD-Vis), arXiv:2211.06956, exact over draws of the other classes. Classifier: "
_VIDEO = "Chen et al. 2023 (Mind-Video), arXiv:2305.11675, three true classes, exact over draws. Classifier: "
_LITE0 = "EfficientNet-Lite0, which comes as a package (published: ViT-H/14)"
_VIDEOMAE = "VideoMAE-base, Kinetics-400"

METRICS = {
    metric.name: metric
    for metric in (
        Metric("n_way_2_top1", "features:efficientnet_lite0.logits", None, "higher", _N_WAY + _LITE0, _two),
        Metric("n_way_50_top1", "features:efficientnet_lite0.logits", None, "higher", _N_WAY + _LITE0, _fifty_top1),
        Metric(
            "n_way_50_top1_inception", "features:inception_v3.logits", None, "higher",
            _N_WAY + "Inception-v3 (published: ViT-H/14)", _fifty_top1,
        ),
        Metric("frame_n_way_2", "frames:efficientnet_lite0.logits", None, "higher", _VIDEO + _LITE0, _frame_two),
        Metric("frame_n_way_50", "frames:efficientnet_lite0.logits", None, "higher", _VIDEO + _LITE0, frame_n_way),
        Metric("clip_n_way_2", "clips:videomae.logits", None, "higher", _VIDEO + _VIDEOMAE, _clip_two),
        Metric(
            "clip_n_way_50", "clips:videomae.logits", None, "higher", _VIDEO + _VIDEOMAE, clip_n_way
        ),
    )
}  # fmt: skip
