"""Pixels: low-level likeness of a decoded picture to the presented one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from braindec import _compat, checks
from braindec.maths.correlation import pearson
from braindec.metrics import Metric

PUBLISHED_SIZE = 425  # pixels a side, MindEye's evaluation of NSD pictures
LUMINANCE = (0.2125, 0.7154, 0.0721)  # CIE 709 weights, as scikit-image's rgb2gray
SIGMA, WINDOW = 1.5, 11  # Wang et al. 2004: Gaussian window of 11 pixels
K1, K2 = 0.01, 0.03  # Wang et al. 2004, with a data range of 1
MULTISCALE_SIZE = 256  # five scales of an 11-pixel window need more than 160 pixels
AT_ONCE = 2**21  # values of resized pictures held together: few enough to stay in a processor's cache


def pixel_correlation(presented: Tensor, decoded: Tensor, *, size: int | None = None) -> Tensor:
    """Pearson correlation of all pixel values of each pair of pictures.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, n_channels, height, width)
        In [0, 1].
    size : int, optional
        Pixels a side to resize both to (bilinear, no antialias); the pictures' own size if not given.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [-1, 1]; 0 where a picture is uniform.
    """
    return _in_blocks(
        lambda first, second: pearson(first.flatten(1), second.flatten(1)).double(), presented, decoded, size
    )


def absolute_pixel_correlation(presented: Tensor, decoded: Tensor, *, size: int | None = None) -> Tensor:
    """`pixel_correlation` without its sign, as one published evaluation has it: a negative picture counts as likeness.

    For comparison with published numbers only: its chance is above zero.
    """
    return pixel_correlation(presented, decoded, size=size).abs()


def ssim(presented: Tensor, decoded: Tensor, *, size: int | None = None) -> Tensor:
    """Structural similarity of the luminance of each pair of pictures.

    Parameters
    ----------
    presented, decoded : Tensor, shape (n_items, 3 or 1, height, width)
        In [0, 1]; at least 11 pixels a side.
    size : int, optional
        As in `pixel_correlation`.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [-1, 1].

    Notes
    -----
    Wang et al. 2004, doi:10.1109/TIP.2003.819861: Gaussian window of 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03,
    data range 1, biased covariances, borders of 5 pixels left out.
    """
    return _in_blocks(_ssim, presented, decoded, size)


def _ssim(presented: Tensor, decoded: Tensor) -> Tensor:
    return _likeness(presented, decoded, axes=(-2, -1))


def ssim_columns(presented: Tensor, decoded: Tensor, *, size: int | None = None) -> Tensor:
    """SSIM as older published evaluations computed it: every column of the gray picture is a channel of its own.

    Parameters
    ----------
    presented, decoded, size
        As in `ssim`.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        Higher than `ssim`, because nothing is compared across columns. For comparison with published numbers only.

    Notes
    -----
    scikit-image before 0.20 took the last axis for channels when told `multichannel=True`, as MindEye's code did.
    """
    return _in_blocks(_ssim_columns, presented, decoded, size)


def _ssim_columns(presented: Tensor, decoded: Tensor) -> Tensor:
    return _likeness(presented, decoded, axes=(-2,))


def ssim_own_range(presented: Tensor, decoded: Tensor, *, size: int | None = None) -> Tensor:
    """SSIM whose data range is what the pair's gray values span, not the 1 that they may span.

    Parameters
    ----------
    presented, decoded, size
        As in `ssim`.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        Lower than `ssim` for pictures that are not alike: the constants that forgive small differences shrink with the
        range. For comparison with published numbers only.

    Notes
    -----
    torchmetrics takes the larger of the ranges of both pictures where it is given none.
    """
    return _in_blocks(_ssim_own_range, presented, decoded, size)


def _ssim_own_range(presented: Tensor, decoded: Tensor) -> Tensor:
    spans = [x.flatten(1).amax(1) - x.flatten(1).amin(1) for x in map(_luminance, (presented, decoded))]
    span = torch.maximum(*spans).double().clamp_min(torch.finfo(torch.float32).eps)
    return _likeness(presented, decoded, axes=(-2, -1), span=span[:, None, None])


def _likeness(
    presented: Tensor, decoded: Tensor, axes: tuple[int, ...], span: Tensor | float = 1.0
) -> Tensor:
    """Mean structural similarity under a Gaussian window along these axes, where the window lies inside, (item,)."""
    checks.at_least("shorter side of a picture", min(presented.shape[-2:]), WINDOW, unit="pixels")
    x, y = _luminance(presented)[:, 0].double(), _luminance(decoded)[:, 0].double()
    mean_x, mean_y = _smooth(x, axes), _smooth(y, axes)
    cov = _smooth(x * y, axes) - mean_x * mean_y
    # The sum of variances at once: only their sum enters.
    var = _smooth(x.square().add_(y.square()), axes) - mean_x.square() - mean_y.square()
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    return (likeness / ((mean_x.square() + mean_y.square() + c1) * (var + c2))).flatten(1).mean(1)


def _smooth(images: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Weighted mean over the window along each axis, shorter by 10 pixels there.

    Sums of shifted views: on a CPU several times faster than a convolution.
    """
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    window = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights = (window / window.sum()).tolist()
    for axis in axes:
        n = images.shape[axis] - WINDOW + 1
        total = images.narrow(axis, 0, n) * weights[0]
        for k in range(1, WINDOW):
            total.add_(images.narrow(axis, k, n), alpha=weights[k])
        images = total
    return images


