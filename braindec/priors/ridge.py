"""A closed-form linear prior: the image embedding that ridge regression expects for a brain embedding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ridge import fit_ridge
from braindec.priors import Prior, check_pairs, check_shape, check_started


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    alphas : tuple of float
        Penalties >= 0, in units of the mean squared singular value of the brain embeddings; the one with the least
        leave-one-out error is taken.
    restandardise : bool
        Stretch predictions to the spread that training images have in every dim. Regression shrinks towards the mean,
        which generators show as greyness.
    n_values_most : int
        Refuse embeddings with more values (tokens x dims) than this: the map has that number squared of weights.

    Notes
    -----
    The stretching follows Ozcelik & VanRullen 2023, doi:10.1038/s41598-023-42891-8.
    """

    alphas: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
    restandardise: bool = False
    n_values_most: int = 8192

    def __post_init__(self) -> None:
        checks.at_least("number of alphas", len(self.alphas), 1)
        for alpha in self.alphas:
            checks.at_least("alphas", alpha, 0.0)
        checks.at_least("n_values_most", self.n_values_most, 1)


class RidgePrior(Prior):
    """One linear map with intercept over the flattened tokens."""

    closed_form = True
    weight: Tensor
    bias: Tensor
    image_mean: Tensor
    n_pairs: Tensor

    def __init__(self, shape: tuple[int, int], config: Config):
        super().__init__()
        n_values = math.prod(shape)
        if n_values > config.n_values_most:
            raise ValueError(
                f"a ridge prior over {n_values} values would have {n_values**2} weights; n_values_most is "
                f"{config.n_values_most}. Take the diffusion prior, or raise n_values_most."
            )
        self.shape = shape
        self.config = config
        self.register_buffer("weight", torch.zeros(n_values, n_values))
        self.register_buffer("bias", torch.zeros(n_values))
        self.register_buffer("image_mean", torch.zeros(n_values))
        self.register_buffer("n_pairs", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor) -> None:
        """Solves the regression, in float64."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        brain, image = brain_embedding.flatten(1).double(), image_embedding.flatten(1).double()
        unit = float((brain - brain.mean(0)).square().sum()) / min(brain.shape)
        alphas = [alpha * unit for alpha in self.config.alphas]
        fit = fit_ridge(brain, image, alphas, "loo" if len(alphas) > 1 else None, score="neg_mse")
        weight, mean = fit.weights.T, image.mean(0)  # (image value, brain value)
        if self.config.restandardise:
            spread = ((brain - brain.mean(0)) @ weight.T).std(0)
            weight = weight * (image.std(0) / spread.clamp_min(1e-12))[:, None]
        self.weight.copy_(weight)
        self.bias.copy_(mean - weight @ brain.mean(0))
        self.image_mean.copy_(mean)
        self.n_pairs.fill_(len(image))

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
        """The expected image embedding, `n_samples` times."""
        checks.at_least("n_samples", n_samples, 1)
        check_shape("brain_embedding", brain_embedding, self.shape)
        check_started(self.n_pairs)
        expected = brain_embedding.flatten(1) @ self.weight.T + self.bias  # (trial, token * dim)
        return expected.unflatten(1, self.shape).expand(n_samples, *brain_embedding.shape).clone()

    def unconditional(
        self, n_trials: int, *, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """The mean training image embedding, `n_trials` times."""
        check_started(self.n_pairs)
        return self.image_mean.unflatten(0, self.shape).expand(n_trials, *self.shape).clone()


def build(shape: tuple[int, int], config: Config) -> RidgePrior:
    """The prior for embeddings of this shape."""
    return RidgePrior(shape, config)
