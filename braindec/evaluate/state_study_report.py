"""The page of the study of states: what every system tells, what shift invariance is worth, which links it learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec.data import NeuralDataset, splits
from braindec.data.simulated import eeg_states
from braindec.data.simulated.sensors import eeg_cap
from braindec.evaluate import study
from braindec.evaluate.scoring import MIN_REFITS
from braindec.stats.auc import roc_auc
from braindec.stats.intervals import subject_interval, t_interval, wilson
from braindec.types import Report, Score

if TYPE_CHECKING:
    from braindec.evaluate.state_study import Settings

FUNCTIONAL, DENSE, GRAPH = "functional", "fixed times", "sensor graph"
RIDGE, NUISANCE, STATES = "ridge", "trial order", "states"
ACCURACY, GAIN, LINKS = "category_accuracy", "gain_of_invariance", "links_within_groups"
READ = "sensors_of_states"
Measure = Callable[[np.ndarray, np.ndarray], float]
NOTHING = np.empty((0, 0, 0))
HELD_OUT = {"run": "runs", "session": "people"}
SYSTEMS = {
    FUNCTIONAL: "braindec",
    GRAPH: "braindec",
    RIDGE: "ridge",
    NUISANCE: "nuisance",
}  # all others contend
WORDS = {
    "systems": {
        "braindec": "functional network, and graph network over sensors",
        "contender": "other networks on the same trials",
        "ridge": "closed-form ridge from all channels and times",
        "nuisance": "what the order of trials tells",
        "shuffled": "the same network, labels dealt anew among training trials",
    },
    "null": "mean of refits with labels dealt anew among training trials; chance where a system was not refitted",
}
LIMITS = (
    "All EEG is simulated: states differ in the power of groups of sensors by construction, responses in shape alone, "
    "and latencies jitter as much in training as in testing. Networks are small and train for seconds; their settings "
    "were chosen on worlds of another seed, after a first look at these. Intervals are over few people of one cap. "
    "That a network without shift invariance loses where latencies jitter does not say that those of a real recording "
    "do."
)


@dataclass(frozen=True, eq=False)
class Found:
    """What one system came to in one world.

    Parameters
    ----------
    accuracy : float array, shape (n_people,)
    null : float array, shape (n_null,)
        Mean accuracy of refits on labels dealt anew.
    confusion : int array, shape (n_classes, n_classes)
        Held-out trials, true classes in rows.
    links : float array, shape (n_folds, n_sensors, n_sensors)
        What training changed of a graph network's links, by fold; nothing of others.
    null_links : float array, shape (n_null * n_folds, n_sensors, n_sensors)
    maps, null_maps : float array, shape (n_folds or n_null * n_folds, n_classes, n_sensors)
        What a graph network reads of each class at each sensor.
    """

    accuracy: np.ndarray
    null: np.ndarray
    confusion: np.ndarray
    links: np.ndarray = field(default_factory=lambda: NOTHING)
    null_links: np.ndarray = field(default_factory=lambda: NOTHING)
    maps: np.ndarray = field(default_factory=lambda: NOTHING)
    null_maps: np.ndarray = field(default_factory=lambda: NOTHING)


def world_name(jitter_s: float) -> str:
    """``"jitter 300 ms"``: responses that come up to so much early or late."""
    return f"jitter {1e3 * jitter_s:.0f} ms"


def subject_name(world: str, unit: str) -> str:
    """``"states, runs"``: a world, and what was held out of it."""
    return f"{world}, {HELD_OUT[unit]}"


def grouping(links: np.ndarray, groups: np.ndarray) -> float:
    """Area under the ROC with which links (n, n) tell pairs of one group from pairs that share none.

    Parameters
    ----------
    groups : bool array, shape (n_groups, n)
    """
    together = (groups.T.astype(int) @ groups.astype(int)) > 0
    upper = np.triu_indices(len(links), 1)
    return float(roc_auc(links[upper], together[upper]).value)


def at_own_group(maps: np.ndarray, groups: np.ndarray) -> float:
    """Area under the ROC with which each state's map (n_states, n) tells its own group's sensors, mean over states."""
    return float(np.mean([roc_auc(row, own).value for row, own in zip(maps, groups, strict=True)]))


def report(
    found: Mapping[tuple[str, str], Mapping[str, Found]],
    worlds: Mapping[str, NeuralDataset],
    settings: Settings,
    told: Mapping[str, Any],
) -> Report:
    """Scores, sentences and panels, from what systems came to by world and held-out unit."""
    protocol, by_run = told["protocol"], settings.units[0]
    jittered = [w for w in worlds if w != STATES]
    drawn = found[STATES, by_run][GRAPH]
    scores = [s for (world, unit), of in found.items() for s in _accuracies(of, world, unit, protocol)]
    scores += [s for world in jittered for s in _gain(found[world, by_run], world, protocol)]
    scores += _grouped(drawn, protocol)
    panels = [
        *(_states(found[STATES, unit], unit) for unit in settings.units),
        *(_over_jitter(found, jittered, unit, settings) for unit in settings.units),
        _gains(scores, jittered),
        _averages(worlds, jittered),
        *_heads(drawn, scores),
        _confusion(found[STATES, by_run]),
    ]
    n_trials = {world: dataset.n_trials for world, dataset in worlds.items()}
    return study.report(
        "States of simulated EEG, and responses whose latency jitters", _said(scores, settings), scores, panels, LIMITS,
        **{**told, "words": WORDS, "n_trials": n_trials},
    )  # fmt: skip


def _interval(one: Found) -> tuple[float, float]:
    """95 % interval of the mean accuracy: t over people, who may agree by luck, or Wilson's over trials where wider."""
    people = subject_interval(one.accuracy).interval
    trials = wilson(int(one.confusion.trace()), int(one.confusion.sum()))
    return max(min(float(people.low), float(trials.low)), 0.0), min(
        max(float(people.high), float(trials.high)), 1.0
    )


