"""TopK that also asks what a latent would do: pre-activations weighted by the gradient of an effect of the inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from braindec import checks
from braindec.maths import gemm
from braindec.sparse.codes import Code

Effect = Callable[[Tensor], Tensor]


def gradients(effect: Effect, inputs: Tensor) -> Tensor:
    """The gradient of an effect at each input, (n_samples, n_dims).

    Parameters
    ----------
    effect : callable
        From inputs (n_samples, n_dims) to a number a sample (n_samples,), or to their sum: the loss of what comes after
        them. A sample's number must depend on its own input alone.
    inputs : Tensor, shape (n_samples, n_dims)
    """
    with torch.enable_grad():
        here = inputs.detach().requires_grad_()
        (found,) = torch.autograd.grad(effect(here).sum(), here)
    return checks.finite("the gradient of the effect", found, way_out="Check the effect at these inputs.")


@torch.no_grad()
def top_of_influence(
    inputs: Tensor, weight: Tensor, bias: Tensor, atoms: Tensor, slopes: Tensor, n_active: int, emphasis: float
) -> Code:  # fmt: skip
    """The `n_active` pre-activations of every sample that are large and matter, without a gradient.

    Parameters
    ----------
    inputs, slopes : Tensor, shape (n_samples, n_dims)
        And the gradient of the effect at each.
    weight, atoms : Tensor, shape (n_latents, n_dims)
    bias : Tensor, shape (n_latents,)
    n_active : int
        At most n_latents.
    emphasis : float
        0 is TopK.

    Returns
    -------
    Code
        Its values are the pre-activations themselves.

    Notes
    -----
    Olmo et al. 2024, arXiv:2411.10397: the largest of z + emphasis * z * |W_d g|. Their g is as large as their loss;
    here |W_d g| is divided by its mean over samples and latents, so that `emphasis` means the same for every effect.
    A sample that the effect does not feel is chosen for as TopK does.
    """
    checks.in_range("n_active", n_active, 1, len(weight))
    pre = gemm.mm(inputs, weight.T).add_(bias)
    influence = gemm.mm(slopes.to(atoms), atoms.T).abs_()
    influence = influence / influence.mean().clamp_min(torch.finfo(influence.dtype).tiny)
    latents = (pre * (1 + emphasis * influence)).topk(n_active, dim=1, sorted=False).indices
    offsets = torch.arange(0, latents.numel(), n_active, device=inputs.device)
    return Code(pre.gather(1, latents).flatten().to(inputs.dtype), latents.flatten(), offsets, len(weight))
