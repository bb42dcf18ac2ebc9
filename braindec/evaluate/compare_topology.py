"""Which region is it? Distances of brains under transforms that keep topology and give up geometry (tRSA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from braindec import checks, rdm, seeding
from braindec.evaluate import compare_sources, inside_geometry, study
from braindec.evaluate.scoring import parse_key
from braindec.maths.correlation import standardise
from braindec.rdm import RDM, pairs
from braindec.stats.intervals import wilson
from braindec.types import Report

# (low, high) quantiles: (0, 1) is RSA, low = high is the neighbourhood graph alone
GRID = tuple((a, b) for a in (0.0, 0.25, 0.5, 0.75) for b in (0.25, 0.5, 0.75, 1.0) if a <= b)
RSA = (0.0, 1.0)
LIMIT = (
    "Regions of this world are linear in features of known levels, so that geometry is what tells them apart; a brain "
    "whose regions differ in topology alone would be told apart by other transforms. Subjects are few: shares speak "
    "of other choices of scenes for these subjects."
)


@dataclass(frozen=True)
class Settings:
    """How regions are to be recognised.

    Parameters
    ----------
    regions : tuple of str
    n_conditions : int
        Scenes in one question: so few that the answer is not certain.
    n_deals : int
        How often the scenes are dealt into sets of so many, each of which is a question for every subject and region.
    geodesics : bool
        Whether shortest paths are judged too, where no distance counts as none (else all scenes are joined).
    seed : int
    """

    regions: tuple[str, ...] = ("early", "intermediate", "high")
    n_conditions: int = 20
    n_deals: int = 20
    geodesics: bool = True
    seed: int = 0


def topology_study(
    folder: Path, settings: Settings = Settings(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """Each subject's region named by the planted level that its distances are most like, a transform at a time.

    Parameters
    ----------
    folder : path
        Prepared folder of a simulated dataset.
    settings : Settings
    protocol : str

    Notes
    -----
    After Lin & Kriegeskorte 2024, doi:10.1073/pnas.2317881121. The transform that is reported was chosen on the other
    subjects.
    """
    data, subjects, levels = _geometries(folder, settings)
    hits, closeness, names = _questions(data, levels, settings)  # (transform, subject, region, draw)
    wrong = _questions(data, levels, settings, permuted=True)[0]
    n_subjects = hits.shape[1]
    chosen = [int(np.delete(hits, s, 1).mean((1, 2, 3)).argmax()) for s in range(n_subjects)]
    ours, twin = (np.stack([h[c, s] for s, c in enumerate(chosen)]) for h in (hits, wrong))
    rsa = names.index(_name(RSA))
    found = []
    for k, subject in enumerate(subjects):
        n = (
            ours[k].size // settings.n_deals
        )  # questions that share no scene; further deals ask the same scenes anew
        ends = wilson(ours[k].mean() * n, n)
        null = twin[k].reshape(len(settings.regions), settings.n_deals, -1).mean((0, 2))
        found += study.scores(
            "region_recognised", ours[k].mean(), (ends.low, ends.high), null, n,
            chance=1 / len(settings.regions), subject=parse_key(subject)[0], modality="fmri", protocol=protocol,
            transform=names[chosen[k]], rsa=float(hits[rsa, k].mean()),
        )  # fmt: skip
    said = [
        f"{settings.n_conditions} scenes tell which region a subject's distances are of in {ours.mean():.3f} of "
        f"{ours.size} questions (chance {1 / len(settings.regions):.2f}, scenes permuted {twin.mean():.3f}), with the "
        f"transform chosen on the other subjects: {', '.join(sorted({names[c] for c in chosen}))}.",
        f"Distances as they are (RSA) do so in {hits[rsa].mean():.3f}; the chosen transform less RSA "
        f"{ours.mean() - hits[rsa].mean():+.3f}, in the mean of these deals.",
    ]
    shown = {"as it is": hits.mean((1, 2, 3)), "scenes permuted": wrong.mean((1, 2, 3))}
    panels: list[study.Panel] = [
        ("Regions recognised, by transform", "regions", study.bars(
            names, shown, "share of questions answered right", chance=1 / len(settings.regions),
            caption="low-high: distances below one quantile count as none, above the other as one.",
        )),
        ("How like its own level a region is", "regions", _ceilings(data, closeness, names, settings)),
        ("Taken for what", "confusion", {
            "matrix": _confused(data, levels, settings), "labels": list(settings.regions), "section": "scores",
            "caption": "Distances as they are, all scenes: planted level that each subject's region is most like.",
        }),
    ]  # fmt: skip
    return study.report("Geometry or topology: which tells regions apart?", said, found, panels, LIMIT)


def _name(ends: tuple[float, float]) -> str:
    return "RSA" if ends == RSA else f"{ends[0]:g}-{ends[1]:g}"


def _geometries(folder: Path, settings: Settings) -> tuple[RDM, list[str], RDM]:
    """Distances (subject, region), names of subjects, and those of planted levels (model)."""
    choices = compare_sources.Choices(modality="fmri", seed=settings.seed)
    each, keys = [], []
    for region in settings.regions:
        dataset = compare_sources.open_dataset(f"{folder}@{region}", choices)
        made = compare_sources.brain(region, dataset, choices)
        each.append(made.rdm)
        keys = list(dataset.trials)
    data = rdm.stack(each, "region", list(settings.regions))
    planted = inside_geometry.level_geometries(folder, keys[0], data.conditions)
    by_name = {one.name.removesuffix(" level"): one.rdm for one in planted}
    models = [checks.known_key("level", region, by_name) for region in settings.regions]
    return data, keys, rdm.stack(models, "model", list(settings.regions))


def _transformed(values: RDM, settings: Settings) -> dict[str, Tensor]:
    """Distances under every transform, standardised over pairs, by name."""
    out = {}
    for low, high in GRID:
        made = rdm.geo_topological(values, low, high)
        out[_name((low, high))] = made.distances
        if settings.geodesics and low == 0 and high < 1:
            out[f"paths {low:g}-{high:g}"] = rdm.geodesic(made, longest=1.0).distances
    return {name: standardise(d.double()) for name, d in out.items()}


def _questions(
    data: RDM, levels: RDM, settings: Settings, *, permuted: bool = False
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Whether the own level came first, and the correlation with it: (transform, subject, region, draw)."""
    generator = seeding.torch_generator(settings.seed, "topology", permuted)
    n = min(settings.n_conditions, data.n_conditions)
    checks.at_least("conditions", n, 6)
    drawn = torch.cat([_dealt(data.n_conditions, n, generator) for _ in range(settings.n_deals)])
    other = torch.stack([d[torch.randperm(n, generator=generator)] for d in drawn])
    own, models = _cut(data, drawn), _cut(levels, other if permuted else drawn)
    a, b = _transformed(own, settings), _transformed(models, settings)
    like = torch.stack([torch.einsum("drsp,dmp->srdm", a[name], b[name]) for name in a])
    regions = torch.arange(len(settings.regions))
    right = (like.argmax(-1) == regions[None, None, :, None]).double()
    close = torch.stack([like[:, :, r, :, r] for r in range(len(regions))], 2)
    return right.numpy(), close.numpy(), list(a)


