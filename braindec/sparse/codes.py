"""Sparse codes and the products with them that cost what is active, not what exists: one core for every activation.

A dense step of a sparse autoencoder multiplies five matrices of (sample, latent) by (latent, dim); all but the first
are zero nearly everywhere. Here the decoder and both weight gradients are sums over active latents alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from braindec import checks
from braindec.maths import gemm

DENSE_FROM = 1 / 8  # share of active latents from which dense products are faster


@dataclass(frozen=True, eq=False)
class Code:
    """Which latents are active in which sample, and how much: rows of a sparse (sample, latent) matrix.

    Parameters
    ----------
    values : Tensor, shape (n_actives,)
        Activations, sample after sample; may carry a gradient.
    latents : Tensor of int64, shape (n_actives,)
        In [0, n_latents).
    offsets : Tensor of int64, shape (n_samples,)
        Where each sample begins in `values`.
    n_latents : int
    """

    values: Tensor
    latents: Tensor
    offsets: Tensor
    n_latents: int

    @property
    def n_samples(self) -> int:
        """Rows."""
        return len(self.offsets)

    @property
    def samples(self) -> Tensor:
        """The sample of each active latent, int64 (n_actives,)."""
        return samples_of(self.offsets, len(self.latents))

    @property
    def density(self) -> float:
        """Share of the (sample, latent) matrix that is stored, in [0, 1]."""
        return len(self.latents) / max(1, self.n_samples * self.n_latents)

    def with_values(self, values: Tensor) -> Code:
        """The same places with other values (n_actives,)."""
        checks.same_length("active latent", values=values, latents=self.latents)
        return replace(self, values=values)

    def where(self, kept: Tensor) -> Code:
        """Only the actives for which `kept` (bool (n_actives,)) holds."""
        counts = torch.bincount(self.samples[kept], minlength=self.n_samples)
        return Code(self.values[kept], self.latents[kept], _starts(counts), self.n_latents)

    def dense(self) -> Tensor:
        """The whole matrix (n_samples, n_latents), zeros included."""
        out = self.values.new_zeros(self.n_samples * self.n_latents)
        places = self.samples * self.n_latents + self.latents
        return out.scatter(0, places, self.values).view(self.n_samples, self.n_latents)


def samples_of(offsets: Tensor, n_actives: int) -> Tensor:
    """The sample each of `n_actives` places belongs to, from where samples begin (n_samples,)."""
    ends = torch.cat([offsets[1:], offsets.new_tensor([n_actives])])
    return torch.repeat_interleave(torch.arange(len(offsets), device=offsets.device), ends - offsets)


def from_dense(values: Tensor) -> Code:
    """The code whose matrix (n_samples, n_latents) is `values`; what is zero is not stored."""
    checks.n_axes("values", values, ("sample", "latent"))
    samples, latents = torch.nonzero(values, as_tuple=True)
    counts = torch.bincount(samples, minlength=len(values))
    return Code(values[samples, latents], latents, _starts(counts), values.shape[1])


def _starts(counts: Tensor) -> Tensor:
    return torch.cumsum(counts, 0) - counts


# ------------------------------------------------------------------------------------- from inputs to active latents


@torch.no_grad()
def top_of_sample(inputs: Tensor, weight: Tensor, bias: Tensor, n_active: int, *, block: int = 1024) -> Code:
    """The `n_active` largest pre-activations of every sample, inputs @ weight.T + bias, without a gradient.

    Parameters
    ----------
    inputs : Tensor, shape (n_samples, n_dims)
    weight : Tensor, shape (n_latents, n_dims)
    bias : Tensor, shape (n_latents,)
    n_active : int
        At most n_latents.
    block : int
        Samples at a time: no (n_samples, n_latents) matrix is ever whole.
    """
    checks.in_range("n_active", n_active, 1, len(weight))
    found = [
        gemm.mm(part, weight.T).add_(bias).topk(n_active, dim=1, sorted=False) for part in inputs.split(block)
    ]
    values, latents = torch.cat([v for v, _ in found]).to(inputs.dtype), torch.cat([i for _, i in found])
    offsets = torch.arange(0, latents.numel(), n_active, device=inputs.device)
    return Code(values.flatten(), latents.flatten(), offsets, len(weight))


@torch.no_grad()
def top_of_batch(inputs: Tensor, weight: Tensor, bias: Tensor, n_active: int) -> Code:
    """The n_active * n_samples largest positive pre-activations of a whole batch, however they fall on its samples."""
    pre = gemm.mm(inputs, weight.T).add_(bias)
    wanted = n_active * len(inputs)
    flat = pre.flatten()
    places = _candidates(flat, wanted)
    if len(places) > wanted:
        places = places[flat[places].topk(wanted, sorted=False).indices].sort().values
    return _at(pre, places, inputs.dtype)


@torch.no_grad()
def above(inputs: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor) -> Code:
    """Every pre-activation above the threshold of its latent, (n_latents,) or a scalar."""
    pre = gemm.mm(inputs, weight.T).add_(bias)
    return _at(pre, torch.nonzero((pre > threshold).flatten()).squeeze(1), inputs.dtype)


def _candidates(flat: Tensor, wanted: int) -> Tensor:
    """Places, in order, that hold the `wanted` largest positive values and few others."""
    stride = max(1, min(64, len(flat) // (50 * max(1, wanted))))
    if stride > 1:
        # A sample's quantile a little below the cut: what it leaves is counted, so a bad guess costs time alone.
        sample = flat[::stride]
        guess = sample.topk(min(len(sample), int(1.2 * wanted / stride) + 8), sorted=True).values[-1]
        places = torch.nonzero(flat > guess.clamp_min(0.0)).squeeze(1)
        if len(places) >= wanted:
            return places
    return torch.nonzero(flat > 0).squeeze(1)


def _at(pre: Tensor, places: Tensor, dtype: torch.dtype) -> Code:
    n_samples, n_latents = pre.shape
    counts = torch.bincount(places // n_latents, minlength=n_samples)
    return Code(pre.flatten()[places].to(dtype), places % n_latents, _starts(counts), n_latents)


# ------------------------------------------------------------------------------------------------ with gradients


def differentiable(code: Code, inputs: Tensor, weight: Tensor, bias: Tensor) -> Code:
    """The code found without a gradient, its values now a differentiable function of inputs, weight and bias."""
    if code.density >= DENSE_FROM:
        pre = F.linear(inputs, weight, bias)
        return code.with_values(pre.flatten()[code.samples * code.n_latents + code.latents])
    values = _Selected.apply(inputs, weight, bias, code.values, code.latents, code.offsets)
    return code.with_values(values)


def decode(code: Code, atoms: Tensor) -> Tensor:
    """The sum of each sample's active atoms, weighted: (n_samples, n_dims); atoms (n_latents, n_dims)."""
    if len(atoms) != code.n_latents:
        raise ValueError(
            f"atoms has {len(atoms)} along axis 'latent' but the code has {code.n_latents}; they must match."
        )
    if code.density >= DENSE_FROM:
        return code.dense() @ atoms
    return _Decoded.apply(code.values, atoms, code.latents, code.offsets)


