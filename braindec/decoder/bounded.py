"""A config that came from elsewhere builds no more than the weights beside it can fill: said before memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from braindec import checks

# Building draws, orthogonalises and copies what is then replaced; tables that no file holds are small.
TIMES, BESIDE = 8, 2**28  # bytes in all, of the weights' own and beside
TENSORS, TENSORS_BESIDE = 64, 2_000


class Bounded(TorchDispatchMode):
    """Inside, more bytes or tensors than weights of this size call for are refused before they are taken.

    Parameters
    ----------
    config : path
        Named in the error.
    n_bytes, n_tensors : int
        Of the file of weights, as its head says.

    Raises
    ------
    DataFileError
        From within whatever makes the tensor.
    """

    def __init__(self, config: Path, n_bytes: int, n_tensors: int):
        super().__init__()
        self._config, self._n_bytes, self._n_tensors = config, n_bytes, n_tensors
        self._taken, self._made = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls in place of each operation."""
        sizes = _sizes(func, args, kwargs or {})
        self._taken += sum(sizes)
        self._made += len(sizes)
        most = TIMES * self._n_bytes + BESIDE, TENSORS * self._n_tensors + TENSORS_BESIDE
        if self._taken > most[0] or self._made > most[1]:
            raise checks.DataFileError(
                self._config,
                f"describes a decoder of more than {self._taken / 2**20:,.1f} MiB in {self._made:,} tensors, its "
                f"weights are {self._n_bytes / 2**20:,.1f} MiB in {self._n_tensors:,}",
                "Nothing was loaded; copy the folder again, or do not trust where it came from.",
            )
        return func(*args, **(kwargs or {}))


def _sizes(func: Any, args: Any, kwargs: dict[str, Any]) -> list[int]:
    """Bytes of each tensor that an operation will make, found without making it; none of views and changes in place."""
    schema = func._schema
    if schema.is_mutable or any(returned.alias_info is not None for returned in schema.returns):
        return []
    given, named = tree_map_only(torch.Tensor, lambda t: t.to("meta"), (args, kwargs))
    named = {k: None if isinstance(v, torch.Generator) else v for k, v in named.items()}
    if any(argument.name == "device" for argument in schema.arguments):
        named["device"] = torch.device("meta")
    try:
        made = func(*given, **named)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return []  # has no shape before its values: of what is there already
    return [t.numel() * t.element_size() for t in tree_leaves(made) if isinstance(t, torch.Tensor)]
