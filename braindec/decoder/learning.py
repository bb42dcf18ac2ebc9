"""How a decoder is fitted: preprocessing, encoder, length, calibration, the way to new subjects, the prior."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, store, train
from braindec.data import NeuralDataset, leakage
from braindec.decoder import fitting, saving
from braindec.decoder.calibration import Calibration, held_out_rank
from braindec.decoder.cross_fit import CrossFit, Rank, Refit, Sets, cross_fit
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.prior_fit import fit_prior
from braindec.decoder.scaling import InOwnSpace
from braindec.decoder.settings import settings_to_json, steps_for
from braindec.encoder import Encoder
from braindec.losses import Loss
from braindec.types import Embeddings, SignalInfo

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder

# An embedding-to-shared map larger than this is not kept; a new subject's adapter then starts at random.
MAX_SHARED_MAP = 20_000_000


def fit_(
    decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings], folder: Path | None, *,
    prior: bool, progress: bool,
) -> None:  # fmt: skip
    """See `BrainDecoder.fit`; embeddings by output name."""
    audit = leakage.audit_part(part)
    audit.refuse()
    for name in decoder.outputs:
        decoder.scaler(name).fit_(torch.from_numpy(named[name].of(part.stimulus_ids)))
    decoder.preprocessing = {}
    sets = prepared_sets_(decoder, part, named)
    settings = decoder.settings
    start = partial(fitting.start_from_ridge_, output=decoder.main, seed=settings.seed)
    decoder.encoder, fitted = cross_fit(
        decoder.build_encoder, told_losses(decoder), loss_weights(decoder), sets, settings.train,
        n_folds=settings.n_folds, seed=settings.seed, name="encoder", folder=folder, progress=progress,
        start=start if settings.train.ridge_start else start_at_random, rank=rank_of(decoder),
        refit=refit_of(decoder, part, sets), about=identity_of(decoder, part, named),
    )  # fmt: skip
    decoder.log = fitted.log
    fit_gain_(decoder, fitted, sets)
    calibrate_(decoder, fitted)
    fit_shared_map_(decoder, sets)
    if prior and decoder.prior is not None:
        train_prior_(decoder, fitted, folder, progress)
    # The rows that chose are all of the part's, of which preprocessing keeps the digests.
    chosen = leakage.chosen_on(part, "number of training steps, by cross-fitting", digests=False)
    decoder.provenance = {"dataset": part.identity(), "n_trials": {k: len(s.stimuli) for k, s in sets.items()},
                          "best_step": decoder.log.best_step, "versions": saving.versions(), "chosen_on": chosen,
                          "audit": audit.to_json()}  # fmt: skip
    if folder is not None:
        train.forget_parts(folder)


def adapt_(
    decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings], folder: Path | None,
    settings: train.Config, *, freeze: bool, progress: bool,
) -> None:  # fmt: skip
    """See `BrainDecoder.adapt`, of which this decoder is already the copy."""
    leakage.audit_part(part).refuse()
    decoder.info = SignalInfo({**decoder.info.signals, **part.info.signals})
    sets = prepared_sets_(decoder, part, named)
    for key in part.keys:
        decoder.encoder.add_subject(decoder.preprocessing[key].signal)
    fresh = copy.deepcopy(decoder.encoder)
    decoder.encoder, fitted = cross_fit(
        lambda: copy.deepcopy(fresh), told_losses(decoder), loss_weights(decoder), sets, settings,
        n_folds=decoder.settings.n_folds, seed=decoder.settings.seed, name="adapt", folder=folder, progress=progress,
        start=partial(start_adapters_, decoder), rank=rank_of(decoder), refit=refit_of(decoder, part, sets),
        trainable=tuple(f"adapters.{key}." for key in part.keys) if freeze else ("",),
        about=identity_of(decoder, part, named),
    )  # fmt: skip
    decoder.log = fitted.log
    calibrate_(decoder, fitted)
    adapted = {"dataset": part.identity(), "best_step": decoder.log.best_step}
    chosen = leakage.chosen_on(part, "number of training steps, by cross-fitting", digests=False)
    before = decoder.provenance.get("chosen_on", {}).get("rows", {})
    chosen["rows"] = {**before, **chosen["rows"]}
    decoder.provenance = {**decoder.provenance, "adapted": adapted, "chosen_on": chosen}
    if folder is not None:
        train.forget_parts(folder)


def named(decoder: BrainDecoder, embeddings: Embeddings | Mapping[str, Embeddings]) -> dict[str, Embeddings]:
    """Embeddings by output name; another space than the decoder's is refused."""
    out = {decoder.main: embeddings} if isinstance(embeddings, Embeddings) else dict(embeddings)
    for name, info in decoder.outputs.items():
        found = checks.known_key("embeddings", name, out)
        checks.same_space(
            "embeddings", found.space, info.space, "Embed the stimuli with the recipe's target."
        )
    return out


def prepared_sets_(decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings]) -> Sets:
    """Each subject's training data; the decoder takes preprocessing fitted on all of it."""
    sets = {}
    for key, trials in part.trials.items():
        ids = trials.table["stimulus_id"]
        targets = {
            name: decoder.scaler(name).centre(torch.from_numpy(named[name].of(ids.tolist())))
            for name in decoder.outputs
        }
        steps = steps_for(decoder.settings.preprocessing, trials.modality)
        decoder.preprocessing[key], signals = steps.fit_apply(trials)
        numbers = torch.from_numpy(np.unique(ids, return_inverse=True)[1])
        units = tuple(fitting.inner_units(part, trials).tolist())
        sets[key] = SubjectSet(torch.from_numpy(signals), targets, numbers, units)
    return sets


