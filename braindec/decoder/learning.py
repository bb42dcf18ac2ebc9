"""How a decoder is fitted: preprocessing, encoder, length, calibration, the way to new subjects, the prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checkpoints, checks, seeding, store
from braindec.data import NeuralDataset, leakage, mapped
from braindec.data.preprocessing import FittedPreprocessing, fit_together
from braindec.decoder import (
    closed_form,
    decoding,
    fitting,
    held_out,
    masked,
    new_subject,
    rows,
    saving,
    two_views,
)
from braindec.decoder.calibration import Calibration, held_out_rank
from braindec.decoder.cross_fit import CrossFit, Rank, Refit, Sets, cross_fit
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.prediction import told_apart
from braindec.decoder.prior_fit import fit_prior, held_pairs
from braindec.decoder.rules import rules_of
from braindec.decoder.scaling import InOwnSpace
from braindec.decoder.settings import build_losses, build_prior, settings_to_json, steps_for
from braindec.decoder.spread import fit_spreads_
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
        decoder.scaler(name).fit_(embedded(named[name], list(part.stimulus_ids)))
    start_anew_(decoder)
    place = rows.place_of(part, folder)
    sets = prepared_sets_(decoder, part, named, place)
    settings = decoder.settings
    solved = settings.fit == "closed_form"
    start = partial(closed_form.start_closed_form_, output=decoder.main, seed=settings.seed, needed=solved)
    about = identity_of(decoder, part, named)
    stages = ("encoder", "prior") if prior and decoder.prior is not None else ("encoder",)
    checkpoints.refuse_others(folder, stages, about)
    decoder.encoder, fitted = cross_fit(
        decoder.build_encoder, told_losses(decoder), loss_weights(decoder), sets, settings.train,
        n_folds=settings.n_folds, seed=settings.seed, name="encoder", folder=folder, progress=progress,
        start=start if solved or settings.train.ridge_start else start_at_random, rank=rank_of(decoder),
        refit=refit_of(decoder, part, sets, place), about=about,
        keep=kept_in(place), cycle=settings.cycle, also=settings.prior_told if prior else (),
    )  # fmt: skip
    decoder.log = fitted.log
    fit_gain_(decoder, fitted, sets)
    calibrate_(decoder, fitted)
    fit_shared_map_(decoder, sets)
    new_subject.fit_populations_(decoder, sets)
    if prior and decoder.prior is not None:
        train_prior_(decoder, fitted, folder, progress, about)
    decoder.held_out = held_out.kept(decoder, fitted, sets, part)
    # The rows that chose are all of the part's, of which preprocessing keeps the digests.
    chosen = leakage.chosen_on(part, "number of training steps, by cross-fitting", digests=False)
    decoder.provenance = {"dataset": part.identity(), "data_licence": part.about.get("licence"),
                          "n_trials": {k: len(s.stimuli) for k, s in sets.items()},
                          "best_step": decoder.log.best_step, "versions": saving.versions(), "chosen_on": chosen,
                          "audit": audit.to_json(), "rules": rules_found(decoder, part, sets)}  # fmt: skip
    if decoder.pretrained.trunk:
        decoder.provenance["pretrained"] = dict(decoder.pretrained.about)
    if folder is not None:
        checkpoints.forget_parts(folder)


def start_anew_(decoder: BrainDecoder) -> None:
    """Forgets an earlier fit, whose data may be what this one is tested on; a pretrained trunk stays."""
    decoder.preprocessing = {}
    decoder.losses = build_losses(decoder.settings, decoder.outputs)
    decoder.prior, decoder.prior_log = build_prior(decoder.settings, decoder.outputs), None
    decoder.calibrations, decoder.readouts, decoder.spreads = (nn.ModuleDict() for _ in range(3))


def pretrain_(
    decoder: BrainDecoder,
    part: NeuralDataset,
    settings: masked.Config | two_views.Config,
    folder: Path | None,
    *,
    progress: bool,
) -> None:
    """See `BrainDecoder.pretrain`."""
    leakage.audit_part(part).refuse()
    found = prepared_signals(decoder, part, rows.place_of(part, folder))
    signals = SignalInfo({key: fitted.signal for key, (fitted, _) in found.items()})
    prepared = {key: values for key, (_, values) in found.items()}
    encoder, seed = decoder.encoder_of(signals), decoder.settings.seed
    parts = settings_to_json(decoder.settings)
    about = store.content_hash(**{name: parts[name] for name in ("preprocessing", "adapter", "backbone")})
    if isinstance(settings, two_views.Config):
        decoder.pretrained = two_views.pretrain(
            encoder,
            prepared,
            part,
            settings,
            seed,
            info=signals,
            folder=folder,
            progress=progress,
            about=about,
        )
        return
    decoder.pretrained = masked.pretrain(
        encoder, prepared, part, settings, seed, folder=folder, progress=progress, about=about
    )


def rules_found(decoder: BrainDecoder, part: NeuralDataset, sets: Sets) -> dict[str, Any]:
    """What this fit was chosen by; see `rules.rules_of`."""
    return rules_of(decoder.settings, (u for s in sets.values() for u in s.units), fitting.inner_unit(part))


def named(decoder: BrainDecoder, embeddings: Embeddings | Mapping[str, Embeddings]) -> dict[str, Embeddings]:
    """Embeddings by output name; another space or shape than the decoder's is refused."""
    if isinstance(embeddings, Mapping) and any(isinstance(e, Embeddings) for e in embeddings.values()):
        out = dict(embeddings)
    else:
        out = {decoder.main: decoding.embeddings_of("embeddings", embeddings)}
    for name, info in decoder.outputs.items():
        found = checks.known_key("embeddings", name, out)
        checks.same_target("embeddings", found.info, info, "Embed the stimuli with the recipe's target.")
    return out


