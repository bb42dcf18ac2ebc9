"""Cross-fitting: the number of steps that held-out units prefer, and what encoders predict that never saw them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checkpoints, checks, seeding, train
from braindec.decoder.batches import Batches, Trainee, objective
from braindec.decoder.cycle import Config as CycleConfig
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.rows import Rows, parts, whole
from braindec.encoder import Encoder
from braindec.losses import Loss
from braindec.maths import nearest

MAX_HELD_BYTES = 1 << 30
Sets = Mapping[str, SubjectSet]
Start = Callable[[Encoder, Sets], None]
Rank = Callable[[Tensor, Tensor], float]
Refit = Callable[[Mapping[str, np.ndarray]], Mapping[str, Rows]]
Predicted = dict[
    str, tuple[Tensor, Tensor, Tensor]
]  # by signal key: predictions, targets, whether a row is a mean
Told = dict[str, dict[str, Tensor]]  # by signal key and output: what else is predicted for the same rows
# Validation score, predictions of the held-out units, and the score of each output beside the main one.
Look = tuple[float, Predicted, Told, tuple[float, ...]]
Looks = dict[int, Look]  # by step


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
    told : mapping of str to mapping of str to Tensor
        By signal key and output: raw outputs of the further heads that were asked for, for the same rows.
    """

    log: train.Log
    held_out: Mapping[str, tuple[Tensor, Tensor, Tensor]]
    told: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


def cross_fit(
    build: Callable[[], Encoder],
    losses: Mapping[str, Loss],
    weights: Mapping[str, float],
    sets: Sets,
    settings: train.Config,
    *,
    n_folds: int,
    seed: int,
    name: str,
    folder: Path | None,
    progress: bool,
    start: Start,
    trainable: tuple[str, ...] = ("",),
    rank: Rank | None = None,
    refit: Refit | None = None,
    about: str = "",
    keep: Callable[[Tensor], Tensor] = lambda values: values,
    cycle: CycleConfig | None = None,
    also: tuple[str, ...] = (),
) -> tuple[Encoder, CrossFit]:
    """An encoder trained on everything for as many steps as held-out units prefer, and its out-of-fold predictions.

    Every unit of the training data is held out once; the fold's encoder is built, started and trained without it and
    looked at every ``validate_every`` steps. The steps with the best mean look are then made on all data. Where there
    are several outputs, a look is the mean over them (without those whose targets exceed `MAX_HELD_BYTES`): one output
    may begin in closed form, and be best before the others have learnt anything.

    Parameters
    ----------
    build : callable
        A fresh encoder.
    n_folds : int
        0 or 1 trains ``n_steps`` and predicts nothing out of fold.
    folder : Path, optional
        Folds that are done are kept there until the whole fit is (`checkpoints.forget_parts`).
    start : callable
        ``start(encoder, sets)`` sets first weights from the data it is given.
    trainable : tuple of str
        Only the encoder's parameters whose name starts with one of these are trained.
    rank : callable, optional
        ``rank(raw outputs, truth)``, each (n, dim): scores one subject's out-of-fold predictions, higher is better;
        by default the mean reciprocal rank by cosine.
    refit : callable, optional
        ``refit(kept)``: every subject's signals, all of them, with preprocessing fitted on the rows `kept` alone, by
        signal key.
    about : str
        Names data and settings; what is found in `folder` must have been made with the same.
    keep : callable
        Where predictions wait for the choice of the number of steps: gives an equal tensor.
    cycle : decoder.cycle.Config, optional
        Losses of the way from one subject through another, beside those of the predictions.
    also : tuple of str
        Further outputs whose out-of-fold predictions are kept.
    """
    for output in (next(iter(losses)), *also):
        _refuse_too_many(sets, output, n_folds)
    looks = [
        _fold(
            _trainee(build(), copy.deepcopy(dict(losses)), weights, trainable, cycle, seed), kept, held, settings, seed,
            f"{name}-fold-{number}", folder, progress, start, about, keep, also,
        )
        for number, (kept, held) in enumerate(fold_sets(sets, n_folds, seed, refit))
    ]  # fmt: skip
    steps = sorted(looks[0]) if looks else []
    curve = {step: _score([look[step] for look in looks], rank) for step in steps}
    best = max(steps, key=lambda step: (curve[step], -step)) if steps else settings.n_steps
    trainee = _trainee(build(), losses, weights, trainable, cycle, seed)
    start(trainee.encoder, sets)
    log = train.fit(
        trainee, Batches(sets, settings, seed, name), objective, settings, seed=seed, name=name, folder=folder,
        progress=progress, stop_at=best, about=about,
    )  # fmt: skip
    trainee.requires_grad_(True)
    log.best_step = best
    log.rows += [{"step": float(step), "validation": value} for step, value in curve.items()]
    if not looks:
        return trainee.encoder, CrossFit(log, {})
    chosen = [look[best] for look in looks]
    return trainee.encoder, CrossFit(log, _join([look[1] for look in chosen]), _join_told(chosen))


