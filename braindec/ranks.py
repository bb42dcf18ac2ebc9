"""Several processes that train as one: each computes its share of every step, and all make the same step.

Everything else is done by every process alike, so what is decided is decided alike; only the first one writes.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from braindec import checks

BUCKET = 16_000_000  # gradient values that travel together
PATIENCE = timedelta(
    hours=12
)  # others wait while the first rank embeds; one that is killed is noticed at once


class RankLost(RuntimeError):
    """Another process of this run has stopped."""


@dataclass(frozen=True)
class Ranks:
    """How many processes train together and which one this is.

    Parameters
    ----------
    n : int
    rank : int
        In [0, n).
    """

    n: int = 1
    rank: int = 0

    @classmethod
    def here(cls) -> Ranks:
        """Those of torch.distributed where it runs, else one."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_world_size(), dist.get_rank())

    @classmethod
    def start(cls) -> Ranks:
        """Joins the processes that `torchrun` started; one where it started none."""
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
            from accelerate import PartialState

            PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
            atexit.register(_leave)
        return cls.here()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def device(self, asked: str) -> torch.device:
        """The accelerator of this rank, or the CPU."""
        if asked == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        here = int(os.environ.get("LOCAL_RANK", self.rank))  # machines may hold unequal numbers of ranks
        return torch.device("cuda", here % torch.cuda.device_count())

    # ------------------------------------------------------------------------------------------ shares of a step

    def part(self, numbers: Tensor) -> Tensor:
        """This rank's share of a step's samples; shares are equal, so that their mean is the mean of the step."""
        if len(numbers) % self.n:
            raise checks.ConfigError(f"batch_size {len(numbers)} must be a multiple of the {self.n} ranks.")
        return numbers.chunk(self.n)[self.rank]

    def shares(self, n_rows: int) -> list[int]:
        """How many of a step's rows each rank computes; they differ by one at most."""
        return [n_rows // self.n + (rank < n_rows % self.n) for rank in range(self.n)]

    def share(self, n_rows: int) -> slice:
        """Which of a step's rows this rank computes."""
        counts = self.shares(n_rows)
        start = sum(counts[: self.rank])
        return slice(start, start + counts[self.rank])

    def gather(self, values: Tensor, counts: list[int]) -> Tensor:
        """All ranks' rows, in their order, from this rank's; gradients flow back to this rank's rows.

        The gradient assumes that every rank goes on to compute the same scalar from what is gathered, and that
        gradients of weights are then averaged by `mean_of_gradients`: together they are those of one process.

        Parameters
        ----------
        values : Tensor, shape (counts[rank], ...)
        counts : list of int
            Rows of each rank.
        """
        return values if self.n == 1 else _Gathered.apply(values, tuple(counts), self)

    # --------------------------------------------------------------------------------------------- what is shared

    def mean_of_gradients(self, parameters: Iterable[Tensor]) -> None:
        """In place: every rank gets the mean gradient of all; one that has none counts as zero.

        What no rank has a gradient for stays without: a zero would let weight decay act on it, as one process does not.
        Shares of a tensor (FSDP) have the mean already.
        """
        if self.n == 1:
            return
        learnt = [p for p in parameters if p.requires_grad and not hasattr(p, "placements")]
        touched = self.anywhere([p.grad is not None for p in learnt])
        bucket: list[Tensor] = []
        for parameter in itertools.compress(learnt, touched):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            other = bucket and parameter.grad.dtype != bucket[0].dtype
            if other or sum(g.numel() for g in bucket) + parameter.grad.numel() > BUCKET:
                self._mean_of_bucket(bucket)
                bucket = []
            bucket.append(parameter.grad)
        self._mean_of_bucket(bucket)

    def mean_(self, values: Tensor) -> None:
        """In place: the mean over ranks."""
        if self.n > 1:
            with self._together():
                dist.all_reduce(values)
            values.div_(self.n)

    def any_(self, flags: Tensor) -> None:
        """In place: True where it is on any rank."""
        if self.n > 1:
            counts = flags.to(torch.int32)
            with self._together():
                dist.all_reduce(counts)
            flags.copy_(counts > 0)

    def anywhere(self, flags: list[bool]) -> list[bool]:
        """Which flags are set on any rank; every rank learns the same."""
        if self.n == 1:
            return flags
        told = torch.tensor(flags, device=self._meeting())
        self.any_(told)
        return [bool(flag) for flag in told.tolist()]

    def copy_first_(self, tensors: Iterable[Tensor]) -> None:
        """In place: the first rank's values, on every rank."""
        if self.n > 1:
            for tensor in tensors:
                with self._together():
                    dist.broadcast(tensor, 0)

    def number(self, value: float, device: torch.device | None = None) -> float:
        """The first rank's number: what follows from it must be decided alike, also on unlike machines."""
        told = torch.tensor(float(value), dtype=torch.float64, device=device or self._meeting())
        self.copy_first_([told])
        return float(told)

    def content(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the first rank has read: tensors and numbers in dicts, tuples and lists, or None."""
        if self.n == 1:
            return found
        buffer = io.BytesIO()
        torch.save(found, buffer)
        n_bytes = int(self.number(len(buffer.getvalue())))
        packed = torch.empty(n_bytes, dtype=torch.uint8)
        if self.first:
            packed = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
        packed = packed.to(self._meeting())
        self.copy_first_([packed])
        if self.first:
            return found
        told: dict[str, Any] | None = torch.load(
            io.BytesIO(packed.cpu().numpy().tobytes()), weights_only=True, map_location="cpu"
        )
        return told

    def text(self, value: str) -> str:
        """The first rank's text."""
        told = self.content({"text": value})
        return value if told is None else str(told["text"])

    def wait(self) -> None:
        """Until every rank is here."""
        if self.n > 1:
            with self._together():
                dist.barrier()

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first rank does this before the others do, so that they find what it has made."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def _mean_of_bucket(self, bucket: list[Tensor]) -> None:
        if not bucket:
            return
        flat = torch.cat([grad.flatten() for grad in bucket])
        self.mean_(flat)
        for grad, mean in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            grad.copy_(mean.view_as(grad))

    def _meeting(self) -> torch.device:
        """Where tensors lie that the process group can send."""
        return self.device("cpu" if self.n == 1 or dist.get_backend() == "gloo" else "auto")

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """Around what all ranks do: the words for a process that is gone differ between backends."""
        try:
            yield
        except RuntimeError as error:
            raise RankLost(
                f"rank {self.rank} of {self.n} cannot go on: another rank has stopped, its own output says why. Start "
                "the same command again; with train.checkpoint_every set, it goes on from the last checkpoint."
            ) from error


def _leave() -> None:
    """Closes the process group in order: threads that outlive it may abort an exiting process."""
    if dist.is_initialized():
        dist.destroy_process_group()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, counts: tuple[int, ...], ranks: Ranks) -> Tensor:
        ctx.place, ctx.n = slice(sum(counts[: ranks.rank]), sum(counts[: ranks.rank + 1])), ranks.n
        longest = max(counts)
        padded = values.new_zeros(longest, *values.shape[1:])
        padded[: len(values)] = values
        found = [torch.empty_like(padded) for _ in counts]
        with ranks._together():
            dist.all_gather(found, padded)
        return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return ctx.n * grad[ctx.place], None, None
