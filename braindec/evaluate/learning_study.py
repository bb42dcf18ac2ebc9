"""Recordings planted from networks that learned with and without foretelling: which change of geometry is whose?

Networks learn a maze; recordings before and after are made from some of them, and other networks of both kinds, with
other first weights, are compared with these by `compare_learning`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, seeding
from braindec.evaluate import compare_learning, predictive_networks, study
from braindec.evaluate.compare_learning import Aligned, Course
from braindec.evaluate.predictive_networks import Learned, Maze
from braindec.rdm import distances
from braindec.rdm.pairs import square
from braindec.stats.intervals import proportion_interval, subject_interval
from braindec.types import Report, Score

ALIGNED, NAMED, SUCCESSOR = "change_alignment", "kind_named", "recorded_successor_likeness"
WITHOUT, WITH, UNTRAINED = "values alone", "values and foretelling", "untrained geometry"
KINDS = (WITHOUT, WITH)
WORDS = {
    "systems": {
        "braindec": "networks of the kind that was planted; of other numbers, what was found",
        "contender": "networks of the other kind",
        "nuisance": "the geometry that untrained networks have, which changes nothing",
        "shuffled": "states of the networks (or of the steps) permuted: mean and middle 95 % of the draws",
    },
    "null": "mean of the same with states permuted, which changes nothing else; draws in brackets",
}
LIMITS = (
    "Recordings are planted from networks of the very kinds that are then told apart: a brain may learn in neither "
    "way. Values are told to the networks, where agents find them by trial and error; one maze, small networks. "
    "Recordings that share their reference networks are not independent: intervals over them speak of networks "
    "of these kinds as drawn here."
)


@dataclass(frozen=True)
class Settings:
    """Networks and recordings.

    Parameters
    ----------
    side : int
        Of the maze of two rooms, even.
    n_networks : int
        Of each kind, >= 3; each is recorded once and compared with the others.
    n_channels, n_runs : int
        Of each recording, before and after alike.
    noise : float
        SD of a channel's noise in a run over that of its signal after learning.
    n_null : int
        Permutations of states.
    networks : predictive_networks.Settings
    seed : int
    """

    side: int = 6
    n_networks: int = 16
    n_channels: int = 60
    n_runs: int = 6
    noise: float = 2.0
    n_null: int = 199
    networks: predictive_networks.Settings = field(default_factory=predictive_networks.Settings)
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("n_networks", self.n_networks, 3)
        checks.at_least("n_runs", self.n_runs, 2)
        checks.at_least("n_null", self.n_null, 2)


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recording of a network: its kind and number, and patterns (run, state, channel) before and after."""

    kind: str
    number: int
    before: np.ndarray
    after: np.ndarray


