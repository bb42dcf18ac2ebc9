"""Which latents of an image model a brain carries, where and when, and which of them a decoder keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.data.preprocessing import Preprocessing
from braindec.decoder import BrainDecoder, average_groups, group_repeats
from braindec.evaluate.encode import PREPROCESSING
from braindec.maths.correlation import standardise
from braindec.sparse import baselines, brain, claims, places, readers, separation
from braindec.sparse.dictionary import Dictionary, activations
from braindec.types import UNKNOWN, Embeddings, Space, SubjectSignal, Trials

BASELINES = ("pca", "ica", "nmf", "raw", "random")
SIGNED = ("pca", "ica", "raw")  # both ends of such a latent count as latents
LARGEST_PATTERN = 2**26
WHOLE = "all"  # the region that every feature belongs to, where a space names none


@dataclass(frozen=True)
class Settings:
    """How deep to look.

    Parameters
    ----------
    reading : readers.Settings
    baselines : tuple of str
        Among ``"pca"``, ``"ica"``, ``"nmf"``, ``"kmeans"``, ``"raw"``, ``"random"``.
    n_baseline : int
        Latents of each, at most as many as dims where the method allows no more.
    n_null_places : int
        Refits behind the maps of regions and times.
    window : int
        Samples of M/EEG averaged into one window.
    seed : int
    """

    reading: readers.Settings = field(default_factory=readers.Settings)
    baselines: tuple[str, ...] = BASELINES
    n_baseline: int = 64
    n_null_places: int = 19
    window: int = 3
    seed: int = 0


SETTINGS = Settings()


@dataclass(frozen=True, eq=False)
class Part:
    """Mean responses of one subject, one row a stimulus.

    Parameters
    ----------
    ids : tuple of str
    responses : Tensor, shape (n_stimuli, n_voxels) or (n_stimuli, n_channels, n_windows)
    halves : tuple of two Tensors of that shape, or ()
        Means over either half of the repeats, on the scale of the mean's own noise; NaN for stimuli shown once.
    signal : SubjectSignal
        After preprocessing.
    """

    ids: tuple[str, ...]
    responses: Tensor
    halves: tuple[Tensor, ...]
    signal: SubjectSignal

    @property
    def times(self) -> np.ndarray:
        """Middle of each window, seconds from onset; empty for signals without time."""
        if len(self.signal.shape) < 2 or self.signal.tmin is None or self.signal.sfreq is None:
            return np.empty(0)
        return self.signal.tmin + np.arange(self.signal.shape[1]) / self.signal.sfreq


@dataclass(frozen=True, eq=False)
class Inside:
    """Latents of one dictionary in one subject's brain.

    Parameters
    ----------
    key : str
        ``sub-01_fmri``.
    ids : tuple of str
        Stimuli, one a row of all that follows.
    latents : brain.Latents
    ways : mapping of str to Reading
        ``"embedding"`` and ``"direct"``.
    rates : Tensor, shape (n_rates,)
    areas : mapping of str to mapping of str to Tensor, shape (n_rates, n_baseline_latents)
        By way, then baseline.
    claim : mapping of str to Claim
        By way.
    fate : tuple of str
        Of each latent in the prediction (`claims.fates`): by ridge here, by the given decoder in `decoder_fate`.
    decoder_fate : tuple of str, or ()
    where : places.Places
        By region.
    when : places.Places or None
        By window, of M/EEG.
    times : float array, shape (n_windows,)
        Seconds.
    space : Space
    pattern : Tensor, shape (n_latents, n_voxels), or None
        Correlation of each latent's activation with the mean response of each voxel (channel and window); None where
        that would be more than `LARGEST_PATTERN` numbers.
    """

    key: str
    ids: tuple[str, ...]
    latents: brain.Latents
    ways: Mapping[str, brain.Reading]
    rates: Tensor
    areas: Mapping[str, Mapping[str, Tensor]]
    claim: Mapping[str, claims.Claim]
    fate: tuple[str, ...]
    decoder_fate: tuple[str, ...]
    where: places.Places
    when: places.Places | None
    times: np.ndarray
    space: Space
    pattern: Tensor | None = None


def inside(
    dataset: NeuralDataset,
    embeddings: Embeddings,
    model: Dictionary,
    *,
    control: tuple[Embeddings, Dictionary] | None = None,
    decoder: BrainDecoder | None = None,
    preprocessing: Mapping[str, Preprocessing] | None = None,
    settings: Settings = SETTINGS,
    keys: Sequence[str] | None = None,
) -> dict[str, Inside]:
    """Every latent in every subject: read from the brain, beside baselines, by region and by time.

    Parameters
    ----------
    dataset : NeuralDataset
        All its stimuli are used; each is held out once.
    embeddings : Embeddings
        What `model` encodes; tokens are taken as their mean.
    model : Dictionary
        A sparse autoencoder, say. It never sees a brain.
    control : (Embeddings, Dictionary), optional
        The same kind of dictionary of a network with random weights.
    decoder : BrainDecoder, optional
        Fitted on the dataset's train part: its predictions of the test part are asked which latents they keep.
    preprocessing : mapping of str to Preprocessing, optional
        By modality; the default standardises sessions, or averages `settings.window` samples. It may use no labels.
    settings : Settings
    keys : sequence of str, optional
        Subjects; all by default.

    Returns
    -------
    dict of str to Inside
    """
    chosen = dataset.keys if keys is None else tuple(keys)
    steps = preprocessing_of(settings) if preprocessing is None else preprocessing
    fitted = fitted_baselines(embeddings, settings)
    out = {}
    for key in chosen:
        trials = checks.known_key("subject", key, dataset.trials)
        part = averaged(trials, steps.get(trials.modality))
        out[key] = _inside_one(key, part, embeddings, model, control, fitted, settings)
        if decoder is not None:
            out[key] = with_decoder(out[key], decoder, dataset, settings)
    return out


def preprocessing_of(settings: Settings) -> dict[str, Preprocessing]:
    """Sessions standardised for fMRI; windows for M/EEG."""
    from braindec.data.preprocessing import AverageTime

    windows = Preprocessing((AverageTime(settings.window),))
    return {"fmri": PREPROCESSING["fmri"], "eeg": windows, "meg": windows}


def averaged(trials: Trials, steps: Preprocessing | None = None) -> Part:
    """Means over repeats of one subject's trials, and halves of them."""
    fitted = (steps or Preprocessing()).fit(trials)
    single = fitted.apply(trials)
    ids = trials.table["stimulus_id"]
    known = np.flatnonzero(ids != UNKNOWN)
    group, first = group_repeats(ids[known])
    single, n = single[known], len(first)
    responses = average_groups(single, group, n)
    count = np.bincount(group, minlength=n)
    halves: tuple[Tensor, ...] = ()
    if (count > 1).any():
        parity = _position(group) % 2
        sizes = [np.bincount(group[parity == side], minlength=n) for side in (0, 1)]
        shape = (-1,) + (1,) * (single.ndim - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = [_sums(single[parity == side], group[parity == side], n) for side in (0, 1)]
            means = [s / m.reshape(shape) for s, m in zip(sums, sizes, strict=True)]
            # Halves of unequal size differ by more than the mean's noise: this brings them to its scale.
            scale = (np.sqrt(sizes[0] * sizes[1]) / count).reshape(shape)
        off = (means[0] - means[1]) * scale
        halves = tuple(torch.from_numpy((responses + sign * off).astype(np.float32)) for sign in (1, -1))
    found = tuple(ids[known][first].tolist())
    return Part(found, torch.from_numpy(responses.astype(np.float32)), halves, fitted.signal)


def _position(group: np.ndarray) -> np.ndarray:
    """How many earlier rows of the same group there are, int (n,)."""
    order = np.argsort(group, kind="stable")
    starts = np.cumsum(np.bincount(group)) - np.bincount(group)
    out = np.empty(len(group), dtype=np.int64)
    out[order] = np.arange(len(group)) - starts[group[order]]
    return out


def _sums(values: np.ndarray, group: np.ndarray, n: int) -> np.ndarray:
    out = np.zeros((n, *values.shape[1:]))
    np.add.at(out, group, values)
    return out


def flat(embeddings: Embeddings, ids: Sequence[str] | None = None) -> Tensor:
    """float32 (n, n_dims): embeddings of these stimuli (or all), tokens as their mean."""
    chosen = embeddings.ids if ids is None else tuple(ids)
    return torch.from_numpy(np.asarray(embeddings.of(chosen), dtype=np.float32).mean(1))


def fitted_baselines(embeddings: Embeddings, settings: Settings) -> dict[str, Dictionary]:
    """Each baseline dictionary of these embeddings."""
    inputs = flat(embeddings)
    most = min(inputs.shape[1], len(inputs))
    limited = ("pca", "ica")
    return {
        name: baselines.fit(
            name, inputs, min(settings.n_baseline, most) if name in limited else settings.n_baseline,
            seed=settings.seed, n_active=8 if name == "random" else 0,
        )
        for name in settings.baselines
    }  # fmt: skip


def _latents(embeddings: Embeddings, model: Dictionary, ids: Sequence[str]) -> brain.Latents:
    inputs = flat(embeddings, ids)
    return brain.Latents(inputs, activations(model, inputs), model)


def _inside_one(
    key: str, part: Part, embeddings: Embeddings, model: Dictionary, control: tuple[Embeddings, Dictionary] | None,
    fitted: Mapping[str, Dictionary], settings: Settings,
) -> Inside:  # fmt: skip
    generator = seeding.torch_generator(settings.seed, "inside", key)
    told, n = settings.reading, len(part.ids)
    latents = _latents(embeddings, model, part.ids)
    source = readers.reader(part.responses.flatten(1), generator, settings=told)
    orders = brain.permutations(n, told.n_null, generator)
    weights = separation.resampling_weights(n, told.n_draws, generator)
    halves = tuple(half.flatten(1) for half in part.halves)
    ways = {
        way: brain.how_read(
            source, latents, way, orders=orders, weights=weights, halves=halves, settings=told
        )
        for way in brain.WAYS
    }
    rates = claims.rates_of(ways["direct"], told.n_rates)
    others = {name: (_latents_of(part.ids, embeddings, m), name in SIGNED) for name, m in fitted.items()}
    if control is not None:
        others["random network"] = (_latents_of(part.ids, *control), False)
    areas = {
        way: {
            name: claims.matched_areas(source, one, way, rates, signed=signed, settings=told)
            for name, (one, signed) in others.items()
        }
        for way in brain.WAYS
    }
    some = orders[: settings.n_null_places]
    where = _regions(part, source, latents, some, settings)
    return Inside(
        key, part.ids, latents, ways, rates, areas,
        {way: claims.claims(ways[way], rates, areas[way], told) for way in brain.WAYS},
        claims.fates(ways["embedding"], ways["direct"], told), (), where,
        windows(part, source, latents, some, settings), part.times, part.signal.space,
        _pattern(latents.activations, part.responses.flatten(1)),
    )  # fmt: skip


def _pattern(activations: Tensor, responses: Tensor) -> Tensor | None:
    if activations.shape[1] * responses.shape[1] > LARGEST_PATTERN:
        return None
    return standardise(activations, 0).T @ standardise(responses, 0)


def _latents_of(ids: Sequence[str], embeddings: Embeddings, model: Dictionary) -> brain.Latents:
    inputs = flat(embeddings, ids)
    # Codes of a baseline are not asked for: it is cut at the frequency of what it is compared with.
    return brain.Latents(inputs, torch.zeros(len(inputs), model.n_latents), model)


def _regions(
    part: Part, source: readers.Reader, latents: brain.Latents, orders: Tensor, settings: Settings
) -> places.Places:
    members = {name: rows for name, rows in part.signal.space.regions.items() if rows.any()}
    if not members:
        members = {WHOLE: np.ones(part.responses.shape[1], dtype=bool)}
    generator = seeding.torch_generator(settings.seed, "inside regions", part.signal.key)
    sources = {
        name: readers.reader(
            part.responses[:, torch.from_numpy(np.flatnonzero(rows))].flatten(1), generator,
            settings=settings.reading, strata=source.strata,
        )
        for name, rows in members.items()
    }  # fmt: skip
    return _read(sources, latents, orders, settings)


def windows(
    part: Part, source: readers.Reader, latents: brain.Latents, orders: Tensor, settings: Settings
) -> places.Places | None:
    """Latents by window of M/EEG; None for signals without time."""
    if not len(part.times):
        return None
    generator = seeding.torch_generator(settings.seed, "inside windows", part.signal.key)
    sources = {
        f"{time:.3f}": readers.reader(
            part.responses[:, :, i], generator, settings=settings.reading, strata=source.strata
        )
        for i, time in enumerate(part.times)
    }
    return _read(sources, latents, orders, settings)


def _read(
    sources: Mapping[str, readers.Reader], latents: brain.Latents, orders: Tensor, settings: Settings
) -> places.Places:
    least = settings.reading.min_active
    return places.read_places(sources, latents.activations, orders=orders, min_active=least)


def with_decoder(
    found: Inside, decoder: BrainDecoder, dataset: NeuralDataset, settings: Settings = SETTINGS
) -> Inside:
    """The same, with what a fitted decoder keeps of each latent on the test part that it never saw.

    Parameters
    ----------
    found : Inside
    decoder : BrainDecoder
        Its main output must be the space of the embeddings.
    dataset : NeuralDataset
        With the split whose train part the decoder was fitted on.
    settings : Settings
    """
    test = dataset.part("test").trials[found.key]
    made = decoder.predict(test, repeats="after")
    row = {name: i for i, name in enumerate(found.ids)}
    rows = torch.tensor([row[i] for i in made.ids])
    values = torch.from_numpy(np.asarray(made.values, dtype=np.float32).mean(1))
    told = settings.reading
    generator = seeding.torch_generator(settings.seed, "inside decoder", found.key)
    shared: dict[str, Any] = {
        "orders": brain.permutations(len(rows), told.n_null, generator),
        "weights": separation.resampling_weights(len(rows), told.n_draws, generator),
        "settings": told,
    }
    on = found.latents.active[rows]
    with torch.no_grad():
        pre = found.latents.dictionary.pre_activations(values)
    direct = found.ways["direct"].made[rows]
    fate = claims.fates(
        brain.fixed_reading(pre, on, **shared),
        brain.fixed_reading(direct, on, way="direct", **shared),
        told,
    )
    return replace(found, decoder_fate=fate)
