"""Steps that do not fit into memory: which errors say so, and a forward pass in pieces that is the same function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from braindec import checks

Outputs = dict[str, dict[str, Tensor]]
# torch has a class of its own for accelerators only; its CPU allocator says it in words.
WORDS = ("can't allocate memory", "not enough memory", "out of memory")


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in WORDS)


def in_pieces(
    call: Callable[[Mapping[str, Tensor]], Outputs], signals: Mapping[str, Tensor], n: int
) -> Outputs:
    """``call(signals)``, computed in n pieces of rows; the backward pass computes each piece again when it gets there.

    Values and gradients are those of one call up to rounding, for rows do not know of each other; memory is that of
    the largest piece and all outputs. What is drawn at random is drawn for each piece, the same both times.

    Parameters
    ----------
    call : callable
        Takes tensors (n_rows, ...) by key; gives, by key and name, tensors of as many rows.
    signals : mapping of str to Tensor
    n : int
        Pieces, >= 1; a key with fewer rows is in fewer of them.
    """
    if n == 1:
        return call(signals)
    parts: dict[str, dict[str, list[Tensor]]] = {key: {} for key in signals}
    chunks = {key: rows.chunk(n) for key, rows in signals.items()}
    for i in range(max(len(some) for some in chunks.values())):
        piece = {key: some[i] for key, some in chunks.items() if i < len(some)}
        made: Outputs = checkpoint(call, piece, use_reentrant=False)
        for key, outputs in made.items():
            for name, values in outputs.items():
                parts[key].setdefault(name, []).append(values)
    return {key: {name: torch.cat(some) for name, some in outputs.items()} for key, outputs in parts.items()}


def divide(module: nn.Module, n: int) -> None:
    """Sets in how many pieces a module computes its rows.

    Raises
    ------
    ConfigError
        If it cannot, or would be another network.
    """
    norm = batch_norm(module)
    if not hasattr(module, "n_pieces") or norm is not None:
        why = (
            f"{norm} normalises by a whole batch"
            if norm
            else f"a {type(module).__name__} computes its rows at once"
        )
        raise checks.ConfigError(f"train.pieces={n} is not possible: {why}. Lower train.batch_size instead.")
    setattr(module, "n_pieces", n)  # noqa: B010  # a module's attributes are typed as its parts


def next_pieces(module: nn.Module, batch: Mapping[str, Any], n_ranks: int, error: BaseException) -> int:
    """In how many pieces a step is tried that did not fit.

    Raises
    ------
    ShortageError
        If it cannot be divided, or not further; says what to set.
    """
    n = getattr(module, "n_pieces", None)
    rows = max((len(v) for v in batch.values() if isinstance(v, Tensor) and v.ndim), default=1)
    if n is None:
        raise too_large(module, f"Set train.batch_size={max(2, rows // 2)} (now {rows}).") from error
    norm = batch_norm(module)
    if norm is not None:
        way_out = (
            f"{norm} normalises by the statistics of a batch, which pieces would change: set train.batch_size "
            f"to half of what it is (a subject has {rows} rows in a step now)."
        )
        raise too_large(module, way_out) from error
    if n >= rows:
        raise too_large(module, "One trial of each subject does not fit.") from error
    if n_ranks > 1:  # the others wait for this one's rows
        raise too_large(
            module, f"Start all ranks with train.pieces={2 * n}; the loss stays the same."
        ) from error
    return min(2 * n, rows)


def batch_norm(module: nn.Module) -> str | None:
    """The name of a part that is trained on the statistics of a batch."""
    learns = {
        name: any(p.requires_grad for p in part.parameters())
        for name, part in module.named_modules()
        if isinstance(part, _BatchNorm)
    }
    return next((name for name, trained in learns.items() if trained), None)


def too_large(module: nn.Module, way_out: str) -> checks.ShortageError:
    """The error of a step that does not fit, with what its weights take by themselves."""
    trained = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.element_size() for p in module.parameters() if not p.requires_grad)
    held = (4 * trained + frozen) / 1e6  # weights, gradients and AdamW's two moments
    where = next((str(p.device) for p in module.parameters()), "cpu")
    return checks.ShortageError(
        f"a training step does not fit into the memory of {where}. {way_out} Weights, gradients and the optimiser's "
        f"state alone take {held:.0f} MB: train.precision=bf16, fewer target tokens or a smaller adapter and backbone "
        "need less."
    )
