"""States and jittered responses of simulated EEG, decoded by functional and graph networks beside networks that exist.

In every world all systems meet the same epochs and folds: each run held out, or each person. The functional network
and the one that reads at fixed times differ in their readout alone: their difference is what shift invariance is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from braindec import checks, config
from braindec.backbones import sensor_graph
from braindec.data import NeuralDataset, splits
from braindec.data.preprocessing import Preprocessing
from braindec.data.simulated import eeg_states
from braindec.decoder import BrainDecoder
from braindec.decoder.rows import applied
from braindec.evaluate import state_study_report
from braindec.evaluate.audit import audited_split
from braindec.evaluate.decoded import Decoded
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.measures import class_scores, protocol_named
from braindec.evaluate.nulls import null_values
from braindec.evaluate.state_study_report import (
    DENSE,
    FUNCTIONAL,
    GRAPH,
    NOTHING,
    NUISANCE,
    RIDGE,
    STATES,
    Found,
    world_name,
)
from braindec.evaluate.systems import (
    Fitter,
    NuisanceFitter,
    RidgeFitter,
    System,
    decoder_fitter,
    signal_features,
)
from braindec.targets import category_prototypes
from braindec.targets._embedding import embed
from braindec.types import Report, SensorSpace, Trials

LABEL = "category"


@dataclass(frozen=True)
class Settings:
    """Worlds and refits.

    Parameters
    ----------
    world : eeg_states.Settings
    jitters_s : tuple of float
        Largest shifts of a response to either side, a world each; 0 first.
    units : tuple of str
        What is held out, one value after the other: ``"run"``, ``"session"`` (a person).
    n_null, n_null_links : int
        Refits with labels dealt anew, of the functional network with either readout, the graph network and ridge; and
        of the graph network where its links are looked at.
    n_folds : int, optional
        Only the first so many values of a unit are held out, to be quick.
    """

    world: eeg_states.Settings = field(default_factory=eeg_states.Settings)
    jitters_s: tuple[float, ...] = (0.0, 0.1, 0.3)
    units: tuple[str, ...] = ("run", "session")
    n_null: int = 1
    n_null_links: int = 9
    n_folds: int | None = None

    def __post_init__(self) -> None:
        checks.at_least("number of jitters_s", len(self.jitters_s), 2)
        if self.jitters_s[0] != 0:
            raise ValueError(f"jitters_s must begin with 0, got {self.jitters_s}.")
        for unit in self.units:
            checks.one_of("unit", unit, ("run", "session"))
        checks.at_least("n_null", self.n_null, 1)
        checks.at_least("n_null_links", self.n_null_links, 1)

    def refits(self, world: str, unit: str) -> dict[str, int]:
        """By system, how often it is fitted to labels dealt anew."""
        many = (
            max(self.n_null, self.n_null_links) if (world, unit) == (STATES, self.units[0]) else self.n_null
        )
        fixed = self.n_null if unit == self.units[0] else 0  # whose gain is looked at there alone
        return {FUNCTIONAL: self.n_null, GRAPH: many, DENSE: fixed, RIDGE: self.n_null}


def state_study(recipe: Any, backbones: Mapping[str, Any], settings: Settings) -> Report:
    """All worlds made, decoded by all systems, and compared.

    Parameters
    ----------
    recipe : Recipe
        All but the backbone: adapter, loss, preprocessing, training, protocol, seed.
    backbones : mapping of str to a backbone's Config
        By system; `FUNCTIONAL`, `DENSE` and `GRAPH` are among them.
    settings : Settings
    """
    for name in (FUNCTIONAL, DENSE, GRAPH):
        checks.known_key("system", name, backbones)
    worlds = {STATES: eeg_states.states(settings.world, recipe.seed)}
    for jitter in settings.jitters_s:
        worlds[world_name(jitter)] = eeg_states.responses(settings.world, jitter, recipe.seed)
    exams = {
        (world, unit): exam_of(recipe, dataset, unit, settings.n_folds)
        for world, dataset in worlds.items()
        for unit in settings.units
    }
    found = {
        key: decoded_by_all(recipe, backbones, exam, settings.refits(*key)) for key, exam in exams.items()
    }
    told = {"settings": config.to_json(settings), "protocol": recipe.protocol}
    return state_study_report.report(found, worlds, settings, told)


def decoded_by_all(
    recipe: Any, backbones: Mapping[str, Any], exam: Exam, refits: Mapping[str, int]
) -> dict[str, Found]:
    """What every backbone, ridge and the order of trials tell of what is held out; by system.

    Parameters
    ----------
    refits : mapping of str to int
        By system, how often it is fitted to labels dealt anew; none where it is not named.

    Raises
    ------
    LeakageError
        If a fold's training and test part share what they must not.
    """
    steps = Preprocessing(recipe.preprocessing)
    for split in exam.folds:
        audited_split(exam.dataset.with_split(split), steps)
    (trials,) = exam.dataset.trials.values()
    space = checks.of_type("space", trials.space, SensorSpace)
    found = {}
    for name, chosen in backbones.items():
        placed = sensor_graph.placed(chosen, space) if isinstance(chosen, sensor_graph.Config) else chosen
        found[name] = judged(
            name, decoder_fitter(replace(recipe, backbone=placed)), exam, refits.get(name, 0)
        )
    ridge = RidgeFitter(signal_features(recipe.preprocessing))
    found[RIDGE] = judged(RIDGE, ridge, exam, refits.get(RIDGE, 0))
    found[NUISANCE] = judged(NUISANCE, NuisanceFitter(), exam, 0)
    return found


def exam_of(recipe: Any, dataset: NeuralDataset, unit: str, n_folds: int | None = None) -> Exam:
    """The dataset with each value of a unit held out once, or the first `n_folds` of them.

    Parameters
    ----------
    dataset : NeuralDataset
        One key of sensors with known places; sessions are people; stimuli have a column ``category``.
    unit : str
        ``"run"`` or ``"session"``.
    """
    classes = tuple(np.unique(splits.stimulus_column(*_one(dataset), LABEL)).tolist())
    target = category_prototypes.build(category_prototypes.Config(classes=classes))
    embeddings = embed(target, dataset.stimuli, content="labels", label_column=LABEL)
    folds, protocol = splits.leave_one_out(dataset, unit)[:n_folds], protocol_named(recipe.protocol)
    return Exam(in_memory(dataset), embeddings, folds, protocol, recipe.seed, LABEL, 1, False)


def judged(name: str, fit: Fitter, exam: Exam, n_null: int) -> Found:
    """One system on every fold, and on labels dealt anew within each person's runs."""
    seen: list[System] = []
    decoded = exam.decode(_kept(fit, seen))
    (one,) = decoded.values()
    labels = exam.labels(decoded)[one.key]
    trials = exam.dataset.trials[one.key]
    scores, true = class_scores(one, checks.of_type("labels", labels, np.ndarray))
    confusion = np.zeros((len(one.candidates),) * 2, dtype=int)
    np.add.at(confusion, (true.numpy(), scores.argmax(1).numpy()), 1)
    refitted: list[System] = []
    drawn = null_values(name, _kept(fit, refitted), exam, n_null)
    null = drawn[one.key]["category_accuracy"] if n_null else np.empty(0)
    return Found(
        _by_person(one, scores.argmax(1) == true), null, confusion, _links(seen), _links(refitted), _maps(seen, trials),
        _maps(refitted, trials),
    )  # fmt: skip


