"""When the latents that a region carries are read: fMRI says where, M/EEG says when, a simulated world knows both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.data.preprocessing import AverageTime, Preprocessing, Whiten
from braindec.data.simulated.meeg import LATENCY_S
from braindec.data.simulated.truth import StoredTruth, truth_path
from braindec.evaluate import inside_latents
from braindec.evaluate.inside_latents import Part, Settings
from braindec.maths.ranks import spearman
from braindec.sparse import Config, FitConfig, brain, fit, places, readers
from braindec.sparse.dictionary import activations

ABOVE = 0.7  # of a peak: what a latency is the centre of
TRAINING = FitConfig(n_steps=600, batch_size=256, lr=3e-3, device="cpu")


@dataclass(frozen=True, eq=False)
class Planted:
    """Latents whose level is known.

    Parameters
    ----------
    ids : tuple of str
        Stimuli.
    activations : Tensor, shape (n_stimuli, n_latents)
    level : tuple of str, length n_latents
        ``"early"``, ``"intermediate"`` or ``"high"``.
    """

    ids: tuple[str, ...]
    activations: Tensor
    level: tuple[str, ...]

    def of(self, ids: Sequence[str]) -> Tensor:
        """Activations of these stimuli."""
        row = {name: i for i, name in enumerate(self.ids)}
        return self.activations[torch.tensor([checks.known_key("stimulus", i, row) for i in ids])]


def planted_latents(
    folder: str | Path,
    key: str,
    *,
    n_latents: int = 64,
    n_active: int = 4,
    training: FitConfig = TRAINING,
    seed: int = 0,
) -> Planted:
    """Latents of one sparse autoencoder a level, each trained on what drives that level of a simulated brain alone.

    Parameters
    ----------
    folder : path
        Prepared folder of a simulated dataset.
    key : str
        A subject whose file of truth is read; what drives a level is the same for all.
    n_latents, n_active : int
        Of each autoencoder.
    training : steps.Config
    seed : int
    """
    truth = StoredTruth(truth_path(folder, key))
    values, levels = [], []
    for level, inputs in truth.driven().items():
        x = torch.from_numpy(inputs.astype(np.float32))
        made = fit(x, Config(n_latents, "topk", n_active), training, seed=seed, progress=False)
        values.append(activations(made.model, x))
        levels += [level] * n_latents
    return Planted(tuple(truth.ids), torch.cat(values, 1), tuple(levels))


@dataclass(frozen=True, eq=False)
class Timing:
    """Which times of M/EEG read the latents that each region of fMRI reads.

    Parameters
    ----------
    regions : tuple of str
        Levels, from early to late.
    times : Tensor, shape (n_times,)
        Seconds.
    pairs : tuple of (str, str)
        Keys of the fMRI and the M/EEG subject.
    where : mapping of str to Places
        By fMRI subject.
    when : mapping of str to Places
        By M/EEG subject.
    similarity : Tensor, shape (n_pairs, n_regions, n_times)
    parts : Tensor, shape (n_pairs, n_regions, n_times, n_latents)
        Map of region, time and latent: what each latent adds to the similarity.
    latents : int64 Tensor, shape (n_latents,)
        Which ones took part.
    p : Tensor, shape (n_pairs, n_regions, n_times)
        Against partners exchanged among latents that are about as often active, largest over regions and times.
    latency : Tensor, shape (n_pairs, n_regions)
        Seconds; NaN where no time stands out: where `similarity` nowhere exceeds the largest value over times of 95 %
        of the refits.
    planted : Tensor, shape (n_regions,)
        Seconds.
    rho : float
        Spearman correlation of planted and recovered latencies over pairs and regions; 0 where fewer than three are
        found.
    null : Tensor, shape (n_null,)
        The same after readings of M/EEG were refitted to permuted stimuli.
    exchanged : Tensor, shape (n_draws,)
        The same with latents exchanged for others that are about as often active. It need not lie about 0: levels
        differ in how often their latents are active, and what follows from that alone is kept.
    interval : (float, float)
        95 % of `rho`, latents resampled.
    intervals : tuple of (float, float)
        The same of each pair alone.
    """

    regions: tuple[str, ...]
    times: Tensor
    pairs: tuple[tuple[str, str], ...]
    where: Mapping[str, places.Places]
    when: Mapping[str, places.Places]
    similarity: Tensor
    parts: Tensor
    latents: Tensor
    p: Tensor
    latency: Tensor
    planted: Tensor
    rho: float
    null: Tensor
    exchanged: Tensor
    interval: tuple[float, float]
    intervals: tuple[tuple[float, float], ...]

    def rho_of(self, pair: int) -> float:
        """Spearman correlation of one pair's latencies with the planted ones."""
        return _rho(self.latency[pair : pair + 1], self.planted)


