"""One training run: its steps, what it looks at and keeps, and how it ends where it cannot go on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from braindec import checkpoints, checks, guards, seeding, stopping
from braindec.ranks import Ranks
from braindec.train import optimise
from braindec.train.average import Average
from braindec.train.settings import Config, Log
from braindec.train.shards import Shards, share_out_, whole

Objective = Callable[[nn.Module, Mapping[str, Any], float, torch.Generator], dict[str, Tensor]]
Batch = Callable[[int], Mapping[str, Any]]


class Run:
    """A module on its way through a schedule.

    Parameters
    ----------
    module, batch, objective, settings, validate
        See `train.fit`.
    seed, name
        What is drawn in a step follows from them and its number.
    folder : Path, optional
    identity, about : str
        Of the run, in its checkpoints; what it is about.
    gathered : list, optional
    """

    def __init__(
        self, module: nn.Module, batch: Batch, objective: Objective, settings: Config, *, seed: int, name: str,
        folder: Path | None, identity: str, validate: Callable[[nn.Module], float] | None, gathered: list[Any] | None,
        about: str = "",
    ):  # fmt: skip
        self.module, self.batch, self.objective, self.settings = module, batch, objective, settings
        self.seed, self.name, self.folder, self.identity, self.about = seed, name, folder, identity, about
        self.validate, self.gathered, self.ranks = validate, gathered, Ranks.here()
        self.accelerator = optimise.accelerator_of(settings)
        self.log, self.best, self.first = Log(), (-float("inf"), _weights(module)), 0
        self.pieces = settings.pieces
        if self.pieces > 1:
            guards.divide(module, self.pieces)
        saved = self._saved()
        if saved is not None:
            module.load_state_dict(saved["module"])
        module.to(self.accelerator.device)
        self.ranks.copy_first_([*module.state_dict().values()])
        self.shards = Shards(module, settings, self.accelerator.device)
        optimizer = optimise.optimizer_of(module, settings)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: optimise.rate(settings, s))
        self.average = Average(module, settings.ema)
        if saved is not None:
            self._resume(saved, optimizer)
        # Gradients are averaged here and not by a wrapper, which would wait for parameters that a step does not reach.
        self.prepared = self.accelerator.prepare_model(module, evaluation_mode=True)
        self.optimizer = self.accelerator.prepare(optimizer)
        self.optimizer.zero_grad(set_to_none=True)

    @property
    def lr(self) -> float:
        """The learning rate of the step to come."""
        return float(self.scheduler.get_last_lr()[0])

    # ----------------------------------------------------------------------------------------------------- steps

    def step(self, step: int, tell: Callable[[str], None]) -> dict[str, Tensor]:
        """Makes one step, in more pieces than before where it does not fit; gives its losses."""
        self.module.train()
        given = self.batch(step)
        found: dict[str, Tensor] | None = None
        while found is None:
            try:
                found = self._gradients(step, given)
            except (MemoryError, RuntimeError) as error:
                if not guards.is_shortage(error):
                    raise
                pieces = guards.next_pieces(self.module, given, self.ranks.n, error)
            if found is None:  # here the failed pass and what it held are gone
                self._divide(pieces, step, tell)
        try:
            self.optimizer.step()
        except (MemoryError, RuntimeError) as error:
            if guards.is_shortage(error):
                raise guards.too_large(self.module, "The optimiser's state has no room.") from error
            raise
        self.average.update()
        self.optimizer.zero_grad(set_to_none=True)  # the next forward pass and validation have this room
        self.scheduler.step()
        return found

    def _gradients(self, step: int, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """Losses of a step, with finite gradients in the weights."""
        device = self.accelerator.device
        values = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in given.items()}

        def forward() -> dict[str, Tensor]:
            seeding.start_global_(device, self.seed, "step", self.name, step, *_own(self.ranks))
            generator = torch.Generator(device).manual_seed(
                seeding.derive(self.seed, "draw", self.name, step)
            )
            with self.accelerator.autocast():
                return self.objective(self.prepared, values, step / max(1, self.settings.n_steps), generator)

        losses = forward()
        where = partial(self._where, step + 1)
        guards.refuse_divergence(losses, None, self.module, values, forward, where)
        self.accelerator.backward(torch.stack([loss.float() for loss in losses.values()]).sum())
        self.ranks.mean_of_gradients(self.module.parameters())
        norm = optimise.norm_of_gradients(self.accelerator, self.module, self.settings)
        if self.accelerator.scaler is None:  # fp16 finds its scale by overflowing, and skips such steps
            guards.refuse_divergence(losses, norm, self.module, values, forward, where)
        return losses

    def _divide(self, pieces: int, step: int, tell: Callable[[str], None]) -> None:
        """Goes on in so many pieces."""
        self.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        self.pieces = pieces
        guards.divide(self.module, pieces)
        self.log.rows.append({"step": float(step + 1), "pieces": float(pieces)})
        tell(
            f"{self.name}: step {step + 1} did not fit into memory; from here on a step goes through the network in "
            f"{pieces} pieces, with the same loss (train.pieces={pieces})."
        )

    def note(self, step: int, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """Puts a step into the log."""
        row = {"step": float(step), "lr": self.lr} | {k: float(v.detach()) for k, v in losses.items()}
        self.log.rows.append(row)
        return row

    def look(self, step: int) -> None:
        """Validates, and remembers the best weights."""
        if self.validate is None:
            return
        self.module.eval()
        with torch.no_grad(), self.average.shown():
            value = self.ranks.number(self.validate(self.module))
            self.log.rows.append({"step": float(step), "validation": value})
            if value > self.best[0]:  # NaN is no improvement
                self.log.best_step = step
                self.best = value, _weights(self.module)

    # ---------------------------------------------------------------------------------------- what is kept of it

    def keep(self, step: int) -> None:
        """Writes a checkpoint; the first rank does, and the others give their shares."""
        if self.folder is None or not (self.ranks.first or self.shards):
            return
        guards.refuse_weights(self.module, partial(self._where, step))
        scaler, state = self.accelerator.scaler, self.optimizer.state_dict()
        kept = {
            "module": _weights(self.module), "average": self.average.state(),
            "optimizer": whole(state) if self.shards else state,
        }  # fmt: skip
        if not self.ranks.first:
            return
        checkpoints.keep(self.folder, self.name, self.identity, step, kept | {
            "rows": self.log.rows, "pieces": self.pieces, "scheduler": self.scheduler.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(), "gathered": self.gathered or [],
            "best_step": self.log.best_step, "best_value": self.best[0], "best_weights": self.best[1],
        }, self.about)  # fmt: skip

    def _saved(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, if there is one."""
        if self.folder is None:
            return None
        if self.ranks.first:
            checkpoints.sweep(self.folder, self.name)
        return checkpoints.newest(self.folder, self.name, self.identity)

    def _resume(self, saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Goes on from a checkpoint whose weights are in the module."""
        optimizer.load_state_dict(saved["optimizer"])
        share_out_(optimizer)
        self.scheduler.load_state_dict(saved["scheduler"])
        self.average.resume_(saved["average"])
        self.log = Log(saved["rows"], saved["best_step"])
        self.best, self.first = (saved["best_value"], saved["best_weights"]), saved["step"]
        if saved["pieces"] != self.pieces:
            self.pieces = saved["pieces"]
            guards.divide(self.module, self.pieces)
        if self.gathered is not None:
            self.gathered[:] = saved["gathered"]
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])

    def stop(self, step: int, last: int, asked: stopping.Asked, name: str) -> None:
        """Keeps what there is and ends the process as the signal asks."""
        self.keep(step)
        if self.ranks.first:
            kept = (
                f"saved in {self.folder}; the same command goes on from there" if self.folder else "not saved"
            )
            print(f"{self.name}: stopped by {name} after step {step} of {last}, {kept}.", file=sys.stderr)
        self.ranks.wait()
        asked.obey(name)

    def end(self, last: int) -> Log:
        """The module on the CPU with the weights that are kept, and the log."""
        guards.refuse_weights(self.module, partial(self._where, last))
        if self.validate is None:
            self.average.settle_()
            self.log.best_step = last
        self.shards.end()
        self.accelerator.unwrap_model(self.prepared, keep_fp32_wrapper=False).to("cpu")
        if self.validate is not None:
            self.module.load_state_dict(self.best[1])
        self.module.eval()
        asked_for = self.settings.checkpoint_every and self.gathered is None
        if self.folder is not None and self.ranks.first and not asked_for:
            checkpoints.forget(self.folder, self.name)
        return self.log

    def _where(self, step: int) -> guards.Where:
        """What an error says of where a run is."""
        if self.folder is None:
            return guards.Where(step, self.lr)
        found = checkpoints.files(self.folder, self.name)
        place = self.folder / f"{self.name}.diverged.json" if self.ranks.first else None
        return guards.Where(step, self.lr, found[-1] if found else None, place)


def refuse_batch_statistics(module: nn.Module) -> None:
    """Batch norms would see a rank's share of a batch alone, and train another network than one process does."""
    ranks, found = Ranks.here(), guards.batch_norm(module)
    if ranks.n > 1 and found:
        raise checks.ConfigError(
            f"{found} normalises by the statistics of a batch, of which each of {ranks.n} ranks sees its share "
            "alone; start this one without torchrun."
        )


def _own(ranks: Ranks) -> tuple[object, ...]:
    """What sets apart the draws of a rank; the first draws as one process does."""
    return () if ranks.first else ("rank", ranks.rank)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = whole(dict(module.state_dict()))
    return found
