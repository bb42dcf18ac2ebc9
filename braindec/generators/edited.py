"""A generator whose network is read, or changed, at one block while it draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides

# Activations (row, position, channel) in float32 at a noise level, to what they become; see `build`.
Edit = Callable[[Tensor, float], Tensor]
Read = Callable[[Tensor, float], Tensor]  # the same, to what is kept of them (row, ...)


class Hookable(Protocol):
    """A generator that shows its network: `embedded_unclip`, any latent diffusion from a folder, or `Edited` itself."""

    name: str
    space: str
    takes: frozenset[str]

    @property
    def unet(self) -> nn.Module:
        """The network that denoises; called with noisy samples and a noise level."""

    def identity(self) -> dict[str, Any]:
        """See `Generator.identity`."""

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """See `Generator.generate`."""


@dataclass(frozen=True)
class Config:
    """Where the network is changed.

    Parameters
    ----------
    block : str
        Name of a module of the network, as ``unet.named_modules()`` spells it, e.g. ``"up_blocks.1"``. Of a block that
        hands on several tensors it is the first, wherever among them it occurs again (as a skip connection).
    """

    block: str = "mid_block"


def build(config: Config, base: Hookable, edit: Edit, described: Mapping[str, Any] | None = None) -> Edited:
    """A generator that changes its own activations while it draws.

    Parameters
    ----------
    config : Config
    base : Hookable
    edit : callable
        ``edit(activations, level)``: float32 (row, position, channel) at a noise level of the schedule, to the same
        shape. A row is a picture; with guidance there are also those that are told nothing.
    described : mapping, optional
        What the edit does, as JSON values, for provenance.
    """
    return Edited(config, base, edit, described)


class Edited(Generator):
    """The base, with one block's activations changed at every step; an edit that changes nothing gives equal bytes.

    The base's network is hooked while it draws and left as it was afterwards, also when the drawing fails. Two threads
    must not draw with one network at a time.
    """

    name = "edited"

    def __init__(
        self, config: Config, base: Hookable, edit: Edit, described: Mapping[str, Any] | None = None
    ) -> None:
        _module(base.unet, config.block)
        self.config, self.base, self.edit, self.described = config, base, edit, dict(described or {})
        self.space, self.takes = base.space, base.takes

    @property
    def unet(self) -> nn.Module:
        """The base's network: edits of several blocks are put around each other."""
        return self.base.unet

    def identity(self) -> dict[str, Any]:
        """The base's, the block, and what the edit is said to do."""
        return {
            "generator": self.name, "base": self.base.identity(), "block": self.config.block, "edit": self.described,
        }  # fmt: skip

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """The pictures; see `Generator.generate`."""
        with _hooked(self.base.unet, self.config.block, self.edit):
            return self.base.generate(
                image_embeddings, generator=generator, guides=guides, n_steps=n_steps, progress=progress
            )


class Recorded(NamedTuple):
    """What a block did while pictures were drawn.

    Attributes
    ----------
    pictures : ndarray of uint8, shape (n, height, width, 3)
    values : Tensor, shape (n, n_steps, n_positions, n_channels)
        Float32, on the CPU; or (n, n_steps, ...) of what was read of them.
    levels : tuple of float, length n_steps
        Noise levels in the order of the steps.
    """

    pictures: np.ndarray
    values: Tensor
    levels: tuple[float, ...]


