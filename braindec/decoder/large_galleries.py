"""The nearest of a gallery that does not fit into memory: a decoder's comparison as products with its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec.data import gallery as galleries
from braindec.data.gallery_index import Index
from braindec.decoder.calibration import WAYS
from braindec.decoder.prediction import Prediction

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder


class Form(NamedTuple):
    """A comparison as (row @ direction + shift) * scale(row) + offset(row), up to a constant of each query.

    With y = row - mean, q = y @ quadratic @ y (None: the identity): scale is 1 / sqrt(q) and offset 0 where the
    comparison `divides`, else scale is 1 and offset -q / 2.
    """

    directions: Tensor  # (n, dim)
    mean: Tensor  # (dim,)
    quadratic: Tensor | None  # (dim, dim)
    divides: bool


def nearest(
    decoder: BrainDecoder, prediction: Prediction, gallery: galleries.Gallery | Index, k: int
) -> tuple[Tensor, Tensor]:
    """Similarities and rows (n, k) of the gallery, as `BrainDecoder.similarity` compares, the most similar first.

    An index lists rows that point where the decoded embedding points; those alone are compared.
    """
    if isinstance(gallery, Index):
        asked = torch.from_numpy(np.asarray(prediction.values, np.float32)).flatten(1)
        return gallery.top_k(asked, k, lambda values: decoder.similarity(prediction, values))
    form = _form(decoder, prediction)

    def terms(rows: Tensor) -> tuple[Tensor, Tensor]:
        y = (rows - form.mean).double()
        weighed = y if form.quadratic is None else y @ form.quadratic
        square = (weighed * y).sum(1)
        if form.divides:
            return square.clamp_min(1e-30).rsqrt().float(), torch.zeros(len(rows))
        return torch.ones(len(rows)), (-square / 2).float()

    return gallery.top_k(
        form.directions,
        k,
        lambda values: decoder.similarity(prediction, values),
        shift=-(form.directions.double() @ form.mean.double()).float(),
        terms=terms,
        name=galleries.name_of(form.mean, form.quadratic, torch.tensor(form.divides)),
    )


def _form(decoder: BrainDecoder, prediction: Prediction) -> Form:
    """What `Calibration.similarity` computes of centred, scaled embeddings, in the gallery's own numbers."""
    scaler = decoder.scaler(decoder.main)
    query, mean = decoder.flat(prediction.values).cpu().double(), scaler.mean.flatten().cpu()
    scale = float(scaler.scale)
    calibration = decoder.calibration(prediction.key) if prediction.key in decoder.calibrations else None
    way = "cosine" if calibration is None else WAYS[int(calibration.get_buffer("image_way"))]
    if way == "cosine" or calibration is None:
        return Form(torch.nn.functional.normalize(query, dim=1).float(), mean, None, divides=True)
    error, prior = (c.cpu() for c in calibration.covariances(float(calibration.get_buffer("image_share"))))
    precision = torch.linalg.inv(error)
    pulled = query @ precision
    if way == "whitened":
        length = (pulled * query).sum(1, keepdim=True).clamp_min(1e-30).sqrt()
        return Form((pulled / length).float(), mean, precision, divides=True)
    lost = (precision - torch.linalg.inv(prior)) / scale**2
    return Form((pulled / scale).float(), mean, lost, divides=False)
