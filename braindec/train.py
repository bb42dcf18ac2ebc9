"""The training loop: modules, batches and objectives in; fitted modules and a log out. It knows no BrainDecoder.

Every draw (order of trials, dropout, mixing, noise) is a function of (seed, name, step), so a run that was killed and
resumed makes the same steps as one that was not, and nothing about random states has to be stored.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm.auto import tqdm

from braindec import checkpoints, checks, config, seeding, store
from braindec.maths import heap
from braindec.ranks import Ranks

Objective = Callable[[nn.Module, Mapping[str, Any], float, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class Config:
    """Settings of one training run.

    `batch_size` counts trials over all subjects together. `validation_fraction` of a prior's pairs is held out to
    choose the step whose weights are kept (an encoder's steps are chosen by cross-fitting). `repeats`: a trial is seen
    alone, averaged with a random subset of its stimulus' other repeats, or always averaged with all of them.
    `ridge_start` begins an encoder as the closed-form solution, where its members have a place for one.
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

    def __post_init__(self) -> None:
        checks.at_least("train.n_steps", self.n_steps, 0)
        checks.at_least("train.batch_size", self.batch_size, 2)
        checks.in_range("train.validation_fraction", self.validation_fraction, 0.0, 0.5)
        checks.in_range("train.warmup_fraction", self.warmup_fraction, 0.0, 1.0)
        checks.at_least("train.validate_every", self.validate_every, 1)


@dataclass
class Log:
    """What training said: a row a logged step, each a dict of numbers."""

    rows: list[dict[str, float]] = field(default_factory=list)
    best_step: int = 0

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """(steps, values) of one quantity where it was logged."""
        rows = [r for r in self.rows if name in r]
        return [r["step"] for r in rows], [r[name] for r in rows]


def fit(
    module: nn.Module,
    batch: Callable[[int], Mapping[str, Any]],
    objective: Objective,
    settings: Config,
    *,
    seed: int,
    name: str = "train",
    folder: Path | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    stop_at: int | None = None,
    progress: bool = True,
    about: str = "",
) -> Log:
    """Trains a module in place and keeps the weights of its best validated step.

    Parameters
    ----------
    module : nn.Module
        Changed in place; ends in eval mode on the CPU.
    batch : callable
        ``batch(step)`` gives the tensors of one step; a function of the step alone.
    objective : callable
        ``objective(module, batch, progress, generator)`` gives named scalars; their sum is minimised.
    settings : Config
    seed : int
    name : str
        Of this run in the log, in checkpoints and in what is drawn.
    folder : Path, optional
        Where ``<name>.csv`` and checkpoints go; an unfinished run found there is resumed.
    validate : callable, optional
        ``validate(module)``, higher is better; called every `validate_every` steps and before the first.
    stop_at : int, optional
        End after this step of the same schedule (a refit of the chosen length).
    progress : bool
        Show a progress bar.
    about : str
        Names the data and whatever else a resumed run must share beside settings and seed.

    Returns
    -------
    Log

    Notes
    -----
    Under `torchrun` every process makes the same call. A module that shares its work among ranks (`decoder.batches.
    Trainee`) then computes its own rows of a step alone; gradients are averaged, and the first rank writes.
    """
    accelerator = _accelerator(settings)
    ranks = Ranks.here()
    _refuse_batch_statistics(module, ranks)
    optimizer = optimizer_of(module, settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _schedule(settings, step))
    log, best, first = Log(), (-float("inf"), _weights(module)), 0
    module.to(accelerator.device)
    run = (
        identity(settings, seed, module, batch, about)
        if folder is not None and settings.checkpoint_every
        else ""
    )
    saved = checkpoints.newest(folder, name, run) if folder is not None and run else None
    if saved is not None:
        module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        log = Log(saved["rows"], saved["best_step"])
        best, first = (saved["best_value"], saved["best_weights"]), saved["step"]
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(saved["scaler"])
    # Gradients are averaged here and not by a wrapper, which would wait for parameters that a step does not reach.
    prepared = accelerator.prepare_model(module, evaluation_mode=True)
    optimizer = accelerator.prepare(optimizer)
    optimizer.zero_grad(set_to_none=True)
    ranks.copy_first_([*module.state_dict().values()])
    last = int(ranks.number(settings.n_steps if stop_at is None else min(stop_at, settings.n_steps)))
    bar = tqdm(
        range(first, last),
        initial=first,
        total=last,
        desc=name,
        leave=False,
        disable=not (progress and ranks.first),
    )
    with heap.kept(), torch.random.fork_rng():
        if first == 0:
            best = _validate(module, validate, 0, log, best, ranks)
        for step in bar:
            torch.manual_seed(seeding.derive(seed, "step", name, step, *_own(ranks)))
            generator = torch.Generator(accelerator.device).manual_seed(
                seeding.derive(seed, "draw", name, step)
            )
            module.train()
            values = {
                k: v.to(accelerator.device) if isinstance(v, Tensor) else v for k, v in batch(step).items()
            }
            with accelerator.autocast():
                losses = objective(prepared, values, step / max(1, settings.n_steps), generator)
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            accelerator.backward(total)
            ranks.mean_of_gradients(module.parameters())
            if settings.clip_norm > 0:
                accelerator.clip_grad_norm_(module.parameters(), settings.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)  # the next forward pass and validation have this room
            scheduler.step()
            _log_step(log, step + 1, losses, float(scheduler.get_last_lr()[0]), last, bar)
            if (step + 1) % settings.validate_every == 0 or step + 1 == last:
                best = _validate(module, validate, step + 1, log, best, ranks)
            if folder is not None and run and ranks.first and (step + 1) % settings.checkpoint_every == 0:
                checkpoints.keep(folder, name, run, step + 1, {
                    "module": _weights(module), "rows": log.rows,
                    "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
                    "scaler": {} if accelerator.scaler is None else accelerator.scaler.state_dict(),
                    "best_step": log.best_step, "best_value": best[0], "best_weights": best[1],
                })  # fmt: skip
    accelerator.unwrap_model(prepared, keep_fp32_wrapper=False).to("cpu")
    if validate is not None:
        module.load_state_dict(best[1])
    else:
        log.best_step = last
    module.eval()
    if folder is not None and ranks.first:
        write_csv(folder / f"{name}.csv", log)
    ranks.wait()  # none leaves while another still reads what it sent
    return log


def _accelerator(settings: Config) -> Any:
    """An accelerator of these settings; accelerate itself would hold every later run to the first one's precision."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision=settings.precision, cpu=settings.device == "cpu")


def _refuse_batch_statistics(module: nn.Module, ranks: Ranks) -> None:
    """Batch norms would see a rank's share of a batch alone, and train another network than one process does."""
    found = [n for n, m in module.named_modules() if isinstance(m, _BatchNorm) and _learns(m)]
    if ranks.n > 1 and found:
        raise checks.ConfigError(
            f"{found[0]} normalises by the statistics of a batch, of which each of {ranks.n} ranks sees its share "
            "alone; start this one without torchrun."
        )


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _own(ranks: Ranks) -> tuple[object, ...]:
    """What sets apart the draws of a rank; the first draws as one process does."""
    return () if ranks.first else ("rank", ranks.rank)


def _log_step(log: Log, step: int, losses: dict[str, Tensor], lr: float, last: int, bar: Any) -> None:
    if step % 10 and step != last:
        return
    row = {"step": float(step), "lr": lr} | {k: float(v.detach()) for k, v in losses.items()}
    if not all(abs(v) < float("inf") for v in row.values()):
        raise FloatingPointError(
            f"training diverged at step {step}: {row}. Lower train.lr or use precision 'no'."
        )
    log.rows.append(row)
    bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k not in ("step", "lr")})