def refit_of(decoder: BrainDecoder, part: NeuralDataset, sets: Sets) -> Refit:
    """Signals whose preprocessing has seen only some rows: whitening by repeats would tell folds their labels."""

    def refit(key: str, kept: np.ndarray) -> Tensor:
        if not decoder.preprocessing[key].learnt:
            return sets[key].signals
        # Every fold's encoder has the shape of the whole fit's, whatever a threshold would keep of fewer rows.
        return torch.from_numpy(decoder.preprocessing[key].sized.fit_apply(part.trials[key], kept)[1])

    return refit


def identity_of(decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings]) -> str:
    """sha256 over what a resumed fit must share: trials, targets, settings."""
    rows = {key: decoder.preprocessing[key].fit_rows_hash for key in part.keys}
    targets = {name: [e.space, e.provenance] for name, e in named.items()}
    return store.content_hash(rows=rows, targets=targets, settings=settings_to_json(decoder.settings))


def told_losses(decoder: BrainDecoder) -> dict[str, Loss]:
    """The losses by output, each told centred targets whatever it needs."""
    return {n: InOwnSpace(x, decoder.scaler(n)) if x.own_space else x for n, x in decoder.losses.items()}


def loss_weights(decoder: BrainDecoder) -> dict[str, float]:
    """How much each output's loss counts."""
    weights = decoder.settings.loss_weights or {}
    return {name: float(weights.get(name, 1.0)) for name in decoder.losses}


def rank_of(decoder: BrainDecoder) -> Rank | None:
    """How out-of-fold predictions are scored to choose the number of steps: as they will be used."""
    if not decoder.settings.calibrate:
        return None

    def rank(raw: Tensor, truth: Tensor) -> float:
        # A generator of its own each time: every number of steps is looked at on the same folds.
        return held_out_rank(raw, truth, seeding.torch_generator(decoder.settings.seed, "rank"))

    return rank


def start_at_random(encoder: Encoder, sets: Sets) -> None:
    """First weights stay as they were drawn."""


def fit_gain_(decoder: BrainDecoder, fitted: CrossFit, sets: Sets) -> None:
    """Least-squares length of the predictions, out of fold where there are folds: some losses leave it free."""
    with torch.no_grad():
        pairs = [(raw, truth) for raw, truth, _ in fitted.held_out.values()] or [
            (decoder.raw(key, s.signals), s.targets[decoder.main]) for key, s in sets.items()
        ]
    cross = sum(float((p * t).sum()) for p, t in pairs)
    power = sum(float(p.square().sum()) for p, _ in pairs)
    decoder.gain.fill_(max(cross, 0.0) / max(power, 1e-12))


def calibrate_(decoder: BrainDecoder, fitted: CrossFit) -> None:
    """Map and error of each subject, from the out-of-fold predictions of its stimuli's mean responses."""
    if not decoder.settings.calibrate:
        return
    others = [decoder.calibration(key) for key in decoder.calibrations]
    for key, (raw, truth, rows) in fitted.held_out.items():
        calibration = Calibration(truth[0].numel())
        generator = seeding.torch_generator(decoder.settings.seed, "calibration", key)
        calibration.fit_(raw[rows].flatten(1), truth[rows].flatten(1), generator, others)
        decoder.calibrations[key] = calibration


def fit_shared_map_(decoder: BrainDecoder, sets: Sets) -> None:
    """Ridge from centred embeddings to the shared values that the adapters make of the same stimuli."""
    encoder = decoder.fitted_encoder()
    size = next(iter(sets.values())).targets[decoder.main][0].numel()
    n_shared = int(np.prod(encoder.shared_shape))
    if size * n_shared > MAX_SHARED_MAP:
        return
    averaged = {key: s.averaged() for key, s in sets.items()}
    with torch.no_grad():
        shared = torch.cat([encoder.adapter(key)(s.signals).flatten(1) for key, s in averaged.items()])
    targets = torch.cat([s.targets[decoder.main] for s in averaged.values()])
    units = tuple(u for s in averaged.values() for u in s.units)
    pairs = SubjectSet(targets, {"shared": shared}, torch.arange(len(targets)), units)
    fit = fitting.ridge_to(pairs, shared, decoder.settings.seed, "shared map", score="correlation")
    decoder.shared_weight, decoder.shared_bias = fit.weights.T.contiguous(), fit.intercept


def start_adapters_(decoder: BrainDecoder, encoder: Encoder, sets: Sets) -> None:
    """Ridge from new subjects' signals to the shared values expected for their stimuli."""
    if not decoder.shared_weight.numel():
        return
    for key, data in sets.items():
        averaged = data.averaged()
        expected = averaged.targets[decoder.main].flatten(1) @ decoder.shared_weight.T + decoder.shared_bias
        fit = fitting.ridge_to(averaged, expected, decoder.settings.seed, "adapt", key)
        encoder.adapter(key).start_from_(fit.weights.T, fit.intercept)


def train_prior_(decoder: BrainDecoder, fitted: CrossFit, folder: Path | None, progress: bool) -> None:
    """The prior, on calibrated out-of-fold predictions."""
    if not fitted.held_out:
        raise checks.ConfigError("a prior is trained on out-of-fold predictions; set n_folds to 2 or more.")
    pairs = [(decoder.finished(key, raw), truth) for key, (raw, truth, _) in fitted.held_out.items()]
    conditions = decoder.condition(torch.cat([p for p, _ in pairs]))
    targets = torch.cat([t for _, t in pairs])
    settings = decoder.settings
    decoder.prior_log = fit_prior(
        decoder.prior, conditions, targets, settings.prior_train, settings.seed, folder, progress
    )
