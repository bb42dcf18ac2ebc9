"""Matrix products of float32 on a processor by oneDNN's kernel, where it is as accurate as torch's own and faster.

torch sends a float32 product to MKL, which on AMD processors reaches half of what the machine can do. oneDNN's kernel
is reached through an operator that torch keeps to itself and that may round to bfloat16 where a processor has
instructions for it, so it is used only after a product with a known answer came out as accurate as float32 is.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from braindec import checks

SMALLEST = 6_000_000  # products of two numbers: below it the call costs more than the faster kernel saves
TOLERANCE = 3e-6  # of the largest entry of the test product; bfloat16 misses it by a factor of a thousand


def mm(a: Tensor, b: Tensor) -> Tensor:
    """The product a b.

    Parameters
    ----------
    a : Tensor, shape (m, k)
    b : Tensor, shape (k, n)
        Of the dtype and device of `a`; either may be a transposed view.

    Returns
    -------
    Tensor, shape (m, n)
        Of the same dtype and device. Gradients flow as through ``a @ b``, which is what is called wherever oneDNN's
        kernel does not apply: other dtypes, other devices, small matrices, tensors that need a gradient.

    Raises
    ------
    ValueError
        If either has not two axes or their lengths along k differ.
    """
    checks.n_axes("a", a, ("m", "k"))
    checks.n_axes("b", b, ("k", "n"))
    checks.same_length("k", a=a.T, b=b)
    if _needs_gradient(a, b) or not pays(a, b):
        return a @ b
    return _onednn(a, b)


def pays(a: Tensor, b: Tensor) -> bool:
    """Whether a product of these two, (m, k) and (k, n), goes to oneDNN where no gradient is asked."""
    if a.dtype != torch.float32 or b.dtype != torch.float32:
        return False
    if a.device.type != "cpu" or b.device.type != "cpu":
        return False
    return a.numel() * b.shape[1] >= SMALLEST and onednn_is_used()


def plus(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    """The product a b, and `bias` (n,) on each of its rows, in one pass over the result.

    For callers that have asked `pays` and make the gradient themselves; see `mm` for shapes.
    """
    return _onednn(a, b, None if bias is None else bias.detach())


def onednn_is_used() -> bool:
    """Whether products of large float32 matrices go to oneDNN in this process, on this processor."""
    return _trusted(torch.get_float32_matmul_precision(), torch.get_num_threads())


def _needs_gradient(a: Tensor, b: Tensor) -> bool:
    return torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    # The operator is a linear layer: it takes the second factor transposed, as a view without a copy.
    left, right = _dense(a.detach()), _dense(b.detach())
    return torch.ops.mkldnn._linear_pointwise(left, right.T, bias, "none", [], "")


def _dense(x: Tensor) -> Tensor:
    """The matrix without gaps between its rows or columns: for others oneDNN has a kernel 2,000 times slower."""
    return x if x.is_contiguous() or x.T.is_contiguous() else x.contiguous()


@lru_cache(maxsize=8)
def _trusted(precision: str, n_threads: int) -> bool:
    """Whether the kernel exists here and is as accurate as float32; asked anew for another precision of torch's."""
    if precision != "highest" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, generator=generator) for size in ((130, 515), (515, 257)))
    exact = a.double() @ b.double()
    try:
        found = _onednn(a, b), _onednn(a.T.contiguous().T, b.T.contiguous().T)
    except RuntimeError:  # the operator is torch's own affair: another version may ask for other arguments
        return False
    return all(bool((f - exact).abs().max() <= TOLERANCE * exact.abs().max()) for f in found)
