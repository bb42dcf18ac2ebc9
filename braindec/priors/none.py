"""No prior: the predicted embedding goes to the generator as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.priors import Prior, check_pairs, check_shape, check_started


@dataclass(frozen=True)
class Config:
    """Nothing to set."""


class NoPrior(Prior):
    """Gives back what it gets."""

    closed_form = True
    image_mean: Tensor
    n_pairs: Tensor

    def __init__(self, shape: tuple[int, int]):
        super().__init__()
        self.shape = shape
        self.register_buffer("image_mean", torch.zeros(shape))
        self.register_buffer("n_pairs", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor) -> None:
        """Keeps the mean image embedding, for `unconditional`."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        self.image_mean.copy_(image_embedding.mean(0))
        self.n_pairs.fill_(len(image_embedding))

    def objective(
        self, brain_embedding: Tensor, image_embedding: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Zero."""
        return brain_embedding.new_zeros(())

    def sample(
        self,
        brain_embedding: Tensor,
        *,
        generator: torch.Generator,
        n_steps: int | None = None,
        n_samples: int = 1,
    ) -> Tensor:
        """The brain embedding, `n_samples` times."""
        checks.at_least("n_samples", n_samples, 1)
        check_shape("brain_embedding", brain_embedding, self.shape)
        return brain_embedding.expand(n_samples, *brain_embedding.shape).clone()

    def unconditional(
        self, n_trials: int, *, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """The mean training image embedding, `n_trials` times."""
        check_started(self.n_pairs)
        return self.image_mean.expand(n_trials, *self.shape).clone()


def build(shape: tuple[int, int], config: Config) -> NoPrior:
    """The prior for embeddings of this shape."""
    return NoPrior(shape)
