"""Adapters: one subject's signal -> the shape that all subjects share.

A member `braindec/adapters/<name>.py` defines a frozen dataclass `Config` and
`build(signal, config) -> SubjectAdapter`. A member whose subjects have weights in common also defines
`build_shared(signals, config) -> SharedPart | None`: an encoder holds that part once for each modality and attaches
it to every adapter of it, those of subjects that come later included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from braindec import checks
from braindec.maths.folds import Folds
from braindec.types import SubjectSignal

Maps = Sequence[tuple[Tensor, Tensor]]


class SharedPart(nn.Module):
    """Weights that all subjects of one modality have in common; part of the trunk when a subject is added later.

    What is drawn for it may depend on the settings and on what every signal of the modality shares, never on how many
    subjects there are: a subject added later gets the same part.

    Attributes
    ----------
    wants_maps : bool
        It has a use for closed-form maps even where the backbone has no place for them.
    """

    wants_maps: bool = False

    def start_from_maps_(self, maps: Maps, adapters: Sequence[SubjectAdapter]) -> Tensor | None:
        """Prepares itself and its adapters for the subjects' closed-form maps; does nothing by default.

        Parameters
        ----------
        maps : sequence of (weight, bias)
            A subject each: (n_rows, n_signal_values) and (n_rows,).
        adapters : sequence of SubjectAdapter
            Of the same subjects.

        Returns
        -------
        Tensor, shape (n_rows, n_shared_values), or None
            What the flattened shared values are multiplied by to give the rows; with None every adapter's `start_from_`
            is asked to write them into its first shared values.
        """
        return None


class SubjectAdapter(nn.Module, ABC):
    """Maps (n_trials, *signal) to (n_trials, *shared_shape) for one subject; an encoder holds one a subject.

    Attributes
    ----------
    signal_shape : tuple of int
        (n_voxels,) or (n_channels, n_times).
    shared_shape : tuple of int
        Shape after the trial axis; equal for all subjects that one backbone serves.
    takes_map : bool
        `start_from_` has a place for a linear map; False spares the regression that would make one.
    coupled : bool
        Shared values hang together (a low rank), so that writing some rows of a map moves the others.
    inert : frozenset of str
        Names of parameters that get no gradient by design (published variants); empty for ours.
    """

    signal_shape: tuple[int, ...]
    shared_shape: tuple[int, ...]
    takes_map: bool = True
    coupled: bool = False
    inert: frozenset[str] = frozenset()

    @abstractmethod
    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, *shared_shape)."""

    @abstractmethod
    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """Writes a closed-form linear map into the first shared values; False if this adapter has no place for one.

        Parameters
        ----------
        weight : Tensor, shape (n_rows, n_signal_values)
            From the flattened signal; n_rows may be less than the number of shared values: the others stay as drawn
            (unless the adapter is `coupled`).
        bias : Tensor, shape (n_rows,)
        """

    def start_from_pairs_(self, signal: Tensor, shared: Tensor, folds: Folds) -> bool:
        """Fits what is this subject's own to wanted shared values in closed form; False if it knows no such fit.

        Asked before `start_from_`, of which a map from all signal values would be too large or has no place.

        Parameters
        ----------
        signal : Tensor, shape (n_trials, *signal_shape)
        shared : Tensor, shape (n_trials, *shared_shape)
        folds : tuple of Tensor
            Held-out rows to choose a penalty on.
        """
        return False

    def start_from_subjects_(self, others: Sequence[SubjectAdapter]) -> bool:
        """Starts a subject that is added later from the adapters of the same member and modality; False by default.

        Parameters
        ----------
        others : sequence of SubjectAdapter
            Of the subjects there are, at least one; they are read, not changed.
        """
        return False

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether trials of this shape can be adapted: the shape it was built for, for most."""
        return shape == self.signal_shape

    def attach(self, shared: nn.Module) -> None:
        """Takes the part that `build_shared` made; it stays whose it is: no parameter of this adapter."""
        self._shared = (
            shared,
        )  # inside a tuple, which torch does not look into: registered in one place alone

    @property
    def shared(self) -> Any:
        """The part that subjects have in common.

        Raises
        ------
        ValueError
            If none was attached.
        """
        found = self.__dict__.get("_shared")
        if found is None:
            raise ValueError(
                f"{type(self).__name__} works with a part that subjects share; build it through an Encoder, or attach "
                "what its member's build_shared gives."
            )
        return found[0]


def check_signal(signal: SubjectSignal, axes: tuple[str, ...]) -> tuple[int, ...]:
    """The signal's shape when it has these axes; the error names what the adapter needs."""
    if len(signal.shape) != len(axes):
        raise ValueError(
            f"{signal.key} has one trial of shape {signal.shape}; this adapter needs axes ({', '.join(axes)})."
        )
    return signal.shape


def check_map(weight: Tensor, bias: Tensor, n_values: int, n_shared: int) -> int:
    """Number of rows of a starting map that fits a signal of `n_values` and `n_shared` shared values.

    Raises
    ------
    ValueError
        If weight is not (n_rows, n_values), bias not (n_rows,), or there are no rows or too many.
    """
    n_rows = checks.same_length("shared value", weight=weight, bias=bias)
    checks.in_range("number of rows of the starting map", n_rows, 1, n_shared)
    if weight.shape[1] != n_values:
        raise ValueError(
            f"the starting map has {weight.shape[1]} along axis 'signal value' but the signal has {n_values}; they "
            "must match."
        )
    return n_rows
