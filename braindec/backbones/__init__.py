"""Backbones: shared shape -> target tokens, the same weights for every subject.

A member `braindec/backbones/<name>.py` defines a frozen dataclass `Config` and
`build(shared_shape, outputs, config) -> Backbone`, where `outputs` maps an output name to (n_tokens, n_dims).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Maps (n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}; it never sees the subject.

    Attributes
    ----------
    inert : frozenset of str
        Names of parameters that get no gradient by design (published variants); empty for ours.
    """

    inert: frozenset[str] = frozenset()

    @abstractmethod
    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}."""

    @abstractmethod
    def linear_path(self, output: str) -> nn.Linear | None:
        """The part that maps the flattened shared values straight to this flattened output; None where there is none.

        A closed-form solution can be written into it.
        """
