"""What a fitted decoder makes of trials: stimuli found, embeddings imagined, pictures drawn, activations read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from braindec import checks, registry, seeding
from braindec.data import own
from braindec.data.gallery import Gallery
from braindec.data.gallery_index import Index
from braindec.data.preprocessing import FittedPreprocessing
from braindec.data.rows import row_digests
from braindec.decoder import large_galleries, new_subject, rows
from braindec.decoder.prediction import Direction, Prediction, Repeats, with_repeats
from braindec.decoder.spread import spread_of
from braindec.generators import Generator, Guides
from braindec.maths import nearest
from braindec.types import Embeddings, Trials

if TYPE_CHECKING:
    from braindec.decoder.brain_decoder import BrainDecoder

ROWS_AT_ONCE = 2048
DRAWN_BYTES = 256 << 20  # of samples of a prior at once; its layers hold several times that
OF_RUNS = ("unit_unlabelled", "causal")  # scopes whose statistics are those of the trials that are given


def as_trials(decoder: BrainDecoder, trials: Trials | np.ndarray) -> Trials:
    """Trials as they are; responses alone as trials of the decoder's one subject, each of a stimulus of its own.

    Raises
    ------
    ConfigError
        If the decoder knows several subjects, or a step takes statistics of the run at hand: an array says neither.
    ValueError
        If a trial has another shape than that subject's.
    """
    if isinstance(trials, Trials):
        return trials
    known = decoder.info.signals
    if len(known) > 1:
        raise checks.ConfigError(
            f"this decoder knows {sorted(known)}, and an array does not say whose responses it holds; give Trials: "
            "NeuralDataset.from_arrays(responses, ids, modality=..., subject=...).trials[KEY]."
        )
    ((key, signal),) = known.items()
    values = np.asarray(trials)
    if values.shape[1:] != signal.shape:
        shape = ", ".join(map(str, signal.shape))
        raise ValueError(f"responses must have shape (n_trials, {shape}) as {key} has, got {values.shape}.")
    fitted = decoder.preprocessing.get(key)
    of_runs = [] if fitted is None else [s for s in fitted.steps if getattr(s, "scope", "") in OF_RUNS]
    if of_runs:
        step = of_runs[0]
        raise checks.ConfigError(
            f"{type(step).__name__} takes its numbers from the {getattr(step, 'unit', 'run')} that trials are in, and "
            "an array does not say it; give Trials: NeuralDataset.from_arrays(..., run=...).trials[KEY]."
        )
    names = [f"trial-{number}" for number in range(len(values))]
    return own.array_trials(values, names, {}, subject=signal.subject, modality=signal.modality, units=signal.units,
                            sfreq=signal.sfreq, tmin=signal.tmin, space=signal.space)  # fmt: skip


def classes_of(decoder: BrainDecoder) -> tuple[str, ...]:
    """The classes that a decoder tells apart; none of one that predicts embeddings of stimuli."""
    return tuple(decoder.outputs[decoder.main].identity.get("classes", ()))


def classify(decoder: BrainDecoder, trials: Trials | np.ndarray) -> np.ndarray:
    """See `BrainDecoder.classify`."""
    if not classes_of(decoder):
        raise checks.ConfigError(
            f"this decoder predicts {decoder.outputs[decoder.main].space!r} and knows no classes; use retrieve() with "
            "a gallery, or fit one of classes: QuickDecoder(label_column=...)."
        )
    return classified(decoder, decoder.predict(trials))


def classified(decoder: BrainDecoder, prediction: Prediction) -> np.ndarray:
    """The class that fits each prediction best, text (n,)."""
    named, target = classes_of(decoder), registry.load("targets", "category_prototypes")
    kind = decoder.outputs[decoder.main].identity["kind"]
    found = decoder.similarity(prediction, target.build(target.Config(named, kind)).embed(named))
    return np.asarray(np.array(named)[found.argmax(1).numpy()])


def fitted_for(decoder: BrainDecoder, key: str) -> FittedPreprocessing:
    """The fitted preprocessing of a subject; of one that the decoder was not fitted on, says how it learns it."""
    found = decoder.preprocessing.get(key)
    if found is None:
        known = sorted(decoder.preprocessing)
        raise checks.ConfigError(
            f"this decoder was fitted on {known}, got trials of {key!r}.{checks.suggest(key, known)} Brains differ: "
            "with training trials of this subject, decoder.adapt(part, embeddings) returns a copy that decodes it too."
        )
    return found


@torch.no_grad()
def predict(
    decoder: BrainDecoder,
    trials: Trials | np.ndarray,
    repeats: Repeats,
    output: str | None,
    *,
    with_told: bool = True,
) -> Prediction:
    """See `BrainDecoder.predict`; what the prior is told costs a pass of its own and can be left out."""
    trials = as_trials(decoder, trials)
    name = decoder.main if output is None else checks.one_of("output", output, list(decoder.outputs))
    encoder = decoder.fitted_encoder()
    fitted = fitted_for(decoder, trials.key)

    def run(name: str, responses: np.ndarray) -> np.ndarray:
        encoder.eval()
        made = raw(decoder, trials.key, decoder.tensor(responses), name)
        centred = decoder.finished(trials.key, made) if name == decoder.main else made
        return decoder.scaler(name).restore(centred).cpu().numpy()

    x = rows.applied(fitted, trials)
    others = decoder.settings.prior_told if name == decoder.main and with_told else ()
    told = {other: with_repeats(x, trials.table, repeats, partial(run, other)).values for other in others}
    return replace(with_repeats(x, trials.table, repeats, partial(run, name)), key=trials.key, told=told)


def raw(decoder: BrainDecoder, key: str, signals: Tensor, output: str) -> Tensor:
    """See `BrainDecoder.raw`."""
    encoder = decoder.fitted_encoder()
    if key in decoder.readouts:
        checks.one_of(f"output of {key}, which is read in closed form,", output, [decoder.main])
        return new_subject.read(decoder, key, signals)
    return torch.cat([encoder({key: some})[key][output] for some in signals.split(ROWS_AT_ONCE)])


def finished(decoder: BrainDecoder, key: str, raw: Tensor) -> Tensor:
    """See `BrainDecoder.finished`."""
    if key in decoder.calibrations:
        calibrated: Tensor = decoder.calibration(key)(raw.flatten(1)).reshape(raw.shape)
        return calibrated
    return raw if key in decoder.readouts else raw * decoder.gain


def unit_length(values: Tensor) -> Tensor:
    """Predictions (n, n_tokens, n_dims) at the length sqrt(n_tokens * n_dims): contrastive losses leave it free."""
    return normalize(values.flatten(1), dim=1).reshape(values.shape) * float(np.sqrt(values[0].numel()))


def similarity(
    decoder: BrainDecoder, prediction: Prediction, candidates: np.ndarray, direction: Direction
) -> Tensor:
    """See `BrainDecoder.similarity`."""
    checks.one_of("direction", direction, ("image", "brain"))
    checks.known_key("subject", prediction.key, decoder.preprocessing)
    query, gallery = decoder.flat(prediction.values), decoder.flat(candidates)
    if prediction.key in decoder.calibrations:
        return decoder.calibration(prediction.key).similarity(query, gallery, direction).cpu()
    return nearest.similarity(query, gallery).cpu()


def retrieve(
    decoder: BrainDecoder, trials: Trials, gallery: Embeddings | Gallery | Index, k: int, repeats: Repeats
) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """See `BrainDecoder.retrieve`."""
    if isinstance(gallery, Gallery | Index):
        stored = gallery.gallery if isinstance(gallery, Index) else gallery
        _check_target(decoder, "gallery", stored, "Embed it with the decoder's target.")
        checks.in_range("k", k, 1, len(stored))
        prediction = decoder.predict(trials, repeats=repeats)
        similarity, rows = large_galleries.nearest(decoder, prediction, gallery, k)
        return [tuple(stored.ids(row)) for row in rows.tolist()], similarity.numpy()
    told = embeddings_of("gallery", gallery).info
    _check_target(decoder, "gallery", told, "Embed it with the decoder's target.")
    checks.in_range("k", k, 1, len(gallery.ids))
    prediction = decoder.predict(trials, repeats=repeats)
    found = decoder.similarity(prediction, np.asarray(gallery.values[:], dtype=np.float32)).sort(
        dim=1, descending=True, stable=True
    )
    ids = [tuple(gallery.ids[i] for i in row) for row in found.indices[:, :k].tolist()]
    return ids, found.values[:, :k].numpy()


def score(decoder: BrainDecoder, trials: Trials, embeddings: Embeddings, repeats: Repeats) -> float:
    """See `BrainDecoder.score`."""
    told = embeddings_of("embeddings", embeddings).info
    _check_target(decoder, "embeddings", told, "Embed the stimuli with the decoder's target.")
    prediction = decoder.predict(trials, repeats=repeats)
    n_seen = int(np.isin(row_digests(trials), decoder.preprocessing[trials.key].fit_rows).sum())
    if n_seen:
        warnings.warn(
            f"{n_seen} of {trials.n_trials} trials of {trials.key} are among those that the decoder was fitted on (by "
            "stimulus, session, run, onset, order and repeat): such a score says how well it remembers, not how well "
            "it decodes. Score trials that it never saw: dataset.part('test').trials[KEY].",
            stacklevel=3,
        )
    gallery, row = np.unique(prediction.ids, return_inverse=True)
    found = decoder.similarity(prediction, embeddings.of(gallery.tolist()))
    return float(nearest.hits_at(1, *nearest.ranks_in(found, torch.from_numpy(row))).mean())


def imagine(
    decoder: BrainDecoder, prediction: Prediction, seed: int, n_steps: int | None, n_samples: int
) -> np.ndarray:
    """See `BrainDecoder.imagine`."""
    if decoder.prior is None:
        return np.repeat(prediction.values[None], n_samples, axis=0)
    shape = prediction.values.shape
    out = np.empty((n_samples, *shape), dtype=np.float32)
    for some, samples in _draws(decoder, prediction, seed, n_steps, n_samples):
        out[:, some] = samples.cpu().numpy()
    return out


@torch.no_grad()
def _draws(
    decoder: BrainDecoder, prediction: Prediction, seed: int, n_steps: int | None, n_samples: int
) -> Iterator[tuple[slice, Tensor]]:
    """What the prior draws, (n_samples, some, n_tokens, n_dims), for as many rows as fit into `DRAWN_BYTES`."""
    assert decoder.prior is not None
    scaler = decoder.scaler(decoder.main)
    generator = seeding.torch_generator(seed, "prior")
    n = len(prediction.values)
    step = max(1, DRAWN_BYTES // max(1, 4 * n_samples * prediction.values[0].size)) if n else 1
    spread = spread_of(decoder, prediction.key, n)
    for start in range(0, n, step):
        some = slice(start, start + step)
        told = {
            name: decoder.scaler(name).centre(decoder.tensor(values[some]))
            for name, values in prediction.told.items()
        }
        samples = decoder.prior.sample(
            decoder.condition(scaler.centre(decoder.tensor(prediction.values[some]))),
            generator=generator,
            n_steps=n_steps,
            n_samples=n_samples,
            told=told,
            spread=None if spread is None else spread[some],
        )
        yield some, scaler.restore(samples)


@torch.no_grad()
def image_embedding(
    decoder: BrainDecoder, prediction: Prediction, seed: int, n_steps: int | None
) -> np.ndarray:
    """See `BrainDecoder.image_embedding`."""
    if decoder.prior is None or decoder.prior.closed_form:
        return imagine(decoder, prediction, seed, n_steps, 1)[0]
    n_samples = decoder.settings.prior_samples
    draws = np.empty_like(prediction.values)
    for some, samples in _draws(decoder, prediction, seed, n_steps, n_samples):
        draws[some] = samples.cpu().numpy().mean(0)
    scaler = decoder.scaler(decoder.main)
    both = torch.stack([scaler.centre(decoder.tensor(v)) for v in (draws, prediction.values)]).mean(0)
    # Centred training embeddings have variance one: that is their length.
    length = both.flatten(1).norm(dim=1).clamp_min(1e-8) / both[0].numel() ** 0.5
    return scaler.restore(both / length[:, None, None]).cpu().numpy()


@torch.no_grad()
def imagine_nothing(decoder: BrainDecoder, n: int, seed: int, n_steps: int | None) -> np.ndarray:
    """See `BrainDecoder.imagine_nothing`."""
    if decoder.prior is None:
        raise ValueError("this decoder has no prior; set one in its settings.")
    generator = seeding.torch_generator(seed, "prior")
    samples = decoder.prior.unconditional(n, generator=generator, n_steps=n_steps)
    return decoder.scaler(decoder.main).restore(samples).cpu().numpy()


def reconstruct(
    decoder: BrainDecoder,
    trials: Trials,
    generator: Generator,
    repeats: Repeats,
    seed: int,
    n_steps: int | None,
    guides: Guides,
) -> tuple[tuple[str, ...], np.ndarray]:
    """See `BrainDecoder.reconstruct`."""
    space = decoder.outputs[decoder.main].space
    checks.same_space("generator", generator.space, space, "Choose a generator of this space.")
    prediction = decoder.predict(trials, repeats=repeats)
    embeddings = decoder.image_embedding(prediction, seed=seed)
    drawn = generator.generate(
        embeddings, generator=seeding.torch_generator(seed, "picture"), guides=guides, n_steps=n_steps
    )
    return prediction.ids, drawn


@torch.no_grad()
def activations(decoder: BrainDecoder, layer: str, trials: Trials) -> np.ndarray:
    """See `BrainDecoder.activations`."""
    encoder = decoder.fitted_encoder()
    module = dict(encoder.named_modules())[checks.one_of("layer", layer, decoder.layers())]
    if trials.key in decoder.readouts:
        raise ValueError(
            f"{trials.key} is read in closed form and passes no layer; adapt it by 'fine_tune' for that."
        )
    caught: list[Tensor] = []
    handle = module.register_forward_hook(lambda _m, _i, out: caught.append(_as_tensor(out, decoder.main)))
    try:
        predict(decoder, trials, "none", None, with_told=False)
    finally:
        handle.remove()
    if not caught:
        raise ValueError(
            f"layer {layer!r} is not on the way of {trials.key}; it is another subject's or unused."
        )
    return torch.cat(caught).cpu().numpy()


def _as_tensor(out: Any, main: str) -> Tensor:
    return out if isinstance(out, Tensor) else out[main]


def embeddings_of(name: str, given: Any) -> Embeddings:
    """What was given, where it is embeddings."""
    said = (
        "Make them with Embeddings.from_arrays(ids, vectors, space), space being the name of what made them."
    )
    found: Embeddings = checks.of_type(name, given, Embeddings, way_out=said)
    return found


def _check_target(decoder: BrainDecoder, name: str, found: Any, way_out: str) -> None:
    checks.same_target(name, found, decoder.outputs[decoder.main], way_out)
