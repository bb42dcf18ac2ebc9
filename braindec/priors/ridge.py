"""A closed-form linear prior: the image embedding that ridge regression expects for a brain embedding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.ridge import fit_ridge
from braindec.priors import Shapes, Told
from braindec.priors._closed_form import ClosedForm


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


class RidgePrior(ClosedForm):
    """One linear map with intercept over the flattened tokens, and over whatever else is told."""

    weight: Tensor
    bias: Tensor

    def __init__(self, shape: tuple[int, int], config: Config, told: Shapes | None = None):
        super().__init__(shape, told)
        n_values = math.prod(shape)
        if n_values > config.n_values_most:
            raise ValueError(
                f"a ridge prior over {n_values} values would have {n_values**2} weights; n_values_most is "
                f"{config.n_values_most}. Take the diffusion prior, or raise n_values_most."
            )
        self.config = config
        self.register_buffer("weight", torch.zeros(n_values, n_values + self.told.n_values))
        self.register_buffer("bias", torch.zeros(n_values))

    def solve_(self, brain_embedding: Tensor, image_embedding: Tensor, told: Told) -> None:
        """Solves the regression; what is told counts, a value, as much as the brain embedding does."""
        level = (brain_embedding - brain_embedding.mean(0)).square().mean().sqrt()
        parts = [brain_embedding, *(level * values for values in told.values())]
        brain = torch.cat([part.flatten(1) for part in parts], 1)
        image = image_embedding.flatten(1)
        unit = float((brain - brain.mean(0)).square().sum()) / min(brain.shape)
        alphas = [alpha * unit for alpha in self.config.alphas]
        fit = fit_ridge(brain, image, alphas, "loo" if len(alphas) > 1 else None, score="neg_mse")
        weight = fit.weights.T  # (image value, brain value)
        if self.config.restandardise:
            spread = ((brain - brain.mean(0)) @ weight.T).std(0)
            weight = weight * (image.std(0) / spread.clamp_min(1e-12))[:, None]
        self.bias.copy_(image.mean(0) - weight @ brain.mean(0))
        weight[:, math.prod(self.shape) :] *= level  # for what is told as it comes
        self.weight.copy_(weight)

    def expected(self, brain_embedding: Tensor, told: Told) -> Tensor:
        """What regression expects."""
        known = torch.cat([part.flatten(1) for part in (brain_embedding, *told.values())], 1)
        flat = known @ self.weight.T + self.bias  # (trial, token * dim)
        return flat.unflatten(1, self.shape)


def build(shape: tuple[int, int], config: Config, told: Shapes | None = None) -> RidgePrior:
    """The prior for embeddings of this shape."""
    return RidgePrior(shape, config, told)
