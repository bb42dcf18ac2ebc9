"""Where a sparse autoencoder begins, on which scale it is trained, and where dead latents begin again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from braindec import seeding
from braindec.sparse.autoencoder import COUNTED, START_THRESHOLD, SparseAutoencoder

if TYPE_CHECKING:
    from braindec.sparse.rows import Rows

# What a fresh latent of JumpReLU and of Gated has beside its direction.
AT_START = {"log_threshold": math.log(START_THRESHOLD), "log_scale": 0.0, "magnitude_bias": 0.0}
N_MEASURED = 32_768  # samples of the geometric median; Gao et al. 2024


@dataclass(frozen=True, eq=False)
class Start:
    """What is known of the inputs before training.

    Parameters
    ----------
    centre : Tensor, shape (n_dims,)
        Their geometric median.
    scale : float
        What makes their mean norm sqrt(n_dims).
    variance : float
        Mean squared distance to their mean, summed over dims, before scaling.
    """

    centre: Tensor
    scale: float
    variance: float


def measure(rows: Rows, seed: int) -> Start:
    """Centre, scale and variance, of at most 32,768 samples drawn for it."""
    generator = seeding.torch_generator(seed, "sparse", "start")
    drawn = torch.randperm(rows.n_samples, generator=generator)[:N_MEASURED].sort().values
    values = rows.read(drawn).cpu()
    norm = float(values.norm(dim=1).mean())
    variance = float((values - values.mean(0)).square().sum(1).mean())
    if not (norm > 0 and variance > 0):
        raise ValueError(
            f"inputs of mean norm {norm:g} and variance {variance:g} cannot be encoded; they must vary and hold no NaN."
        )
    return Start(geometric_median(values), rows.n_dims**0.5 / norm, variance)


def geometric_median(points: Tensor, *, n_steps: int = 100, tolerance: float = 1e-5) -> Tensor:
    """The point whose distances to all points (n, n_dims) have the smallest sum, (n_dims,).

    Weiszfeld's iteration from the mean; a point that is met weighs as if it were 1e-12 of the spread away.
    """
    median = points.mean(0)
    floor = 1e-12 * float((points - median).norm(dim=1).mean()) + torch.finfo(points.dtype).tiny
    for _ in range(n_steps):
        weights = 1 / (points - median).norm(dim=1).clamp_min(floor)
        moved = (weights @ points) / weights.sum()
        done = float((moved - median).norm()) <= tolerance * float(median.norm().clamp_min(floor))
        median = moved
        if done:
            break
    return median


@torch.no_grad()
def begun(model: SparseAutoencoder, start: Start) -> SparseAutoencoder:
    """The model with its bias at the inputs' centre; encoder rows are the atoms, as they were drawn."""
    model.bias.copy_(start.centre * start.scale)
    return model


@torch.no_grad()
def folded(model: SparseAutoencoder, scale: float) -> SparseAutoencoder:
    """The model that does to inputs what this one does to `scale` times them; atoms keep their norm.

    All activations grow with their input, so biases and thresholds shrink by `scale` and nothing else changes.
    """
    model.bias.div_(scale)
    model.encoder_bias.div_(scale)
    model.threshold.div_(scale)
    if model.config.activation == "jump_relu":
        model.log_threshold.sub_(torch.tensor(scale).log())
    if model.config.activation == "gated":
        model.magnitude_bias.div_(scale)
    return model


@torch.no_grad()
def resample_(
    model: SparseAutoencoder,
    optimizer: torch.optim.Optimizer,
    dead: Tensor,
    inputs: Tensor,
    error: Tensor,
    generator: torch.Generator,
) -> None:
    """Dead latents begin anew at samples that are rebuilt badly, drawn in proportion to their squared error.

    Parameters
    ----------
    model, optimizer
        Changed in place; the moments of what begins anew are zero again.
    dead : Tensor of bool, shape (n_latents,)
    inputs, error : Tensor, shape (n_samples, n_dims)
        And what was left of them.
    generator : torch.Generator

    Notes
    -----
    Bricken et al. 2023, "Towards monosemanticity", appendix: the encoder's row gets a fifth of the living rows' mean
    norm, its bias zero. Where latents compete for places (TopK) a fifth would never be chosen: they get the mean norm.
    JumpReLU's threshold and Gated's scale and magnitude are those of the start again: what they had grown to may be why
    a latent is dead.
    """
    which = torch.nonzero(dead).squeeze(1)
    if len(which) == 0 or bool(dead.all()):
        return
    odds = error.square().sum(1).cpu()
    drawn = torch.multinomial(odds, len(which), replacement=len(which) > len(odds), generator=generator)
    atoms = torch.nn.functional.normalize(inputs[drawn.to(inputs.device)] - model.bias, dim=1)
    model.atoms[which] = atoms
    share = 1.0 if model.config.activation in COUNTED else 0.2
    model.encoder[which] = share * model.encoder[~dead].norm(dim=1).mean() * atoms
    model.encoder_bias[which] = 0.0
    for name, parameter in model.named_parameters():
        if name in AT_START:
            parameter[which] = AT_START[name]
        if name != "bias":  # all others have a row a latent
            for moment in ("exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][moment][which] = 0.0
