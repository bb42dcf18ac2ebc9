"""A linear layer whose products, forward and backward, are made by the fastest kernel of the same precision."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from braindec.maths import gemm


class Dense(nn.Linear):
    """torch's linear layer, of the same parameters, names and first weights; on a processor its products are `gemm`'s.

    Where these do not apply (small layers, other dtypes and devices, autocast, compiling) it is torch's own.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        if torch.compiler.is_compiling() or torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        if input.shape[-1] != self.in_features or input.ndim < 2:
            return super().forward(input)
        rows = input.reshape(-1, self.in_features)
        if not gemm.pays(rows, self.weight.T):
            return super().forward(input)
        made: Tensor = _Product.apply(rows, self.weight, self.bias)
        return made.reshape(*input.shape[:-1], self.out_features)


class _Product(torch.autograd.Function):
    """x w^T + bias: (n_rows, n_in), (n_out, n_in) and (n_out,) or None to (n_rows, n_out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One product, to which oneDNN adds the bias while it writes."""
        ctx.save_for_backward(x, weight)
        return gemm.plus(x, weight.T, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """A product for each factor whose gradient is asked; they can be differentiated again, by torch's products."""
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            gemm.mm(grad, weight) if to_x else None,
            gemm.mm(grad.T, x) if to_weight else None,
            grad.sum(0) if to_bias else None,
        )
