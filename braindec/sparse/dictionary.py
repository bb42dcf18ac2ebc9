"""What every dictionary offers, sparse autoencoder or baseline, so that one call judges them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.sparse.codes import Code

BLOCK = 4096  # samples at a time


class Dictionary(Protocol):
    """Inputs (n_samples, n_dims) as weighted sums of atoms around a bias.

    `SparseAutoencoder` and every member of `baselines` are such.
    """

    @property
    def n_latents(self) -> int:
        """Atoms."""

    @property
    def atoms(self) -> Tensor:
        """What a latent adds to a reconstruction for one unit of activation, (n_latents, n_dims)."""

    @property
    def encoder(self) -> Tensor:
        """The direction along which a latent reads its input, (n_latents, n_dims)."""

    def pre_activations(self, inputs: Tensor) -> Tensor:
        """What a latent says before anything is cut off, (n_samples, n_latents); affine in the inputs."""

    def encode(self, inputs: Tensor) -> Code:
        """The active latents of each sample."""

    def decode(self, code: Code) -> Tensor:
        """Inputs rebuilt, (n_samples, n_dims)."""


@torch.no_grad()
def coded(model: Dictionary, inputs: Tensor, *, block: int = BLOCK) -> Iterator[tuple[Tensor, Code]]:
    """Inputs (n_samples, n_dims), block after block, each with its code.

    Raises
    ------
    ValueError
        If an autoencoder is in training mode, where a sample's code may depend on its neighbours.
    """
    if isinstance(model, nn.Module) and model.training:
        raise ValueError(
            "model is in training mode, where codes depend on the batch; call model.eval() first."
        )
    checks.n_axes("inputs", inputs, ("sample", "dim"))
    for part in inputs.split(block):
        yield part, model.encode(part)


@torch.no_grad()
def activations(model: Dictionary, inputs: Tensor, *, block: int = BLOCK) -> Tensor:
    """Activations of all latents, dense (n_samples, n_latents), zeros included."""
    return torch.cat([code.dense() for _, code in coded(model, inputs, block=block)])


@torch.no_grad()
def rebuilt(model: Dictionary, inputs: Tensor, *, block: int = BLOCK) -> Tensor:
    """Inputs through the code and back, (n_samples, n_dims)."""
    return torch.cat([model.decode(code) for _, code in coded(model, inputs, block=block)])


@torch.no_grad()
def frequencies(model: Dictionary, inputs: Tensor, *, block: int = BLOCK) -> Tensor:
    """Share of samples in which each latent is not zero, float64 (n_latents,) in [0, 1]."""
    counts = torch.zeros(model.n_latents, dtype=torch.float64, device=inputs.device)
    for _, code in coded(model, inputs, block=block):
        counts += torch.bincount(code.latents[code.values != 0], minlength=model.n_latents)
    return counts / len(inputs)