def prepared_sets_(
    decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings], place: Path | None = None
) -> Sets:
    """Each subject's training data; the decoder takes preprocessing fitted on all of it.

    With a `place`, signals stay in files there and are read by row; so are targets that are too large for memory.
    """
    sets = {}
    found = prepared_signals(decoder, part, place)
    for key, trials in part.trials.items():
        ids = trials.table["stimulus_id"]
        targets = {
            name: embedded(named[name], ids.tolist(), decoder.scaler(name).centre) for name in decoder.outputs
        }
        decoder.preprocessing[key], signals = found[key]
        apart = told_apart(ids, named[decoder.main])
        numbers = torch.from_numpy(np.unique(apart, return_inverse=True)[1])
        units = tuple(fitting.inner_units(part, trials).tolist())
        sets[key] = SubjectSet(signals, targets, numbers, units)
    return sets


def prepared_signals(
    decoder: BrainDecoder, part: NeuralDataset, place: Path | None
) -> dict[str, tuple[FittedPreprocessing, rows.Rows]]:
    """Each subject's preprocessing, fitted on all of this part, and the signals that it gives."""
    chains = {key: steps_for(decoder.settings.preprocessing, t.modality) for key, t in part.trials.items()}
    earlier = earlier_subjects(decoder, part)
    if place is None:
        whole = fit_together(chains, part.trials, reference=earlier)
        return {key: (fitted, torch.from_numpy(x)) for key, (fitted, x) in whole.items()}
    on_disk = mapped.cached(chains, part.trials, place, earlier)
    return {key: (fitted, rows.of_array(x)) for key, (fitted, x) in on_disk.items()}


def embedded(
    embeddings: Embeddings, ids: list[str], finish: Callable[[Tensor], Tensor] = lambda values: values
) -> rows.Rows:
    """What `finish` makes of the embeddings of these stimuli; read by row where they are too large for memory."""
    if rows.is_large(len(ids), embeddings.info.shape):
        return rows.of_embeddings(embeddings, ids, finish)
    return finish(torch.from_numpy(embeddings.of(ids)))


def kept_in(place: Path | None) -> Callable[[Tensor], Tensor]:
    """Where out-of-fold predictions wait until the number of steps is chosen: in a file where signals are in files."""
    if place is None:
        return lambda values: values
    scratch = mapped.Scratch(place)
    return lambda values: torch.from_numpy(scratch.copy(values.numpy()))


def refit_of(decoder: BrainDecoder, part: NeuralDataset, sets: Sets, place: Path | None = None) -> Refit:
    """Signals whose preprocessing has seen only some rows: whitening by repeats would tell folds their labels."""

    earlier = earlier_subjects(decoder, part)

    def refit(kept: Mapping[str, np.ndarray]) -> dict[str, rows.Rows]:
        learnt = [key for key in kept if decoder.preprocessing[key].learnt]
        # Every fold's encoder has the shape of the whole fit's, whatever a threshold would keep of fewer rows.
        chains = {key: decoder.preprocessing[key].sized for key in learnt}
        out = {key: sets[key].signals for key in kept}
        trials = {key: part.trials[key] for key in learnt}
        if place is None:
            found = fit_together(chains, trials, kept, earlier)
            return out | {key: torch.from_numpy(x) for key, (_, x) in found.items()}
        found = fit_together(chains, trials, kept, earlier, mapped.Scratch(place))
        return out | {key: rows.of_array(x) for key, (_, x) in found.items()}

    return refit


def fresh_encoder(decoder: BrainDecoder, info: SignalInfo) -> Encoder:
    """See `BrainDecoder.encoder_of`."""
    shapes = {name: i.shape for name, i in decoder.outputs.items()}
    settings = decoder.settings
    made = Encoder.build(info, shapes, settings.adapter, settings.backbone, settings.seed)
    decoder.pretrained.start_(made)
    return made


