"""Segments of a film matched between people in a shared response space, learned from another part of the film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import average_groups, group_repeats
from braindec.evaluate import study
from braindec.evaluate.audit import audited_split
from braindec.maths.correlation import standardise
from braindec.maths.principal import principal_components
from braindec.similarity.shared_response import shared_response
from braindec.stats.intervals import log_odds_interval
from braindec.types import Report, Trials

PARTS = ("train", "test")
N_BLOCKS = 10  # of neighbouring segments in each part: what intervals take for independent
WAYS = {"shared": "shared space", "own": "own components", "shifted": "fitted to shifted films"}
LIMIT = (
    "A segment is told from all segments of the same film that do not overlap it. Neighbouring segments are alike, so "
    "that intervals count blocks of them, and people were chosen by nobody. Voxels that were chosen by how well people "
    "agree over the whole film favour every way of matching."
)


@dataclass(frozen=True)
class Settings:
    """How it is fitted and judged.

    Parameters
    ----------
    sizes : tuple of int
        Dimensions of the shared response that are tried; the reported one is chosen on the part that it is fitted on.
    length : int
        Volumes of a segment.
    lengths : tuple of int
        Further ones, shown beside it.
    n_null : int
        Fits with every person's volumes shifted in time by an amount of its own.
    seed : int
    """

    sizes: tuple[int, ...] = (5, 10, 20, 40, 75, 100)
    length: int = 9
    lengths: tuple[int, ...] = (1, 3, 6, 9, 12)
    n_null: int = 19
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("number of sizes", len(self.sizes), 1)
        checks.at_least("length", self.length, 1)


class Film(NamedTuple):
    """One part of a film: (time, voxel) of each person, standardised over time; the run of each volume; its ids."""

    people: list[Tensor]
    run: np.ndarray
    ids: tuple[str, ...]


def segments_study(
    dataset: NeuralDataset, settings: Settings = Settings(), *, protocol: str = "heldout_stimuli"
) -> Report:
    """Segments matched between each person and the mean of the others, either part of the film held out in turn.

    Parameters
    ----------
    dataset : NeuralDataset
        At least two subjects whose trials are volumes of one film, split into parts that lie apart in time.
    settings : Settings
    protocol : str

    Notes
    -----
    Chen et al. 2015, NeurIPS 28, figure 3: segments of nine volumes. Beside it: everybody's own principal components
    (no common fit), and fits to films that were shifted against each other in time, which keep how alike neighbouring
    volumes are.
    """
    audited_split(dataset)
    keys = list(dataset.trials)
    checks.at_least("number of people", len(keys), 2)
    films = {part: film(dataset, part) for part in PARTS}
    sizes = _possible(films, settings)
    generator = seeding.torch_generator(settings.seed, "segments")
    turns = [(films["train"], films["test"]), (films["test"], films["train"])]
    chosen = [_chosen(learn, sizes, settings, generator) for learn, _ in turns]
    hits = {
        way: [
            matched(learn, new, k, settings.length, generator, way) for (learn, new), k in zip(turns, chosen)
        ]
        for way in ("shared", "own")
    }  # a turn: (person, segment)
    nulls = np.stack([
        np.mean([matched(learn, new, k, settings.length, generator, "shifted").mean(1)
                 for (learn, new), k in zip(turns, chosen)], axis=0)
        for _ in range(settings.n_null)
    ])  # (draw, person)  # fmt: skip
    ours, own = (np.mean([h.mean(1) for h in hits[way]], axis=0) for way in ("shared", "own"))  # (person,)
    n = sum(h.shape[1] for h in hits["shared"])
    n_blocks = sum(min(N_BLOCKS, h.shape[1]) for h in hits["shared"])
    chance = float(np.mean([_chance(new, settings.length) for _, new in turns]))
    found, ends = [], []
    for k, key in enumerate(keys):
        ends.append(_interval([h[k] for h in hits["shared"]]))
        trials = dataset.trials[key]
        found += study.scores(
            "segment_matched", ours[k], ends[k], nulls[:, k], n, chance=chance, subject=trials.subject,
            modality=trials.modality, protocol=protocol, own_components=float(own[k]), dimensions=chosen,
            blocks=n_blocks,
        )  # fmt: skip
    said = [
        f"{ours.mean():.3f} of {n} held-out segments of {settings.length} volumes are matched between a person and the "
        f"mean of {len(keys) - 1} others in the shared space ({' and '.join(map(str, chosen))} dimensions, chosen on "
        f"the part that it is fitted on; chance {chance:.4f}); own principal components {own.mean():.3f}, fitted to "
        f"shifted films {nulls.mean():.3f}.",
        f"People: {ours.min():.3f} to {ours.max():.3f}.",
    ]
    panels: list[study.Panel] = [
        ("Segments matched, by person", "regions", study.bars(
            [k.replace("_", " ") for k in keys],
            {WAYS["shared"]: ours, WAYS["own"]: own, WAYS["shifted"]: nulls.mean(0)},
            "share of segments matched", chance=chance, intervals={WAYS["shared"]: ends},
        )),
        ("Segments matched, by size of the shared space", "curve", study.lines(
            sizes, _by(lambda k, way: ([k, k], settings.length, way), sizes, turns, generator), "dimensions",
            "share of segments matched",
        )),
        ("Segments matched, by length", "curve", study.lines(
            settings.lengths, _by(lambda m, way: (chosen, m, way), settings.lengths, turns, generator),
            "volumes of a segment", "share of segments matched",
        )),
    ]  # fmt: skip
    return study.report("What people share in a film", said, found, panels, LIMIT, people=keys, segments=n)


def film(dataset: NeuralDataset, part: str) -> Film:
    """The volumes of a part that everybody has, in the order of time; repeats of a volume are averaged.

    Raises
    ------
    ValueError
        If people share fewer than 20 volumes.
    """
    each = [_volumes(trials) for trials in dataset.part(part).trials.values()]
    common = set.intersection(*(set(one[0]) for one in each))
    ids = tuple(i for i in each[0][0] if i in common)
    checks.at_least(f"volumes of part {part!r} that everybody has", len(ids), 20)
    people, runs = [], []
    for names, run, values in each:
        row = {name: i for i, name in enumerate(names)}
        kept = [row[i] for i in ids]
        x = standardise(torch.from_numpy(values[kept]).double(), 0) * len(kept) ** 0.5
        people.append(x[:, (x != 0).any(0)].float())
        runs.append(run[kept])
    return Film(people, runs[0], ids)


def _volumes(trials: Trials) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, runs and responses (volume, voxel) of one person, by session, run and onset."""
    session, run = (trials.table[c].astype(str) for c in ("session", "run"))
    order = np.lexsort((trials.table["onset_s"], run, session))  # sessions may give their runs the same names
    played = np.char.add(np.char.add(session, "|"), run)[order]
    ids = trials.table["stimulus_id"].astype(str)[order]
    group, first = group_repeats(ids)
    values = np.asarray(trials.responses[order], dtype=np.float32)
    values = average_groups(values.reshape(len(values), -1), group, len(first))
    return ids[first].tolist(), played[first], values


