"""The training loop: modules, batches and objectives in; fitted modules and a log out. It knows no BrainDecoder.

Every draw (order of trials, dropout, mixing, noise) is a function of (seed, name, step), so a run that was killed and
resumed makes the same steps as one that was not, and nothing about random states has to be stored.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from braindec import config, stopping
from braindec.maths import heap
from braindec.ranks import Ranks
from braindec.train.optimise import optimizer_of
from braindec.train.run import Objective, Run, refuse_batch_statistics
from braindec.train.settings import Config, Log, write_csv

__all__ = ["Config", "Log", "Objective", "fit", "identity", "optimizer_of", "split_rows", "write_csv"]


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
    gathered: list[Any] | None = None,
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
        Where ``<name>.csv`` and checkpoints go; an unfinished run found there is resumed. A signal to stop (SIGTERM,
        SIGUSR1, Ctrl-C) makes a checkpoint after the step at hand, whatever `checkpoint_every` is.
    validate : callable, optional
        ``validate(module)``, higher is better; called every `validate_every` steps and before the first.
    stop_at : int, optional
        End after this step of the same schedule (a refit of the chosen length).
    progress : bool
        Show a progress bar.
    about : str
        Names the data and whatever else a resumed run must share beside settings and seed.
    gathered : list, optional
        What `validate` gathers, in place: kept with the checkpoint of a stop, and filled again where the run goes on.
        Such a fit is a part of a longer one: it makes no other checkpoints and leaves no table.

    Returns
    -------
    Log

    Raises
    ------
    DivergenceError
        If a loss, a gradient or a weight is not finite: says which term, which tensor and which subject.
    ShortageError
        If a step does not fit into memory, however small its pieces are.
    SaveError
        If a checkpoint cannot be written; the one before is whole.

    Notes
    -----
    Under `torchrun` every process makes the same call. A module that shares its work among ranks (`decoder.batches.
    Trainee`) then computes its own rows of a step alone; gradients are averaged, and the first rank writes.
    """
    refuse_batch_statistics(module)
    ranks, every = Ranks.here(), 0 if gathered is not None else settings.checkpoint_every
    known = "" if folder is None else identity(settings, seed, module, batch, about)
    run = Run(
        module, batch, objective, settings, seed=seed, name=name, folder=folder, identity=known, validate=validate,
        gathered=gathered, about=about,
    )  # fmt: skip
    last = int(ranks.number(settings.n_steps if stop_at is None else min(stop_at, settings.n_steps)))
    bar = tqdm(
        range(run.first, last), initial=run.first, total=last, desc=name, leave=False,
        disable=not (progress and ranks.first),
    )  # fmt: skip
    tell = partial(bar.write, file=sys.stderr)
    with heap.kept(), torch.random.fork_rng(), stopping.deferred() as asked:
        if run.first == 0:
            run.look(0)
        for step in bar:
            losses, done = run.step(step, tell), step + 1
            if done % 10 == 0 or done == last:
                row = run.note(done, losses)
                bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k not in ("step", "lr")})
            if done % settings.validate_every == 0 or done == last:
                run.look(done)
            signal = stopping.agreed(asked, ranks.anywhere)
            if signal is not None:
                run.stop(done, last, asked, signal)
            if every and done % every == 0:
                run.keep(done)
    log = run.end(last)
    if folder is not None and gathered is None and ranks.first:
        write_csv(folder / f"{name}.csv", log)
    ranks.wait()  # none leaves while another still reads what it sent
    return log


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
