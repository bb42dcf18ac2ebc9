"""What one training step sees and minimises: batches of all subjects, and the weighted losses of their predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from braindec import checks, guards, seeding, train
from braindec.data.loader import Ahead, buffer
from braindec.decoder.cycle import NAMES, Cycle
from braindec.decoder.cycle import Config as CycleConfig
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.rows import Rows, RowTensor
from braindec.encoder import Encoder
from braindec.losses import Loss, Mix, join
from braindec.maths.order import Order
from braindec.ranks import Ranks


class Batches:
    """The batch of every step, a function of (seed, step): equal numbers of trials from every subject.

    Rows that are read on demand come into buffers that are used again, where reading waits for the disk ahead of the
    step that needs them: a batch is good until the next one is asked for.
    """

    def __init__(self, sets: Mapping[str, SubjectSet], settings: train.Config, seed: int, name: str):
        self._sets, self._settings, self._seed, self._name = sets, settings, seed, name
        if settings.repeats == "average":
            self._sets = {key: s.averaged() for key, s in sets.items()}
        per_key = max(2, settings.batch_size // max(1, len(sets)))
        self._orders = {
            key: Order(len(s.stimuli), min(per_key, len(s.stimuli)), seed, name, key)
            for key, s in self._sets.items()
        }
        self._repeats = {key: _repeat_table(s.stimuli) for key, s in self._sets.items()}
        self._buffers: dict[tuple[str, int], Tensor] = {}
        unread = [v for s in self._sets.values() for v in (s.signals, *s.targets.values())]
        self._ahead = Ahead(self._make) if any(isinstance(v, RowTensor) for v in unread) else None

    def __call__(self, step: int) -> dict[str, Any]:
        return self._make(step, 0) if self._ahead is None else self._ahead(step)

    def _make(self, step: int, slot: int) -> dict[str, Any]:
        batch: dict[str, Any] = {"keys": list(self._sets)}
        for key, data in self._sets.items():
            rows = self._orders[key].rows(step)
            generator = seeding.torch_generator(self._seed, "repeats", self._name, key, step)
            batch[f"signals/{key}"] = self._responses(key, rows, generator, slot)
            batch[f"stimuli/{key}"] = data.stimuli[rows]
            for output, target in data.targets.items():
                batch[f"{output}/{key}"] = self._rows(f"{output}/{key}", target, rows, slot)
        return batch

    def _rows(self, name: str, values: Rows, rows: Tensor, slot: int) -> Tensor:
        """Rows at positions of any shape, in this slot's buffer where they are read."""
        if not isinstance(values, RowTensor):
            return values[rows]
        shape = (rows.numel(), *values.shape[1:])
        held = self._buffers.get((name, slot))
        if held is None or held.shape != shape:
            held = self._buffers[name, slot] = torch.from_numpy(buffer(shape))  # float32
        return values.read(rows, held)

    def _responses(self, key: str, rows: Tensor, generator: torch.Generator, slot: int) -> Tensor:
        """Single responses, or each averaged with a random subset of its stimulus' other repeats."""
        data, repeats = self._sets[key], self._repeats[key]
        if self._settings.repeats != "mixed" or repeats.shape[1] == 1:
            return self._rows(f"signals/{key}", data.signals, rows, slot)
        others = repeats[rows]  # (trial, repeat), -1 where there is none
        kept = (torch.rand(others.shape, generator=generator) < 0.5) & (others >= 0) | (
            others == rows[:, None]
        )
        weight = kept.to(data.signals.dtype)
        weight = weight / weight.sum(1, keepdim=True)
        responses = self._rows(f"signals/{key}", data.signals, others.clamp_min(0), slot)
        return torch.einsum("nr,nr...->n...", weight, responses)


