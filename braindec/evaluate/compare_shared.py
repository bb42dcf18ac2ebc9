"""What people share when they see the same pictures: a shared response model, judged by matching held-out pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.evaluate import compare_sources, study
from braindec.maths.nearest import truth_ranks
from braindec.maths.principal import principal_components
from braindec.similarity.shared_response import shared_response
from braindec.stats.intervals import wilson
from braindec.types import Report

LIMIT = (
    "The simulated people share features and differ in weights, so that a shared response is there by design. Matching "
    "uses several presentations of each picture; segments of a film, whose neighbours are alike, are harder to match "
    "than pictures are."
)


@dataclass(frozen=True)
class Settings:
    """How it is fitted and judged.

    Parameters
    ----------
    sizes : tuple of int
        Dimensions of the shared response that are tried, ascending; the reported one is chosen on training pictures.
    n_folds : int
        Of pictures: matched are those of one fold, in a space fitted on the others.
    n_null : int
        Fits with every person's training pictures permuted.
    seed : int
    """

    sizes: tuple[int, ...] = (2, 5, 10, 20, 40)
    n_folds: int = 4
    n_null: int = 19
    seed: int = 0


def shared_study(
    dataset: NeuralDataset, settings: Settings = Settings(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """Pictures matched between each person and the mean of the others, in the space that they share.

    Parameters
    ----------
    dataset : NeuralDataset
        At least two subjects of one modality who saw the same pictures.
    settings : Settings
    protocol : str

    Notes
    -----
    Chen et al. 2015, NeurIPS 28, where segments of a film are matched. Beside it: every person's own principal
    components (what a space without a common fit gives), and fits to pictures that do not belong together.
    """
    choices = compare_sources.Choices(distance="correlation", seed=settings.seed)
    made = compare_sources.brain("people", dataset, choices)
    people = [torch.from_numpy(np.asarray(p)).float() for p in made.patterns]
    checks.at_least("number of people", len(people), 2)
    n, keys = len(people[0]), list(dataset.trials)
    generator = seeding.torch_generator(settings.seed, "shared")
    fold = torch.randperm(n, generator=generator) % settings.n_folds
    hits: dict[str, np.ndarray] = {}  # (size, person, picture) matched or not
    for name in ("shared", "own components"):
        hits[name] = np.stack(
            [_matched(people, fold, k, name, generator) for k in _possible(people, fold, settings)]
        )
    sizes = _possible(people, fold, settings)
    inner = np.array([_inner(people, fold, k, settings, generator) for k in sizes])  # (size, fold)
    chosen = [sizes[i] for i in inner.argmax(0)]
    picked = np.array([sizes.index(k) for k in chosen])[fold.numpy()]  # (picture,)
    ours = hits["shared"][picked, :, np.arange(n)].T  # (person, picture)
    nulls = np.stack([
        _matched(people, fold, max(set(chosen), key=chosen.count), "permuted", generator).mean(1)
        for _ in range(settings.n_null)
    ])  # (draw, person)  # fmt: skip
    own = hits["own components"][picked, :, np.arange(n)].T
    chance = float(np.mean([1 / int((fold == f).sum()) for f in range(settings.n_folds)]))
    found = []
    for k, key in enumerate(keys):
        ends = wilson(ours[k].sum(), n)
        found += study.scores(
            "picture_matched", ours[k].mean(), (ends.low, ends.high), nulls[:, k], n, chance=chance,
            subject=dataset.trials[key].subject, modality=dataset.trials[key].modality, protocol=protocol,
            own_components=float(own[k].mean()),
        )  # fmt: skip
    said = [
        f"{ours.mean():.3f} of {n} held-out pictures are matched between a person and the mean of the others in the "
        f"shared space ({', '.join(map(str, sorted(set(chosen))))} dimensions, chosen on training pictures; chance "
        f"{chance:.3f}); own principal components {own.mean():.3f}, fitted to permuted pictures {nulls.mean():.3f}.",
        "By person: "
        + ", ".join(f"{key.replace('_', ' ')} {v:.3f}" for key, v in zip(keys, ours.mean(1)))
        + ".",
    ]
    series = {name: h.mean((1, 2)) for name, h in hits.items()} | {"chance": [chance] * len(sizes)}
    panels: list[study.Panel] = [
        ("Pictures matched, by size of the shared space", "curve",
         study.lines(sizes, series, "dimensions", "pictures matched")),
        ("Pictures matched, by person", "regions", study.bars(
            [k.replace("_", " ") for k in keys],
            {"shared space": ours.mean(1), "own components": own.mean(1), "fitted to permuted pictures": nulls.mean(0)},
            "share of pictures matched", chance=chance,
            intervals={"shared space": [(wilson(o.sum(), n).low, wilson(o.sum(), n).high) for o in ours]},
        )),
        ("Pictures matched between every two people", "regions", study.bars(
            *_between(people, keys, fold, chosen, generator), "share of pictures matched", chance=chance,
        )),
    ]  # fmt: skip
    return study.report("What people share", said, found, panels, LIMIT, people=keys, pictures=n)


def _possible(people: Sequence[Tensor], fold: Tensor, settings: Settings) -> list[int]:
    """Sizes that the people and the training pictures of the inner folds allow."""
    n_train = len(fold) - 2 * int(torch.bincount(fold).max())
    most = min(n_train, *(p.shape[1] for p in people))
    return [k for k in settings.sizes if k <= most]


def _inner(
    people: Sequence[Tensor], fold: Tensor, k: int, settings: Settings, generator: torch.Generator
) -> list:
    """For every outer fold the share matched when pictures of the other folds alone are dealt again."""
    out = []
    for f in range(settings.n_folds):
        rows = torch.nonzero(fold != f).squeeze(1)
        again = (fold[rows] - f - 1) % settings.n_folds  # the folds that are left, numbered from 0
        out.append(_matched([p[rows] for p in people], again, k, "shared", generator).mean())
    return out


def _spaces(
    people: Sequence[Tensor], k: int, how: str, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Mean and basis (dim, k) of every person, from training pictures."""
    means = [p.mean(0) for p in people]
    centred = [p - m for p, m in zip(people, means)]
    if how == "own components":
        bases = [principal_components(c, k, generator).directions.T.float() for c in centred]
    else:
        if how == "permuted":
            centred = [c[torch.randperm(len(c), generator=generator)] for c in centred]
        bases = list(shared_response(centred, k, generator).bases)
    return list(zip(means, bases))