def record(
    base: Hookable,
    block: str,
    image_embeddings: np.ndarray,
    *,
    generator: torch.Generator,
    guides: Guides = NOTHING,
    n_steps: int | None = None,
    read: Read | None = None,
) -> Recorded:
    """A block's activations at every step of drawing embeddings, and the pictures, which are those of `base`.

    Parameters
    ----------
    base : Hookable
        Whose network is asked once a step and row: with a guidance of 1.
    block : str
        See `Config`.
    image_embeddings, generator, guides, n_steps
        See `Generator.generate`.
    read : callable, optional
        ``read(activations, level)``: what is kept of (row, position, channel), rows first; all of it where none is
        given. Activations of a large network fill a memory soon.

    Raises
    ------
    ConfigError
        If the network was asked more or less than once a step and row.
    """
    checks.at_least("number of image_embeddings", len(image_embeddings), 1)
    kept: dict[float, list[Tensor]] = {}

    def look(activations: Tensor, level: float) -> None:
        found = activations if read is None else read(activations, level)
        kept.setdefault(level, []).append(found.detach().cpu().clone())

    with _hooked(base.unet, block, look):
        pictures = base.generate(image_embeddings, generator=generator, guides=guides, n_steps=n_steps)
    rows = {level: torch.cat(parts) for level, parts in kept.items()}
    for level, values in rows.items():
        if len(values) != len(image_embeddings):
            raise checks.ConfigError(
                f"block {block!r} gave {len(values)} rows for {len(image_embeddings)} embeddings at noise level "
                f"{level:g}; draw with guidance 1, by a schedule that asks the network once a step."
            )
    if not rows:
        raise checks.ConfigError(
            f"block {block!r} took no part in the drawing; name one that the network calls."
        )
    return Recorded(pictures, torch.stack(list(rows.values()), 1), tuple(rows))


def _module(unet: nn.Module, block: str) -> nn.Module:
    named = {name: module for name, module in unet.named_modules() if name}
    found: nn.Module = checks.known_key("block", block, named)
    return found


@contextmanager
def _hooked(unet: nn.Module, block: str, seen: Callable[[Tensor, float], Tensor | None]) -> Iterator[None]:
    """Whatever runs inside has its block's outputs seen, and replaced where that gives something."""
    level = [float("nan")]

    def before(_: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        told = args[1] if len(args) > 1 else keywords["timestep"]  # of every conditional network of diffusers
        level[0] = float(torch.as_tensor(told).flatten()[0])

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        old = _first(output)
        new = seen(_rows(old), level[0])
        return None if new is None else _replaced(output, old, _like(old, new))

    handles = [
        unet.register_forward_pre_hook(before, with_kwargs=True),
        _module(unet, block).register_forward_hook(after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any) -> Tensor:
    """The tensor that a block hands on."""
    found = output if isinstance(output, Tensor) else output[0]
    if not isinstance(found, Tensor) or found.ndim not in (2, 3, 4):
        raise checks.ConfigError(
            f"this block hands on {type(found).__name__}, not a tensor of rows, positions and channels; name another."
        )
    return found


def _rows(x: Tensor) -> Tensor:
    """(row, position, channel) in float32 of maps (row, channel, height, width), tokens or vectors."""
    if x.ndim == 4:
        x = x.permute(0, 2, 3, 1).flatten(1, 2)
    return (x[:, None] if x.ndim == 2 else x).float()


def _like(old: Tensor, new: Tensor) -> Tensor:
    """Rows as the tensor that they came from: its shape, dtype and order in memory, on which rounding depends."""
    if new.shape != (wanted := _rows(old)).shape:
        raise ValueError(
            f"edit gave {tuple(new.shape)} for activations {tuple(wanted.shape)} of (row, position, channel); an edit "
            "must keep the shape."
        )
    if old.ndim == 4:
        n, n_channels, height, width = old.shape
        new = new.reshape(n, height, width, n_channels).permute(0, 3, 1, 2)
    return torch.empty_like(old).copy_(new.reshape(old.shape))


def _replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """An output with one tensor exchanged wherever it occurs."""
    if output is old:
        return new
    if isinstance(output, tuple) and type(output) is tuple:
        return tuple(_replaced(part, old, new) for part in output)
    if isinstance(output, dict):  # diffusers' outputs are ordered dicts with names
        return type(output)(**{name: _replaced(part, old, new) for name, part in output.items()})
    return output
