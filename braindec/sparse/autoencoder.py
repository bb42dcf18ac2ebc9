"""Sparse autoencoders: an embedding as a sum of few atoms of a learned dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.sparse import codes, gates, influence, pursuit
from braindec.sparse.codes import Code

Activation = Literal["topk", "batch_topk", "gradient_topk", "matching_pursuit", "jump_relu", "relu", "gated"]
COUNTED = ("topk", "batch_topk", "gradient_topk", "matching_pursuit")  # told how many latents are active
# Of JumpReLU, for inputs of mean norm sqrt(n_dims). From SAELens' 0.01 and window of 0.05 no threshold moved within 800
# steps at a rate of 4e-3, and as many latents stayed active as at the start; from here planted atoms are found.
START_THRESHOLD = 0.1


@dataclass(frozen=True)
class Config:
    """What a sparse autoencoder is.

    Parameters
    ----------
    n_latents : int
        Atoms of the dictionary.
    activation : str
        ``"topk"`` keeps the `n_active` largest of every sample, ``"batch_topk"`` the n_active * n_samples largest of a
        training batch and, once fitted, all above one threshold; ``"jump_relu"`` what exceeds a learned threshold a
        latent; ``"relu"`` what is positive; ``"gated"`` says by one reading whether and by another how much (`gates`);
        ``"gradient_topk"`` keeps what is large and moves an effect (`influence`); ``"matching_pursuit"`` takes atom
        after atom (`pursuit`), and its atoms are its encoder.
    n_active : int
        Latents a sample, for TopK of all kinds; steps of matching pursuit.
    prefixes : tuple of int
        Matryoshka: numbers of first latents that must reconstruct alone, ascending, below n_latents. The whole
        dictionary is always among them.
    bandwidth : float
        Width of the window in which JumpReLU's threshold feels a gradient, in units of pre-activations of inputs of
        mean norm sqrt(n_dims), > 0.
    emphasis : float
        What an effect's gradient adds to the choice of ``"gradient_topk"``; 0 is TopK.
    """

    n_latents: int = 4096
    activation: Activation = "topk"
    n_active: int = 32
    prefixes: tuple[int, ...] = ()
    bandwidth: float = 0.5
    emphasis: float = 1.0

    def __post_init__(self) -> None:
        checks.at_least("n_latents", self.n_latents, 1)
        checks.one_of("activation", self.activation, get_args(Activation))
        checks.at_least("emphasis", self.emphasis, 0.0)
        if self.activation in COUNTED:
            checks.in_range("n_active", self.n_active, 1, self.n_latents)
        for low, high in zip((0, *self.prefixes), (*self.prefixes, self.n_latents), strict=True):
            if low >= high:
                raise checks.ConfigError(
                    f"prefixes must ascend and lie below n_latents {self.n_latents}, got {self.prefixes}."
                )
        if not self.bandwidth > 0:
            raise checks.ConfigError(f"bandwidth must be above 0, got {self.bandwidth}.")


class SparseAutoencoder(nn.Module):
    """x is encoded as f = activation(W_e (x - b_d) + b_e) and decoded as f W_d + b_d.

    Parameters
    ----------
    n_dims : int
        Of an input.
    config : Config

    Attributes
    ----------
    encoder : Parameter, shape (n_latents, n_dims)
    encoder_bias : Parameter, shape (n_latents,)
    atoms : Parameter, shape (n_latents, n_dims)
        Rows of norm 1 while trained by `fit`.
    bias : Parameter, shape (n_dims,)
        Subtracted before encoding and added after decoding.
    log_threshold : Parameter, shape (n_latents,)
        Of JumpReLU alone.
    log_scale, magnitude_bias : Parameter, shape (n_latents,)
        Of Gated alone: how much an open gate lets through.
    threshold : buffer, scalar float64
        Of BatchTopK, outside training: the running mean of the smallest value a training batch kept.
    """

    threshold: Tensor

    def __init__(self, n_dims: int, config: Config):
        super().__init__()
        checks.at_least("n_dims", n_dims, 1)
        self.n_dims, self.config = n_dims, config
        atoms = nn.functional.normalize(torch.randn(config.n_latents, n_dims), dim=1)
        self.atoms = nn.Parameter(atoms)
        # Matching pursuit looks for what it takes away: one parameter under two names, and no bias.
        tied = config.activation == "matching_pursuit"
        self.encoder = self.atoms if tied else nn.Parameter(atoms.clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.n_latents), requires_grad=not tied)
        self.bias = nn.Parameter(torch.zeros(n_dims))
        if config.activation == "jump_relu":
            start = torch.full((config.n_latents,), START_THRESHOLD)
            self.log_threshold = nn.Parameter(start.log())
        if config.activation == "gated":
            self.log_scale = nn.Parameter(torch.zeros(config.n_latents))
            self.magnitude_bias = nn.Parameter(torch.zeros(config.n_latents))
        self.register_buffer("threshold", torch.zeros((), dtype=torch.float64))

    @property
    def n_latents(self) -> int:
        """Atoms of the dictionary."""
        return self.config.n_latents

    def thresholds(self) -> Tensor:
        """What a pre-activation must exceed, a scalar or one a latent (n_latents,); zero where no threshold is used."""
        if self.config.activation == "jump_relu":
            return self.log_threshold.exp()
        used = self.threshold if self.config.activation == "batch_topk" else torch.zeros_like(self.threshold)
        return used.to(self.atoms.dtype)

    def pre_activations(self, inputs: Tensor) -> Tensor:
        """W_e (x - b_d) + b_e of every latent: (n_samples, n_dims) to (n_samples, n_latents), dense."""
        self._check(inputs)
        return nn.functional.linear(inputs - self.bias, self.encoder, self.encoder_bias)

    def encode(self, inputs: Tensor, slopes: Tensor | None = None) -> Code:
        """The active latents of each sample: (n_samples, n_dims) to a `Code` whose values are >= 0.

        In training mode BatchTopK selects over the whole batch; in eval mode it compares with its threshold, so that a
        sample's code does not depend on its neighbours. `slopes` (n_samples, n_dims), an effect's gradients, are for
        ``"gradient_topk"`` alone, which without them is TopK.
        """
        self._check(inputs)
        centred, kind = inputs - self.bias, self.config.activation
        if kind == "matching_pursuit":
            return pursuit.encode(centred, self.atoms, self.config.n_active)
        places = self._selected(centred, slopes)
        if kind == "gated":
            biases = self.encoder_bias, self.log_scale, self.magnitude_bias
            return gates.magnitudes(places, centred, self.encoder, *biases)
        values = codes.differentiable(places, centred, self.encoder, self.encoder_bias)
        return self._activated(values)

    def gates(self, inputs: Tensor, code: Code) -> Code:
        """Pre-activations (W_e (x - b_d) + b_e) at the places of a code of these inputs, differentiable.

        Of Gated they are what opened its gates, and above 0.
        """
        self._check(inputs)
        centred = inputs - self.bias
        with torch.no_grad():
            pre = codes.products(centred, self.encoder, code) + self.encoder_bias[code.latents]
        return codes.differentiable(code.with_values(pre), centred, self.encoder, self.encoder_bias)

    def decode(self, code: Code) -> Tensor:
        """Inputs rebuilt from codes: (n_samples, n_dims)."""
        return codes.decode(code, self.atoms) + self.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs through the code and back: (n_samples, n_dims)."""
        return self.decode(self.encode(inputs))

    def prefixes_of(self, code: Code) -> Iterator[Tensor]:
        """Reconstructions from growing prefixes of the dictionary, the last from all of it; the cost of one decode."""
        total: Tensor = self.bias
        first = 0
        for width in (*self.config.prefixes, self.n_latents):
            inside = (code.latents >= first) & (code.latents < width)
            part = code if width - first == self.n_latents else code.where(inside)
            total = total + codes.decode(part, self.atoms)
            first = width
            yield total

    def _selected(self, centred: Tensor, slopes: Tensor | None) -> Code:
        weights = (centred.detach(), self.encoder.detach(), self.encoder_bias.detach())
        kind, n_active = self.config.activation, self.config.n_active
        if kind == "gradient_topk" and slopes is not None:
            return influence.top_of_influence(
                *weights, self.atoms.detach(), slopes, n_active, self.config.emphasis
            )
        if kind in ("topk", "gradient_topk"):
            return codes.top_of_sample(*weights, n_active)
        if kind == "batch_topk" and self.training:
            return codes.top_of_batch(*weights, n_active)
        # JumpReLU's thresholds feel what lies a little below them too.
        margin = self.config.bandwidth / 2 if kind == "jump_relu" and self.training else 0.0
        floor = self.thresholds().detach() - margin
        return codes.above(*weights, floor)

    def _activated(self, pre: Code) -> Code:
        if self.config.activation != "jump_relu":
            return pre.with_values(torch.relu(pre.values))
        thresholds = self.thresholds()[pre.latents]
        return pre.with_values(_Jump.apply(pre.values, thresholds, self.config.bandwidth))

    def _check(self, inputs: Tensor) -> None:
        checks.n_axes("inputs", inputs, ("sample", "dim"))
        if inputs.shape[1] != self.n_dims:
            raise ValueError(
                f"inputs has {inputs.shape[1]} along axis 'dim' but the autoencoder has {self.n_dims}; they must match."
            )


