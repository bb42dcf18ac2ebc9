"""Priors: brain embedding -> a sample of the image embeddings that fit it.

A member `braindec/priors/<name>.py` defines a frozen dataclass `Config` and `build(shape, config) -> Prior`,
where `shape` is (n_tokens, n_dims).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn


class Prior(nn.Module, ABC):
    """From a predicted embedding (the condition) to the image embedding a generator understands.

    A prior is either solved at once (`closed_form`) or trained by gradient on `objective`.
    """

    closed_form: ClassVar[bool]

    @abstractmethod
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor) -> None:
        """Takes what it needs of the whole training set: scales (all priors), the solution (closed form).

        Both (n_trials, n_tokens, n_dims).
        """

    @abstractmethod
    def objective(
        self, brain_embedding: Tensor, image_embedding: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The training loss of one batch, scalar; zero for a closed-form prior."""

    @abstractmethod
    def sample(
        self,
        brain_embedding: Tensor,
        *,
        generator: torch.Generator,
        n_steps: int | None = None,
        n_samples: int = 1,
    ) -> Tensor:
        """(n_trials, n_tokens, n_dims) to (n_samples, n_trials, n_tokens, n_dims); equal generators give equal samples."""
