"""A chain of preprocessing steps fitted on training rows, applied to any rows, and saved with the decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from braindec import checks, config
from braindec.data import spaces
from braindec.data.alignment import AlignProcrustes, AlignShared
from braindec.data.components import Pca
from braindec.data.epoch_steps import AverageTime, Baseline, Crop, Resample, Vectorise
from braindec.data.mvnn import MVNN
from braindec.data.place import MEMORY, Place
from braindec.data.rows import RowsView, row_digests, rows_hash
from braindec.data.selection import SelectRegion, SelectReliable
from braindec.data.step import JointStep, State, Step
from braindec.data.steps import ClipMad, Detrend, Whiten
from braindec.data.unit_steps import PercentSignalChange, RobustScale, Standardise
from braindec.types import SubjectSignal, Trials

__all__ = [
    "MVNN",
    "AlignProcrustes",
    "AlignShared",
    "AverageTime",
    "Baseline",
    "ClipMad",
    "Crop",
    "Detrend",
    "FittedPreprocessing",
    "Pca",
    "PercentSignalChange",
    "Preprocessing",
    "Resample",
    "RobustScale",
    "SelectRegion",
    "SelectReliable",
    "Standardise",
    "Step",
    "Vectorise",
    "Whiten",
    "fit_together",
    "steps_from",
]

STEPS: dict[str, type[Step]] = {
    cls.__name__: cls
    for cls in (
        Standardise,
        PercentSignalChange,
        RobustScale,
        Detrend,
        ClipMad,
        Whiten,
        MVNN,
        Pca,
        SelectRegion,
        SelectReliable,
        AlignShared,
        AlignProcrustes,
        Baseline,
        Crop,
        Resample,
        AverageTime,
        Vectorise,
    )
}


def steps_from(value: Any) -> Any:
    """A tuple of steps (or a dict of such by modality), in which steps may be written as JSON.

    Parameters
    ----------
    value : sequence, or mapping of sequences by modality
        Of steps, their names (``"Standardise"``), or ``{"name": "Pca", "n_components": 20}``.
    """
    if isinstance(value, Mapping):
        return {modality: steps_from(steps) for modality, steps in value.items()}
    if isinstance(value, str):
        raise checks.ConfigError(f'preprocessing is a list of steps, got {value!r}; write ["{value}"].')
    return tuple(step if isinstance(step, Step) else _step_from(step) for step in value)


def _step_from(entry: Any) -> Step:
    data = {"name": entry} if isinstance(entry, str) else checks.of_type("preprocessing step", entry, Mapping)
    kind = checks.known_key("preprocessing step", str(data.get("name")), STEPS)
    settings = {k: v for k, v in data.items() if k != "name"}
    return config.from_json(kind, settings, where=f"preprocessing.{kind.__name__}")


@dataclass(frozen=True)
class Preprocessing:
    """Steps in order, not yet fitted.

    Parameters
    ----------
    steps : tuple of Step
        May be empty: the responses are used as they are.
    """

    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        for step in self.steps:
            checks.of_type("step", step, Step)

    @property
    def transductive(self) -> bool:
        """Whether a step uses held-out rows (without labels)."""
        return any(step.scope == "unit_unlabelled" for step in self.steps)

    @property
    def joint(self) -> bool:
        """Whether a step is fitted on several subjects together (`fit_together`)."""
        return any(isinstance(step, JointStep) for step in self.steps)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scope of each step."""
        return tuple(step.scope for step in self.steps)

    def to_json(self) -> list[dict[str, Any]]:
        """The steps as JSON, each with its class name."""
        return [{"name": type(step).__name__} | config.to_json(step) for step in self.steps]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> Preprocessing:
        """The steps written by `to_json`; unknown names and settings are refused."""
        return cls(tuple(_step_from(entry) for entry in data))

    def fit(self, trials: Trials) -> FittedPreprocessing:
        """Statistics of these (training) trials.

        Raises
        ------
        ValueError
            If a response is NaN or infinite.
        """
        return self.fit_apply(trials)[0]

    def fit_apply(
        self, trials: Trials, rows: np.ndarray | None = None
    ) -> tuple[FittedPreprocessing, np.ndarray]:
        """Statistics of some rows of these trials, and all of the trials with them applied.

        Parameters
        ----------
        trials : Trials
        rows : int array, shape (n_kept,), optional
            What statistics are made of; all rows by default. A transductive step still sees all rows of a unit.

        Returns
        -------
        fitted : FittedPreprocessing
        x : float32 array, shape (n_trials, *signal.shape)

        Raises
        ------
        ValueError
            If a response is NaN or infinite.
        """
        kept = None if rows is None else {trials.key: rows}
        return fit_together({trials.key: self}, {trials.key: trials}, kept)[trials.key]


