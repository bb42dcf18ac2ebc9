"""What a caller holds, a tensor or an array, as the tensor that is computed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = Tensor | np.ndarray


def as_tensor(name: str, values: Any, *, floating: bool = False) -> Tensor:
    """A tensor itself; an array (or what numpy makes one of) as a tensor of its dtype, without a copy where it can be.

    Parameters
    ----------
    name : str
        What it is called in a message.
    values : Tensor, array or nested sequence of numbers
    floating : bool
        Whether whole numbers are refused.

    Raises
    ------
    TypeError
        If it holds no numbers, or whole ones where they are refused.
    """
    found = values if isinstance(values, Tensor) else _tensor(name, np.asarray(values))
    if floating and not found.is_floating_point():
        raise TypeError(f"{name} must be floating, got {found.dtype}. Give {name}.astype('float32').")
    return found


def as_tensors(name: str, values: Mapping[str, Any]) -> dict[str, Tensor]:
    """`as_tensor` of every entry, in their order; `name` is what one of them is called."""
    return {key: as_tensor(f"{name} {key!r}", value) for key, value in values.items()}


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must hold numbers, got an array of {array.dtype}.")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # torch knows no other order of bytes
    # Nor does it know steps backwards, and what may not be written it would let be written.
    return torch.from_numpy(
        array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()
    )
