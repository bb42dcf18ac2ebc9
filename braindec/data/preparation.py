"""The common part of the prepare.py files of small public datasets: arguments, counting, and what is written.

Each subject is read in a job of its own (joblib) and kept in a hidden folder beside the prepared one until all are
there, so that a run that was stopped goes on with the subjects that are missing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braindec import __version__, checks, jobs, store
from braindec.data import download, layout, staging
from braindec.data.catalogue import Counts, counts, raw_folder
from braindec.data.dataset import NeuralDataset
from braindec.data.splits import Split
from braindec.types import StimulusSet, Table, Trials

DONE = "done.json"  # a subject's: what was written, and the sha256 of the raw files that it was made from


@dataclass(frozen=True, eq=False)
class Content:
    """What the raw files of a dataset hold.

    Parameters
    ----------
    trials : tuple of Trials
        One for each chosen subject and modality.
    ids : tuple of str
        Unique stimulus ids.
    table : Table
        What is known of the stimuli, a row each in the order of `ids`.
    files : tuple of Path
        The raw files that were read; dataset.json names each with its sha256.
    images : uint8 array (n_stimuli, height, width, 3) or None
        0..255, in the order of `ids`.
    """

    trials: tuple[Trials, ...]
    ids: tuple[str, ...]
    table: Table
    files: tuple[Path, ...]
    images: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Preparation:
    """A dataset's `fetch` and `prepare`, made of what is its own: ``fetch, prepare = mine.fetch, mine.prepare``.

    Parameters
    ----------
    folder : Path
        The dataset's folder, with its files.tsv; its name is the dataset's.
    expected : str
        Pattern of a raw file or folder that must be there.
    nested : str
        A folder below the raw one where it may lie as well.
    licence, source : str
        As dataset.json names them.
    read : callable (raw folder, subjects) -> Content
        Reads the chosen subjects; called for one at a time to prepare them.
    splits : callable (NeuralDataset) -> iterable of Split
        The named splits; the first is the default.
    count : callable (raw folder, subjects) -> Counts, optional
        Counts without reading everything; None reads and counts.
    subjects : tuple of int
        The subjects there are.
    notes : mapping
        Further entries of dataset.json, e.g. ``label`` and ``transductive``.
    """

    folder: Path
    expected: str
    nested: str
    licence: str
    source: str
    read: Callable[[Path, tuple[int, ...]], Content]
    splits: Callable[[NeuralDataset], Iterable[Split]]
    count: Callable[[Path, tuple[int, ...]], Counts] | None = None
    subjects: tuple[int, ...] = (1,)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def fetch(
        self, raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False
    ) -> list[Path]:
        """Downloads the files of files.tsv that are not in `raw` yet and returns the paths of all."""
        self._chosen(subjects)
        return download.fetch(self.folder / "files.tsv", raw, dry_run=dry_run)

    def prepare(
        self,
        raw: str | Path,
        out: str | Path,
        *,
        subjects: Iterable[int] | None = None,
        dry_run: bool = False,
        n_jobs: int = 1,
    ) -> Counts:
        """Reads the raw files and writes the prepared dataset; does nothing where it was made from the same files.

        Parameters
        ----------
        raw, out : path
        subjects : iterable of int, optional
            None prepares all.
        dry_run : bool
            Only count what there is.
        n_jobs : int
            Subjects at a time, each in a process; at least 1 (`joblib.parallel_config` chooses another backend). The
            files that are written do not depend on it.

        Raises
        ------
        DataFileError
            If a raw file is damaged; subjects that are done are kept for the next run.
        """
        chosen = self._chosen(subjects)
        checks.at_least("n_jobs", n_jobs, 1)
        raw, out = raw_folder(raw, self.expected, self.nested), Path(out)
        if dry_run:
            return self._dry_run(raw, chosen)
        made_by = self._made_by(chosen)
        if not self._is_there(out, raw, made_by):
            self._prepare(raw, out, chosen, n_jobs, made_by)
        return counts(out)

    def _dry_run(self, raw: Path, subjects: tuple[int, ...]) -> Counts:
        if self.count is not None:
            return self.count(raw, subjects)
        content = self.read(raw, subjects)
        return Counts({t.key: t.n_trials for t in content.trials}, len(content.ids))

    def _prepare(self, raw: Path, out: Path, subjects: tuple[int, ...], n_jobs: int, made_by: str) -> None:
        staged = staging.folder_of(out)
        homes = {
            subject: staged / f"sub-{subject:02d}-{self._made_by((subject,))[:16]}" for subject in subjects
        }
        missing = [s for s, home in homes.items() if not _is_done(home, raw)]
        jobs.each(self._read_into, ((homes[s], raw, s) for s in missing), n_jobs)
        made = staged / "made"
        shutil.rmtree(made, ignore_errors=True)
        self._join(raw, made, list(homes.values()), made_by)
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.finish(out, made)

    def _read_into(self, home: Path, raw: Path, subject: int) -> None:
        """Writes one subject's content into a folder of its own, and last of all what it was made from."""
        shutil.rmtree(home, ignore_errors=True)
        content = self.read(raw, (subject,))
        kind = "none" if content.images is None else "image"
        layout.write_stimuli(home, content.ids, kind=kind, images=content.images, table=content.table)
        recordings = [layout.write_trials(home, trials).name for trials in content.trials]
        files = download.hashes(raw, list(content.files))
        store.write_json(home / DONE, {"recordings": recordings, "raw_files": files})

    def _join(self, raw: Path, made: Path, homes: list[Path], made_by: str) -> None:
        """The whole prepared folder out of those of its subjects; a stimulus that several saw is written once."""
        done = [store.read_json(home / DONE) for home in homes]
        made.mkdir(parents=True)
        parts = [layout.read_stimuli(home / layout.STIMULI) for home in homes]
        ids, table, images = _joined(parts)
        kind = "none" if images is None else "image"
        layout.write_stimuli(made, ids, kind=kind, images=images, table=table)
        recordings = [made / name for about in done for name in about["recordings"]]
        for home, about in zip(homes, done, strict=True):
            for name in about["recordings"]:
                os.link(home / name, made / name)
        trials = [layout.read_trials(path) for path in recordings]
        dataset = NeuralDataset.from_trials(
            trials, StimulusSet(ids, "none", table=table), name=self.folder.name
        )
        layout.write_manifest(
            made,
            name=self.folder.name,
            licence=self.licence,
            source=self.source,
            splits={split.name: split for split in self.splits(dataset)},
            recordings=recordings,
            **self.notes,
            raw_files=dict(sorted(pair for about in done for pair in about["raw_files"].items())),
            made_by=made_by,
        )

    def _made_by(self, subjects: tuple[int, ...]) -> str:
        """Hash over what decides, beside the raw files, what is written."""
        script = self.folder / "prepare.py"
        code = store.sha256_of(script) if script.is_file() else ""
        return store.content_hash(
            version=__version__, code=code, subjects=list(subjects), schema=layout.SCHEMA
        )

    def _is_there(self, out: Path, raw: Path, made_by: str) -> bool:
        if not (out / layout.MANIFEST).is_file():
            return False
        manifest = layout.read_manifest(out)
        there = all(
            (out / entry["file"]).is_file() for entry in [*manifest["recordings"], manifest["stimuli"]]
        )
        return there and manifest.get("made_by") == made_by and _unchanged(raw, manifest["raw_files"])

    def _chosen(self, subjects: Iterable[int] | None) -> tuple[int, ...]:
        if subjects is None:
            return self.subjects
        chosen = tuple(checks.one_of("subjects", subject, self.subjects) for subject in subjects)
        checks.at_least("number of subjects", len(chosen), 1)
        return chosen


def _is_done(home: Path, raw: Path) -> bool:
    return (home / DONE).is_file() and _unchanged(raw, store.read_json(home / DONE)["raw_files"])


def _unchanged(raw: Path, hashes: Mapping[str, str]) -> bool:
    return all((raw / name).is_file() and store.sha256_of(raw / name) == sha for name, sha in hashes.items())


def _joined(parts: Sequence[StimulusSet]) -> tuple[tuple[str, ...], Table, np.ndarray | None]:
    """Ids in order of first appearance, and the rows and images of each where it first appears."""
    ids = tuple(dict.fromkeys(i for part in parts for i in part.ids))
    place = {i: (n, row) for n, part in reversed(list(enumerate(parts))) for row, i in enumerate(part.ids)}
    tables = [part.table if part.table is not None else Table({}) for part in parts]
    columns = {name: np.array([tables[place[i][0]][name][place[i][1]] for i in ids]) for name in tables[0]}
    if parts[0].kind == "none":
        return ids, Table(columns), None
    own = [[i for i in ids if place[i][0] == n] for n in range(len(parts))]
    images = np.concatenate([part.images(some) for part, some in zip(parts, own, strict=True) if some])
    return ids, Table(columns), images
