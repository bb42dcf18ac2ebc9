"""A dataset in use: trials of every subject and modality, one stimulus set, and a split that names its unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, outlines, seeding
from braindec.data import layout, own, own_bold, plausible, spaces, splits
from braindec.data.outlined import outlined
from braindec.data.rows import array_hash, rows_hash, view
from braindec.data.splits import Split
from braindec.types import UNKNOWN, SignalInfo, Space, StimulusSet, Trials

__all__ = ["NeuralDataset", "Split"]


@dataclass(frozen=True, eq=False, repr=False)
class NeuralDataset:
    """Trials by key, stimuli and a split; make one with `read`, `from_arrays` or another of the `from_` methods.

    Whatever reads files raises a DataFileError where one is damaged or does not fit the others.

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
        entries = layout.chosen(manifest["recordings"], subjects, modalities)
        trials = {e["key"]: layout.read_trials(layout.checked(folder, e)) for e in entries}
        if region is not None:
            trials = {key: spaces.in_region(t, region) for key, t in trials.items()}
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

    @classmethod
    def from_arrays(
        cls,
        responses: Any,
        stimulus_ids: Sequence[Any] | np.ndarray,
        *,
        modality: str,
        subject: int = 1,
        units: str = "a.u.",
        sfreq: float | None = None,
        tmin: float | None = None,
        space: Space | None = None,
        images: Mapping[str, np.ndarray] | None = None,
        captions: Mapping[str, str] | None = None,
        about: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> NeuralDataset:
        """One subject's trials, given as arrays.

        Parameters
        ----------
        responses : array, shape (n_trials, n_voxels) or (n_trials, n_channels, n_times)
            Betas or epochs, kept as float32; of axes, clocks and scales that look wrong there is a warning.
        stimulus_ids : sequence, shape (n_trials,)
            What each trial showed, as text (a whole number becomes its digits); repeats of a stimulus share it.
        modality : str
            ``"fmri"``, ``"eeg"``, ``"meg"``, ``"ieeg"``, ``"ecog"`` or ``"array"``.
        subject, units
            1 is sub-01.
        sfreq, tmin : float, optional
            Of epochs: Hz, and seconds from the event to the first sample.
        space : Space, optional
            Where axis 1 lies in the head, for maps.
        images, captions : mapping by stimulus id, optional
            uint8 (height, width, 3) of one size; text.
        about : mapping, optional
            How responses were made, for the audit: ``{"betas": {"overlap": "modelled"}}`` of one model of all events.
        **columns : array, shape (n_trials,)
            What else is known of each trial: ``run``, ``session``, ``onset_s`` (seconds in the run),
            ``acquisition_order``, a class, motion. Without ``run`` and ``session`` all trials count as of one run; of
            onsets and order that are not told no audit can look for neighbours in time.

        Raises
        ------
        ValueError
            If lengths differ, an array has other axes, or a value is NaN or infinite.
        """
        trials = own.array_trials(responses, stimulus_ids, columns, subject=subject, modality=modality,
                                  units=units, sfreq=sfreq, tmin=tmin, space=space)  # fmt: skip
        made = cls.from_trials([plausible.warn(trials)], own.stimulus_set(trials, images, captions))
        return replace(made, about=own.told(about))

    @classmethod
    def from_nifti(
        cls,
        maps: str | Path | Sequence[str | Path],
        mask: str | Path,
        stimulus_ids: Sequence[Any] | np.ndarray,
        *,
        subject: int = 1,
        units: str = "a.u.",
        about: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> NeuralDataset:
        """One subject's betas, a volume a trial; of time series see `from_bold`.

        Parameters
        ----------
        maps : path or sequence of paths
            NIfTI (x, y, z, trial), or a file a trial; joined in this order.
        mask : path
            NIfTI (x, y, z) on the same grid, or a DataFileError says so; voxels above zero are kept.
        stimulus_ids, subject, units, about, **columns
            As in `from_arrays`.
        """
        trials = own.nifti_trials(maps, mask, stimulus_ids, columns, subject=subject, units=units)
        made = cls.from_trials([plausible.warn(trials)], own.stimulus_set(trials, None, None))
        return replace(made, about=own.told(about))

    @classmethod
    def from_bold(
        cls,
        bold: Sequence[str | Path],
        events: Sequence[str | Path],
        mask: str | Path,
        *,
        stimulus_column: str,
        subject: int = 1,
        method: str = "lss",
        t_r: float | Sequence[float] | None = None,
        confounds: Sequence[Mapping[str, Any]] | None = None,
        sessions: Sequence[str] | None = None,
        high_pass_hz: float = 0.01,
        hrf_model: str = "spm",
    ) -> NeuralDataset:
        """One subject's time series: a beta in percent signal change for each event (`data.fmri.glm_betas`).

        For brief events; the drift takes slow blocks with it (a warning says so): of them take `data.fmri.block_means`.
        ``braindec prepare bids`` does more: fMRIPrep's confounds, censoring, surfaces, a choice of response functions.

        Parameters
        ----------
        bold : sequence of paths
            NIfTI (x, y, z, time), motion-corrected, a file a run.
        events : sequence of paths
            BIDS ``events.tsv`` of each run: onset and duration in seconds, and what was shown.
        mask : path
            NIfTI (x, y, z) on the same grid.
        stimulus_column : str
            Column of the events that names what was shown; one with ``n/a`` there is modelled, and is no trial.
        subject, method, t_r
            1 is sub-01; ``"lss"`` or ``"lsa"``; seconds a volume (of all runs or of each) where headers are wrong.
        confounds, sessions : sequences, optional
            Of each run: columns of one value a volume (motion), which enter the model; a name (``"1"`` by default).
        high_pass_hz, hrf_model
            Drift up to this frequency is removed, 0 to 0.1 (0: a constant alone); ``"spm"`` or ``"glover"``.
        """
        trials, slow = own_bold.bold_trials(
            bold, events, mask, stimulus_column=stimulus_column, subject=subject, method=method, t_r=t_r,
            confounds=confounds, sessions=sessions, high_pass_hz=high_pass_hz, hrf_model=hrf_model,
        )  # fmt: skip
        plausible.warn(trials, slow)
        made = cls.from_trials([trials], own.stimulus_set(trials, None, None))
        return replace(made, about={"betas": {"overlap": "modelled" if method == "lsa" else "kept"}})

    @classmethod
    def from_fif(
        cls,
        epochs: str | Path | Sequence[str | Path],
        *,
        stimulus_column: str | None = None,
        subject: int = 1,
        modality: str = "eeg",
        runs: Sequence[Any] | None = None,
        sessions: Sequence[Any] | None = None,
    ) -> NeuralDataset:
        """One subject's epochs as mne saved them, with their metadata as the trial table.

        Parameters
        ----------
        epochs : path or sequence of paths
            ``*-epo.fif``; several files count as sessions ``"1"``, ``"2"``, ... unless `runs` or their metadata tell.
        stimulus_column : str, optional
            Column of the metadata that names what was shown; by default ``stimulus_id``, or else the event's name.
            Where that is a class (``face``), a class is one stimulus: decode it with ``label_column="stimulus_id"``.
        subject, modality
            1 is sub-01; ``"eeg"`` or ``"meg"``: which channels are kept (bad ones are dropped).
        runs, sessions : sequences, optional
            Of each file: the run and session that its epochs are of, where the metadata name none.
        """
        trials = own.fif_trials(epochs, stimulus_column=stimulus_column, subject=subject, modality=modality,
                                runs=runs, sessions=sessions)  # fmt: skip
        return cls.from_trials([plausible.warn(trials)], own.stimulus_set(trials, None, None))

    def __repr__(self) -> str:
        name, rows = outlined(self)
        return f"NeuralDataset({name}; {'; '.join(f'{k} {v}' for k, v in rows.items())})"

    def _repr_html_(self) -> str:
        return outlines.pairs("NeuralDataset " + outlined(self)[0], outlined(self)[1])

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
            hashes = {key: array_hash(t) for key, t in self.trials.items()}
        rows = {key: rows_hash(t) for key, t in self.trials.items()}
        return {
            "name": self.name,
            "recordings": hashes,
            "rows": rows,
            "region": self.about.get("region"),
            "split": None if self.split is None else self.split.identity,
            "part": self.part_name,
        }

    def unit_values(self, unit: str) -> tuple[str, ...]:
        """Sorted values of a unit over all trials (numbers in numeric order)."""
        values = {v for t in self.trials.values() for v in splits.unit_values(t, self.stimuli, unit).tolist()}
        return tuple(sorted(values, key=lambda v: (not v.isdigit(), int(v) if v.isdigit() else 0, v)))

    def unit_labels(self, unit: str, column: str) -> dict[str, str]:
        """The one label of a column that each value of a unit has; a value with two labels is refused."""
        return splits.unit_labels(self, unit, column)

    def with_split(self, split: str | Split) -> NeuralDataset:
        """The whole dataset with another split: a named one, or one of `braindec.data.splits`."""
        if self.part_name is not None:
            raise ValueError(f"this is already the part {self.part_name!r}; split the whole dataset.")
        chosen = checks.known_key("split", split, self.splits) if isinstance(split, str) else split
        return replace(self, split=chosen)

    def hold_out(self, unit: str, test: float | Sequence[Any], *, seed: int = 0) -> NeuralDataset:
        """The whole dataset with a split of its own: some values of a unit are ``test``, all others ``train``.

        Parameters
        ----------
        unit : str
            ``"stimulus"``, ``"concept"``, ``"run"``, ``"session"`` or ``"subject"``: all trials of a value go together.
        test : float or sequence
            The share of the values to draw, in (0, 1), or the values themselves; of a signal without them it warns.
        seed : int
            Draws them: again, where a signal would be left without a training or a test part.
        """
        if isinstance(test, float | int):
            draw = seeding.numpy_generator(seed, "hold out", unit)
            found = splits.hold_out(self, unit, test, draw)
        else:
            found = splits.chosen(self, unit, test)
        splits.warn_of_one_sided(self, found)
        return self.with_split(found)

    def part(self, name: str) -> NeuralDataset:
        """The trials whose unit lies in this part of the split; keys without such trials are left out."""
        if self.split is None:
            raise ValueError("this dataset has no split; give it one with with_split(...).")
        if self.part_name is not None:
            raise ValueError(f"this is already the part {self.part_name!r}; take parts of the whole dataset.")
        masks = {k: self.split.members(t, self.stimuli, name) for k, t in self.trials.items()}
        what = f"part {name!r} ({self.split.unit} {splits.few(self.split.values(name))})"
        return replace(self._with_rows(masks, what), part_name=name)

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
            raise ValueError(f"{what} of dataset {self.name!r} holds no trial of {list(self.trials)}.")
        return replace(self, trials=kept)