@dataclass(frozen=True, eq=False)
class FittedPreprocessing:
    """Steps with their statistics, for one subject's signal.

    Parameters
    ----------
    steps : tuple of Step
    states : tuple of dict of arrays
        Statistics, one a step.
    source, signal : SubjectSignal
        The signal before and after the steps.
    fit_rows_hash : str
        sha256 over subject, runs, onsets and stimuli of the rows that were fitted on.
    fit_rows : uint64 array, shape (n_fitted,)
        A digest of each of these rows, so that they can be looked for among test rows; empty where not recorded.
    """

    steps: tuple[Step, ...]
    states: tuple[State, ...]
    source: SubjectSignal
    signal: SubjectSignal
    fit_rows_hash: str
    fit_rows: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))

    @property
    def transductive(self) -> bool:
        """Whether a step uses held-out rows (without labels)."""
        return Preprocessing(self.steps).transductive

    def apply(self, trials: Trials, place: Place = MEMORY) -> np.ndarray:
        """float32 (n_trials, *signal.shape).

        Parameters
        ----------
        trials : Trials
        place : Place
            Where the signals lie; `mapped.Scratch` keeps them in files, to the same bits.

        Raises
        ------
        SpaceMismatchError
            If the trials are not of the space, shape and time axis that was fitted on.
        ValueError
            If a response is NaN or infinite.
        """
        self._check(trials.signal)
        x, signal = place.responses(trials), self.source
        for step, state in zip(self.steps, self.states, strict=True):
            x = place.applied(step, x, trials.table, signal, state)
            signal = step.output(signal, state)
        return x

    @property
    def learnt(self) -> bool:
        """Whether any step has statistics: fitted on other training rows, it would be another map."""
        return any(len(state) > 0 for state in self.states)

    @property
    def known_rows(self) -> np.ndarray:
        """Digests of all rows that these statistics know of: `fit_rows` and `aligned_rows`."""
        return np.unique(np.concatenate([self.fit_rows, self.aligned_rows]))

    @property
    def aligned_rows(self) -> np.ndarray:
        """Digests of the rows of all subjects that these were aligned on, uint64; empty without an alignment."""
        found = [state["aligned_rows"] for state in self.states if "aligned_rows" in state]
        return np.concatenate([np.empty(0, dtype=np.uint64), *found])

    @property
    def sized(self) -> Preprocessing:
        """The steps, told to keep as many features as they did here, so that fits on fewer rows have one shape."""
        return Preprocessing(tuple(s.sized(state) for s, state in zip(self.steps, self.states, strict=True)))

    @property
    def config(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON."""
        space, _ = spaces.to_arrays(self.source.space)
        s = self.source
        signal = {"subject": s.subject, "modality": s.modality, "shape": list(s.shape), "space": space,
                  "sfreq": s.sfreq, "tmin": s.tmin, "units": s.units}  # fmt: skip
        return {
            "steps": Preprocessing(self.steps).to_json(),
            "signal": signal,
            "fit_rows_hash": self.fit_rows_hash,
        }

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Statistics as ``<step>.<name>`` and the space as ``space.<name>``; numbers and bool only."""
        arrays = {f"{i}.{name}": v for i, state in enumerate(self.states) for name, v in state.items()}
        arrays["fit_rows"] = self.fit_rows
        return arrays | {f"space.{name}": v for name, v in spaces.to_arrays(self.source.space)[1].items()}

    @classmethod
    def from_arrays(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> FittedPreprocessing:
        """What `config` and `to_arrays` took apart, bit for bit."""
        steps = Preprocessing.from_json(config["steps"]).steps
        about = dict(config["signal"])
        place = spaces.from_arrays(about.pop("space"), _below(arrays, "space"))
        source = SubjectSignal(**(about | {"shape": tuple(about["shape"]), "space": place}))
        signal = source
        states = tuple(_below(arrays, str(i)) for i in range(len(steps)))
        for step, state in zip(steps, states, strict=True):
            signal = step.output(signal, state)
        rows = arrays.get("fit_rows", np.empty(0, dtype=np.uint64))  # decoders saved before it was recorded
        return cls(steps, states, source, signal, config["fit_rows_hash"], rows)

    def _check(self, signal: SubjectSignal) -> None:
        way_out = (
            f"Prepare the data as those of {self.source.key} that the decoder was fitted on, with the same mask (or "
            "channels) and window; other data need a decoder of their own."
        )
        found, expected = (f"{s.modality} of shape {s.shape}" for s in (signal, self.source))
        checks.same_space(signal.key, found, expected, way_out)
        for name, unit in (("sfreq", "Hz"), ("tmin", "s")):
            a, b = getattr(signal, name), getattr(self.source, name)
            if (a is None) != (b is None) or (a is not None and abs(a - b) > 1e-6):
                checks.same_space(f"{name} of {signal.key}", f"{a} {unit}", f"{b} {unit}", way_out)
        if not spaces.same(signal.space, self.source.space):
            named = [f"{s.kind} ({s.n_features} features)" for s in (signal.space, self.source.space)]
            other = "of other places or names than " if named[0] == named[1] else ""
            checks.same_space(f"space of {signal.key}", other + named[0], named[1], way_out)


def fit_together(
    chains: Mapping[str, Preprocessing],
    trials: Mapping[str, Trials],
    rows: Mapping[str, np.ndarray] | None = None,
    reference: Mapping[str, FittedPreprocessing] | None = None,
    place: Place = MEMORY,
) -> dict[str, tuple[FittedPreprocessing, np.ndarray]]:
    """`Preprocessing.fit_apply` of several subjects; alignments are fitted on all subjects of a modality together.

    Parameters
    ----------
    chains, trials : mappings by signal key
        The chains of one modality have the same steps (their sizes may differ).
    rows : mapping of str to int array, optional
        What statistics are made of, by signal key; all rows by default.
    reference : mapping of str to FittedPreprocessing, optional
        By modality: a subject that was fitted earlier, into whose space these are brought.
    place : Place
        Where the signals lie; `mapped.Scratch` keeps them in files.

    Returns
    -------
    dict of str to (FittedPreprocessing, float32 array (n_trials, *signal.shape))
    """
    out: dict[str, tuple[FittedPreprocessing, np.ndarray]] = {}
    for modality in dict.fromkeys(t.modality for t in trials.values()):
        group = {key: t for key, t in trials.items() if t.modality == modality}
        kept = {key: np.arange(t.n_trials) if rows is None else rows[key] for key, t in group.items()}
        earlier = None if reference is None else reference.get(modality)
        out |= _fit_group({key: chains[key].steps for key in group}, group, kept, earlier, place)
    return {key: out[key] for key in trials}


def _fit_group(
    chains: Mapping[str, tuple[Step, ...]],
    trials: Mapping[str, Trials],
    rows: Mapping[str, np.ndarray],
    reference: FittedPreprocessing | None,
    place: Place,
) -> dict[str, tuple[FittedPreprocessing, np.ndarray]]:
    """`fit_together` of one modality, step by step."""
    x = {key: place.responses(t) for key, t in trials.items()}
    signals = {key: t.signal for key, t in trials.items()}
    tables = {key: t.table.take(rows[key]) for key, t in trials.items()}
    states: dict[str, list[State]] = {key: [] for key in trials}
    used = {key: _rows_of(t, rows[key]) for key, t in trials.items()}
    digests = {key: row_digests(t) for key, t in used.items()}
    for number, first in enumerate(next(iter(chains.values()))):
        if isinstance(first, JointStep) and (len(trials) > 1 or reference is not None):
            earlier = None if reference is None else reference.states[number]
            training = {key: _some(x[key], rows[key], place) for key in trials}
            found = first.fit_jointly(training, tables, signals, earlier)
            seen = np.concatenate([*digests.values(), *([] if reference is None else [reference.known_rows])])
            found = {key: state | {"aligned_rows": seen} for key, state in found.items()}
        else:
            found = {
                key: chains[key][number].fit(_some(x[key], rows[key], place), tables[key], signals[key])
                for key in trials
            }
        for key, state in found.items():
            x[key] = place.applied(chains[key][number], x[key], trials[key].table, signals[key], state)
            signals[key] = chains[key][number].output(signals[key], state)
            states[key].append(state)
    return {
        key: (
            FittedPreprocessing(
                chains[key], tuple(states[key]), t.signal, signals[key], rows_hash(used[key]), digests[key]
            ),
            x[key],
        )
        for key, t in trials.items()
    }


def _some(x: np.ndarray, rows: np.ndarray, place: Place) -> np.ndarray:
    return x if len(rows) == len(x) and np.array_equal(rows, np.arange(len(x))) else place.some(x, rows)


def _rows_of(trials: Trials, rows: np.ndarray) -> Trials:
    return replace(trials, responses=RowsView(trials.responses, rows), table=trials.table.take(rows))


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {n[len(prefix) + 1 :]: v for n, v in arrays.items() if n.startswith(f"{prefix}.")}