def exceeded(pre: Tensor, thresholds: Tensor, bandwidth: float) -> Tensor:
    """1 where a pre-activation exceeds its threshold, else 0; differentiable in the threshold (`_Step`)."""
    return _Step.apply(pre, thresholds, bandwidth)


class _Jump(torch.autograd.Function):
    """pre where it exceeds the threshold, else 0; straight-through for the threshold.

    Rajamanoharan et al. 2024, arXiv:2407.14435: the threshold's gradient is -(threshold / bandwidth) inside a window of
    that width, the pre-activation's is 1 above the threshold and 0 below it.
    """

    @staticmethod
    def forward(ctx: Any, pre: Tensor, thresholds: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, thresholds)
        ctx.bandwidth = bandwidth
        return pre * (pre > thresholds)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        pre, thresholds = ctx.saved_tensors
        near = (pre - thresholds).abs() < ctx.bandwidth / 2
        return grad * (pre > thresholds), -grad * near * thresholds / ctx.bandwidth, None


class _Step(torch.autograd.Function):
    """1 above the threshold; the threshold's gradient is -1 / bandwidth inside the window."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, thresholds: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, thresholds)
        ctx.bandwidth = bandwidth
        return (pre > thresholds).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        pre, thresholds = ctx.saved_tensors
        near = (pre - thresholds).abs() < ctx.bandwidth / 2
        return None, -grad * near / ctx.bandwidth, None
