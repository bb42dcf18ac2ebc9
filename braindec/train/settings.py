"""What a training run is told, and what it says."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from braindec import checks, store


@dataclass(frozen=True)
class Config:
    """Settings of one training run.

    `batch_size` counts trials over all subjects together. `validation_fraction` of a prior's pairs is held out to
    choose the step whose weights are kept (an encoder's steps are chosen by cross-fitting). `repeats`: a trial is seen
    alone, averaged with a random subset of its stimulus' other repeats, or always averaged with all of them.
    `ridge_start` begins an encoder as the closed-form solution, where its members have a place for one. `pieces`: a
    step's rows go through the network in so many parts, for less memory and more time, with the same loss over all of
    them; where memory runs out, their number is doubled by itself. `ema`: what is validated and kept is a running
    average of the weights with this decay, e.g. 0.999 (see `train.average`), not the weights of a step. `shard`: under
    torchrun each rank holds a share of the backbone's weights, gradients and optimiser state (FSDP): for models that
    are too large for one device. `device`: "auto" is an NVIDIA (or ROCm) GPU where there is one, else the CPU; Apple's
    GPUs are left alone.
    """

    n_steps: int = 1000
    batch_size: int = 256
    lr: float = 3e-4
    weight_decay: float = 1e-2
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup_fraction: float = 0.1
    clip_norm: float = 1.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    validation_fraction: float = 0.1
    validate_every: int = 50
    repeats: Literal["single", "mixed", "average"] = "mixed"
    ridge_start: bool = True
    checkpoint_every: int = 0
    device: Literal["auto", "cpu"] = "auto"
    pieces: int = 1
    ema: float | None = None
    shard: bool = False

    def __post_init__(self) -> None:
        checks.at_least("train.n_steps", self.n_steps, 0)
        checks.at_least("train.batch_size", self.batch_size, 2)
        checks.in_range("train.validation_fraction", self.validation_fraction, 0.0, 0.5)
        checks.in_range("train.warmup_fraction", self.warmup_fraction, 0.0, 1.0)
        checks.at_least("train.validate_every", self.validate_every, 1)
        checks.at_least("train.pieces", self.pieces, 1)
        if self.shard and (self.precision == "fp16" or self.pieces > 1):
            raise checks.ConfigError("train.shard goes with precision 'no' or 'bf16', and with pieces=1.")
        if self.ema is not None:
            checks.in_range("train.ema", self.ema, 0.0, 0.999_999)


@dataclass
class Log:
    """What training said: a row a logged step, each a dict of numbers."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_step: int = 0

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """(steps, values) of one quantity where it was logged."""
        rows = [r for r in self.rows if name in r]
        return [r["step"] for r in rows], [r[name] for r in rows]


def write_csv(path: Path, log: Log) -> None:
    """The log as CSV, one column a quantity."""
    names = list(dict.fromkeys(k for row in log.rows for k in row))
    with store.atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(log.rows)
