"""Large datasets prepared session by session or subject by subject: in bounded memory, resumed, shown when complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec import jobs as jobs_of
from braindec.data import download, layout, staging
from braindec.data.catalogue import Counts, counts
from braindec.data.dataset import NeuralDataset
from braindec.data.rows import RowsView
from braindec.data.sounds import Sounds
from braindec.data.splits import Split
from braindec.types import StimulusSet, Table, Trials

GIGABYTE = 1e9


@dataclass(frozen=True, eq=False)
class Source:
    """One subject's recording, not yet read.

    Parameters
    ----------
    key : str
        ``"sub-01_eeg"``.
    files : tuple of Path
        Raw files that it is made from.
    read : callable () -> Trials
        Opens them; responses are read by rows, in the process that writes them.
    further : callable (folder) -> None, optional
        Writes what else belongs to the subject into the folder.
    by_session : bool
        Each session lies in raw files of its own: sessions are read by jobs of their own. Otherwise a subject is one.
    """

    key: str
    files: tuple[Path, ...]
    read: Callable[[], Trials]
    further: Callable[[Path], None] | None = None
    by_session: bool = False


@dataclass(frozen=True, eq=False)
class Pictures:
    """The stimuli of a dataset.

    Parameters
    ----------
    ids : tuple of str
    table : Table
    batches : callable () -> iterable of uint8 arrays (n, height, width, 3), or None
        In the order of `ids`; None where only labels are known.
    files : tuple of Path
        Where the pictures are read from.
    shape : (height, width)
        Of what `batches` gives, to say how much is written.
    sounds : Sounds or None
        In the order of `ids`, where stimuli are heard.
    """

    ids: tuple[str, ...]
    table: Table
    batches: Callable[[], Iterable[np.ndarray]] | None = None
    files: tuple[Path, ...] = ()
    shape: tuple[int, int] = (0, 0)
    sounds: Sounds | None = None


@dataclass(frozen=True, eq=False)
class Whole:
    """A dataset about to be prepared.

    Parameters
    ----------
    name, licence, source : str
        As dataset.json names them.
    raw : Path
        The folder that all files lie in.
    sources : tuple of Source
    pictures : Pictures
    splits : callable (NeuralDataset) -> iterable of Split
    notes : mapping
        Further entries of dataset.json.
    settings : mapping
        JSON values that decide, beside the raw files, what is written.
    missing : tuple of str
        What the complete dataset holds and these raw files do not, a sentence each.
    """

    name: str
    licence: str
    source: str
    raw: Path
    sources: tuple[Source, ...]
    pictures: Pictures
    splits: Callable[[NeuralDataset], Iterable[Split]]
    notes: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def dry_run(self) -> Counts:
        """What preparing would read, write and need; only headers and tables are read.

        Raises
        ------
        DataFileError
            If a file is not what it must be, as far as its header says.
        """
        n_trials, written = {}, 0
        for source in self.sources:
            trials = source.read()
            n_trials[source.key] = trials.n_trials
            written += 4 * int(np.prod(trials.responses.shape, dtype=np.int64))
        n_read = sum(path.stat().st_size for path in self._files())
        if self.pictures.batches is not None:
            written += 3 * len(self.pictures.ids) * int(np.prod(self.pictures.shape))
        if self.pictures.sounds is not None:
            written += 2 * len(self.pictures.ids) * self.pictures.sounds.n_samples
        size = (
            f"Reads {n_read / GIGABYTE:.1f} GB in {len(self._files())} files; writes {written / GIGABYTE:.1f} GB; "
            "needs less than 2 GB of memory a job."
        )
        return Counts(n_trials, len(self.pictures.ids), self.missing, (size,))

    def prepare(self, out: str | Path, n_jobs: int = 1) -> Counts:
        """Writes the prepared folder; `out` is touched when everything is there.

        A run that was stopped goes on with the sessions and subjects that are missing. Where settings and the content
        of raw files are those that `out` was made from, nothing is done.

        Parameters
        ----------
        out : path
        n_jobs : int
            Sessions or subjects at a time, each in a process (`joblib.parallel_config` chooses another backend).

        Raises
        ------
        DataFileError
            If a raw file is damaged or contradicts another one; subjects that are done are kept for the next run.
        """
        out = Path(out)
        if self._is_there(out):
            return self._counts(out)
        made = staging.folder_of(out) / "made"
        made.mkdir(parents=True, exist_ok=True)
        self._write_recordings(out, made, n_jobs)
        shown = self.pictures
        batches = None if shown.batches is None else shown.batches()
        kind = "audio" if shown.sounds is not None else "none" if batches is None else "image"
        layout.write_stimuli(
            made, shown.ids, kind=kind, images=batches, sounds=shown.sounds, table=shown.table
        )
        self._write_manifest(made)
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.finish(out, made)
        return self._counts(out)

    def _write_recordings(self, out: Path, made: Path, n_jobs: int) -> None:
        marks = {
            s.key: {"settings": dict(self.settings), "stamps": staging.stamps(s.files)} for s in self.sources
        }
        missing = [s for s in self.sources if not _is_done(made, self.raw, s, marks[s.key])]
        jobs = {s.key: _session_jobs(s, marks[s.key]) for s in missing if s.by_session}
        paths = staging.stage(out, [job for own in jobs.values() for job in own], n_jobs)
        sessions = {s.key: [(paths[job.name], job.index) for job in jobs.get(s.key, [])] for s in missing}
        jobs_of.each(_write, ((made, self.raw, s, marks[s.key], sessions[s.key]) for s in missing), n_jobs)
        for path in made.glob("*.h5"):  # of an earlier choice of subjects
            if not any(source.key in path.name for source in self.sources):
                path.unlink()

    def _write_manifest(self, made: Path) -> None:
        recordings = [_file(made, s) for s in self.sources]
        trials = [layout.read_trials(path) for path in recordings]
        stimuli = StimulusSet(self.pictures.ids, "none", table=self.pictures.table)
        dataset = NeuralDataset.from_trials(trials, stimuli, name=self.name)
        layout.write_manifest(
            made,
            name=self.name,
            licence=self.licence,
            source=self.source,
            splits={split.name: split for split in self.splits(dataset)},
            recordings=recordings,
            **self.notes,
            missing=list(self.missing),
            raw_files=dict(
                pair for s in self.sources for pair in store.read_json(_mark(made, s))["raw_files"].items()
            ),
            prepared_from={"choice": self._choice(), "stamps": self._stamp(), "pictures": self._pictures()},
        )

    def _files(self) -> list[Path]:
        return [*dict.fromkeys(path for s in self.sources for path in s.files), *self.pictures.files]

    def _choice(self) -> str:
        """One hash over all that decides what is written, but for raw files."""
        keys = [source.key for source in self.sources]
        return store.content_hash(settings=dict(self.settings), keys=keys, schema=layout.SCHEMA)

    def _stamp(self) -> str:
        """One hash over path, size and time of change of every raw file."""
        return store.content_hash(files=staging.stamps(self._files()))

    def _pictures(self) -> str:
        """One hash over the content of the files that stimuli are read from."""
        return store.content_hash(files=download.hashes(self.raw, list(self.pictures.files)))

    def _is_there(self, out: Path) -> bool:
        """Whether `out` was made of these files: by their size and time of change, or else by their content."""
        if not (out / layout.MANIFEST).is_file():
            return False
        held = layout.read_manifest(out)
        made = held.get("prepared_from")
        if not isinstance(made, dict) or made["choice"] != self._choice():
            return False
        files = list(dict.fromkeys(path for s in self.sources for path in s.files))
        return made["stamps"] == self._stamp() or (
            held["raw_files"] == download.hashes(self.raw, files) and made["pictures"] == self._pictures()
        )

    def _counts(self, out: Path) -> Counts:
        found = counts(out)
        return Counts(found.trials, found.n_stimuli, self.missing)


def _file(folder: Path, source: Source) -> Path:
    return folder / f"{source.key}.h5"


def _mark(folder: Path, source: Source) -> Path:
    """Where it stands that a recording was written, and from what."""
    return folder.with_name(f"{source.key}.json")


def _is_done(made: Path, raw: Path, source: Source, mark: Mapping[str, Any]) -> bool:
    if not (_mark(made, source).is_file() and _file(made, source).is_file()):
        return False
    found = store.read_json(_mark(made, source))
    same = found["settings"] == mark["settings"]
    return same and staging.is_made_of(found, source.files, lambda: download.hashes(raw, list(source.files)))


def _session_jobs(source: Source, mark: Mapping[str, Any]) -> list[staging.Job]:
    """A job for each session of a subject; the raw files are known by size and time of change here."""
    session = source.read().table["session"].astype(str)
    read = partial(_responses, source)
    return [
        staging.Job(f"{source.key}_ses-{name}", (), dict(mark), read, np.flatnonzero(session == name))
        for name in np.unique(session).tolist()
    ]


def _responses(source: Source) -> Any:
    return source.read().responses


def _write(
    made: Path, raw: Path, source: Source, mark: Mapping[str, Any], staged: Sequence[tuple[Path, np.ndarray]]
) -> None:
    """The recording's file, from its staged sessions where there are any, and last of all what it was made from."""
    _mark(made, source).unlink(missing_ok=True)
    trials = source.read()
    if trials.key != source.key:
        raise ValueError(f"the recording {source.key!r} was read as {trials.key!r}.")
    if staged:
        place = np.argsort(np.concatenate([index for _, index in staged]))
        trials = replace(trials, responses=RowsView(staging.Staged([path for path, _ in staged]), place))
    layout.write_trials(made, trials)
    if source.further is not None:
        source.further(made)
    hashes = download.hashes(raw, list(source.files))
    store.write_json(_mark(made, source), dict(mark) | {"raw_files": hashes})
    for path, _ in staged:
        path.unlink()