def _chance(one: Found) -> float:
    return 1 / len(one.confusion)


def _accuracies(of: Mapping[str, Found], world: str, unit: str, protocol: str) -> list[Score]:
    rows = []
    for name, one in of.items():
        null = one.null if len(one.null) else np.array([_chance(one)])
        ours, twin = study.scores(
            ACCURACY, float(one.accuracy.mean()), _interval(one), null, len(one.accuracy), protocol=protocol,
            chance=_chance(one), subject=subject_name(world, unit), modality=name,
            n_trials=int(one.confusion.sum()), interval_is="t over people, or Wilson over trials where wider",
        )  # fmt: skip
        rows += _as(ours, twin, SYSTEMS.get(name, "contender"), len(one.null))
    return rows


def _gain(of: Mapping[str, Found], world: str, protocol: str) -> list[Score]:
    """Functional network less its dense twin, person by person."""
    apart = of[FUNCTIONAL].accuracy - of[DENSE].accuracy
    interval = subject_interval(apart).interval
    null = of[FUNCTIONAL].null - of[DENSE].null
    ours, twin = study.scores(
        GAIN, float(apart.mean()), (float(interval.low), float(interval.high)), null, len(apart), protocol=protocol,
        subject=world, modality=f"less {DENSE}", interval_is="t over people",
    )  # fmt: skip
    return _as(ours, twin, "braindec", len(null))


def _grouped(graph: Found, protocol: str) -> list[Score]:
    """Whether learned links are those within the planted groups, and whether each state is read at its own group."""
    rows, groups = [], eeg_states.members()
    for name, measure, found, refits in (
        (LINKS, grouping, graph.links, graph.null_links),
        (READ, at_own_group, graph.maps, graph.null_maps),
    ):
        drawn = found.mean(0)
        value, null = measure(drawn, groups), _null_areas(measure, refits, len(found), groups)
        interval = _jackknife(measure, drawn, groups, value)
        ours, twin = study.scores(
            name, value, interval, null, groups.shape[1], protocol=protocol, chance=0.5, subject=STATES,
            modality=GRAPH, interval_is="jackknife over sensors",
        )  # fmt: skip
        rows += _as(ours, twin, "braindec", len(null))
    return rows


def _jackknife(measure: Measure, found: np.ndarray, groups: np.ndarray, value: float) -> tuple[float, float]:
    """95 % interval in [0, 1], each sensor left out once, of its rows (where they are sensors) and columns."""
    n = groups.shape[1]
    without = []
    for i in range(n):
        kept = np.arange(n) != i
        rest = found[:, kept]
        without.append(measure(rest[kept] if len(found) == n else rest, groups[:, kept]))
    interval = t_interval(value, float(np.sqrt((n - 1) * np.var(without))), n)
    return max(float(interval.low), 0.0), min(float(interval.high), 1.0)