def earlier_subjects(decoder: BrainDecoder, part: NeuralDataset) -> dict[str, FittedPreprocessing]:
    """By modality, the preprocessing of a subject that the decoder knows and that is not in this part."""
    known = {key: f for key, f in decoder.preprocessing.items() if key not in part.trials}
    return {fitted.source.modality: fitted for fitted in reversed(known.values())}


def identity_of(decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings]) -> str:
    """sha256 over what a resumed fit must share: trials, targets, settings."""
    rows = {key: decoder.preprocessing[key].fit_rows_hash for key in part.keys}
    targets = {name: [e.space, e.provenance] for name, e in named.items()}
    more = {"pretrained": decoder.pretrained.identity} if decoder.pretrained.trunk else {}
    return store.content_hash(rows=rows, targets=targets, settings=settings_to_json(decoder.settings), **more)


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
    cross, power = 0.0, 0.0
    with torch.no_grad():
        for p, t in [(raw, truth) for raw, truth, _ in fitted.held_out.values()] or fitted_pairs(
            decoder, sets
        ):
            cross += float((p * t).sum())
            power += float(p.square().sum())
    decoder.gain.fill_(max(cross, 0.0) / max(power, 1e-12))


def fitted_pairs(decoder: BrainDecoder, sets: Sets) -> Iterator[tuple[Tensor, Tensor]]:
    """Predictions and targets of the training data itself, some rows at a time."""
    for key, data in sets.items():
        targets = data.targets[decoder.main]
        for some in rows.parts(data.signals, targets):
            yield decoder.raw(key, data.signals[some]), targets[some]


def calibrate_(decoder: BrainDecoder, fitted: CrossFit) -> None:
    """Map and error of each subject, from the out-of-fold predictions of its stimuli's mean responses."""
    if not decoder.settings.calibrate:
        return
    others = [decoder.calibration(key) for key in decoder.calibrations]
    for key, (raw, truth, mean) in fitted.held_out.items():
        calibration = Calibration(truth[0].numel())
        generator = seeding.torch_generator(decoder.settings.seed, "calibration", key)
        calibration.fit_(raw[mean].flatten(1), truth[mean].flatten(1), generator, others)
        decoder.calibrations[key] = calibration


def fit_shared_map_(decoder: BrainDecoder, sets: Sets) -> None:
    """Ridge from centred embeddings to the shared values that the adapters make of the same stimuli."""
    encoder = decoder.fitted_encoder()
    size = next(iter(sets.values())).targets[decoder.main][0].numel()
    n_shared = int(np.prod(encoder.shared_shape))
    if size * n_shared > MAX_SHARED_MAP:
        return
    averaged = {key: s.averaged() for key, s in sets.items()}
    averaged = {
        key: fitting.drawn(s, size * len(sets), decoder.settings.seed, key) for key, s in averaged.items()
    }
    with torch.no_grad():
        shared = torch.cat([
            rows.made_of(partial(shared_values, encoder, key, s), s.signals) for key, s in averaged.items()
        ])  # fmt: skip
    targets = torch.cat([rows.whole(s.targets[decoder.main]) for s in averaged.values()])
    units = tuple(u for s in averaged.values() for u in s.units)
    pairs = SubjectSet(targets, {"shared": shared}, torch.arange(len(targets)), units)
    fit = fitting.ridge_to(pairs, shared, decoder.settings.seed, "shared map", score="correlation")
    decoder.shared_weight, decoder.shared_bias = fit.weights.T.contiguous(), fit.intercept


def shared_values(encoder: Encoder, key: str, data: SubjectSet, some: slice) -> Tensor:
    """What the subject's adapter makes of some rows, flattened."""
    values: Tensor = encoder.adapter(key)(data.signals[some]).flatten(1)
    return values


def train_prior_(
    decoder: BrainDecoder, fitted: CrossFit, folder: Path | None, progress: bool, about: str
) -> None:
    """The prior, on calibrated out-of-fold predictions; `about` names what these were made of."""
    if not fitted.held_out:
        raise checks.ConfigError("a prior is trained on out-of-fold predictions; set n_folds to 2 or more.")
    pairs = [(decoder.finished(key, raw), truth) for key, (raw, truth, _) in fitted.held_out.items()]
    conditions = decoder.condition(torch.cat([p for p, _ in pairs]))
    targets = torch.cat([t for _, t in pairs])
    settings = decoder.settings
    told = {n: torch.cat([fitted.told[key][n] for key in fitted.held_out]) for n in settings.prior_told}
    decoder.prior_log = fit_prior(
        decoder.prior, conditions, targets, settings.prior_train, settings.seed, folder, progress, told,
        about=about,
    )  # fmt: skip
    fit_spreads_(
        decoder, fitted, held_pairs(targets, settings.prior_train.validation_fraction, settings.seed)[1]
    )