def subjects_there(
    subjects: Iterable[int] | None, known: Sequence[int], found: Sequence[int], where: Path, what: str
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The subjects to prepare, and a sentence on those whose files are not there.

    Parameters
    ----------
    subjects : iterable of int, optional
        Asked for; each must have files. None: all that have.
    known : sequence of int
        Of the whole dataset.
    found : sequence of int
        Those with files.
    where : Path
        Where files were looked for.
    what : str
        Name of a subject's file, with ``{}`` for its number.

    Raises
    ------
    FileNotFoundError
        If a subject that was asked for, or every subject, has no file.
    """
    if subjects is None:
        if not found:
            raise FileNotFoundError(
                f"no {what.format('*')} in {where}. Point --raw at the folder with the dataset's files."
            )
        absent = [s for s in known if s not in found]
        said = f"Not there, so not prepared: subjects {', '.join(map(str, absent))} of {len(known)}."
        return tuple(found), ((said,) if absent else ())
    chosen = tuple(checks.one_of("subjects", subject, tuple(known)) for subject in subjects)
    checks.at_least("number of subjects", len(chosen), 1)
    for subject in chosen:
        if subject not in found:
            raise FileNotFoundError(
                f"no {what.format(subject)} in {where}. Subjects with files: {list(found)}."
            )
    return chosen, ()