def _dealt(n_all: int, n: int, generator: torch.Generator) -> Tensor:
    """All conditions dealt into sets that share none, (n_sets, n)."""
    n_sets = n_all // n
    return torch.randperm(n_all, generator=generator)[: n_sets * n].reshape(n_sets, n)


def _cut(values: RDM, drawn: Tensor) -> RDM:
    """The same distances among drawn conditions, with a leading axis of draws."""
    square = values.square()
    parts = [pairs.condensed(square[..., d, :][..., :, d]) for d in drawn]
    names = tuple(str(i) for i in range(drawn.shape[1]))
    return RDM(torch.stack(parts), names, values.measure, ("draw", *values.axes))


def _ceilings(data: RDM, closeness: np.ndarray, names: Sequence[str], settings: Settings) -> dict:
    """Correlation with the own level, beside what the best model would reach (all scenes, mean over regions)."""
    ceilings = []
    for low, high in GRID:
        moved = rdm.geo_topological(data, low, high).distances
        ceilings.append(np.mean([float(rdm.noise_ceiling(d, "pearson").lower.mean()) for d in moved]))
    rows = [_name(ends) for ends in GRID]
    own = [float(closeness[names.index(r)].mean()) for r in rows]
    series = {"with its planted level": own, "with the other subjects (ceiling)": ceilings}
    return study.bars(rows, series, "correlation of distances", section="scores")


def _confused(data: RDM, levels: RDM, settings: Settings) -> np.ndarray:
    like = torch.einsum(
        "rsp,mp->rsm", standardise(data.distances.double()), standardise(levels.distances.double())
    )
    first = like.argmax(-1)
    return np.stack([np.bincount(row.numpy(), minlength=len(settings.regions)) for row in first])