def _bag(weights: Tensor, rows: Tensor, table: Tensor, offsets: Tensor) -> Tensor:
    """Sums of rows of a table, weighted, one a bag."""
    if len(rows) == 0:
        return table.new_zeros(len(offsets), table.shape[1])
    return F.embedding_bag(rows, table, offsets, per_sample_weights=weights.to(table.dtype), mode="sum")


def _transposed_bag(weights: Tensor, latents: Tensor, offsets: Tensor, table: Tensor, n: int) -> Tensor:
    """For each latent the sum of the rows of `table` of the samples where it is active, weighted: (n, n_dims).

    The order of the sums is fixed, so that equal input gives equal bits on every device.
    """
    order = torch.argsort(latents, stable=True)
    counts = torch.bincount(latents, minlength=n)
    return _bag(weights[order], samples_of(offsets, len(latents))[order], table, _starts(counts))


@torch.no_grad()
def products(inputs: Tensor, weight: Tensor, code: Code) -> Tensor:
    """The product of each active latent's row of `weight` with its sample, (n_actives,), without a gradient."""
    return _dots(code.values, code.latents, weight, code.offsets, inputs)


class _Selected(torch.autograd.Function):
    """Pre-activations at given places; its gradients touch these places alone."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        values: Tensor,
        latents: Tensor,
        offsets: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(inputs, weight, latents, offsets)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        inputs, weight, latents, offsets = ctx.saved_tensors
        wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        to_inputs = _bag(grad, latents, weight, offsets) if wants_inputs else None
        to_weight = _transposed_bag(grad, latents, offsets, inputs, len(weight)) if wants_weight else None
        ones = inputs.new_ones(len(inputs), 1)
        to_bias = _transposed_bag(grad, latents, offsets, ones, len(weight))[:, 0] if wants_bias else None
        return to_inputs, to_weight, to_bias, None, None, None


class _Decoded(torch.autograd.Function):
    """Weighted sums of atoms; the gradient of the atoms is a sum over the samples where each is active."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, atoms: Tensor, latents: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(values, atoms, latents, offsets)
        return _bag(values, latents, atoms, offsets)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        values, atoms, latents, offsets = ctx.saved_tensors
        to_values = _dots(values, latents, atoms, offsets, grad) if ctx.needs_input_grad[0] else None
        to_atoms = (
            _transposed_bag(values, latents, offsets, grad.contiguous(), len(atoms))
            if ctx.needs_input_grad[1]
            else None
        )
        return to_values, to_atoms, None, None


def _dots(values: Tensor, latents: Tensor, atoms: Tensor, offsets: Tensor, grad: Tensor) -> Tensor:
    """The product of each active atom with the gradient of its sample (n_actives,), without gathering the atoms."""
    if len(latents) == 0:
        return torch.zeros_like(values)
    with torch.enable_grad():
        weights = values.detach().to(atoms.dtype).requires_grad_()
        summed = F.embedding_bag(latents, atoms.detach(), offsets, per_sample_weights=weights, mode="sum")
    return torch.autograd.grad(summed, weights, grad)[0].to(values.dtype)