def _repeat_table(stimuli: Tensor) -> Tensor:
    """Rows that show the same stimulus as each row, itself included: (n_trials, max_repeats), padded with -1."""
    order = torch.argsort(stimuli, stable=True)
    _, group, counts = torch.unique_consecutive(stimuli[order], return_inverse=True, return_counts=True)
    table = torch.full((len(counts), int(counts.max())), -1)
    within = torch.arange(len(order)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    table[group, within] = order
    out = torch.empty((len(stimuli), table.shape[1]), dtype=torch.long)
    out[order] = table[group]
    return out


class Trainee(nn.Module):
    """Encoder and losses together, so that a learned temperature is trained with the weights."""

    shardable = ("encoder.backbone",)  # what all ranks reach in every step

    def __init__(
        self,
        encoder: Encoder,
        losses: Mapping[str, Loss],
        weights: Mapping[str, float],
        cycle: CycleConfig | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights)
        self.cycle = None if cycle is None else Cycle(encoder, cycle)
        self._n_pieces = 1
        if cycle is not None and not set(NAMES).isdisjoint(losses):
            raise checks.ConfigError(
                f"a decoder with a cycle has no output of the names {list(NAMES)}; rename it."
            )

    @property
    def n_pieces(self) -> int:
        """In how many pieces a step's rows go through the encoder, and are compared by losses that compare rows."""
        return self._n_pieces

    @n_pieces.setter
    def n_pieces(self, n: int) -> None:
        self._n_pieces = n
        for part in self.modules():
            if isinstance(part, Loss):
                part.n_pieces = n

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Signals by key to predictions by key and output; in training each rank computes its share of the rows.

        What the cycle misses stands beside the predictions, in training.
        """
        for module in self.encoder.modules():  # a frozen trunk keeps its running statistics too
            if isinstance(module, _BatchNorm) and module.affine and not module.weight.requires_grad:
                module.eval()
        ranks = Ranks.here()
        if not self.training:
            return self._predict(signals)
        if ranks.n == 1:
            return guards.in_pieces(self._predict, signals, self.n_pieces)
        share = {key: rows[ranks.share(len(rows))] for key, rows in signals.items()}
        own = guards.in_pieces(self._predict, share, self.n_pieces)
        return {
            key: {name: ranks.gather(made, ranks.shares(len(signals[key]))) for name, made in outputs.items()}
            for key, outputs in own.items()
        }

    def _predict(self, signals: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        predictions: dict[str, dict[str, Tensor]] = self.encoder(signals)
        if self.cycle is None or not self.training:
            return predictions
        missed = self.cycle(self.encoder, signals)
        return {key: outputs | missed[key] for key, outputs in predictions.items()}


def objective(
    module: nn.Module, batch: Mapping[str, Any], progress: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Weighted losses of one batch; the signals of each subject are mixed among themselves where a loss asks for it."""
    keys: list[str] = batch["keys"]
    trainee: Trainee = checks.of_type("module", module, Trainee)
    signals = {key: batch[f"signals/{key}"] for key in keys}
    mixes = {key: _draw_mix(trainee, len(signals[key]), progress, generator) for key in keys}
    mixed = {key: m.apply(signals[key]) if (m := mixes[key]) is not None else signals[key] for key in keys}
    predictions = module(mixed)
    drawn = [m for m in mixes.values() if m is not None]
    mix = join(drawn) if drawn else None
    ids = torch.cat([batch[f"stimuli/{key}"] for key in keys])
    losses: dict[str, Tensor] = {}
    for output, loss in trainee.losses.items():
        prediction = torch.cat([predictions[key][output] for key in keys])
        target = torch.cat([batch[f"{output}/{key}"] for key in keys])
        losses[output] = trainee.weights[output] * loss(prediction, target, ids, progress, mix)
    if trainee.cycle is not None and trainee.training:
        missed = {key: {name: predictions[key][name] for name in NAMES} for key in keys}
        losses |= trainee.cycle.losses(missed)
    for name, loss_of in trainee.encoder.backbone.auxiliary.items():
        losses[name] = loss_of(torch.cat([predictions[key][name] for key in keys]))
    return losses


def _draw_mix(trainee: Trainee, n: int, progress: float, generator: torch.Generator) -> Mix | None:
    for loss in trainee.losses.values():
        mix = loss.draw_mix(n, progress, generator)  # type: ignore[operator]  # ModuleDict forgets the class
        if mix is not None:
            return mix
    return None
