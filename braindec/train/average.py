"""A running average of weights while they are trained: less noisy than the last step's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from braindec.train.shards import local, share_of, whole


class Average:
    """An exponential moving average of what training moves; of nothing where no decay is given.

    After step t the average is d a + (1 - d) w with d = min(decay, (1 + t) / (10 + t)): first weights, maybe drawn
    at random, are soon forgotten. Buffers (running statistics) are not averaged.

    Parameters
    ----------
    module : nn.Module
        Its trainable parameters are averaged, where they are then.
    decay : float or None
        In [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float | None):
        self.decay, self.n = decay, 0
        self._moved = [] if decay is None else [p for p in module.parameters() if p.requires_grad]
        self.kept: list[Tensor] = [p.detach().clone() for p in self._moved]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after a step."""
        self.n += 1
        if self.decay is not None and self.kept:
            decay = min(self.decay, (1 + self.n) / (10 + self.n))
            torch._foreach_lerp_([local(k) for k in self.kept], [local(p) for p in self._moved], 1 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The module with averaged weights; with its own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def settle_(self) -> None:
        """Leaves the averaged weights in the module for good."""
        for parameter, kept in zip(self._moved, self.kept, strict=True):
            local(parameter).copy_(local(kept))

    def state(self) -> dict[str, Any]:
        """For a checkpoint; all ranks ask together."""
        return {"n": self.n, "kept": whole(self.kept)}

    @torch.no_grad()
    def resume_(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.n = int(state["n"])
        for values, saved in zip(self.kept, state["kept"], strict=True):
            local(values).copy_(local(share_of(saved, values)))

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, kept in zip(self._moved, self.kept, strict=True):
            own = local(parameter).clone()
            local(parameter).copy_(local(kept))
            local(kept).copy_(own)