def _refuse_too_many(sets: Sets, output: str, n_folds: int) -> None:
    """Out-of-fold predictions are compared whole, so they must fit into memory."""
    n_bytes = _target_bytes(sets, output)
    if n_folds > 1 and n_bytes > MAX_HELD_BYTES:
        raise checks.ConfigError(
            f"out-of-fold predictions of {output!r} would take {n_bytes / 1e9:.1f} GB; set n_folds=0 (and "
            "calibrate=false), or choose a smaller target."
        )


def _target_bytes(sets: Sets, output: str) -> int:
    return sum(4 * int(np.prod(s.targets[output].shape)) for s in sets.values())


def _score(looks: Sequence[Look], rank: Rank | None) -> float:
    """Mean over outputs: the main one's score, and the mean over folds of each other one's."""
    others = np.mean([further for *_, further in looks], axis=0)
    return float(np.mean([_main_score(looks, rank), *others]))


def _main_score(looks: Sequence[Look], rank: Rank | None) -> float:
    if rank is None:
        return float(np.mean([value for value, *_ in looks]))
    joined = _join([predicted for _, predicted, _, _ in looks]).values()
    means = [(raw[mean].flatten(1), truth[mean].flatten(1)) for raw, truth, mean in joined]
    return float(np.mean([rank(raw, truth) for raw, truth in means]))


def _fold(
    trainee: Trainee, kept: Sets, held: Sets, settings: train.Config, seed: int, name: str, folder: Path | None,
    progress: bool, start: Start, about: str, keep: Callable[[Tensor], Tensor], also: tuple[str, ...],
) -> Looks:  # fmt: skip
    """Looks at one fold, made now or found in `folder`."""
    batches = Batches(kept, settings, seed, name)
    main, *further = trainee.losses
    further = [output for output in further if _target_bytes(held, output) <= MAX_HELD_BYTES]

    def make() -> Looks:
        gathered: list[
            Any
        ] = []  # a look each, where it is and, for a fold that was stopped, in its checkpoint

        def look(module: nn.Module) -> float:
            made, beside = _predict(trainee.encoder, held, main, also)
            told = {key: {n: keep(values) for n, values in some.items()} for key, some in beside.items()}
            predicted = {key: (keep(raw), keep(truth), mean) for key, (raw, truth, mean) in made.items()}
            others = (reciprocal_rank(_predict(trainee.encoder, held, name, ())[0]) for name in further)
            gathered.append((reciprocal_rank(predicted), predicted, told, tuple(others)))
            return float(gathered[-1][0])

        start(trainee.encoder, kept)
        log = train.fit(
            trainee, batches, objective, settings, seed=seed, name=name, validate=look, progress=progress,
            folder=folder, about=about, gathered=gathered,
        )  # fmt: skip
        steps = [int(step) for step in log.column("validation")[0]]
        return dict(zip(steps, gathered, strict=True))

    if folder is None:
        return make()
    return checkpoints.part(
        folder, name, train.identity(settings, seed, trainee, batches, about), make, about
    )


@torch.no_grad()
def _predict(encoder: Encoder, sets: Sets, output: str, also: tuple[str, ...]) -> tuple[Predicted, Told]:
    device = next(encoder.parameters()).device
    out: Predicted = {}
    told: Told = {}
    for key, data in sets.items():
        averaged = data.averaged()
        single = [] if averaged is data else [data]
        made = [
            [found[name].cpu() for name in (output, *also)]
            for p in (averaged, *single)
            for rows in parts(p.signals, p.targets[output])
            for found in (encoder({key: p.signals[rows].to(device)})[key],)
        ]
        values, *further = (torch.cat(some) for some in zip(*made, strict=True))
        is_mean = torch.arange(len(values)) < len(averaged.stimuli)
        truth = torch.cat([whole(p.targets[output]) for p in (averaged, *single)])
        out[key] = (values, truth, is_mean)
        told[key] = dict(zip(also, further, strict=True))
    return out, told


