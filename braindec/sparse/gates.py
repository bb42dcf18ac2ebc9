"""Gated codes: one reading says whether a latent is active, another, along the same direction, how much."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec.sparse import codes
from braindec.sparse.codes import Code


def magnitudes(
    opened: Code, centred: Tensor, encoder: Tensor, gate_bias: Tensor, log_scale: Tensor, bias: Tensor
) -> Code:  # fmt: skip
    """The values of a code whose gates are open: relu(exp(log_scale) W_e x + bias).

    Parameters
    ----------
    opened : Code
        Where W_e x + gate_bias is above 0, with these values.
    centred : Tensor, shape (n_samples, n_dims)
    encoder : Tensor, shape (n_latents, n_dims)
    gate_bias, log_scale, bias : Tensor, shape (n_latents,)

    Notes
    -----
    Rajamanoharan et al. 2024, arXiv:2404.16014, section 3.2. Penalties reach the gate alone, so that what is active is
    not shrunk. The gate's own bias gets no gradient from here.
    """
    latents = opened.latents
    bare = opened.with_values(opened.values - gate_bias.detach()[latents])
    products = codes.differentiable(bare, centred, encoder, torch.zeros_like(gate_bias)).values
    return opened.with_values(torch.relu(log_scale.exp()[latents] * products + bias[latents]))
