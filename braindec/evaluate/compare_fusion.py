"""When and where: the geometry of EEG over time fused with that of fMRI regions, and what levels explain of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from braindec import checks, rdm, seeding
from braindec.data.simulated.meeg import LATENCY_S
from braindec.evaluate import compare_sources, inside_geometry, study
from braindec.evaluate.scoring import parse_key
from braindec.maths.correlation import standardise
from braindec.maths.ranks import average_ranks
from braindec.rdm import RDM, Fusion, pairs
from braindec.types import Report

N_GROUPS = 10  # of scenes, left out in turn
LIMIT = (
    "Fusion finds when a geometry like that of a region is in the signal, not that the region makes it: levels of this "
    "world are correlated with each other, as those of a brain are. Models are the planted features of each level; for "
    "recordings they would be layers of a network. One EEG subject speaks of other scenes alone."
)


@dataclass(frozen=True)
class Settings:
    """Regions, windows and permutations.

    Parameters
    ----------
    regions : tuple of str
        Early to late.
    n_times : int
        Windows of the EEG.
    n_permutations : int
        Of scenes.
    seed : int
    """

    regions: tuple[str, ...] = ("early", "intermediate", "high")
    n_times: int = 60
    n_permutations: int = 499
    seed: int = 0


def fusion_study(
    folder: Path, settings: Settings = Settings(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """Fuses the EEG and the fMRI of a simulated dataset over the scenes that all of its subjects saw.

    Parameters
    ----------
    folder : path
        Prepared.
    settings : Settings
    protocol : str

    Notes
    -----
    Cichy et al. 2014, doi:10.1038/nn.3635; commonality analysis as in Hebart et al. 2018, doi:10.7554/eLife.32816.
    """
    over_time, regional, models, keys = _geometries(folder, settings)
    generator = seeding.torch_generator(settings.seed, "fusion")
    found = rdm.fuse(over_time, regional, models, n_permutations=settings.n_permutations, generator=generator)
    common, p_common = np.asarray(found.commonality), np.asarray(found.p_commonality)
    times = np.array(found.times)
    after = times >= 0
    nulls = _nulls(over_time, regional, settings)  # (draw, time, region)
    low, high = _interval(over_time, regional, after, settings)
    rows, words = [], []
    for k, region in enumerate(found.regions):
        rows += study.scores(
            f"fused_with_{region}", found.similarity[after, k].mean(), (low[k], high[k]), nulls[:, after, k].mean(1),
            over_time.n_conditions, subject=parse_key(keys)[0], modality="eeg", protocol=protocol,
        )  # fmt: skip
        words.append(_when(found, k, times))
    order = [_peak(found, k, times) for k in range(len(found.regions))]
    said = [
        "The EEG's geometry is like that of each region at: " + "; ".join(words) + ".",
        f"Regions peak in the planted order: {'yes' if all(np.diff(order) > 0) else 'no'} (commonality of region and "
        f"its own level: {', '.join(f'{1000 * t:.0f}' for t in order)} ms; planted "
        f"{', '.join(f'{1000 * LATENCY_S[r]:.0f}' for r in found.regions)} ms).",
        f"{over_time.n_conditions} scenes; p corrected over {len(times)} times and {len(found.regions)} regions, "
        f"{settings.n_permutations} permutations of scenes.",
    ]
    limit = float(np.quantile(nulls.max((1, 2)), 0.95))
    panels: list[study.Panel] = [
        ("When the EEG is like which region", "rsa_time_course", {
            "time_s": times, "series": {r: found.similarity[:, k] for k, r in enumerate(found.regions)},
            "significant": {r: found.p_similarity[:, k] < 0.05 for k, r in enumerate(found.regions)},
            "null_limit": limit, "planted": {r: LATENCY_S[r] for r in found.regions},
            "ylabel": "correlation of distances", "section": "fusion",
        }),
        ("What each region and its own level explain together", "rsa_time_course", {
            "time_s": times, "series": {r: common[:, k, k] for k, r in enumerate(found.regions)},
            "significant": {r: p_common[:, k, k] < 0.05 for k, r in enumerate(found.regions)},
            "planted": {r: LATENCY_S[r] for r in found.regions},
            "ylabel": "shared variance", "section": "fusion",
        }),
        ("When each region is found", "regions", study.bars(
            found.regions,
            {"found": [1000 * t for t in order], "planted": [1000 * LATENCY_S[r] for r in found.regions]},
            "ms after onset", section="fusion",
        )),
    ]  # fmt: skip
    return study.report("When and where", said, rows, panels, LIMIT, scenes=over_time.n_conditions)


def _geometries(folder: Path, settings: Settings) -> tuple[RDM, RDM, RDM, str]:
    """EEG (time, pair), regions (region, pair), planted levels (model, pair), name of the EEG subject."""
    choices = compare_sources.Choices(modality="eeg", n_times=settings.n_times, seed=settings.seed)
    eeg = compare_sources.open_dataset(str(folder), choices)
    made = compare_sources.brain("EEG", eeg, choices)
    if made.over_time is None:
        raise ValueError("the EEG of this dataset has no time axis.")
    key, ids = next(iter(eeg.trials)), made.over_time.conditions
    each = []
    for region in settings.regions:
        own = compare_sources.Choices(modality="fmri", seed=settings.seed)
        found = compare_sources.brain(
            region, compare_sources.open_dataset(f"{folder}@{region}", own), own, ids
        )
        each.append(found.rdm.mean("subject"))
    planted = {
        g.name.removesuffix(" level"): g.rdm for g in inside_geometry.level_geometries(folder, key, ids)
    }
    models = rdm.stack(
        [checks.known_key("level", r, planted) for r in settings.regions], "model", list(settings.regions)
    )
    regional = rdm.stack(each, "region", list(settings.regions))
    return made.over_time.mean("subject"), regional.reorder(ids), models.reorder(ids), key


def _ranked(values: Tensor) -> Tensor:
    return standardise(average_ranks(values.double()))


def _nulls(over_time: RDM, regional: RDM, settings: Settings) -> np.ndarray:
    """Similarities under permuted scenes, (draw, time, region)."""
    generator = seeding.torch_generator(settings.seed, "fusion nulls")
    t, squares = _ranked(over_time.distances), pairs.square(_ranked(regional.distances))
    draws = []
    for _ in range(settings.n_permutations):
        order = torch.randperm(regional.n_conditions, generator=generator)
        draws.append(t @ pairs.condensed(squares[:, order][:, :, order]).T)
    return torch.stack(draws).numpy()


def _interval(
    over_time: RDM, regional: RDM, after: np.ndarray, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """95 % limits of each region's mean similarity after onset, groups of scenes left out in turn."""
    ids = np.array(over_time.conditions)
    group = seeding.numpy_generator(settings.seed, "fusion groups").permutation(len(ids)) % N_GROUPS

    def mean(kept: np.ndarray) -> np.ndarray:
        names = ids[kept].tolist()
        t, r = (_ranked(x.subset(names).distances) for x in (over_time, regional))
        return (t @ r.T).numpy()[after].mean(0)

    whole = mean(np.ones(len(ids), dtype=bool))
    left = np.stack([mean(group != g) for g in range(N_GROUPS)])
    half = 2.26 * np.sqrt((N_GROUPS - 1) * left.var(0))  # t with nine degrees of freedom
    return np.maximum(whole - half, -1.0), np.minimum(whole + half, 1.0)  # of correlations


def _peak(found: Fusion, k: int, times: np.ndarray) -> float:
    checks.at_least("models", len(found.models), k + 1)
    common = np.where(times >= 0, np.asarray(found.commonality)[:, k, k], -np.inf)
    return float(times[common.argmax()])


def _when(found: Fusion, k: int, times: np.ndarray) -> str:
    """Where a region's similarity passes the null, in words."""
    at = int(found.similarity[:, k].argmax())
    passed = np.flatnonzero(found.p_similarity[:, k] < 0.05)
    told = f"{found.regions[k]} {1000 * times[at]:.0f} ms (rho {found.similarity[at, k]:.3f}, "
    if not len(passed):
        return told + "never above permuted scenes)"
    return told + f"p < 0.05 from {1000 * times[passed[0]]:.0f} to {1000 * times[passed[-1]]:.0f} ms)"