def _null_areas(measure: Measure, refits: np.ndarray, n_folds: int, groups: np.ndarray) -> list[float]:
    means = [refits[i : i + n_folds].mean(0) for i in range(0, len(refits), n_folds)]
    return [measure(one, groups) for one in means]


def _as(ours: Score, twin: Score, system: str, n_null: int) -> list[Score]:
    """A score and its shuffled twin where it is ours; a system that was not refitted has chance for its null."""
    p = ours.p if n_null >= MIN_REFITS else None
    ours, twin = replace(ours, null_n=n_null, p=p), replace(twin, null_n=n_null)
    return [ours, twin] if system == "braindec" else [replace(ours, system=system)]


def _of(scores: Sequence[Score], subject: str, name: str = ACCURACY) -> dict[str, Score]:
    """Scores by network."""
    return {
        s.modality: s for s in scores if s.subject == subject and s.name == name and s.system != "shuffled"
    }


def _words(score: Score) -> str:
    low, high = score.interval
    return f"{score.value:.3f} [{low:.2f}, {high:.2f}]"


def _said(scores: Sequence[Score], settings: Settings) -> list[str]:
    said = []
    for world in (STATES, *(world_name(j) for j in settings.jitters_s)):
        for unit in settings.units:
            of = _of(scores, subject_name(world, unit))
            ours = of[FUNCTIONAL]
            rest = [f"{name} {s.value:.3f}" for name, s in of.items() if name not in (FUNCTIONAL, GRAPH)]
            kind = "States" if world == STATES else f"Responses, {world}"
            said.append(
                f"{kind}, held-out {HELD_OUT[unit]}: functional {_words(ours)}, sensor graph "
                f"{_words(of[GRAPH])} ({ours.n} people, {ours.details['n_trials']} trials, chance {ours.chance:.2f}, "
                f"labels dealt anew {ours.null:.3f} and {of[GRAPH].null:.3f}); {', '.join(rest)}."
            )
    for jitter in settings.jitters_s:
        (gain,) = _of(scores, world_name(jitter), GAIN).values()
        said.append(
            f"With latencies up to {1e3 * jitter:.0f} ms early or late, a readout that does not know when adds "
            f"{gain.value:+.3f} [{gain.interval[0]:+.2f}, {gain.interval[1]:+.2f}] to the same network that does "
            f"(labels dealt anew {gain.null:+.3f})."
        )
    for name, words in (
        (READ, "What the graph network reads of a state tells its own group's sensors from others"),
        (LINKS, "Learned links tell pairs of one group's sensors from other pairs"),
    ):
        (one,) = _of(scores, STATES, name).values()
        said.append(
            f"{words} with an area of {_words(one)} ({one.n} sensors, labels dealt anew {one.null:.3f}, "
            f"{one.null_n} refits)."
        )
    return said


def _bars(found: Mapping[str, Found], unit: str) -> dict[str, Any]:
    rows = list(found)
    return study.bars(
        rows, {"accuracy": np.array([found[name].accuracy.mean() for name in rows])}, "accuracy",
        intervals={"accuracy": np.array([_interval(found[name]) for name in rows])},
        chance=_chance(found[FUNCTIONAL]),
        caption=f"Held-out {HELD_OUT[unit]}; mean over {len(found[FUNCTIONAL].accuracy)} people with 95 % intervals.",
    )  # fmt: skip


def _states(found: Mapping[str, Found], unit: str) -> study.Panel:
    return f"States, held-out {HELD_OUT[unit]}", "regions", _bars(found, unit)


def _over_jitter(
    found: Mapping[tuple[str, str], Mapping[str, Found]], worlds: Sequence[str], unit: str, settings: Settings
) -> study.Panel:
    names = [name for name in found[worlds[0], unit] if name != NUISANCE]
    series = {
        name: np.array([found[world, unit][name].accuracy.mean() for world in worlds]) for name in names
    }
    payload = study.lines(
        1e3 * np.array(settings.jitters_s), series, "latency: up to so many ms early or late", "accuracy",
        f"Three shapes of a response, chance 1/3; mean over people, held-out {HELD_OUT[unit]}. Noise is the same at "
        "every jitter.",
    )  # fmt: skip
    return f"Where latencies jitter, held-out {HELD_OUT[unit]}", "curve", payload