def record(
    latents: np.ndarray, rng: np.random.Generator, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Patterns (run, state, channel) of a network before and after learning, mixed at random into the same channels.

    Parameters
    ----------
    latents : float array, shape (n_checkpoints, n_states, n_units)
    rng : numpy Generator
    settings : Settings
    """
    mixing = rng.standard_normal((latents.shape[-1], settings.n_channels)) / latents.shape[-1] ** 0.5
    clean = latents[[0, -1]].astype(float) @ mixing
    scale = settings.noise * clean[1].std()
    before, after = (own + scale * rng.standard_normal((settings.n_runs, *own.shape)) for own in clean)
    return before, after


def learning_study(settings: Settings, *, protocol: str = "heldout_stimuli") -> Report:
    """Networks learn, some are recorded, and the others of both kinds are compared with the recordings.

    Parameters
    ----------
    settings : Settings
    protocol : str
        Name that the scores carry.
    """
    maze, n = predictive_networks.two_rooms(settings.side), settings.n_networks
    seeds = [seeding.derive(settings.seed, "network", i) for i in range(n)]
    learned = predictive_networks.learn(
        maze, [*seeds, *seeds], [False] * n + [True] * n, settings.networks, looks_seed=settings.seed
    )
    of = {kind: learned.latents[k * n : (k + 1) * n] for k, kind in enumerate(KINDS)}
    recordings = [
        Recorded(kind, i, *record(of[kind][i], seeding.numpy_generator(settings.seed, "recorded", kind, i), settings))
        for kind in KINDS
        for i in range(n)
    ]  # fmt: skip
    references = _references(of)
    found = [_compared(one, references, maze, settings) for one in recordings]
    steps = maze.distances()
    courses = {k: [compare_learning.learning_course(x, steps) for x in own] for k, own in of.items()}
    rows = _rows(recordings, found, steps, settings, protocol)
    panels = [
        _bars(rows),
        *_curves(courses, learned, settings),
        _maps(of, maze),
        *_matrices(of, maze),
    ]
    return study.report(
        "What foretelling does to a representation, and whether a recording shows it",
        _said(rows, courses), rows, panels, LIMITS, settings=config.to_json(settings), words=WORDS,
    )  # fmt: skip


def _references(of: Mapping[str, np.ndarray]) -> list[dict[str, Tensor]]:
    """For each number of a recorded network: what the networks of other numbers change, by kind."""
    changes = {kind: torch.stack([compare_learning.model_change(x) for x in own]) for kind, own in of.items()}
    first = torch.from_numpy(of[WITHOUT][:, 0].astype(float))  # both kinds start from the same weights
    changes[UNTRAINED] = distances.euclidean(first)
    n = len(first)
    return [
        {k: compare_learning.mean_change(x[torch.arange(n) != i]) for k, x in changes.items()}
        for i in range(n)
    ]


def _compared(
    one: Recorded, references: Sequence[Mapping[str, Tensor]], maze: Maze, settings: Settings
) -> dict[str, Aligned]:
    """A recording's change beside that of each kind of network."""
    change = compare_learning.brain_change(one.before, one.after)
    return {
        name: compare_learning.align_change(
            change, model, maze.n_states, n_null=settings.n_null, seed=settings.seed
        )
        for name, model in references[one.number].items()
    }


def _rows(
    recordings: Sequence[Recorded], found: Sequence[Mapping[str, Aligned]], steps: np.ndarray,
    settings: Settings, protocol: str,
) -> list[Score]:  # fmt: skip
    rows: list[Score] = []
    for kind in KINDS:
        own = [one for recorded, one in zip(recordings, found) if recorded.kind == kind]
        other = KINDS[1 - KINDS.index(kind)]
        for system, name in (("braindec", kind), ("contender", other), ("nuisance", UNTRAINED)):
            values = [one[name].value for one in own]
            null = np.mean([one[name].null for one in own], 0)
            rows += _scored(ALIGNED, values, null, kind, protocol, system, networks=name)
    named = [compare_learning.most_alike({k: one[k] for k in KINDS}) for one in found]
    hits = np.array([name == one.kind for name, one in zip(named, recordings)], dtype=float)
    ends = proportion_interval(hits)
    shares: dict[str, Any] = {
        kind: float(hits[[one.kind == kind for one in recordings]].mean()) for kind in KINDS
    }
    rows += study.scores(
        NAMED, float(hits.mean()), (ends.low, ends.high), _named_of_null(recordings, found), len(hits),
        protocol=protocol, chance=0.5, subject="recordings",
        **shares,
    )  # fmt: skip
    draw = np.random.default_rng(seeding.derive(settings.seed, "steps permuted"))
    orders = [draw.permutation(len(steps)) for _ in range(settings.n_null)]
    for kind in KINDS:
        after = [_recorded_likeness(one.after, steps, orders) for one in recordings if one.kind == kind]
        before = [_recorded_likeness(one.before, steps, []) for one in recordings if one.kind == kind]
        rows += _scored(
            SUCCESSOR, [one[0] for one in after], np.mean(after, 0)[1:], kind, protocol, "braindec",
            before=float(np.mean(before)),
        )  # fmt: skip
    return rows


def _recorded_likeness(patterns: np.ndarray, steps: np.ndarray, orders: Sequence[np.ndarray]) -> list[float]:
    """Rank correlation of recorded distances with steps, then with steps permuted in each order."""
    found = compare_learning.recorded_distances(patterns)
    return [compare_learning.successor_likeness(found, steps)] + [
        compare_learning.successor_likeness(found, steps[np.ix_(order, order)]) for order in orders
    ]


def _named_of_null(recordings: Sequence[Recorded], found: Sequence[Mapping[str, Aligned]]) -> np.ndarray:
    """Share of recordings whose kind is named in each draw, the states of both kinds permuted alike."""
    second = np.array([one[WITH].null > one[WITHOUT].null for one in found])
    truth = np.array([one.kind == WITH for one in recordings])
    return (second == truth[:, None]).mean(0)


def _scored(
    label: str, values: Sequence[float], null: np.ndarray, kind: str, protocol: str, system: str, **details: Any
) -> list[Score]:  # fmt: skip
    """Mean over recordings of networks, and its shuffled twin where it is ours."""
    ends = subject_interval(values).interval
    ours, twin = study.scores(
        label, float(np.mean(values)), (ends.low, ends.high), null, len(values), protocol=protocol,
        subject=f"planted: {kind}", **details,
    )  # fmt: skip
    fields = {name: getattr(ours, name) for name in ours.__dataclass_fields__}
    return [ours, twin] if system == "braindec" else [Score(**{**fields, "system": system})]


def _of(rows: Sequence[Score], name: str, kind: str, system: str = "braindec") -> Score:
    return next(s for s in rows if (s.name, s.subject, s.system) == (name, f"planted: {kind}", system))


def _said(rows: Sequence[Score], courses: Mapping[str, Sequence[Course]]) -> list[str]:
    named = next(s for s in rows if s.name == NAMED)
    said = [
        f"By the change of its RDM the kind of the learner is named for {named.value:.3f} "
        f"[{named.interval[0]:.2f}, {named.interval[1]:.2f}] of {named.n} recordings (chance 0.5, states permuted "
        f"{named.null:.3f})."
    ]
    for kind in KINDS:
        own, other, bare = (_of(rows, ALIGNED, kind, s) for s in ("braindec", "contender", "nuisance"))
        said.append(
            f"Recordings planted from networks of {kind}: their change correlates {own.value:.3f} "
            f"[{own.interval[0]:.2f}, {own.interval[1]:.2f}] with that of other networks of this kind, "
            f"{other.value:.3f} with that of the other kind, {bare.value:.3f} with what untrained networks "
            f"have (states permuted {own.null:.3f})."
        )
    for kind, course in courses.items():
        last = {
            name: [float(getattr(one, name)[-1]) for one in course] for name in ("successor", "dimensions")
        }
        first = np.mean([one.dimensions[0] for one in course])
        successor, dimensions = (subject_interval(last[name]) for name in ("successor", "dimensions"))
        heard = _of(rows, SUCCESSOR, kind)
        said.append(
            f"Networks of {kind}: distance goes with steps between states at {successor.mean:.3f} "
            f"[{successor.interval.low:.2f}, {successor.interval.high:.2f}] in the end (in recordings "
            f"{heard.value:.3f}, steps permuted {heard.null:.3f}), and {dimensions.mean:.2f} "
            f"[{dimensions.interval.low:.2f}, {dimensions.interval.high:.2f}] of {first:.2f} dimensions are left."
        )
    return said


def _bars(rows: Sequence[Score]) -> study.Panel:
    systems = {"the planted kind": "braindec", "the other kind": "contender", UNTRAINED: "nuisance"}
    found = {label: [_of(rows, ALIGNED, kind, s) for kind in KINDS] for label, s in systems.items()}
    return (
        "Whose change is it?", "regions",
        study.bars(
            [f"planted: {kind}" for kind in KINDS],
            {label: np.array([s.value for s in own]) for label, own in found.items()},
            "correlation of changes of the RDM", chance=0.0,
            intervals={label: np.array([s.interval for s in own]) for label, own in found.items()},
        ),
    )  # fmt: skip


def _curves(
    courses: Mapping[str, Sequence[Course]], learned: Learned, settings: Settings
) -> list[study.Panel]:
    x, n = settings.networks.checkpoints, settings.n_networks
    names = {
        "successor": ("Near in steps, near in the representation", "rank correlation"),
        "dimensions": ("Does it collapse?", "participation ratio"),
        "moved": ("How far the geometry has moved", "1 - correlation"),
    }
    made: list[study.Panel] = [
        (
            title, "curve",
            study.lines(
                x, {k: np.mean([getattr(c, name) for c in own], 0) for k, own in courses.items()},
                "steps of learning", label, "Mean over networks.", section="training",
            ),
        )
        for name, (title, label) in names.items()
    ]  # fmt: skip
    greedy = {kind: learned.greedy[k * n : (k + 1) * n].mean(0) for k, kind in enumerate(KINDS)}
    shown = study.lines(x, greedy, "steps of learning", "share of states", section="training")
    return [*made, ("A best action is chosen", "curve", shown)]


def _maps(of: Mapping[str, np.ndarray], maze: Maze) -> study.Panel:
    """Distances of all states from four of them, as maps of the maze: dark is near."""
    side = int(maze.places.max()) + 1
    marked = [
        0,
        side // 2 - 1,
        side // 2,
        side * side - 1,
    ]  # a corner, both sides of the wall, another corner

    def drawn(matrix: np.ndarray) -> np.ndarray:
        return np.stack([_map(matrix[state], state, side) for state in marked])

    first = {"steps between": drawn(maze.distances())}
    first |= {"untrained": drawn(_mean_square(of[WITHOUT][:, 0]))}
    shown = first | {kind: drawn(_mean_square(own[:, -1])) for kind, own in of.items()}
    caption = (
        "Each map is the maze, a square a state; dark is near to the state that is marked red, in steps or in the "
        "representation (mean over networks). A wall stands in the middle, with a door at the bottom; the goal is at "
        "the upper right."
    )
    captions = ["from a corner", "from this side of the wall", "from the other side", "from the far corner"]
    return "Distances from a state", "image_grid", {"rows": shown, "captions": captions, "caption": caption}


def _map(values: np.ndarray, state: int, side: int, cell: int = 16) -> np.ndarray:
    """A picture of the maze, dark where values are low."""
    scaled = (values - values.min()) / max(float(values.max() - values.min()), 1e-12)
    grey = np.rint(40 + 215 * scaled).astype(np.uint8).reshape(side, side)
    picture = np.repeat(np.kron(grey, np.ones((cell, cell), np.uint8))[..., None], 3, 2)
    row, column = divmod(state, side)
    picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = (205, 40, 40)
    middle = side // 2 * cell
    picture[: (side - 1) * cell, middle - 1 : middle + 1] = (60, 110, 190)
    return picture


def _mean_square(latents: np.ndarray) -> np.ndarray:
    """Mean distances (state, state) over networks (network, state, unit)."""
    return square(distances.euclidean(torch.from_numpy(latents.astype(float)))).mean(0).numpy()


def _matrices(of: Mapping[str, np.ndarray], maze: Maze) -> list[study.Panel]:
    """RDMs in the end, states ordered by room."""
    side = int(maze.places.max()) + 1
    right = maze.places[:, 1] >= side // 2
    order = np.lexsort((maze.places[:, 0], right))
    names = [f"{row},{column}" for row, column in maze.places[order]]
    groups = ["goal's room" if r else "other room" for r in right[order]]
    return [
        (
            f"RDM after learning: {kind}", "rdm",
            {"matrix": _mean_square(own[:, -1])[np.ix_(order, order)], "conditions": names, "groups": groups,
             "label": "squared distance", "section": "scores"},
        )
        for kind, own in of.items()
    ]  # fmt: skip