def timing(
    dataset: NeuralDataset,
    planted: Planted,
    *,
    settings: Settings = inside_latents.SETTINGS,
    n_draws: int = 199,
    fmri: Sequence[str] | None = None,
    preprocessing: Mapping[str, Preprocessing] | None = None,
) -> Timing:
    """Latencies of regions: the times at which M/EEG reads the latents that fMRI reads there.

    Parameters
    ----------
    dataset : NeuralDataset
        With fMRI subjects whose regions are named as levels, and M/EEG subjects.
    planted : Planted
    settings : Settings
    n_draws : int
        Of the null, and of the interval.
    fmri : sequence of str, optional
        Keys of the fMRI subjects; all by default.
    preprocessing : mapping of str to Preprocessing, optional
        By modality, as for `inside`; `whitened` where M/EEG is noisy.

    Notes
    -----
    Features of all levels go with each other (a red background is a colour and a pixel), so any latent is read at every
    time at which anything is read, and when a single latent is read best says little. What a region reads better than
    the other regions is compared with what a time reads better than other times. Responses last longer than a window,
    so readings are averaged over three neighbours; and a time that reads little weighs little (`places.shared`).
    """
    regions = tuple(LATENCY_S)
    steps = inside_latents.preprocessing_of(settings) if preprocessing is None else preprocessing
    keys = [k for k in dataset.keys if k.endswith("_fmri")] if fmri is None else list(fmri)
    others = [k for k in dataset.keys if not k.endswith("_fmri")]
    checks.at_least("number of fMRI subjects", len(keys), 1)
    checks.at_least("number of M/EEG subjects", len(others), 1)
    parts = {
        k: inside_latents.averaged(dataset.trials[k], steps.get(dataset.trials[k].modality))
        for k in (*keys, *others)
    }
    where = {k: _where(parts[k], planted, regions, settings) for k in keys}
    when = {k: _when(parts[k], planted, settings) for k in others}
    times = torch.from_numpy(parts[others[0]].times)
    pairs = tuple((a, b) for a in keys for b in others)
    tested = torch.stack([p.tested for p in (*where.values(), *when.values())]).all(0)
    frequency = (planted.activations > 0).double().mean(0)
    found = [
        places.shared(
            _only(where[a], tested),
            _neighbours(_only(when[b], tested)),
            frequency[tested],
            seeding.torch_generator(settings.seed, "timing", a, b),
            n_draws=n_draws,
            weighed=True,
        )
        for a, b in pairs
    ]
    similarity = torch.stack([f.similarity for f in found])
    target = torch.tensor([LATENCY_S[r] for r in regions], dtype=torch.float64)
    again = _refitted(where, when, pairs, tested)
    latency, null = _standing_out(similarity, again, times)
    drawn = torch.stack([f.null for f in found], 1)  # (draw, pair, region, time)
    all_parts = torch.stack([f.parts for f in found])
    return Timing(
        regions, times, pairs, where, when, similarity, all_parts, torch.nonzero(tested).squeeze(1),
        torch.stack([f.p for f in found]), latency, target, _rho(latency, target),
        torch.tensor([_rho(one, target) for one in null], dtype=torch.float64),
        torch.tensor([_rho(_latency(one, times), target) for one in drawn], dtype=torch.float64),
        _interval(all_parts, latency, times, target, n_draws, settings.seed),
        tuple(
            _interval(one[None], latency[i : i + 1], times, target, n_draws, settings.seed)
            for i, one in enumerate(all_parts)
        ),
    )  # fmt: skip


def whitened(settings: Settings = inside_latents.SETTINGS) -> dict[str, Preprocessing]:
    """By modality: sessions standardised for fMRI; windows of M/EEG with noise whitened over sensors and times.

    The noise is what differs between repeats of a stimulus; that a stimulus is the same is all that is told. For
    recordings whose noise is slow and shared by sensors: it doubles what the demo's EEG tells. Where there is next to
    no noise, repeats differ in how strong the response is, and whitening would take out the response itself.
    """
    steps = (AverageTime(settings.window), Whiten(noise="repeats", over="epoch"))
    return inside_latents.preprocessing_of(settings) | {k: Preprocessing(steps) for k in ("eeg", "meg")}


def _where(part: Part, planted: Planted, regions: Sequence[str], settings: Settings) -> places.Places:
    members = part.signal.space.regions
    rows = [np.flatnonzero(checks.known_key("region", name, members)) for name in regions]
    responses = {name: part.responses[:, torch.from_numpy(r)] for name, r in zip(regions, rows, strict=True)}
    return _places(part, responses, planted, replace(settings, n_null_places=1))  # nothing asks for its null