def _matched(
    people: Sequence[Tensor], fold: Tensor, k: int, how: str, generator: torch.Generator
) -> np.ndarray:
    """Whether each picture was matched, (person, picture), each in the fold where it was held out."""
    out = np.zeros((len(people), len(fold)))
    for f in torch.unique(fold).tolist():
        test = torch.nonzero(fold == f).squeeze(1)
        views = _views(people, fold, f, k, how, generator)
        for i, view in enumerate(views):
            others = torch.stack([v for j, v in enumerate(views) if j != i]).mean(0)
            out[i, test.numpy()] = _first(view, others).numpy()
    return out


def _views(
    people: Sequence[Tensor], fold: Tensor, f: int, k: int, how: str, generator: torch.Generator
) -> list[Tensor]:
    """Held-out pictures of every person in the shared space, (n_test, k)."""
    spaces = _spaces([p[fold != f] for p in people], k, how, generator)
    return [torch.nn.functional.normalize((p[fold == f] - m) @ w, dim=1) for p, (m, w) in zip(people, spaces)]


def _first(queries: Tensor, gallery: Tensor) -> Tensor:
    better, tied = truth_ranks(queries, gallery, torch.arange(len(queries)))
    return ((better == 0) & (tied == 0)).double()


def _between(
    people: Sequence[Tensor],
    keys: Sequence[str],
    fold: Tensor,
    chosen: Sequence[int],
    generator: torch.Generator,
) -> tuple[list[str], dict[str, list[float]]]:
    """Names of pairs of people, and the share matched from either to the other, mean of both directions."""
    counts = np.zeros((len(people), len(people)))
    for f, k in enumerate(chosen):
        views = _views(people, fold, f, k, "shared", generator)
        for i, a in enumerate(views):
            for j, b in enumerate(views):
                counts[i, j] += float(_first(a, b).sum()) / len(fold)
    pairs = [(i, j) for i in range(len(people)) for j in range(i + 1, len(people))]
    short = [key.partition("_")[0] for key in keys]
    names = [f"{short[i]} and {short[j]}" for i, j in pairs]
    return names, {"shared space": [(counts[i, j] + counts[j, i]) / 2 for i, j in pairs]}
