"""Training on several ranks: each takes its share of every step's samples, and all see the same gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from braindec import checks


@dataclass(frozen=True)
class Ranks:
    """How many processes train together and which one this is."""

    n: int = 1
    rank: int = 0

    @classmethod
    def here(cls) -> Ranks:
        """Those of torch.distributed where it runs, else one."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_world_size(), dist.get_rank())

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def device(self, asked: str) -> torch.device:
        """The accelerator of this rank, or the CPU."""
        if asked == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.rank % torch.cuda.device_count())

    def part(self, numbers: Tensor) -> Tensor:
        """This rank's share of a step's samples; shares are equal, so that their mean is the mean of the step."""
        if len(numbers) % self.n:
            raise checks.ConfigError(f"batch_size {len(numbers)} must be a multiple of the {self.n} ranks.")
        return numbers.chunk(self.n)[self.rank]

    def mean_of_gradients(self, model: nn.Module, fired: Tensor, threshold: Tensor) -> None:
        """In place: every rank gets the mean gradient and threshold of all, and what fired on any."""
        if self.n == 1:
            return
        for parameter in model.parameters():
            grad = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            dist.all_reduce(grad)
            parameter.grad = grad / self.n
        counts = fired.to(torch.int32)
        dist.all_reduce(counts)
        fired.copy_(counts > 0)
        dist.all_reduce(threshold)
        threshold.div_(self.n)
