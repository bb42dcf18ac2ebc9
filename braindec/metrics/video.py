"""Video: are decoded clips like the presented ones, frame by frame and in how things move?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.maths.motion import block_motion
from braindec.metrics import Metric
from braindec.metrics.pixels import pixel_correlation, ssim
from braindec.stats.permutation import p_value

NULLS = ("frames", "items")
AT_ONCE = 2**24  # values of clips held as float32 together: 64 MiB


class MotionTest(NamedTuple):
    """Motion error, the errors under the null (n_permutations,), and p = (c + 1) / (N + 1) of one at least as small."""

    value: float
    null: np.ndarray
    p: float


def frame_ssim(presented: Tensor, decoded: Tensor) -> Tensor:
    """Structural similarity averaged over a clip's frames.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_frames, 3 or 1, height, width)
        In [0, 1].

    Returns
    -------
    Tensor of float64, shape (n_items,)
    """
    _check(presented, decoded)
    return ssim(presented.flatten(0, 1), decoded.flatten(0, 1)).reshape(presented.shape[:2]).mean(1)


def frame_pixel_correlation(presented: Tensor, decoded: Tensor) -> Tensor:
    """Pixel correlation averaged over a clip's frames; arguments as of `frame_ssim`."""
    _check(presented, decoded)
    return (
        pixel_correlation(presented.flatten(0, 1), decoded.flatten(0, 1)).reshape(presented.shape[:2]).mean(1)
    )


def motion_error(presented: Tensor, decoded: Tensor) -> Tensor:
    """How far, on average, a block's motion in the decoded clip is from its motion in the presented one.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_frames, 3 or 1, height, width)
        In [0, 1]; at least two frames.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        Mean end-point error in pixels a frame. A still clip gets the mean speed of the presented one; only a value
        below that, and below chance, says that motion was decoded.

    Notes
    -----
    Motion by block matching (`block_motion`), which needs no trained network; published errors are of learned optical
    flow (Lu et al. 2024, arXiv:2405.03280) and not comparable in size.
    """
    _check(presented, decoded)
    checks.at_least("frames of a clip", presented.shape[1], 2)
    return _end_point_error(_motion(presented), _motion(decoded))


def motion_test(
    presented: Tensor,
    decoded: Tensor,
    generator: torch.Generator,
    *,
    null: str = "items",
    n_permutations: int = 100,
) -> MotionTest:
    """Whether decoded motion is closer to the presented one than it would be by chance.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_frames, 3 or 1, height, width)
        In [0, 1].
    generator : torch.Generator
    null : str
        ``"items"``: the decoded clips in random order beside the presented ones. Rejected only if motion came from the
        response to that clip. ``"frames"``: each decoded clip's frames in random order, as published. Any generator
        that makes smooth clips of things that move like most things do rejects it, whatever the brain said.
    n_permutations : int

    Returns
    -------
    MotionTest

    Notes
    -----
    Frame order shuffled: Lu et al. 2024 (Mind-Animator), arXiv:2405.03280, section 4.
    """
    checks.one_of("null", null, NULLS)
    checks.at_least("n_permutations", n_permutations, 1)
    _check(presented, decoded)
    if null == "items":
        checks.at_least("clips to exchange", len(decoded), 2)
    shown, made = _motion(presented), _motion(decoded)
    value = float(_end_point_error(shown, made).mean())
    n_items, n_frames = decoded.shape[:2]
    errors = []
    for _ in range(n_permutations):
        if null == "items":
            # Of all orders, the true one among them: without those that leave a clip in place few clips are told apart
            # too often (of two, in half of all worlds).
            other = torch.randperm(n_items, generator=generator).to(made.device)
            errors.append(float(_end_point_error(shown, made[other]).mean()))
        else:
            order = torch.rand(n_items, n_frames, generator=generator).argsort(1).to(decoded.device)
            shuffled = decoded[torch.arange(n_items, device=decoded.device)[:, None], order]
            errors.append(float(_end_point_error(shown, _motion(shuffled)).mean()))
    found = np.array(errors)
    return MotionTest(value, found, p_value(value, found, "less"))


def _motion(clips: Tensor) -> Tensor:
    """Block motion of clips, (item, step, 2, row, column), a few clips at a time."""
    step = max(1, AT_ONCE // clips[0].numel())
    return torch.cat([block_motion(clips[i : i + step].float().mean(2)) for i in range(0, len(clips), step)])


def _end_point_error(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).double().norm(dim=2).flatten(1).mean(1)


def _check(presented: Tensor, decoded: Tensor) -> None:
    checks.n_axes("presented", presented, ("item", "frame", "channel", "height", "width"))
    if presented.shape != decoded.shape:
        raise ValueError(
            f"presented is {tuple(presented.shape)} but decoded {tuple(decoded.shape)}; they must match."
        )


_MEAN = ", mean over frames, Chen et al. 2023 (Mind-Video), arXiv:2305.11675"

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "frame_ssim", "videos", None, "higher",
            "Wang et al. 2004, doi:10.1109/TIP.2003.819861" + _MEAN, frame_ssim,
        ),
        Metric(
            "frame_pixel_correlation", "videos", None, "higher",
            "Pearson correlation of pixels" + _MEAN, frame_pixel_correlation,
        ),
        Metric(
            "motion_error", "videos", None, "lower",
            "End-point error of motion by block matching, after Lu et al. 2024, arXiv:2405.03280 (learned optical flow "
            "there)", motion_error,
        ),
    )
}  # fmt: skip
