"""Which rows come at which step of training, a function of the seed and the step alone."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import seeding


class Order:
    """Which rows come at which step: passes over shuffled data, a function of (seed, name, step) alone."""

    def __init__(self, n_rows: int, per_step: int, seed: int, *name: object):
        self.n_rows, self.per_step, self._seed, self._name = n_rows, per_step, seed, name
        self._passes: dict[int, Tensor] = {}

    def _pass(self, number: int) -> Tensor:
        if number not in self._passes:
            generator = seeding.torch_generator(self._seed, "order", *self._name, number)
            self._passes = {k: v for k, v in self._passes.items() if k >= number - 1}
            self._passes[number] = torch.randperm(self.n_rows, generator=generator)
        return self._passes[number]

    def rows(self, step: int) -> Tensor:
        """The rows of one step, int64 (per_step,); a batch may span the end of a pass."""
        positions = torch.arange(step * self.per_step, (step + 1) * self.per_step)
        numbers = positions // self.n_rows
        parts = [self._pass(int(k))[positions[numbers == k] % self.n_rows] for k in numbers.unique()]
        return torch.cat(parts)
