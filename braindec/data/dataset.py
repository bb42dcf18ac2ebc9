"""A dataset in use: trials of every subject and modality, one stimulus set, and a split that names its unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.data import layout, spaces, splits
from braindec.data.rows import RowsView, rows_hash
from braindec.data.splits import Split
from braindec.types import UNKNOWN, SignalInfo, StimulusSet, Trials

__all__ = ["NeuralDataset", "Split"]


@dataclass(frozen=True, eq=False)
class NeuralDataset:
    """Trials by key, stimuli and a split; make one with `read` or `from_trials`.

    Parameters
    ----------
    name : str
    trials : mapping of str to Trials
        By key (``sub-01_fmri``); responses are read on demand.
    stimuli : StimulusSet
    split : Split or None
        The split in use.
    part_name : str or None
        The part of the split that this dataset is, or None for the whole.
    splits : mapping of str to Split
        The named splits there are.
    folder : Path or None
    about : mapping
        dataset.json (or what identifies arrays).
    """

    name: str
    trials: Mapping[str, Trials]
    stimuli: StimulusSet
    split: Split | None = None
    part_name: str | None = None
    splits: Mapping[str, Split] = field(default_factory=dict)
    folder: Path | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.trials:
            raise ValueError(f"dataset {self.name!r} holds no trials.")
        for key, trials in self.trials.items():
            if key != trials.key:
                raise ValueError(f"trials of {trials.key!r} are filed under {key!r}.")

    @classmethod
    def read(
        cls,
        folder: str | Path,
        *,
        subjects: Iterable[int] | None = None,
        modalities: Iterable[str] | None = None,
        region: str | Sequence[str] | None = None,
        split: str | Split | None = None,
    ) -> NeuralDataset:
        """The dataset prepared in a folder; responses stay on disk.

        Parameters
        ----------
        folder : path
        subjects, modalities : iterables, optional
            Keep only these; a subject that is not there is refused.
        region : str or sequence of str, optional
            Keep only features of this region (or of any of these), in every subject whose space names regions.
        split : str or Split, optional
            A named split; None takes the dataset's default.

        Raises
        ------
        FileNotFoundError
            If the folder holds no prepared dataset, with the command that makes one.
        DataFileError
            If a file is damaged or is not the listed one.
        """
        folder = Path(folder)
        manifest = layout.read_manifest(folder)
        entries = _chosen(manifest["recordings"], subjects, modalities)
        trials = {e["key"]: layout.read_trials(layout.checked(folder, e)) for e in entries}
        if region is not None:
            trials = {key: _in_region(t, region) for key, t in trials.items()}
        stimuli = layout.read_stimuli(layout.checked(folder, manifest["stimuli"]))
        named = {key: Split.from_json(key, value) for key, value in manifest["splits"].items()}
        wanted = split if split is not None else manifest.get("default_split")
        chosen = checks.known_key("split", wanted, named) if isinstance(wanted, str) else wanted
        about = manifest | (
            {"region": [region] if isinstance(region, str) else list(region)} if region else {}
        )
        return cls(manifest["name"], trials, stimuli, chosen, None, named, folder, about)

    @classmethod
    def from_trials(
        cls, trials: Iterable[Trials], stimuli: StimulusSet, split: Split | None = None, name: str = "arrays"
    ) -> NeuralDataset:
        """A dataset of arrays that are already in memory."""
        trials = list(trials)
        checks.unique("keys of the trials", [t.key for t in trials])
        by_key = {t.key: t for t in trials}
        named = {split.name: split} if split is not None else {}
        return cls(name, by_key, stimuli, split, None, named)

    @property
    def keys(self) -> tuple[str, ...]:
        """``("sub-01_fmri", ...)``."""
        return tuple(self.trials)

    @property
    def n_trials(self) -> int:
        """Trials of all keys together."""
        return sum(t.n_trials for t in self.trials.values())

    @property
    def info(self) -> SignalInfo:
        """What a model must know of the signals."""
        return SignalInfo({key: t.signal for key, t in self.trials.items()})

    @property
    def stimulus_ids(self) -> tuple[str, ...]:
        """Sorted ids of the stimuli shown in these trials, ``unknown`` left out."""
        shown = {i for t in self.trials.values() for i in np.unique(t.table["stimulus_id"]).tolist()}
        return tuple(sorted(shown - {UNKNOWN}))

    def identity(self) -> dict[str, Any]:
        """Name, hashes of the files (or arrays), split and part: JSON values that pin the data down."""
        if self.folder is not None:
            hashes = {e["key"]: e["sha256"] for e in self.about["recordings"] if e["key"] in self.trials}
        else:
            hashes = {key: _hash_of_arrays(t) for key, t in self.trials.items()}
        split = (
            None
            if self.split is None
            else {"name": self.split.name, "unit": self.split.unit, "hash": self.split.hash}
        )
        rows = {key: rows_hash(t) for key, t in self.trials.items()}
        return {
            "name": self.name,
            "recordings": hashes,
            "rows": rows,
            "region": self.about.get("region"),
            "split": split,
            "part": self.part_name,
        }

    def unit_values(self, unit: str) -> tuple[str, ...]:
        """Sorted values of a unit over all trials (numbers in numeric order)."""
        values = {v for t in self.trials.values() for v in splits.unit_values(t, self.stimuli, unit).tolist()}
        return tuple(sorted(values, key=lambda v: (not v.isdigit(), int(v) if v.isdigit() else 0, v)))

    def unit_labels(self, unit: str, column: str) -> dict[str, str]:
        """The one label of a column that each value of a unit has; a value with two labels is refused."""
        found: dict[str, str] = {}
        for trials in self.trials.values():
            values = splits.unit_values(trials, self.stimuli, unit).tolist()
            labels = splits.stimulus_column(trials, self.stimuli, column).astype(str).tolist()
            for value, label in zip(values, labels, strict=True):
                if found.setdefault(value, label) != label:
                    raise ValueError(
                        f"{unit} {value!r} has more than one {column}: {found[value]!r} and {label!r}."
                    )
        return found

    def with_split(self, split: str | Split) -> NeuralDataset:
        """The whole dataset with another split: a named one, or one of `braindec.data.splits`."""
        if self.part_name is not None:
            raise ValueError(f"this is already the part {self.part_name!r}; split the whole dataset.")
        chosen = checks.known_key("split", split, self.splits) if isinstance(split, str) else split
        return replace(self, split=chosen)

    def part(self, name: str) -> NeuralDataset:
        """The trials whose unit lies in this part of the split; keys without such trials are left out."""
        if self.split is None:
            raise ValueError("this dataset has no split; give it one with with_split(...).")
        if self.part_name is not None:
            raise ValueError(f"this is already the part {self.part_name!r}; take parts of the whole dataset.")
        masks = {k: self.split.members(t, self.stimuli, name) for k, t in self.trials.items()}
        return replace(self._with_rows(masks, f"part {name!r}"), part_name=name)

    def select(
        self,
        keys: Iterable[str] | None = None,
        rows: Mapping[str, np.ndarray] | Callable[[Trials], np.ndarray] | None = None,
    ) -> NeuralDataset:
        """Only these keys, and only these rows (mask or positions by key, or a function of Trials)."""
        kept = {k: checks.known_key("key", k, self.trials) for k in (self.trials if keys is None else keys)}
        chosen = replace(self, trials=kept)
        if rows is None:
            return chosen
        wanted = {
            k: rows(t) if callable(rows) else rows.get(k, np.arange(t.n_trials)) for k, t in kept.items()
        }
        return chosen._with_rows(wanted, "the selection")

    def limit(self, fraction: float, generator: np.random.Generator) -> NeuralDataset:
        """The trials of a random share of each key's stimuli (at least two), all repeats of a stimulus together.

        Parameters
        ----------
        fraction : float
            In (0, 1].
        generator : numpy Generator
        """
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], got {fraction}.")
        masks = {}
        for key, trials in self.trials.items():
            ids = splits.unit_values(trials, self.stimuli, "stimulus")
            unique = np.unique(ids)
            kept = generator.permutation(unique)[: max(2, round(fraction * len(unique)))]
            masks[key] = np.isin(ids, kept)
        return self._with_rows(masks, "the limit")

    def _with_rows(self, rows: Mapping[str, np.ndarray], what: str) -> NeuralDataset:
        trials = {key: view(t, rows[key]) for key, t in self.trials.items()}
        kept = {key: t for key, t in trials.items() if t.n_trials}
        if not kept:
            raise ValueError(f"{what} of dataset {self.name!r} holds no trial.")
        return replace(self, trials=kept)


def view(trials: Trials, rows: np.ndarray) -> Trials:
    """The trials at these rows (mask or positions); responses stay where they are and are read on demand."""
    rows = np.asarray(rows)
    index = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
    if rows.dtype == bool and rows.shape != (trials.n_trials,):
        raise ValueError(f"rows has {rows.shape} but there are {trials.n_trials} trials; they must match.")
    return replace(trials, responses=RowsView(trials.responses, index), table=trials.table.take(index))


def _in_region(trials: Trials, region: str | Sequence[str]) -> Trials:
    if not trials.space.regions:  # sensors beside voxels: a brain region cuts only what has regions
        return trials
    members = spaces.members_of(trials.space, region)
    kept = RowsView(trials.responses, np.arange(trials.n_trials), members)
    return replace(trials, responses=kept, space=spaces.restrict(trials.space, members))


def _chosen(
    entries: Sequence[Mapping[str, Any]], subjects: Iterable[int] | None, modalities: Iterable[str] | None
) -> list[Mapping[str, Any]]:
    kept = []
    named = [(e, int(e["key"].split("_")[0].removeprefix("sub-")), e["key"].split("_")[1]) for e in entries]
    for what, wanted, place in (("subjects", subjects, 1), ("modalities", modalities, 2)):
        if wanted is not None:
            for value in wanted if not isinstance(wanted, str) else (wanted,):
                checks.one_of(what, value, sorted({row[place] for row in named}))
    subject_set = None if subjects is None else set(subjects)
    modality_set = (
        None if modalities is None else {modalities} if isinstance(modalities, str) else set(modalities)
    )
    for entry, subject, modality in named:
        if (subject_set is None or subject in subject_set) and (
            modality_set is None or modality in modality_set
        ):
            kept.append(entry)
    return kept


def _hash_of_arrays(trials: Trials) -> str:
    responses = np.asarray(trials.responses[np.arange(trials.n_trials)])
    return store.content_hash(responses=responses, **{f"table/{n}": c for n, c in trials.table.items()})