def _gains(scores: Sequence[Score], worlds: Sequence[str]) -> study.Panel:
    rows = [next(iter(_of(scores, world, GAIN).values())) for world in worlds]
    payload = study.bars(
        list(worlds), {"gain in accuracy": np.array([s.value for s in rows])},
        "functional less the same network at fixed times",
        intervals={"gain in accuracy": np.array([s.interval for s in rows])}, chance=0.0,
        caption="The two networks differ in their readout alone: a soft maximum over time, or smooth functions of the "
        "time in the epoch. Paired by person, 95 % t-intervals.",
    )  # fmt: skip
    return "What shift invariance is worth", "regions", payload | {"chance_label": "no difference"}


def _averages(worlds: Mapping[str, NeuralDataset], jittered: Sequence[str]) -> study.Panel:
    """Mean responses where they are largest, without and with the largest jitter."""
    series = {}
    for world, words in ((jittered[0], "aligned"), (jittered[-1], "jittered")):
        (trials,) = worlds[world].trials.values()
        shown = splits.stimulus_column(trials, worlds[world].stimuli, "category")
        values = np.asarray(trials.responses[:])
        for kind in np.unique(shown):
            series[f"{kind.replace('_', ' ')}, {words}"] = values[shown == kind].mean(0)
    (first, *_) = series.values()
    sensor = int(np.abs(first).max(1).argmax())
    payload = {
        "time_s": np.arange(first.shape[1]) / first.shape[1],
        "series": {name: mean[sensor] for name, mean in series.items()},
        "ylabel": f"uV at {eeg_cap().space.names[sensor]}",
        "caption": "Means of all trials of each shape. Single responses are as large in both worlds; where they jitter "
        "the mean forgets them, and so does what is read at fixed times.",
    }
    return "Mean responses, aligned and jittered", "rsa_time_course", payload


def _heads(graph: Found, scores: Sequence[Score]) -> list[study.Panel]:
    """Planted groups, what links to each of them learned, and the area beside its null."""
    groups = eeg_states.members()
    learned = graph.links.mean(0)  # (sensor, sensor)
    towards = []
    for group in groups:
        n = group.sum() - group  # others of the group: no sensor has a link to itself
        towards.append(learned @ group / np.maximum(n, 1))
    names = list(eeg_states.GROUPS)
    places = eeg_cap().space.positions
    planted = {
        "positions": places, "values": groups.astype(float), "titles": names, "label": "member",
        "caption": "Sensors whose waves a state drives: one group for both hemispheres.",
    }  # fmt: skip
    heads = {
        "positions": places, "values": np.stack(towards), "titles": names, "symmetric": True,
        "label": "change of links",
        "caption": "What training changed of each sensor's links to the sensors of a group, from where distances had "
        "put them; mean over folds.",
    }  # fmt: skip
    read = {
        "positions": places, "values": graph.maps.mean(0), "titles": names, "symmetric": True,
        "label": "score by signal",
        "caption": "How a larger signal at each sensor moves the score of each state, less the mean of states; mean "
        "over folds.",
    }  # fmt: skip
    panels = [
        ("Planted groups", "topography", planted),
        ("What the graph network reads of each state", "topography", read),
        ("Learned links to each group", "topography", heads),
    ]
    for name, measure, refits, title, words in (
        (
            READ,
            at_own_group,
            graph.null_maps,
            "Sensors read against labels dealt anew",
            "sensors of a state's group",
        ),
        (LINKS, grouping, graph.null_links, "Learned links against labels dealt anew", "pairs of one group"),
    ):
        (found,) = _of(scores, STATES, name).values()
        null = np.array(_null_areas(measure, refits, len(graph.links), groups))
        payload = {"null": null, "value": found.value, "xlabel": f"area under the ROC, {words}"}
        panels.append((title, "histogram", payload))
    return panels


def _confusion(found: Mapping[str, Found]) -> study.Panel:
    matrix = found[GRAPH].confusion
    payload = {
        "matrix": matrix, "labels": sorted(eeg_states.GROUPS),
        "caption": f"Held-out trials of the sensor graph: {matrix.trace()} of {matrix.sum()} right.",
    }  # fmt: skip
    return "States told by the sensor graph", "confusion", payload
