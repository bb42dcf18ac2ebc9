"""Between prepared trials and trained modules: batches, ridge start, objective, validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.modules.batchnorm import _BatchNorm

from braindec import checks, seeding, train
from braindec.data import NeuralDataset, splits
from braindec.decoder.prediction import average_groups, group_repeats
from braindec.encoder import Encoder
from braindec.losses import Loss, Mix, join
from braindec.maths import folds, nearest, ridge
from braindec.types import Trials

ALPHAS = tuple(
    float(a) for a in torch.logspace(-1, 7, 17)
)  # penalties for standardised signals, a factor 3.2 apart


@dataclass(frozen=True, eq=False)
class SubjectSet:
    """Training data of one signal key.

    Parameters
    ----------
    signals : Tensor, shape (n_trials, *signal)
        Preprocessed.
    targets : mapping of str to Tensor, shape (n_trials, n_tokens, n_dims)
        Centred embeddings of what was presented, by output name.
    stimuli : int Tensor, shape (n_trials,)
        Equal where the stimulus is.
    units : tuple of str
        The split's unit of each trial; validation and folds never divide one.
    """

    signals: Tensor
    targets: Mapping[str, Tensor]
    stimuli: Tensor
    units: tuple[str, ...]

    def take(self, rows: Tensor) -> SubjectSet:
        """These rows."""
        targets = {name: t[rows] for name, t in self.targets.items()}
        return SubjectSet(
            self.signals[rows], targets, self.stimuli[rows], tuple(self.units[i] for i in rows.tolist())
        )

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Group of each row and first row of each group: repeats of a stimulus in the same unit."""
        return group_repeats(self.stimuli.numpy().astype(str), np.array(self.units))

    def averaged(self) -> SubjectSet:
        """One row a stimulus (and unit), responses averaged over its repeats there."""
        group, first = self.groups()
        mean = torch.from_numpy(average_groups(self.signals.numpy(), group, len(first)))
        kept = self.take(torch.from_numpy(first))
        return SubjectSet(mean, kept.targets, kept.stimuli, kept.units)


def inner_units(part: NeuralDataset, trials: Trials) -> np.ndarray:
    """Text, shape (n_trials,): what folds within training never divide, the split's unit.

    Stimuli where there is no split, or where subjects are held out: a fold without a subject fits nothing of it.
    """
    unit = "stimulus" if part.split is None or part.split.unit == "subject" else part.split.unit
    return splits.unit_values(trials, part.stimuli, unit)


