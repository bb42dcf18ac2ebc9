"""What losses share: checked batches, unit vectors in full precision, and temperatures that change while training."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks


def check_batch(prediction: Tensor, target: Tensor, ids: Tensor) -> None:
    """Refuses a batch whose predictions, targets and ids do not belong together."""
    checks.n_axes("prediction", prediction, ("trial", "token", "dim"))
    if prediction.shape != target.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)} but target {tuple(target.shape)}; they must match."
        )
    checks.same_length("trial", prediction=prediction, ids=ids)


def flat(embeddings: Tensor) -> Tensor:
    """Each trial's tokens as one vector (n_trials, n_tokens * n_dims), of single precision at least.

    In half precision a cosine over a temperature of 0.006 would be off by more than its chance of a match tells.
    """
    values = embeddings.flatten(1)
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def unit(embeddings: Tensor) -> Tensor:
    """Each trial's tokens as one vector of length 1: (n_trials, n_tokens, n_dims) to (n_trials, n_tokens * n_dims)."""
    return functional.normalize(flat(embeddings), dim=1)


def exactly(like: Tensor) -> AbstractContextManager[Any]:
    """Products in here keep the precision of what is multiplied, whatever autocast says."""
    return torch.autocast(like.device.type, enabled=False)


def half_cosine(start: float, end: float, share: float) -> float:
    """From start to end by half a cosine; share of the way in [0, 1], beyond that it stays."""
    return end + (start - end) * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
