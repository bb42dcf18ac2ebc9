"""The common part of the prepare.py files of public datasets: arguments, counting, and what is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import download, layout
from braindec.data.catalogue import Counts, counts, raw_folder
from braindec.data.dataset import NeuralDataset
from braindec.data.splits import Split
from braindec.types import StimulusSet, Table, Trials


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
        Reads the chosen subjects.
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
        """Reads the raw files and writes the prepared dataset.

        Parameters
        ----------
        raw, out : path
        subjects : iterable of int, optional
            None prepares all.
        dry_run : bool
            Only count what there is.
        n_jobs : int
            At least 1; not needed by datasets of small files.
        """
        chosen = self._chosen(subjects)
        checks.at_least("n_jobs", n_jobs, 1)
        raw = raw_folder(raw, self.expected, self.nested)
        if dry_run and self.count is not None:
            return self.count(raw, chosen)
        content = self.read(raw, chosen)
        if dry_run:
            return Counts({t.key: t.n_trials for t in content.trials}, len(content.ids))
        self._write(content, raw, Path(out))
        return counts(out)

    def _chosen(self, subjects: Iterable[int] | None) -> tuple[int, ...]:
        if subjects is None:
            return self.subjects
        chosen = tuple(checks.one_of("subjects", subject, self.subjects) for subject in subjects)
        checks.at_least("number of subjects", len(chosen), 1)
        return chosen

    def _write(self, content: Content, raw: Path, out: Path) -> None:
        stimuli = StimulusSet(content.ids, "none", table=content.table)
        dataset = NeuralDataset.from_trials(content.trials, stimuli, name=self.folder.name)
        kind = "none" if content.images is None else "image"
        layout.write_stimuli(out, content.ids, kind=kind, images=content.images, table=content.table)
        layout.write_manifest(
            out,
            name=self.folder.name,
            licence=self.licence,
            source=self.source,
            splits={split.name: split for split in self.splits(dataset)},
            recordings=[layout.write_trials(out, trials) for trials in content.trials],
            **self.notes,
            raw_files=download.hashes(raw, list(content.files)),
        )
