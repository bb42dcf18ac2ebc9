"""Which tensor of ours is made of which published ones: both sides are used up, or it is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from braindec.convert._checkpoint import Checkpoint

SHOWN = 12  # lines of an error
AS_IT_IS = "as it is"


def _same(value: Tensor) -> Tensor:
    return value


Rows = list[tuple[str, ...]]


class Made(Protocol):
    """What a checkpoint becomes: modules, and the folder that they are written to."""

    @property
    def system(self) -> str:
        """The published system, e.g. ``mindeye2``."""

    @property
    def opened_with(self) -> str:
        """The call that opens the folder, for the report."""

    def build_shapes(self) -> Any:
        """Something whose ``module`` has all tensors of ours, without memory."""

    def tables(self) -> list[tuple[str, tuple[str, ...], Rows]]:
        """Tables of the report: title, head, rows."""

    def save(
        self,
        folder: Path,
        like: Mapping[str, Tensor],
        make: Callable[[str], Tensor],
        source: Mapping[str, str],
    ) -> tuple[str, ...]:
        """Writes settings and tensors, each asked of `make` by its name; the names of the files.

        Parameters
        ----------
        folder : Path
        like : mapping of str to Tensor
            Shapes and types.
        make : callable
        source : mapping of str to str
            Name and sha256 of the checkpoint.
        """


@dataclass(frozen=True)
class Move:
    """One tensor of ours.

    Parameters
    ----------
    target : str
        Our name: ``encoder.*`` or ``prior.*``.
    sources : tuple of str
        Published names; none for a tensor that the checkpoint does not decide.
    what : str
        What is done, for the report.
    make : callable
        From the sources' tensors, in their order, to ours.
    """

    target: str
    sources: tuple[str, ...]
    what: str
    make: Callable[..., Tensor]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a checkpoint was found to hold; numbers are read when it is written.

    Parameters
    ----------
    design : Made
        A `Design`, or what else knows its modules and its folder.
    moves : tuple of Move
        Every tensor of the design's modules, once, in their order.
    left : mapping of str to str
        Published tensors that are not taken over, and why.
    notes : tuple of str
        Sentences for the report: whose adapter is whose, which parts are absent, which parameters are inert.
    """

    design: Made
    moves: tuple[Move, ...]
    left: Mapping[str, str]
    notes: tuple[str, ...] = ()


class KeyMap:
    """Collects moves, and checks at the end that nothing of either side is missing or left over.

    Parameters
    ----------
    source : Checkpoint
    design : Made
    """

    def __init__(self, source: Checkpoint, design: Made):
        self.source, self.design = source, design
        self.wanted: dict[str, Tensor] = dict(design.build_shapes().module.state_dict())
        self._moves: dict[str, Move] = {}
        self._left: dict[str, str] = {}
        self._problems: list[str] = []

    def rename(self, rules: Mapping[str, str], what: str = AS_IT_IS) -> None:
        """Our tensors that have one published tensor of the same shape each.

        Parameters
        ----------
        rules : mapping of str to str
            A pattern that is the whole of our name -> the published name, groups as ``\\1``. The first one that fits
            counts; tensors that none fits are left to other moves.
        what : str
        """
        for target in self.wanted:
            if target in self._moves:
                continue
            for pattern, source in rules.items():
                if found := re.fullmatch(pattern, target):
                    self.move(target, found.expand(source), what=what)
                    break

    def move(
        self, target: str, *sources: str, make: Callable[..., Tensor] = _same, what: str = AS_IT_IS
    ) -> None:
        """One tensor of ours from some published ones."""
        if target in self._moves:
            self._problems.append(f"filled twice: {target}")
        self._moves[target] = Move(target, sources, what, make)

    def fill(self, target: str, value: Tensor, why: str) -> None:
        """One tensor of ours that the checkpoint does not decide."""
        self.move(target, make=lambda: value, what=why)

    def leave(self, keys: Iterable[str], why: str) -> None:
        """Published tensors that nothing of ours stands for."""
        self._left |= dict.fromkeys(keys, why)

    def finish(self, notes: Iterable[str] = ()) -> Reading:
        """The whole of it.

        Raises
        ------
        DataFileError
            If a tensor of either side is missing, left over or of another shape, with all of them named.
        """
        used = {key for move in self._moves.values() for key in move.sources}
        problems = list(self._problems)
        problems += [f"missing: {key}" for key in sorted(used - set(self.source))]
        problems += [
            f"unknown: {_named(self.source, key)}"
            for key in sorted(set(self.source) - used - set(self._left))
        ]
        problems += [
            f"nothing makes: {_named(self.wanted, key)}" for key in self.wanted if key not in self._moves
        ]
        problems += [
            f"made, but no tensor of ours: {key}" for key in sorted(set(self._moves) - set(self.wanted))
        ]
        problems += [line for move in self._moves.values() for line in self._misfit(move)]
        if problems:
            shown = "\n  ".join(problems[:SHOWN])
            more = f"\n  and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise self.source.refused(
                f"does not hold the tensors of {self.design.system}:\n  {shown}{more}\n"
            )
        return Reading(
            self.design, tuple(self._moves[key] for key in self.wanted), dict(self._left), tuple(notes)
        )

    def _misfit(self, move: Move) -> list[str]:
        """A line if what is made has another shape than ours; found without the numbers."""
        if move.target not in self.wanted or any(key not in self.source for key in move.sources):
            return []
        wanted = tuple(self.wanted[move.target].shape)
        empty = [torch.empty_like(self.source[key], device="meta") for key in move.sources]
        found = tuple(move.make(*empty).shape)
        said = ", ".join(f"{key} {tuple(self.source[key].shape)}" for key in move.sources)
        return [] if found == wanted else [f"shape: {said or 'a filled value'} for {move.target} {wanted}"]


def _named(tensors: Mapping[str, Tensor], key: str) -> str:
    return f"{key} {tuple(tensors[key].shape)}"