class Batches:
    """The batch of every step, a function of (seed, step): equal numbers of trials from every subject."""

    def __init__(self, sets: Mapping[str, SubjectSet], settings: train.Config, seed: int, name: str):
        self._sets, self._settings, self._seed, self._name = sets, settings, seed, name
        if settings.repeats == "average":
            self._sets = {key: s.averaged() for key, s in sets.items()}
        per_key = max(2, settings.batch_size // max(1, len(sets)))
        self._orders = {
            key: train.Order(len(s.stimuli), min(per_key, len(s.stimuli)), seed, name, key)
            for key, s in self._sets.items()
        }
        self._repeats = {key: _repeat_table(s.stimuli) for key, s in self._sets.items()}

    def __call__(self, step: int) -> dict[str, Any]:
        batch: dict[str, Any] = {"keys": list(self._sets)}
        for key, data in self._sets.items():
            rows = self._orders[key].rows(step)
            generator = seeding.torch_generator(self._seed, "repeats", self._name, key, step)
            batch[f"signals/{key}"] = self._responses(key, rows, generator)
            batch[f"stimuli/{key}"] = data.stimuli[rows]
            for output, target in data.targets.items():
                batch[f"{output}/{key}"] = target[rows]
        return batch

    def _responses(self, key: str, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Single responses, or each averaged with a random subset of its stimulus' other repeats."""
        data, repeats = self._sets[key], self._repeats[key]
        if self._settings.repeats != "mixed" or repeats.shape[1] == 1:
            return data.signals[rows]
        others = repeats[rows]  # (trial, repeat), -1 where there is none
        kept = (torch.rand(others.shape, generator=generator) < 0.5) & (others >= 0) | (
            others == rows[:, None]
        )
        weight = kept.to(data.signals.dtype)
        weight = weight / weight.sum(1, keepdim=True)
        return torch.einsum("nr,nr...->n...", weight, data.signals[others.clamp_min(0)])


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

    def __init__(self, encoder: Encoder, losses: Mapping[str, Loss], weights: Mapping[str, float]):
        super().__init__()
        self.encoder = encoder
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights)

    def forward(self, signals: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Signals by key to predictions by key and output."""
        for module in self.encoder.modules():  # a frozen trunk keeps its running statistics too
            if isinstance(module, _BatchNorm) and module.affine and not module.weight.requires_grad:
                module.eval()
        return self.encoder(signals)


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
    return losses


def _draw_mix(trainee: Trainee, n: int, progress: float, generator: torch.Generator) -> Mix | None:
    for loss in trainee.losses.values():
        mix = loss.draw_mix(n, progress, generator)  # type: ignore[operator]  # ModuleDict forgets the class
        if mix is not None:
            return mix
    return None


def validation_score(encoder: Encoder, sets: Mapping[str, SubjectSet], output: str) -> float:
    """Mean reciprocal rank of the truth among the distinct held-out embeddings, repeats averaged, over subjects."""
    values = []
    for key, data in sets.items():
        data = data.averaged()
        gallery, truth = data.targets[output].flatten(1).unique(dim=0, return_inverse=True)
        device = next(encoder.parameters()).device
        prediction = encoder({key: data.signals.to(device)})[key][output].flatten(1).cpu()
        better, tied = nearest.truth_ranks(prediction, gallery, truth)
        values.append(float((1 / (1 + nearest.mid_ranks(better, tied))).mean()))
    return float(np.mean(values))


def group_folds(units: tuple[str, ...], n_folds: int, generator: torch.Generator) -> folds.Folds:
    """Held-out rows of `n_folds` parts that never divide a unit."""
    names, member = np.unique(np.array(units), return_inverse=True)
    n_folds = min(n_folds, len(names))
    order = torch.randperm(len(names), generator=generator).numpy()
    part = np.empty(len(names), dtype=int)
    part[order] = np.arange(len(names)) % n_folds
    return folds.folds_by_group(part[member])


def ridge_to(
    data: SubjectSet, target: Tensor, seed: int, *purpose: object, score: Any = None
) -> ridge.RidgeFit:
    """Ridge from flattened signals (n, p) to any target (n, q), its penalty chosen on whole units of these rows.

    The choice is by `identification_score` unless another score of `maths.ridge` is asked for.
    """
    parts = group_folds(data.units, 5, seeding.torch_generator(seed, "ridge", *purpose))
    score = identification_score if score is None else score
    return ridge.fit_ridge(data.signals.flatten(1), target.flatten(1), ALPHAS, parts, score=score)


def identification_score(prediction: Tensor, truth: Tensor) -> Tensor:
    """How well rows are told apart: mean z-score of the true pair's cosine within its row; smooth in the penalty."""
    centre = truth.mean(0)
    similarity = normalize(prediction - centre, dim=1) @ normalize(truth - centre, dim=1).T
    own = similarity.diagonal()
    return ((own - similarity.mean(1)) / similarity.std(1).clamp_min(1e-8)).mean()


@dataclass(frozen=True, eq=False)
class CrossFit:
    """What cross-fitting leaves behind.

    Parameters
    ----------
    log : train.Log
        Of the final fit; its ``validation`` is the mean over folds, its `best_step` the number of steps chosen.
    held_out : mapping of str to (predictions, targets, averaged)
        By signal key: what encoders that never saw a training stimulus predict for it, for its repeats' mean (where
        `averaged` is True) and, if any stimulus has repeats, for single trials; raw outputs and centred targets
        (n, n_tokens, n_dims).
    """

    log: train.Log
    held_out: Mapping[str, tuple[Tensor, Tensor, Tensor]]


def cross_fit(
    build: Callable[[], Encoder],
    losses: Mapping[str, Loss],
    weights: Mapping[str, float],
    sets: Mapping[str, SubjectSet],
    settings: train.Config,
    *,
    n_folds: int,
    seed: int,
    name: str,
    folder: Path | None,
    progress: bool,
    start: Callable[[Encoder, Mapping[str, SubjectSet]], None],
    trainable: tuple[str, ...] = ("",),
    rank: Callable[[Tensor, Tensor], float] | None = None,
) -> tuple[Encoder, CrossFit]:
    """An encoder trained on everything for as many steps as held-out units prefer, and its out-of-fold predictions.

    Every unit of the training data is held out once; the fold's encoder is built, started and trained without it and
    looked at every ``validate_every`` steps. The steps with the best mean look are then made on all data.

    Parameters
    ----------
    build : callable
        A fresh encoder.
    n_folds : int
        0 or 1 trains ``n_steps`` and predicts nothing out of fold.
    start : callable
        ``start(encoder, sets)`` sets first weights from the data it is given.
    trainable : tuple of str
        Only the encoder's parameters whose name starts with one of these are trained.
    rank : callable, optional
        ``rank(raw outputs, truth)``, each (n, dim): scores one subject's out-of-fold predictions, higher is better;
        by default the mean reciprocal rank by cosine.
    """
    looks = [
        _fold(build(), losses, weights, kept, held, settings, seed, f"{name}-fold-{number}", progress, start, trainable)
        for number, (kept, held) in enumerate(fold_sets(sets, n_folds, seed))
    ]  # fmt: skip
    steps = sorted(looks[0]) if looks else []
    curve = {step: _score([look[step] for look in looks], rank) for step in steps}
    best = max(steps, key=lambda step: (curve[step], -step)) if steps else settings.n_steps
    encoder = build()
    start(encoder, sets)
    trainee = _trainee(encoder, losses, weights, trainable)
    log = train.fit(
        trainee, Batches(sets, settings, seed, name), objective, settings, seed=seed, name=name, folder=folder,
        progress=progress, stop_at=best,
    )  # fmt: skip
    trainee.requires_grad_(True)
    log.best_step = best
    log.rows += [{"step": float(step), "validation": value} for step, value in curve.items()]
    return encoder, CrossFit(log, _join([look[best][1] for look in looks]) if looks else {})


Predicted = dict[str, tuple[Tensor, Tensor, Tensor]]


def _score(looks: Sequence[tuple[float, Predicted]], rank: Callable[[Tensor, Tensor], float] | None) -> float:
    if rank is None:
        return float(np.mean([value for value, _ in looks]))
    joined = _join([predicted for _, predicted in looks]).values()
    means = [(raw[mean].flatten(1), truth[mean].flatten(1)) for raw, truth, mean in joined]
    return float(np.mean([rank(raw, truth) for raw, truth in means]))


def _fold(
    encoder: Encoder, losses: Mapping[str, Loss], weights: Mapping[str, float], kept: Mapping[str, SubjectSet],
    held: Mapping[str, SubjectSet], settings: train.Config, seed: int, name: str, progress: bool,
    start: Callable[[Encoder, Mapping[str, SubjectSet]], None], trainable: tuple[str, ...],
) -> dict[int, tuple[float, Predicted]]:  # fmt: skip
    """Looks at one fold: {step: (validation score, predictions of the held-out units)}."""
    main = next(iter(losses))
    start(encoder, kept)
    trainee = _trainee(encoder, losses, weights, trainable)
    looks: list[tuple[float, Predicted]] = []

    def look(module: nn.Module) -> float:
        looks.append((validation_score(encoder, held, main), _predict(encoder, held, main)))
        return looks[-1][0]

    log = train.fit(
        trainee, Batches(kept, settings, seed, name), objective, settings, seed=seed, name=name, validate=look,
        progress=progress,
    )  # fmt: skip
    steps = [int(step) for step in log.column("validation")[0]]
    return dict(zip(steps, looks, strict=True))


@torch.no_grad()
def _predict(encoder: Encoder, sets: Mapping[str, SubjectSet], output: str) -> Predicted:
    device = next(encoder.parameters()).device
    out = {}
    for key, data in sets.items():
        averaged = data.averaged()
        single = [] if len(averaged.stimuli) == len(data.stimuli) else [data]
        values = [encoder({key: p.signals.to(device)})[key][output].cpu() for p in (averaged, *single)]
        is_mean = torch.arange(sum(len(v) for v in values)) < len(averaged.stimuli)
        out[key] = (torch.cat(values), torch.cat([p.targets[output] for p in (averaged, *single)]), is_mean)
    return out


def _join(parts: Sequence[Predicted]) -> Predicted:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {
        key: tuple(torch.cat([part[key][i] for part in parts if key in part]) for i in range(3))  # type: ignore[misc]  # of three
        for key in keys
    }


def _trainee(
    encoder: Encoder, losses: Mapping[str, Loss], weights: Mapping[str, float], trainable: tuple[str, ...]
) -> Trainee:
    trainee = Trainee(encoder, losses, weights)
    for name, parameter in trainee.named_parameters():
        parameter.requires_grad_(name.startswith(("losses.", *(f"encoder.{t}" for t in trainable))))
    return trainee


def fold_sets(
    sets: Mapping[str, SubjectSet], n_folds: int, seed: int
) -> list[tuple[dict[str, SubjectSet], dict[str, SubjectSet]]]:
    """(kept, held out) for each fold; a unit is in the same fold for every subject."""
    if n_folds < 2:
        return []
    units = sorted({u for s in sets.values() for u in s.units})
    order = torch.randperm(len(units), generator=seeding.torch_generator(seed, "folds")).tolist()
    n_folds = min(n_folds, len(units))
    return [_split_sets(sets, {units[i] for i in order[fold::n_folds]}) for fold in range(n_folds)]


def _split_sets(
    sets: Mapping[str, SubjectSet], held_units: set[str]
) -> tuple[dict[str, SubjectSet], dict[str, SubjectSet]]:
    """(without the held units, only the held units); a subject without either side is left out of it."""
    kept, held = {}, {}
    for key, data in sets.items():
        mask = torch.tensor([u in held_units for u in data.units])
        if bool((~mask).any()):
            kept[key] = data.take(torch.nonzero(~mask).flatten())
        if bool(mask.any()):
            held[key] = data.take(torch.nonzero(mask).flatten())
    return kept, held


def start_from_ridge_(encoder: Encoder, sets: Mapping[str, SubjectSet], *, output: str, seed: int) -> None:
    """Sets adapters and backbone so that the encoder begins as each subject's closed-form ridge, where it can."""
    averaged = {key: data.averaged() for key, data in sets.items()}
    fits = {key: ridge_to(data, data.targets[output], seed, key) for key, data in averaged.items()}
    encoder.start_from_ridge_({key: (fit.weights.T, fit.intercept) for key, fit in fits.items()}, output)


def fit_prior(
    prior: Any,
    conditions: Tensor,
    targets: Tensor,
    settings: train.Config,
    seed: int,
    folder: Path | None,
    progress: bool,
) -> train.Log | None:
    """Starts a prior from all pairs (n, n_tokens, n_dims) and, unless it is closed-form, trains it on them."""
    prior.start_(conditions, targets)
    if prior.closed_form:
        return None
    # Trials and subjects share stimuli: held-out rows are those of stimuli that training never sees.
    units = [str(i) for i in targets.flatten(1).unique(dim=0, return_inverse=True)[1].tolist()]
    kept, held = train.split_rows(
        units, settings.validation_fraction, seeding.torch_generator(seed, "prior rows")
    )
    order = train.Order(len(kept), min(settings.batch_size, len(kept)), seed, "prior")

    def batch(step: int) -> dict[str, Tensor]:
        rows = kept[order.rows(step)]
        return {"brain": conditions[rows], "image": targets[rows]}

    def loss(
        module: nn.Module, batch: Mapping[str, Tensor], progress: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {"prior": prior.objective(batch["brain"], batch["image"], generator)}

    def validate(module: nn.Module) -> float:
        generator = seeding.torch_generator(
            seed, "prior validation", device=str(next(prior.parameters()).device)
        )
        device = generator.device
        losses = [
            prior.objective(conditions[held].to(device), targets[held].to(device), generator)
            for _ in range(8)
        ]
        return -float(torch.stack(losses).mean())

    return train.fit(
        prior, batch, loss, settings, seed=seed, name="prior", folder=folder, progress=progress,
        validate=validate if len(held) else None,
    )  # fmt: skip
