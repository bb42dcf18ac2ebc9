"""The jobs of preparing a BIDS folder: a session of a subject each, and those of what is chosen on training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from braindec import checks
from braindec.data import bids, bids_bold, bids_fmri, bids_meeg, staging
from braindec.data.bids_plan import Job
from braindec.data.bids_sessions import Chosen, Epochs, Estimates, Signals, choices_hash, decisive, place_hash
from braindec.data.bids_settings import BidsSettings
from braindec.data.splits import last_of_each
from braindec.data.staging import Task


@dataclass(frozen=True)
class Staged:
    """Where a subject's sessions were staged, and what was chosen for all of them (None: nothing)."""

    sessions: tuple[Path, ...]
    choices: Path | None = None


def files_of(job: Job, raw: Path, settings: BidsSettings) -> list[Path]:
    """Every file that decides what is made of a subject's recordings."""
    if job.modality == "fmri":
        return [p for f in job.files for p in bids_fmri.files_of(raw, f, settings.fmri)]
    return [p for f in job.files for p in bids_meeg.files_of(raw, f)]


def staged(
    jobs: Sequence[Job],
    raw: Path,
    out: Path,
    settings: BidsSettings,
    train: frozenset[str] | None,
    n_jobs: int,
) -> list[Staged]:
    """Reads every session that is not there yet, `n_jobs` at a time; an entry a job, in their order.

    Parameters
    ----------
    jobs : sequence of Job
    raw, out : Path
        Root of the BIDS folder; the prepared folder to be, beside which sessions are kept.
    settings : BidsSettings
    train : set of str or None
        Runs (or sessions) that something may be chosen on; None: all.
    n_jobs : int
        Processes at work.

    Raises
    ------
    DataFileError
        Of the first session that cannot be read; those that were stay.
    """
    bold = {job.key: _Bold(job, raw, settings) for job in jobs if job.modality == "fmri"}
    kept: dict[str, list[Path]] = {}
    choices: dict[str, Path] = {}
    if settings.fmri.glm.chooses:
        kept = _in_order(out, {key: one.signals() for key, one in bold.items()}, n_jobs)
        tasks = {key: [one.chosen(kept[key], train)] for key, one in bold.items()}
        choices = {key: paths[0] for key, paths in _in_order(out, tasks, n_jobs).items()}
    last = {
        job.key: bold[job.key].estimates(kept.get(job.key), choices.get(job.key))
        if job.key in bold
        else _epochs(job, raw, settings)
        for job in jobs
    }
    return [Staged(tuple(paths), choices.get(key)) for key, paths in _in_order(out, last, n_jobs).items()]


class _Bold:
    """The tasks of one subject's BOLD."""

    def __init__(self, job: Job, raw: Path, settings: BidsSettings):
        self._job, self._raw, self._settings = job, raw, settings
        self._space = bids_bold.space_of(raw, job.files, settings.fmri)
        self._decide = decisive(settings, "fmri", space=place_hash(self._space))

    def signals(self) -> list[Task]:
        """One a session."""
        return [
            Signals(
                f"{name}_signals", self._of(runs), self._decide, self._raw, runs, self._space, self._settings
            )
            for name, runs in self._job.sessions.items()
        ]

    def chosen(self, kept: Sequence[Path], train: frozenset[str] | None) -> Task:
        """One of all sessions, whose signals are `kept`."""
        runs = tuple(self._job.files)
        training = tuple(train is None or unit_of(f, self._settings.split) in train for f in runs)
        if not any(training):
            raise checks.ConfigError(
                f"{self._job.key} has no training run to choose HRF, components or ridge on; see test=."
            )
        name, decide = f"{self._job.key}_choices", self._decide | {"training": list(training)}
        return Chosen(
            name, self._of(runs), decide, self._raw, runs, self._space, self._settings, tuple(kept), training
        )

    def estimates(self, kept: Sequence[Path] | None, choices: Path | None) -> list[Task]:
        """One a session, of kept signals under what was chosen, or of the raw files."""
        decide = self._decide | {"choices": None if choices is None else choices_hash(choices)}
        signals = [None] * len(self._job.sessions) if kept is None else kept
        return [
            Estimates(
                name, self._of(runs), decide, self._raw, runs, self._space, self._settings, path, choices
            )
            for (name, runs), path in zip(self._job.sessions.items(), signals, strict=True)
        ]

    def _of(self, runs: Sequence[bids.BidsFile]) -> tuple[Path, ...]:
        found = [p for f in runs for p in bids_fmri.files_of(self._raw, f, self._settings.fmri)]
        return tuple(dict.fromkeys(found))


def _epochs(job: Job, raw: Path, settings: BidsSettings) -> list[Task]:
    """The tasks of one subject's EEG, MEG or iEEG, one a session."""
    bad = tuple(bids_meeg.bad_channels(raw, job.files, settings))
    decide = decisive(settings, job.modality, bad_names=list(bad))
    tasks: list[Task] = []
    for name, runs in job.sessions.items():
        files = tuple(p for f in runs for p in bids_meeg.files_of(raw, f))
        tasks.append(Epochs(name, files, decide, raw, runs, job.modality, job.subject, bad, settings))
    return tasks


def _in_order(out: Path, tasks: Mapping[str, Sequence[Task]], n_jobs: int) -> dict[str, list[Path]]:
    """The staged files of each subject's tasks."""
    paths = staging.stage(out, [task for own in tasks.values() for task in own], n_jobs)
    return {key: [paths[task.name] for task in own] for key, own in tasks.items()}


def unit_of(file: bids.BidsFile, split: str) -> str:
    """The run or session that a recording is of."""
    return file.session if split == "session" else file.run


def training_units(jobs: Sequence[Job], settings: BidsSettings) -> frozenset[str] | None:
    """Runs (or sessions) of the default split's train part; None where there is no split."""
    if settings.split == "stimulus":
        return None
    values = sorted({unit_of(f, settings.split) for job in jobs for f in job.files}, key=bids.natural)
    for value in settings.test:
        checks.one_of(f"test ({settings.split})", value, values)
    own = {job.key: [unit_of(f, settings.split) for f in job.files] for job in jobs}
    test = settings.test or last_of_each(own, bids.natural)
    train = frozenset(v for v in values if v not in test)
    if not train:
        raise checks.ConfigError(
            f"test={list(test)} leaves no {settings.split} to train on; there are {values}."
        )
    return train
