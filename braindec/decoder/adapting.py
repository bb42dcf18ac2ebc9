"""How a fitted decoder takes in new subjects: by gradient steps from closed-form adapters, or in closed form alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from braindec import checkpoints, checks, config, seeding, store, train
from braindec.data import NeuralDataset, leakage
from braindec.decoder import adaptation, fitting, new_subject, rows
from braindec.decoder.cross_fit import Sets, cross_fit
from braindec.decoder.learning import (
    calibrate_,
    identity_of,
    kept_in,
    loss_weights,
    named,
    prepared_sets_,
    rank_of,
    refit_of,
    told_losses,
)
from braindec.decoder.spread import fit_spreads_
from braindec.encoder import Encoder
from braindec.types import Embeddings, SignalInfo

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder


def adapted(
    decoder: BrainDecoder,
    part: NeuralDataset,
    embeddings: Embeddings | Mapping[str, Embeddings],
    folder: Path | None,
    settings: train.Config | None,
    mode: adaptation.Mode,
    method: adaptation.Method,
    *,
    progress: bool,
) -> BrainDecoder:
    """See `BrainDecoder.adapt`: a copy that also decodes the new subjects."""
    checks.one_of("method", method, adaptation.METHODS)
    checks.one_of("mode", mode, adaptation.MODES)
    told = named(decoder, embeddings)
    known = sorted(set(part.keys) & set(decoder.info.signals))
    if known:
        raise ValueError(
            f"adapt takes new subjects, but {known} are already in this decoder; leave them out."
        )
    new = copy.deepcopy(decoder).cpu()
    if method == "empirical_bayes":
        new_subject.check_untrained(settings, mode)
        adapt_in_closed_form_(new, part, told, folder)
    else:
        training = settings or decoder.settings.train
        adapt_(new, part, told, folder, training, mode=mode, progress=progress)
    return new


def adapt_(
    decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings], folder: Path | None,
    settings: train.Config, *, mode: adaptation.Mode, progress: bool,
) -> None:  # fmt: skip
    """See `BrainDecoder.adapt`, of which this decoder is already the copy."""
    leakage.audit_part(part).refuse()
    decoder.info = SignalInfo({**decoder.info.signals, **part.info.signals})
    place = rows.place_of(part, folder)
    sets = prepared_sets_(decoder, part, named, place)
    new = [p for key in part.keys for p in decoder.encoder.add_subject(decoder.preprocessing[key].signal)]
    trainable = adaptation.trained(decoder.encoder, new, mode)
    weights = [name for name, _ in decoder.encoder.named_parameters() if name.startswith(trainable)]
    if not weights:  # of adapters such as volume_patches, which learn nothing
        settings = replace(settings, n_steps=0)
    if mode == "reset":
        outputs = {name: info.shape for name, info in decoder.outputs.items()}
        adaptation.reset_first_layers_(
            decoder.encoder, decoder.settings.backbone, outputs, decoder.settings.seed
        )
    fresh = copy.deepcopy(decoder.encoder)
    hashed = store.content_hash(mode=mode, train=config.to_json(settings))
    about = f"{identity_of(decoder, part, named)} {hashed}"
    checkpoints.refuse_others(folder, ("adapt",), about)
    decoder.encoder, fitted = cross_fit(
        lambda: copy.deepcopy(fresh), told_losses(decoder), loss_weights(decoder), sets, settings,
        n_folds=decoder.settings.n_folds, seed=decoder.settings.seed, name="adapt", folder=folder, progress=progress,
        start=partial(start_adapters_, decoder), rank=rank_of(decoder), keep=kept_in(place),
        refit=refit_of(decoder, part, sets, place), cycle=decoder.settings.cycle,
        trainable=trainable, also=decoder.settings.prior_told, about=about,
    )  # fmt: skip
    decoder.log = fitted.log
    calibrate_(decoder, fitted)
    fit_spreads_(decoder, fitted)
    adapted = {"dataset": part.identity(), "mode": mode, "best_step": decoder.log.best_step}
    chosen = leakage.chosen_on(part, "number of training steps, by cross-fitting", digests=False)
    before = decoder.provenance.get("chosen_on", {}).get("rows", {})
    chosen["rows"] = {**before, **chosen["rows"]}
    decoder.provenance = {**decoder.provenance, "adapted": adapted, "chosen_on": chosen}
    if folder is not None:
        checkpoints.forget_parts(folder)


def adapt_in_closed_form_(
    decoder: BrainDecoder, part: NeuralDataset, named: Mapping[str, Embeddings], folder: Path | None
) -> None:
    """See `BrainDecoder.adapt` with ``method="empirical_bayes"``; this decoder is already the copy."""
    new_subject.check_known(decoder, part)
    leakage.audit_part(part).refuse()
    decoder.info = SignalInfo({**decoder.info.signals, **part.info.signals})
    for key, data in prepared_sets_(decoder, part, named, rows.place_of(part, folder)).items():
        new_subject.read_in_closed_form_(decoder, key, data)
    adapted = {"dataset": part.identity(), "method": "empirical_bayes"}
    decoder.provenance = {**decoder.provenance, "adapted": adapted}


def start_adapters_(decoder: BrainDecoder, encoder: Encoder, sets: Sets) -> None:
    """Closed-form fits of new subjects' signals to the shared values expected for their stimuli."""
    if not decoder.shared_weight.numel():
        return
    for key, data in sets.items():
        adapter = encoder.adapter(key)
        n_values, purpose = int(np.prod(adapter.signal_shape)), ("adapt", key)
        averaged = fitting.drawn(data.averaged(), n_values, decoder.settings.seed, *purpose)
        targets = averaged.targets[decoder.main]
        expected = rows.made_of(partial(expected_values, decoder, targets), targets)
        generator = seeding.torch_generator(decoder.settings.seed, "ridge", *purpose)
        parts = fitting.group_folds(averaged.units, 5, generator)
        wanted = expected.unflatten(1, adapter.shared_shape)
        if not adapter.start_from_pairs_(rows.whole(averaged.signals), wanted, parts) and adapter.takes_map:
            fit = fitting.ridge_to(averaged, expected, decoder.settings.seed, *purpose)
            adapter.start_from_(fit.weights.T, fit.intercept)


def expected_values(decoder: BrainDecoder, targets: rows.Rows, some: slice) -> Tensor:
    """Flattened shared values that are expected for some targets."""
    return targets[some].flatten(1) @ decoder.shared_weight.T + decoder.shared_bias
