"""Adapters: one subject's signal -> the shape that all subjects share.

A member `braindec/adapters/<name>.py` defines a frozen dataclass `Config` and
`build(signal, config) -> SubjectAdapter`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from braindec.types import SubjectSignal


class SubjectAdapter(nn.Module, ABC):
    """Maps (n_trials, *signal) to (n_trials, *shared_shape) for one subject; an encoder holds one a subject.

    Attributes
    ----------
    signal_shape : tuple of int
        (n_voxels,) or (n_channels, n_times).
    shared_shape : tuple of int
        Shape after the trial axis; equal for all subjects that one backbone serves.
    """

    signal_shape: tuple[int, ...]
    shared_shape: tuple[int, ...]

    @abstractmethod
    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, *shared_shape)."""

    @abstractmethod
    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """Writes a closed-form linear map into the first shared values; False if this adapter has no place for one.

        Parameters
        ----------
        weight : Tensor, shape (n_rows, n_signal_values)
            From the flattened signal; n_rows may be less than the number of shared values: the others stay as drawn.
        bias : Tensor, shape (n_rows,)
        """


def check_signal(signal: SubjectSignal, axes: tuple[str, ...]) -> tuple[int, ...]:
    """The signal's shape when it has these axes; the error names what the adapter needs."""
    if len(signal.shape) != len(axes):
        raise ValueError(
            f"{signal.key} has one trial of shape {signal.shape}; this adapter needs axes ({', '.join(axes)})."
        )
    return signal.shape
