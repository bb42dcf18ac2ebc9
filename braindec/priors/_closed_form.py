"""What priors without gradient training share: the mean training image, and one answer however often they are asked."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from braindec import checks
from braindec.priors import Conditions, Prior, Shapes, Told, check_pairs, check_shape, check_started


class ClosedForm(Prior):
    """A prior that gives one image embedding for a brain embedding; a member says how it is solved and which it is."""

    closed_form = True
    image_mean: Tensor
    n_pairs: Tensor

    def __init__(self, shape: tuple[int, int], told: Shapes | None = None):
        super().__init__()
        self.shape = shape
        self.told = Conditions(told)
        self.register_buffer("image_mean", torch.zeros(shape))
        self.register_buffer("n_pairs", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def solve_(self, brain_embedding: Tensor, image_embedding: Tensor, told: Told) -> None:
        """Learns from the whole training set; all (n_trials, n_tokens, n_dims), float64, what is told standardised."""

    @abstractmethod
    def expected(self, brain_embedding: Tensor, told: Told) -> Tensor:
        """The image embedding for each brain embedding, both (n_trials, n_tokens, n_dims)."""

    @torch.no_grad()
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor, told: Told | None = None) -> None:
        """Solves, in float64, and keeps the mean image embedding for `unconditional`."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        brain, image = brain_embedding.double(), image_embedding.double()
        self.told.start_(told, len(brain))
        self.solve_(brain, image, {n: v.double() for n, v in self.told(told, len(brain)).items()})
        self.image_mean.copy_(image.mean(0))
        self.n_pairs.fill_(len(image))

    def objective(
        self,
        brain_embedding: Tensor,
        image_embedding: Tensor,
        generator: torch.Generator,
        told: Told | None = None,
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
        told: Told | None = None,
        spread: Tensor | None = None,
    ) -> Tensor:
        """The expected image embedding, `n_samples` times."""
        checks.at_least("n_samples", n_samples, 1)
        check_shape("brain_embedding", brain_embedding, self.shape)
        check_started(self.n_pairs)
        known = self.told(told, len(brain_embedding))
        return self.expected(brain_embedding, known).expand(n_samples, *brain_embedding.shape).clone()

    def unconditional(
        self, n_trials: int, *, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """The mean training image embedding, `n_trials` times."""
        check_started(self.n_pairs)
        return self.image_mean.expand(n_trials, *self.shape).clone()
