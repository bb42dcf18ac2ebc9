"""Samples by number, read when a step asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class Rows:
    """Samples by number, from an array (n_samples, n_dims) or from embeddings (n_stimuli, n_tokens, n_dims).

    Read on demand: numpy, memory-mapped files, tensors and `Embeddings.values` alike; each token is a sample.
    """

    def __init__(self, values: Any):
        shape = tuple(int(n) for n in values.shape)
        if len(shape) not in (2, 3):
            raise ValueError(
                f"inputs must have axes (sample, dim) or (stimulus, token, dim), got shape {shape}."
            )
        self._values, self.n_dims = values, shape[-1]
        self._n_tokens = shape[1] if len(shape) == 3 else 1
        self.n_samples = shape[0] * self._n_tokens

    def read(self, numbers: Tensor) -> Tensor:
        """float32 (n, n_dims) of these samples, in this order."""
        items = numbers // self._n_tokens
        if isinstance(self._values, Tensor):
            found = self._values[items.to(self._values.device)]
        else:
            wanted, back = np.unique(items.numpy(), return_inverse=True)
            found = torch.from_numpy(np.asarray(self._values[wanted], dtype=np.float32)[back])
        if found.ndim == 3:
            found = found[
                torch.arange(len(numbers), device=found.device), (numbers % self._n_tokens).to(found.device)
            ]
        return found.float()
