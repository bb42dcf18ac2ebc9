"""Backbones: shared shape -> target tokens, the same weights for every subject.

A member `braindec/backbones/<name>.py` defines a frozen dataclass `Config` and
`build(shared_shape, outputs, config) -> Backbone`, where `outputs` maps an output name to (n_tokens, n_dims).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Maps (n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}; it never sees the subject.

    Attributes
    ----------
    inert : frozenset of str
        Names of parameters that get no gradient by design (published variants); empty for ours.
    auxiliary : mapping of str to callable
        Losses of the backbone's own: in training `forward` gives, beside the outputs, a tensor (n_trials, ...) of each
        of these names, and the callable makes a scalar of that of the whole batch.
    first_layers : tuple of str
        How the names of the parameters begin that see the shared values first, which a new subject may need otherwise
        than the subjects before (`BrainDecoder.adapt`); empty where a member does not tell them from the rest.
    """

    inert: frozenset[str] = frozenset()
    auxiliary: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType({})
    first_layers: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}."""

    @abstractmethod
    def linear_path(self, output: str) -> nn.Linear | None:
        """The part that maps the flattened shared values straight to this flattened output; None where there is none.

        A closed-form solution can be written into it.
        """
