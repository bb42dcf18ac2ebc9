"""N-way classification: does a classifier see in the decoded picture what it sees in the presented one?"""

from __future__ import annotations

import torch
from scipy.stats import hypergeom
from torch import Tensor

from braindec import checks
from braindec.maths.nearest import ranks_in
from braindec.metrics import Metric

VIDEO_TRUTHS = 3  # classes of a presented clip that count as right, Chen et al. 2023 (Mind-Video)


def n_way(presented: Tensor, decoded: Tensor, *, n: int = 50, k: int = 1, n_truths: int = 1) -> Tensor:
    """Chance that the decoded item's classes, among n - 1 others drawn at random, have the presented class in the top k.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_classes)
        Logits or probabilities of one classifier.
    n : int
        Classes to choose among, at most as many as the classifier has.
    k : int
        In [1, n].
    n_truths : int
        So many of the presented item's first classes count as right; the best of them is taken.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1]: the exact mean over all draws of the other classes, which published evaluations draw 100 to 1000
        times. Ties count as a guess among them.

    Notes
    -----
    Chen et al. 2023 (MinD-Vis), arXiv:2211.06956. Of C - 1 other classes `better` beat the true one; n - 1 are drawn:
    the number of better ones drawn is hypergeometric. Chance is k / n for one truth; more truths raise it.
    """
    checks.n_axes("presented", presented, ("item", "class"))
    checks.same_length("item", presented=presented, decoded=decoded)
    checks.same_length("class", presented=presented.T, decoded=decoded.T)
    checks.finite("presented", presented)
    checks.finite("decoded", decoded)
    n_classes = presented.shape[1]
    checks.in_range("n", n, 2, n_classes)
    checks.in_range("k", k, 1, n)
    truths = presented.topk(n_truths, dim=1).indices  # (item, truth)
    return torch.stack([_expected_hits(decoded, truths[:, t], n, k) for t in range(n_truths)]).amax(0)


def _expected_hits(scores: Tensor, truth: Tensor, n: int, k: int) -> Tensor:
    """Exact hit rate over draws of n - 1 other classes, ties broken at random, float64 (n_items,)."""
    better, tied = (x.cpu().numpy() for x in ranks_in(scores, truth))
    # A guess among t tied classes lies behind 0..t of them with equal chance: average over those places.
    most = int(tied.max())
    total = torch.zeros(len(scores), dtype=torch.float64)
    for behind in range(most + 1):
        hit = hypergeom.cdf(k - 1, scores.shape[1] - 1, better + behind, n - 1)
        total += torch.as_tensor(hit * (behind <= tied))
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
        Metric("clip_n_way_2", "clips:videomae.logits", None, "higher", _VIDEO + "VideoMAE-base, Kinetics-400", _clip_two),
        Metric(
            "clip_n_way_50", "clips:videomae.logits", None, "higher", _VIDEO + "VideoMAE-base, Kinetics-400", clip_n_way
        ),
    )
}  # fmt: skip