def _validate(
    module: nn.Module,
    validate: Callable[[nn.Module], float] | None,
    step: int,
    log: Log,
    best: tuple[float, Any],
    ranks: Ranks,
) -> tuple[float, Any]:
    if validate is None:
        return best
    module.eval()
    with torch.no_grad():
        value = ranks.number(validate(module))
    log.rows.append({"step": float(step), "validation": value})
    if not value > best[0]:  # NaN is no improvement
        return best
    log.best_step = step
    return value, _weights(module)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}


def optimizer_of(module: nn.Module, settings: Config) -> torch.optim.AdamW:
    """AdamW over what is trainable, in one pass over the weights a step.

    Weight decay acts on matrices alone, not on biases, gains and temperatures.
    """
    return torch.optim.AdamW(_decay_groups(module, settings.weight_decay), lr=settings.lr, fused=True)


def _decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim >= 2]
    rest = [p for p in module.parameters() if p.requires_grad and p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [g for g in groups if g["params"]]


def _schedule(settings: Config, step: int) -> float:
    """Learning-rate factor in [0, 1]: linear warm-up, then cosine to zero (or constant)."""
    warmup = (
        max(1, round(settings.warmup_fraction * settings.n_steps)) if settings.schedule == "one_cycle" else 1
    )
    if step < warmup and settings.schedule == "one_cycle":
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, settings.n_steps - warmup)
    return 0.5 * (1 + float(torch.cos(torch.tensor(min(1.0, done) * torch.pi))))


def write_csv(path: Path, log: Log) -> None:
    """The log as CSV, one column a quantity."""
    names = list(dict.fromkeys(k for row in log.rows for k in row))
    with store.atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(log.rows)


def identity(
    settings: Config, seed: int, module: nn.Module, batch: Callable[[int], Mapping[str, Any]], about: str
) -> str:
    """sha256 of what a resumed run must share: settings, seed, and the shapes and whole numbers of weights and data.

    Not of their fractions, which another machine may round another way; `about` names what these are made of.
    """
    first = {k: v for k, v in batch(0).items() if isinstance(v, Tensor)}
    shapes = {k: list(v.shape) for k, v in (*module.state_dict().items(), *first.items())}
    numbers = {k: v.tolist() for k, v in first.items() if not v.is_floating_point()}
    text = json.dumps([config.to_json(settings), seed, shapes, numbers, about], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def split_rows(units: Sequence[str], fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Row numbers (train, validation) with no unit in both; validation is empty when `fraction` is 0."""
    names = sorted(set(units))
    n_held = round(fraction * len(names)) if fraction > 0 else 0
    if fraction > 0:
        n_held = min(max(1, n_held), len(names) - 1)
    order = torch.randperm(len(names), generator=generator).tolist()
    held = {names[i] for i in order[:n_held]}
    mask = torch.tensor([u in held for u in units], dtype=torch.bool)
    return torch.nonzero(~mask).flatten(), torch.nonzero(mask).flatten()
