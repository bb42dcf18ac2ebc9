"""What encoders that never saw some training stimuli predict for them: kept for whoever has to calibrate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from braindec.decoder.cross_fit import CrossFit, Sets, held_rows
from braindec.decoder.prior_fit import held_pairs

if TYPE_CHECKING:
    from braindec.data import NeuralDataset
    from braindec.decoder.brain_decoder import BrainDecoder

MAX_KEPT_BYTES = 64 << 20  # predictions of more are not kept beyond the fit


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Out-of-fold predictions of one subject, a row a training stimulus (its repeats averaged).

    Parameters
    ----------
    ids : tuple of str
    raw : Tensor, shape (n, n_tokens, n_dims)
        As the encoder puts them out: not calibrated.
    truth : Tensor, shape (n, n_tokens, n_dims)
        Centred.
    unseen : ndarray of bool, shape (n,)
        Stimuli that the prior was not trained on; all where there is none, none where it is solved at once.
    told : mapping of str to Tensor, shapes (n, n_tokens, n_dims)
        Further outputs that the prior is told, centred.
    """

    ids: tuple[str, ...]
    raw: Tensor
    truth: Tensor
    unseen: np.ndarray
    told: Mapping[str, Tensor] = field(default_factory=dict)


def kept(decoder: BrainDecoder, fitted: CrossFit, sets: Sets, part: NeuralDataset) -> Mapping[str, HeldOut]:
    """By signal key; empty where nothing was held out, or more than memory should keep."""
    means = {key: (raw[mean], truth[mean]) for key, (raw, truth, mean) in fitted.held_out.items()}
    if not means or sum(8 * raw.numel() for raw, _ in means.values()) > MAX_KEPT_BYTES:
        return {}
    rows = held_rows(sets, decoder.settings.n_folds, decoder.settings.seed)
    truths = torch.cat([truth for _, truth in means.values()])
    unseen = _unseen(decoder, truths).split([len(truth) for _, truth in means.values()])
    told = {
        key: {name: values[mean] for name, values in fitted.told.get(key, {}).items()}
        for key, (_, _, mean) in fitted.held_out.items()
    }
    shown = {key: part.trials[key].table["stimulus_id"] for key in means}
    return {
        key: HeldOut(tuple(shown[key][rows[key].numpy()].tolist()), raw, truth, free.numpy(), told[key])
        for (key, (raw, truth)), free in zip(means.items(), unseen, strict=True)
    }


def _unseen(decoder: BrainDecoder, truths: Tensor) -> Tensor:
    """Bool (n,): rows whose stimulus the prior was not trained on."""
    if decoder.prior is None:
        return torch.ones(len(truths), dtype=torch.bool)
    if decoder.prior.closed_form:
        return torch.zeros(len(truths), dtype=torch.bool)
    settings = decoder.settings
    mask = torch.zeros(len(truths), dtype=torch.bool)
    mask[held_pairs(truths, settings.prior_train.validation_fraction, settings.seed)[1]] = True
    return mask
