"""What latents have in common with those of another seed, another model, another person's brain, another region.

Latents are paired one to one by the correlation of their activations over stimuli that no autoencoder was trained on,
and the same is done where nothing is shared. Autoencoders of brains are trained on principal components of responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import seeding, sparse
from braindec.data import NeuralDataset
from braindec.evaluate import inside_latents
from braindec.evaluate.inside_latents import Part
from braindec.maths.principal import principal_components
from braindec.sparse import matching
from braindec.sparse.dictionary import Dictionary, activations
from braindec.sparse.universality import ACTIVE_IN, Universality, universality

MOST_BARS = 16
FEWEST = 20  # stimuli: correlations over fewer say nothing
Panel = tuple[str, str, dict[str, Any]]
COLUMNS = [
    "latents of", "and of", "stimuli", "pairs", "mean correlation", "stimuli permuted", "partners exchanged",
    "dictionary rotated", "p", "pairs above chance",
]  # fmt: skip
CAPTION = (
    "Latents paired one to one by the correlation of their activations over held-out stimuli. Stimuli permuted: paired "
    "anew, frequencies and co-occurrences kept. Partners exchanged: among latents about as often active. Rotated: a "
    "dictionary of the same geometry that reads other directions of the same inputs. p: of the mean, in the highest of "
    "these. Last column: pairs above the largest correlation of 95 % of permutations. Two regions of one brain are "
    "compared in different repeats of each stimulus, or the noise of a trial would pair them."
)


@dataclass(frozen=True)
class Settings:
    """Autoencoders of brains, and the nulls.

    Parameters
    ----------
    n_dims : int
        Principal components of responses, at most.
    n_latents, n_active, n_steps : int
        Of the autoencoder of each brain and region.
    n_draws, n_rotated : int
        Permutations and exchanges; rotations.
    most_regions : int
        Regions of a brain, those of most features first.
    seed : int
    """

    n_dims: int = 32
    n_latents: int = 32
    n_active: int = 4
    n_steps: int = 300
    n_draws: int = 99
    n_rotated: int = 9
    most_regions: int = 6
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Side:
    """A dictionary and what it is shown, by stimulus; `halves`, where stimuli repeat, are of either half of repeats."""

    name: str
    model: Dictionary
    inputs: Mapping[str, Tensor]
    halves: tuple[Mapping[str, Tensor], ...] = ()


@dataclass(frozen=True, eq=False)
class Shared:
    """Two sides and what their latents share; None where too few stimuli or latents take part."""

    first: str
    second: str
    n_stimuli: int
    found: Universality | None

    def row(self) -> list[Any]:
        """A line of the table."""
        if self.found is None:
            return [self.first, self.second, self.n_stimuli, "too few", *[""] * (len(COLUMNS) - 4)]
        mean = self.found.mean
        nulls = [mean.nulls.get(name) for name in ("permuted", "shuffled", "rotated")]
        return [
            self.first, self.second, self.n_stimuli, len(self.found.pairs.first), f"{float(mean.value):.3f}",
            *("" if n is None else f"{float(n.mean()):.3f}" for n in nulls), f"{float(mean.p):.3g}",
            f"{self.found.share():.0%}",
        ]  # fmt: skip


def compare(a: Side, b: Side, settings: Settings, *, apart: bool = False) -> Shared:
    """Latents of two sides paired over the stimuli that both have.

    Parameters
    ----------
    a, b : Side
    settings : Settings
    apart : bool
        Show either one half of the repeats: two parts of one brain have the noise of a trial in common.
    """
    shown = (a.halves[0], b.halves[1]) if apart else (a.inputs, b.inputs)
    ids = [i for i in shown[0] if i in shown[1]]
    if len(ids) < FEWEST:
        return Shared(a.name, b.name, len(ids), None)
    x, y = (torch.stack([side[i] for i in ids]) for side in shown)
    codes = activations(a.model, x), activations(b.model, y)
    if not all(bool(((c != 0).sum(0) >= ACTIVE_IN).any()) for c in codes):
        return Shared(a.name, b.name, len(ids), None)
    generator = seeding.torch_generator(settings.seed, "shared latents", a.name, b.name)
    turned = []
    if isinstance(b.model, sparse.SparseAutoencoder):
        models = [matching.rotated(b.model, generator).eval() for _ in range(settings.n_rotated)]
        turned = [c for c in (activations(m, y) for m in models) if ((c != 0).sum(0) >= ACTIVE_IN).any()]
    found = universality(*codes, generator=generator, n_draws=settings.n_draws, rotated=turned)
    return Shared(a.name, b.name, len(ids), found)


def of_embeddings(name: str, model: Dictionary, ids: Sequence[str], values: Tensor) -> Side:
    """A side of an image model: embeddings (n, n_dims) of the stimuli `ids`."""
    return Side(name, model, dict(zip(ids, values, strict=True)))


def shared(
    model: Side,
    others: Sequence[Side],
    whole: Sequence[Side],
    regions: Mapping[str, Sequence[Side]],
    settings: Settings,
) -> list[Shared]:
    """All comparisons: the model with others, with each brain, brains with each other, regions of a brain.

    Parameters
    ----------
    model : Side
    others : sequence of Side
        Of other seeds and other models.
    whole, regions
        See `brains`.
    settings : Settings
    """
    out = [compare(model, other, settings) for other in (*others, *whole)]
    out += [compare(a, b, settings) for a, b in combinations(whole, 2)]
    for sides in regions.values():
        out += [compare(a, b, settings, apart=True) for a, b in combinations(sides, 2)]
    return out


def panels(found: Sequence[Shared]) -> list[Panel]:
    """A table of all comparisons, and bars of those that could be made."""
    rows = [one.row() for one in found]
    out: list[Panel] = [
        ("What latents have in common", "table", {
            "columns": COLUMNS, "rows": rows, "caption": CAPTION, "section": "latents",
        }),
    ]  # fmt: skip
    drawn = [(one, one.found) for one in found if one.found is not None][:MOST_BARS]
    if drawn:
        series = {
            "as they are": [float(u.mean.value) for _, u in drawn],
            "the highest null": [float(u.mean.null) for _, u in drawn],
        }
        names = [f"{one.first} / {one.second}" for one, _ in drawn]
        payload = {"regions": names, "series": series, "xlabel": "mean correlation of paired latents"}
        out.append(("Latents paired, beside their nulls", "regions", {**payload, "section": "latents"}))
    return out


def words(found: Sequence[Shared], level: float = 0.05) -> str:
    """How many comparisons stand above all their nulls, and which do not."""
    made = [(one, one.found) for one in found if one.found is not None]
    above = [one for one, u in made if float(u.mean.p) <= level]
    said = (
        f"latents are shared beyond all nulls (p <= {level:g}) in {len(above)} of {len(made)} comparisons with other "
        "seeds, models, brains and regions"
    )
    few = len(found) - len(made)
    return said + (f"; {few} had too few stimuli or latents" if few else "")


def brains(
    dataset: NeuralDataset, train: Sequence[str], test: Sequence[str], settings: Settings
) -> tuple[list[Side], dict[str, list[Side]]]:
    """A side of each subject, and of each region of each subject.

    Parameters
    ----------
    dataset : NeuralDataset
    train, test : sequence of str
        Stimuli; the second are shown.
    settings : Settings
    """
    steps = inside_latents.preprocessing_of(inside_latents.SETTINGS)
    whole, regions = [], {}
    for key, trials in dataset.trials.items():
        part = inside_latents.averaged(trials, steps.get(trials.modality))
        name = key.replace("_", " ")
        everything = np.ones(part.responses.shape[1], dtype=bool)
        side = _of_brain(name, part, everything, train, test, settings)
        if side is None:
            continue
        whole.append(side)
        named = sorted(part.signal.space.regions.items(), key=lambda r: -int(r[1].sum()))
        members = [(r, m) for r, m in named if 2 <= m.sum() < len(m)][: settings.most_regions]
        made = [_of_brain(f"{name}, {r}", part, m, train, test, settings) for r, m in members]
        regions[name] = [one for one in made if one is not None and one.halves]
    return whole, regions


def _of_brain(
    name: str, part: Part, members: np.ndarray, train: Sequence[str], test: Sequence[str], settings: Settings
) -> Side | None:
    """A dictionary of some features of one subject, or None where it saw too few stimuli."""
    row = {one: i for i, one in enumerate(part.ids)}
    seen, shown = ([i for i in ids if i in row] for ids in (train, test))
    if len(seen) < FEWEST or len(shown) < FEWEST:
        return None
    kept = torch.from_numpy(np.flatnonzero(members))
    x = part.responses[:, kept].flatten(1)
    learned = x[[row[i] for i in seen]]
    centre = learned.mean(0)
    k = min(settings.n_dims, x.shape[1], len(seen) - 1)
    generator = seeding.torch_generator(settings.seed, "shared components", name)
    axes = principal_components(learned - centre, k, generator).directions.T.to(x)  # (feature, k)
    scale = ((learned - centre) @ axes).std()

    def read(values: Tensor, ids: Sequence[str]) -> dict[str, Tensor]:
        made = (values[[row[i] for i in ids]] - centre) @ axes / scale
        return {i: v for i, v in zip(ids, made, strict=True) if bool(v.isfinite().all())}

    inputs = torch.stack(list(read(x, seen).values()))
    model = _fitted(inputs, settings, name)
    halves = tuple(read(half[:, kept].flatten(1), shown) for half in part.halves)
    return Side(name, model, read(x, shown), halves)


def _fitted(inputs: Tensor, settings: Settings, name: str) -> sparse.SparseAutoencoder:
    batch = min(256, len(inputs))
    told = sparse.FitConfig(n_steps=settings.n_steps, batch_size=batch, lr=3e-3, dead_after=20 * batch)
    kind = sparse.Config(settings.n_latents, "topk", settings.n_active)
    seed = seeding.derive(settings.seed, "shared latents", name)
    return sparse.fit(inputs, kind, told, seed=seed, progress=False).model.eval()