def multiscale_ssim(presented: Tensor, decoded: Tensor, *, size: int = MULTISCALE_SIZE) -> Tensor:
    """Structural similarity of the luminance of each pair of pictures over five scales.

    Parameters
    ----------
    presented, decoded
        As in `ssim`, of any size.
    size : int
        Pixels a side to resize both to; more than 160.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [0, 1]; scales whose contrast is negatively related count as unrelated.

    Notes
    -----
    Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216, with the window of `ssim`; torchmetrics.
    """
    checks.at_least("size", size, 161, unit="pixels")
    return _in_blocks(_multiscale, presented, decoded, size)


def _multiscale(presented: Tensor, decoded: Tensor) -> Tensor:
    _compat.ensure_torchvision()
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    settings = {"sigma": SIGMA, "data_range": 1.0, "k1": K1, "k2": K2, "normalize": "relu"}
    return multiscale_structural_similarity_index_measure(
        _luminance(decoded), _luminance(presented), reduction="none", **settings
    ).double()


def _published_correlation(presented: Tensor, decoded: Tensor) -> Tensor:
    return pixel_correlation(presented, decoded, size=PUBLISHED_SIZE)


def _published_ssim(presented: Tensor, decoded: Tensor) -> Tensor:
    return ssim(presented, decoded, size=PUBLISHED_SIZE)


def _published_ssim_columns(presented: Tensor, decoded: Tensor) -> Tensor:
    return ssim_columns(presented, decoded, size=PUBLISHED_SIZE)


def _published_ssim_own_range(presented: Tensor, decoded: Tensor) -> Tensor:
    return ssim_own_range(presented, decoded, size=PUBLISHED_SIZE)


def _published_absolute(presented: Tensor, decoded: Tensor) -> Tensor:
    return absolute_pixel_correlation(presented, decoded, size=PUBLISHED_SIZE)


def _in_blocks(
    compute: Callable[[Tensor, Tensor], Tensor], presented: Tensor, decoded: Tensor, size: int | None
) -> Tensor:
    """`compute` of both sets as float32 at one size, a few items at a time."""
    _check(presented, decoded)
    height, width = presented.shape[-2:] if size is None else (size, size)
    step = max(1, AT_ONCE // (presented.shape[1] * height * width))
    return torch.cat(
        [
            compute(_resized(presented[i : i + step], size), _resized(decoded[i : i + step], size))
            for i in range(0, len(presented), step)
        ]
    )


def _check(presented: Tensor, decoded: Tensor) -> None:
    """Refuses pictures of different shapes, of 8 bits, or outside [0, 1]."""
    checks.n_axes("presented", presented, ("item", "channel", "height", "width"))
    if presented.shape != decoded.shape:
        raise ValueError(
            f"presented is {tuple(presented.shape)} but decoded {tuple(decoded.shape)}; they must match."
        )
    for name, images in (("presented", presented), ("decoded", decoded)):
        if not images.is_floating_point():
            raise TypeError(
                f"{name} must be float in [0, 1], got {images.dtype}; divide 8-bit pictures by 255."
            )
        checks.in_range(f"smallest value of {name}", float(images.min()), 0.0, 1.0)
        checks.in_range(f"largest value of {name}", float(images.max()), 0.0, 1.0)


def _resized(images: Tensor, size: int | None) -> Tensor:
    if size is None or images.shape[-2:] == (size, size):
        return images.float()
    return interpolate(images.float(), (size, size), mode="bilinear", antialias=False)


def _luminance(images: Tensor) -> Tensor:
    """(item, 1, height, width)."""
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ValueError(f"SSIM takes pictures of 1 or 3 channels, got {images.shape[1]}.")
    weights = torch.tensor(LUMINANCE, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


_CORRELATION = "Pearson correlation of all pixel values of a pair"
_SSIM = (
    "Wang et al. 2004, doi:10.1109/TIP.2003.819861, on luminance: Gaussian window 11, sigma 1.5, data range 1"
)
_OWN = ", at the pictures' own size"
_COLUMNS = ", columns as channels"
_AT = f", both bilinearly resized to {PUBLISHED_SIZE} pixels (Scotti et al. 2023, arXiv:2305.18274)"

METRICS = {
    metric.name: metric
    for metric in (
        Metric("pixel_correlation", "images", None, "higher", _CORRELATION + _OWN, pixel_correlation),
        Metric("ssim", "images", None, "higher", _SSIM + _OWN, ssim),
        Metric("pixel_correlation_425", "images", None, "higher", _CORRELATION + _AT, _published_correlation),
        Metric("ssim_425", "images", None, "higher", _SSIM + _AT, _published_ssim),
        Metric(
            "absolute_pixel_correlation_425", "images", None, "higher",
            _CORRELATION + ", its sign dropped" + _AT, _published_absolute,
        ),
        Metric(
            "ms_ssim_256", "images", None, "higher",
            "Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216, on luminance at 256 pixels (torchmetrics)",
            multiscale_ssim,
        ),
        Metric(
            "ssim_own_range_425", "images", None, "higher", _SSIM + ", but the data range of each pair" + _AT,
            _published_ssim_own_range,
        ),
        Metric("ssim_columns_425", "images", None, "higher", _SSIM + _COLUMNS + _AT, _published_ssim_columns),
    )
}  # fmt: skip