def _when(part: Part, planted: Planted, settings: Settings) -> places.Places:
    responses = {f"{time:.3f}": part.responses[:, :, i] for i, time in enumerate(part.times)}
    return _places(part, responses, planted, settings)


def _places(
    part: Part, responses: Mapping[str, Tensor], planted: Planted, settings: Settings
) -> places.Places:
    generator = seeding.torch_generator(settings.seed, "timing places", part.signal.key)
    strata = torch.randint(settings.reading.n_folds, (len(part.ids),), generator=generator)
    sources = {
        name: readers.reader(x, generator, settings=settings.reading, strata=strata)
        for name, x in responses.items()
    }
    orders = brain.permutations(len(part.ids), settings.n_null_places, generator)
    least = settings.reading.min_active
    return places.read_places(sources, planted.of(part.ids), orders=orders, min_active=least)


def _only(found: places.Places, tested: Tensor, null: int | None = None) -> places.Places:
    """Of tested latents alone; or a refit to permuted stimuli in its place."""
    z = found.z if null is None else found.null[null]
    told: dict[str, Any] = {"names": found.names, "auc": found.auc[:, tested], "p": found.p[:, tested]}
    return places.Places(z=z[:, tested], null=found.null[:, :, tested], tested=found.tested[tested], **told)


def _neighbours(found: places.Places) -> places.Places:
    """Readings averaged over each window and the ones beside it."""
    z = found.z.nan_to_num(0.0)
    wide = torch.cat([z[:1], z, z[-1:]])
    return replace(found, z=(wide[:-2] + wide[1:-1] + wide[2:]) / 3)


def _latency(similarity: Tensor, times: Tensor) -> Tensor:
    """Of each region, (..., n_regions), from (..., n_regions, n_times)."""
    return places.latency(similarity.transpose(-1, -2), times, above=ABOVE)


def _rho(latency: Tensor, planted: Tensor) -> float:
    """Over all pairs and regions that have a latency; 0 where fewer than three do."""
    values = latency.double()
    found = ~values.isnan()
    if int(found.sum()) < 3:
        return 0.0
    return float(spearman(values[found], planted.expand_as(values)[found]))


def _refitted(
    where: Mapping[str, places.Places], when: Mapping[str, places.Places], pairs: Sequence[tuple[str, str]],
    tested: Tensor,
) -> Tensor:  # fmt: skip
    """Similarities after readings of M/EEG were refitted to permuted stimuli, (n_null, n_pairs, n_regions, n_times)."""
    n = min(len(p.null) for p in when.values())
    unit = {b: places.strength(_neighbours(_only(one, tested))) for b, one in when.items()}
    return torch.stack([
        torch.stack(
            [
                places.alike(_only(where[a], tested), _neighbours(_only(when[b], tested, draw)), unit[b]).sum(-1)
                for a, b in pairs
            ]
        )
        for draw in range(n)
    ])  # fmt: skip


def _standing_out(similarity: Tensor, null: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Latencies (n_pairs, n_regions) and those of every refit (n_null, ...); NaN where no time stands out of refits.

    A refit stands out of the other refits: it is judged as what was measured is.
    """
    peaks = null.amax(-1)  # (n_null, n_pairs, n_regions)

    def found(one: Tensor, others: Tensor) -> Tensor:
        limit = torch.quantile(others, 0.95, dim=0, interpolation="higher")
        stands = one.amax(-1) > limit
        return torch.where(stands, _latency(one, times), torch.nan)

    rest = [torch.cat([peaks[:i], peaks[i + 1 :]]) for i in range(len(null))]
    refits = [found(one, other) if len(other) else _latency(one, times) for one, other in zip(null, rest)]
    return found(similarity, peaks), torch.stack(refits)


def _interval(
    parts: Tensor, latency: Tensor, times: Tensor, planted: Tensor, n_draws: int, seed: int
) -> tuple[float, float]:
    """95 % of rho over the latencies that were found, latents resampled."""
    generator = seeding.torch_generator(seed, "timing interval")
    n = parts.shape[-1]
    weights = torch.stack(
        [torch.bincount(torch.randint(n, (n,), generator=generator), minlength=n) for _ in range(n_draws)]
    ).double()
    none = latency.isnan()
    drawn = [_latency(parts @ w, times).masked_fill(none, torch.nan) for w in weights]
    values = torch.tensor([_rho(one, planted) for one in drawn], dtype=torch.float64)
    low, high = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(low), float(high)