def _one(dataset: NeuralDataset) -> tuple[Any, Any]:
    (trials,) = dataset.trials.values()
    return trials, dataset.stimuli


def _kept(fit: Fitter, into: list[System]) -> Fitter:
    """The fitter, which keeps what it fitted."""

    def fit_and_keep(*given: Any) -> System:
        into.append(fit(*given))
        return into[-1]

    return fit_and_keep


def _graphs(fitted: Sequence[System]) -> list[tuple[BrainDecoder, sensor_graph.SensorGraph]]:
    found = [(one, one.encoder.backbone) for one in fitted if isinstance(one, BrainDecoder)]
    return [(one, graph) for one, graph in found if isinstance(graph, sensor_graph.SensorGraph)]


def _links(fitted: Sequence[System]) -> np.ndarray:
    """What training changed of the links of graph networks, (n_fits, n_sensors, n_sensors)."""
    with torch.no_grad():
        made = [(graph.links() - graph.links.start).cpu().numpy() for _, graph in _graphs(fitted)]
    return np.stack(made) if made else NOTHING


def _maps(fitted: Sequence[System], trials: Trials) -> np.ndarray:
    """What graph networks read of each class at each sensor, (n_fits, n_classes, n_sensors)."""
    made = [
        sensitivity(graph, torch.from_numpy(applied(one.preprocessing[trials.key], trials)))
        for one, graph in _graphs(fitted)
    ]
    return np.stack(made) if made else NOTHING


def sensitivity(network: torch.nn.Module, shared: torch.Tensor) -> np.ndarray:
    """How a larger signal at each sensor moves each class's score, less the mean of classes: (n_classes, n_sensors).

    Parameters
    ----------
    network : Backbone
        With one token whose dims are classes.
    shared : Tensor, shape (n_trials, n_sensors, n_times)
    """
    gain = torch.ones(shared.shape[1], dtype=shared.dtype, requires_grad=True)
    scores = network.eval()(shared * gain[:, None])["main"][:, 0].mean(0)  # (class,)
    rows = torch.stack([torch.autograd.grad(score, gain, retain_graph=True)[0] for score in scores])
    return (rows - rows.mean(0)).numpy()


def _by_person(decoded: Decoded, right: torch.Tensor) -> np.ndarray:
    person = decoded.table["session"]
    return np.array([float(right.numpy()[person == p].mean()) for p in np.unique(person)])
