"""Numbers that are none: found in the step where they come up, and traced to the first tensor that holds one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from braindec import checks, store

Place = tuple[
    str, str
]  # (inputs | embeddings | batch | weights | activations | gradients | loss, name of the tensor)

WAYS_OUT = {
    "inputs": "Look for the trials that hold NaN or infinity, and mask or repair them before they are prepared.",
    "embeddings": "Remove the cached embeddings of this target and embed the stimuli again.",
    "batch": "Look for what made this tensor.",
    "weights": "An update has spoilt them: lower train.lr, or set train.clip_norm.",
    "activations": "The forward pass overflows there: lower train.lr, or use train.precision='no'.",
    "gradients": "The backward pass overflows there: lower train.lr, or use train.precision='no'.",
    "loss": "The loss itself overflows: raise its temperature, or lower its weight.",
}


@dataclass(frozen=True)
class Where:
    """Where a run is.

    Parameters
    ----------
    step : int
        Counted from 1.
    lr : float
    kept : Path, optional
        The last checkpoint.
    place : Path, optional
        JSON file where a diagnosis goes.
    """

    step: int
    lr: float
    kept: Path | None = None
    place: Path | None = None


def refuse_divergence(
    losses: Mapping[str, Tensor],
    norm: Tensor | None,
    module: nn.Module,
    batch: Mapping[str, Any],
    again: Callable[[], object],
    where: Callable[[], Where],
) -> None:
    """Refuses a step whose loss (or norm of gradients, where it is given) is not finite.

    Parameters
    ----------
    losses : mapping of str to Tensor
    norm : Tensor, optional
    module : nn.Module
    batch : mapping
        What the step saw, tensors by name; ``signals/sub-01_fmri`` and ``main/sub-01_fmri`` name a subject.
    again : callable
        Makes the same forward pass once more.
    where : callable
        Gives a `Where`; called where it is needed.

    Raises
    ------
    DivergenceError
        With the terms that are not finite and the first tensor that is not.
    """
    tested = torch.stack([loss.detach().float() for loss in losses.values()]).sum() if norm is None else norm
    if bool(torch.isfinite(tested)):
        return
    terms = tuple(name for name, loss in losses.items() if not bool(torch.isfinite(loss.detach())))
    raise _error(first_bad(module, batch, again, gradients=norm is not None), terms, where())


def refuse_weights(module: nn.Module, where: Callable[[], Where]) -> None:
    """Refuses to keep weights that are not finite; see `refuse_divergence`."""
    name = next(_bad(_weights(module)), None)
    if name is not None:
        raise _error(("weights", name), (), where())


def first_bad(
    module: nn.Module, batch: Mapping[str, Any], again: Callable[[], object], *, gradients: bool
) -> Place:
    """The first tensor on the way of a step that holds a NaN or an infinity."""
    for name in _bad(_flat(batch)):
        kind = "inputs" if name.startswith("signals/") else "embeddings" if "/" in name else "batch"
        return kind, name
    for name in _bad(_weights(module)):
        return "weights", name
    if gradients:
        # The backward pass begins at the end.
        named = {name: p.grad for name, p in reversed([*module.named_parameters()]) if p.grad is not None}
        largest = max(named, key=lambda name: float(named[name].abs().max()), default="")
        return "gradients", next(_bad(named), f"{largest} (finite, but too large for a norm)")
    part = _bad_activation(module, again)
    return ("loss", "") if part is None else ("activations", part)


def _bad_activation(module: nn.Module, again: Callable[[], object]) -> str | None:
    """The innermost part of the module that first gives what is not finite."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, given: Any, made: Any) -> None:
            if any(True for _ in _bad(_flat({"": made}))):
                found.append(name)

        return hook

    hooks = [part.register_forward_hook(look(name or "module")) for name, part in module.named_modules()]
    try:
        with torch.no_grad():
            again()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers; of shares what lies on this rank."""
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: v.to_local() if hasattr(v, "to_local") else v for name, v in named.items()}


def _bad(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    return (
        name for name, v in tensors.items()
        if (v.is_floating_point() or v.is_complex()) and not bool(torch.isfinite(v.detach()).all())
    )  # fmt: skip


def _flat(values: Mapping[Any, Any], head: str = "") -> dict[str, Tensor]:
    """Tensors of nested mappings and sequences by their joined names."""
    found: dict[str, Tensor] = {}
    for key, value in values.items():
        name = f"{head}{key}"
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, Mapping):
            found |= _flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            found |= _flat(dict(enumerate(value)), f"{name}.")
    return found


def subject_of(name: str) -> str | None:
    """The signal key in the name of a tensor: ``signals/sub-01_fmri``, ``encoder.adapters.sub-01_fmri.linear``."""
    parts = name.replace("/", ".").split(".")
    return next((part for part in parts if part.startswith("sub-")), None)


def _error(bad: Place, terms: tuple[str, ...], at: Where) -> checks.DivergenceError:
    kind, name = bad
    subject = subject_of(name)
    said = {
        "step": at.step, "lr": at.lr, "terms": list(terms), "where": kind, "tensor": name, "subject": subject,
        "last_good_checkpoint": None if at.kept is None else str(at.kept),
    }  # fmt: skip
    words = [f"training diverged at step {at.step} (learning rate {at.lr:.3g})"]
    if terms:
        words.append(f"not finite: the loss of {', '.join(map(repr, terms))}")
    words.append("first bad: " + (f"the {kind}, {name!r}" if name else f"the {kind} itself"))
    if subject is not None:
        words.append(f"subject {subject}")
    good = "No checkpoint was kept: set train.checkpoint_every."
    if at.kept is not None:
        good = f"The last good checkpoint is {at.kept}."
    if at.place is not None:
        store.write_json(at.place, said)
    return checks.DivergenceError("; ".join(words) + f". {WAYS_OUT[kind]} {good}", said)
