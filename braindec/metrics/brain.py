"""Brain correlation: would the decoded picture evoke the responses that were measured?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.correlation import pearson
from braindec.metrics import Metric


def brain_correlation(measured: Tensor, predicted: Tensor) -> Tensor:
    """Correlation over voxels of measured responses and those that an encoding model predicts for decoded pictures.

    Parameters
    ----------
    measured, predicted : Tensor, shape (n_items, n_voxels)
        Any unit, the same voxels; measured responses are averaged over an item's trials first.

    Returns
    -------
    Tensor of float64, shape (n_items,)
        In [-1, 1]; 0 where a pattern is constant.
    """
    checks.n_axes("measured", measured, ("item", "voxel"))
    checks.same_length("item", measured=measured, predicted=predicted)
    checks.same_length("voxel", measured=measured.T, predicted=predicted.T)
    return pearson(
        checks.finite("measured", measured).double(), checks.finite("predicted", predicted).double(), dim=1
    )


def brain_correlation_by_region(
    pictures: Tensor,
    measured: Tensor,
    encode: Callable[[Tensor], Tensor],
    regions: Mapping[str, Tensor],
    *,
    batch_size: int = 64,
) -> dict[str, Tensor]:
    """`brain_correlation` of decoded pictures in each region.

    Parameters
    ----------
    pictures : Tensor, shape (n_items, 3, height, width)
        Decoded, in [0, 1].
    measured : Tensor, shape (n_items, n_voxels)
        Trial-averaged responses to the presented pictures.
    encode : callable
        An encoding model fitted on training data of the same subject: pictures (n, 3, height, width) to responses
        (n, n_voxels).
    regions : mapping of str to bool or integer Tensor
        Voxels of each region.
    batch_size : int
        Pictures encoded at once.

    Returns
    -------
    dict of str to Tensor of float64, shape (n_items,)

    Notes
    -----
    As in MindEye2's evaluation, Scotti et al. 2024, arXiv:2403.11207, which took GNet for the encoding model. A decoder
    trained against the same encoding model makes this circular.
    """
    checks.same_length("item", pictures=pictures, measured=measured)
    predicted = torch.cat([encode(pictures[i : i + batch_size]) for i in range(0, len(pictures), batch_size)])
    return {name: brain_correlation(measured[:, v], predicted[:, v]) for name, v in regions.items()}


METRICS = {
    "brain_correlation": Metric(
        "brain_correlation", "responses", None, "higher",
        "Scotti et al. 2024 (MindEye2), arXiv:2403.11207: Pearson over a region's voxels per picture, with a given "
        "encoding model", brain_correlation,
    )
}  # fmt: skip