def matched(
    learn: Film, new: Film, k: int, length: int, generator: torch.Generator, way: str = "shared"
) -> np.ndarray:
    """Whether each segment of the new part was matched, (person, segment).

    Parameters
    ----------
    learn, new : Film
        Of the same people.
    k : int
        Dimensions.
    length : int
        Volumes of a segment.
    generator : torch.Generator
    way : str
        ``"shared"``; ``"own"``: everybody's own principal components; ``"shifted"``: a shared space of films that were
        shifted against each other.
    """
    checks.one_of("way", way, tuple(WAYS))
    people = learn.people
    if way == "own":
        bases = [principal_components(x, k, generator).directions.T.to(x) for x in people]
    else:
        if way == "shifted":
            people = [x.roll(int(torch.randint(len(x), (1,), generator=generator)), 0) for x in people]
        bases = list(shared_response(people, k, generator).bases)
    views = [x @ w for x, w in zip(new.people, bases, strict=True)]
    starts = segment_starts(new.run, length)
    checks.at_least(
        f"segments of {length} volumes within a run", len(starts), 2, way_out="Ask for shorter ones."
    )
    total = torch.stack(views).sum(0)
    return np.stack([first_places(v, (total - v) / (len(views) - 1), starts, length) for v in views])


def segment_starts(run: np.ndarray, length: int) -> np.ndarray:
    """First volumes of all segments that lie within one run, ascending."""
    starts = np.arange(max(0, len(run) - length + 1))
    return starts[run[starts] == run[starts + length - 1]]