def reciprocal_rank(predicted: Predicted) -> float:
    """Mean reciprocal rank of the truth among the distinct held-out embeddings, repeats averaged, over subjects."""
    values = []
    for raw, truth, mean in predicted.values():
        gallery, own = truth[mean].flatten(1).unique(dim=0, return_inverse=True)
        better, tied = nearest.truth_ranks(raw[mean].flatten(1), gallery, own)
        values.append(float((1 / (1 + nearest.mid_ranks(better, tied))).mean()))
    return float(np.mean(values))


def _join(parts: Sequence[Predicted]) -> Predicted:
    keys = dict.fromkeys(key for part in parts for key in part)
    return {
        key: tuple(torch.cat([part[key][i] for part in parts if key in part]) for i in range(3))  # type: ignore[misc]  # of three
        for key in keys
    }


def _join_told(looks: Sequence[Look]) -> Told:
    keys = dict.fromkeys(key for _, _, told, _ in looks for key in told)
    found = {key: [told[key] for _, _, told, _ in looks if key in told] for key in keys}
    return {
        k: {name: torch.cat([one[name] for one in some]) for name in some[0]} for k, some in found.items()
    }


def _trainee(
    encoder: Encoder, losses: Mapping[str, Loss], weights: Mapping[str, float], trainable: tuple[str, ...],
    cycle: CycleConfig | None, seed: int,
) -> Trainee:  # fmt: skip
    with seeding.seeded(seed, "cycle"):
        trainee = Trainee(encoder, losses, weights, cycle)
    for name, parameter in trainee.named_parameters():
        parameter.requires_grad_(name.startswith(("losses.", "cycle.", *(f"encoder.{t}" for t in trainable))))
    return trainee


def fold_sets(
    sets: Sets, n_folds: int, seed: int, refit: Refit | None = None
) -> Iterator[tuple[dict[str, SubjectSet], dict[str, SubjectSet]]]:
    """(kept, held out) for each fold, one at a time; a unit is in the same fold for every subject."""
    for held in held_units((u for s in sets.values() for u in s.units), n_folds, seed):
        yield _split_sets(sets, held, refit)


def held_units(units: Iterable[str], n_folds: int, seed: int) -> list[set[str]]:
    """Which units each fold holds out; none where there are fewer than two folds."""
    known = sorted(set(units))
    order = torch.randperm(len(known), generator=seeding.torch_generator(seed, "folds")).tolist()
    n_folds = min(n_folds, len(known))
    return [{known[i] for i in order[fold::n_folds]} for fold in range(n_folds if n_folds > 1 else 0)]


def held_rows(sets: Sets, n_folds: int, seed: int) -> dict[str, Tensor]:
    """By signal key, the first trial behind each mean prediction of `CrossFit.held_out`, in its order."""
    found: dict[str, list[Tensor]] = {}
    for held in held_units((u for s in sets.values() for u in s.units), n_folds, seed):
        for key, data in sets.items():
            rows = [i for i, unit in enumerate(data.units) if unit in held]
            if rows and len(rows) < len(data.units):
                units = tuple(data.units[i] for i in rows)
                bare = SubjectSet(torch.empty(len(rows), 0), {}, data.stimuli[rows], units)
                found.setdefault(key, []).append(torch.tensor(rows)[torch.from_numpy(bare.groups()[1])])
    return {key: torch.cat(parts) for key, parts in found.items()}


def _split_sets(
    sets: Sets, held_units: set[str], refit: Refit | None
) -> tuple[dict[str, SubjectSet], dict[str, SubjectSet]]:
    """(without the held units, only the held units).

    A subject with nothing held is not predicted; one with nothing kept has no adapter to predict with, and is left out.
    """
    kept, held = {}, {}
    masks = {key: torch.tensor([u in held_units for u in data.units]) for key, data in sets.items()}
    masks = {key: mask for key, mask in masks.items() if not bool(mask.all())}
    rows = {key: torch.nonzero(~mask).flatten() for key, mask in masks.items()}
    signals = {} if refit is None else refit({key: r.numpy() for key, r in rows.items()})
    for key, mask in masks.items():
        data = replace(sets[key], signals=signals[key]) if key in signals else sets[key]
        kept[key] = data.take(rows[key])
        if bool(mask.any()):
            held[key] = data.take(torch.nonzero(mask).flatten())
    return kept, held