def first_places(queries: Tensor, gallery: Tensor, starts: np.ndarray, length: int) -> np.ndarray:
    """Whether each segment is more like its own time in the gallery than like any that does not overlap it, (segment,).

    Parameters
    ----------
    queries, gallery : Tensor, shape (time, dim)
    starts : int array, shape (n_segments,)
    length : int

    Returns
    -------
    bool array
        By correlation over volumes and dims; ties count as missed.
    """
    a, b = (_segments(x, starts, length) for x in (queries, gallery))
    similarity = (a @ b.T).numpy()
    own = similarity.diagonal().copy()
    near = np.abs(starts[:, None] - starts[None]) < length
    return own > np.where(near, -np.inf, similarity).max(1)


def _segments(x: Tensor, starts: np.ndarray, length: int) -> Tensor:
    rows = torch.from_numpy(starts)[:, None] + torch.arange(length)
    return standardise(x[rows].flatten(1).double(), 1)


def _chance(new: Film, length: int) -> float:
    """Mean over segments of one in as many as each is told from, itself among them."""
    starts = segment_starts(new.run, length)
    apart = (np.abs(starts[:, None] - starts[None]) >= length).sum(1)
    return float((1 / (apart + 1)).mean())


def _possible(films: dict[str, Film], settings: Settings) -> list[int]:
    """Sizes that people and half of either part allow."""
    most = min(
        min(len(f.ids) // 2 - settings.length, *(x.shape[1] for x in f.people)) for f in films.values()
    )
    found = [k for k in settings.sizes if k <= most]
    checks.at_least(f"number of sizes up to {most}", len(found), 1)
    return found


def _chosen(learn: Film, sizes: Sequence[int], settings: Settings, generator: torch.Generator) -> int:
    """The size that matches most segments of one half of the part when fitted on its other half."""
    n = len(learn.ids)
    early, late = slice(0, n // 2 - settings.length), slice(n // 2, n)  # a segment's length apart
    halves = [_cut(learn, one) for one in (early, late)]
    shares = [
        np.mean([matched(a, b, k, settings.length, generator).mean() for a, b in (halves, halves[::-1])])
        for k in sizes
    ]
    return sizes[int(np.argmax(shares))]


def _cut(whole: Film, rows: slice) -> Film:
    return Film([x[rows] for x in whole.people], whole.run[rows], whole.ids[rows])


def _interval(hits: Sequence[np.ndarray]) -> tuple[float, float]:
    """95 % limits of the share over turns, from means of blocks of neighbouring segments."""
    blocks = [[part.mean() for part in np.array_split(one, min(N_BLOCKS, len(one)))] for one in hits]
    error = np.sqrt(sum(np.var(b, ddof=1) / len(b) for b in blocks)) / len(blocks)
    found = log_odds_interval(
        float(np.mean([np.mean(b) for b in blocks])), float(error), sum(map(len, blocks))
    )
    return found.low, found.high


def _by(told, values, turns, generator) -> dict[str, list[float]]:
    """Shares matched by what varies, in the shared space and by own components."""
    out: dict[str, list[float]] = {}
    for way in ("shared", "own"):
        out[WAYS[way]] = []
        for value in values:
            sizes, length, chosen = told(value, way)
            shares = [
                matched(learn, new, k, length, generator, chosen).mean()
                for (learn, new), k in zip(turns, sizes, strict=True)
            ]
            out[WAYS[way]].append(float(np.mean(shares)))
    return out
