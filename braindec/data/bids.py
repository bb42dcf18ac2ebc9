"""A BIDS folder: its subjects, recordings, and the sidecars and tables that belong to each, found by name alone."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store

DERIVED = ("space", "res", "den", "desc", "hemi", "cohort")  # entities that processing adds
MISSING = ("n/a", "", "nan", "NaN", "NA")
RAW_SUFFIXES = ("eeg", "meg", "ieeg")
EXTENSIONS = (".vhdr", ".edf", ".bdf", ".set", ".fif", ".ds", ".sqd", ".con")
COPY_NAMES = "Name files as BIDS does (sub-01_ses-1_task-faces_run-1_...)."


@dataclass(frozen=True)
class BidsFile:
    """A file with the entities of its name.

    Parameters
    ----------
    path : Path
    entities : mapping of str to str
        E.g. ``{"sub": "01", "task": "faces", "run": "1"}``.
    suffix, extension : str
        ``"bold"``, ``".nii.gz"``.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    extension: str

    @property
    def session(self) -> str:
        """``"1"`` where the name has no session."""
        return self.entities.get("ses", "1")

    @property
    def run(self) -> str:
        """``"1"`` where the name has no run."""
        return self.entities.get("run", "1")

    @property
    def recorded(self) -> dict[str, str]:
        """The entities of the recording itself, without those that processing added."""
        return {k: v for k, v in self.entities.items() if k not in DERIVED}


def parsed(path: Path) -> BidsFile | None:
    """A path as BIDS names it; None for a name that is no BIDS name."""
    stem, dot, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    if not dot or "-" in suffix or len(entities) != len(pairs):
        return None
    return BidsFile(path, entities, suffix, dot + extension)


def labels(root: Path) -> list[str]:
    """The labels of the folders sub-*, in natural order.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    found = sorted((p.name.removeprefix("sub-") for p in root.glob("sub-*") if p.is_dir()), key=natural)
    if not found:
        raise FileNotFoundError(
            f"no folder sub-* in {root}. Point --raw at the root of a BIDS dataset, or at a folder with arrays.npy and "
            "events.csv."
        )
    return found


def numbered(found: Iterable[str]) -> dict[int, str]:
    """Labels by subject number: sub-07 is 7; where a label is no number, all are counted from 1 in natural order."""
    found = list(found)
    numbers = [int(label) if label.isdecimal() else 0 for label in found]
    if min(numbers) > 0:
        return dict(zip(checks.unique("subject numbers", numbers), found, strict=True))
    return dict(enumerate(found, start=1))


def natural(text: str) -> list[Any]:
    """A key that sorts 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text)]


def files(root: Path, label: str, folder: str) -> list[BidsFile]:
    """All files of a subject in func, eeg, meg or ieeg, by session and run in natural order.

    Raises
    ------
    DataFileError
        If a file names another subject or session than its folders.
    """
    found = []
    for path in sorted([*root.glob(f"sub-{label}/{folder}/*"), *root.glob(f"sub-{label}/ses-*/{folder}/*")]):
        file = parsed(path)
        if file is None or not file.entities:
            continue
        parts = path.relative_to(root).parts
        session = parts[1].removeprefix("ses-") if len(parts) == 4 else None
        for name, expected in (("sub", label), ("ses", session)):
            if file.entities.get(name) != expected:
                said = f"names {name}-{file.entities.get(name)} but lies in the folder of {name}-{expected}"
                raise checks.DataFileError(
                    path, said, "Move it to its own subject and session, or correct its name."
                )
        found.append(file)
    return sorted(
        found, key=lambda f: (natural(f.session), natural(f.entities.get("task", "")), natural(f.run))
    )


def of_task(found: list[BidsFile], task: str | None, where: Path) -> list[BidsFile]:
    """The files of one task; without a name there must be only one task."""
    tasks = sorted({f.entities.get("task", "") for f in found})
    if task is None:
        if len(tasks) > 1:
            raise checks.ConfigError(
                f"{where} holds the tasks {tasks}: choose one with --set task={tasks[0]}."
            )
        return found
    checks.one_of("task", task, tasks)
    return [f for f in found if f.entities.get("task", "") == task]


def of_recording(root: Path, file: BidsFile, suffix: str, extension: str) -> list[Path]:
    """Files of a suffix that apply to a recording, the most general first (BIDS: the inheritance principle).

    They lie in the recording's folder or above it, up to `root`, and name no entity that the recording has otherwise.
    Of a processed file, those of the recording that it was made from.
    """
    subject = root / f"sub-{file.entities['sub']}"
    inner = subject / f"ses-{file.entities['ses']}" if "ses" in file.entities else subject
    folders = [root, *dict.fromkeys((subject, inner, inner / file.path.parent.name))]
    return _applying(folders, file.recorded, suffix, extension)


def metadata(paths: Iterable[Path]) -> dict[str, Any]:
    """JSON sidecars merged, later ones over earlier ones."""
    merged: dict[str, Any] = {}
    for path in paths:
        content = store.read_json(path, "Correct the sidecar.")
        if not isinstance(content, dict):
            raise checks.DataFileError(
                path, f"holds a {type(content).__name__}, expected an object", "Correct it."
            )
        merged |= content
    return merged


def read_tsv(path: Path) -> dict[str, np.ndarray]:
    """The columns of a table as text, shape (n_rows,).

    Raises
    ------
    DataFileError
        If a row has another number of cells than there are columns, or a column's name comes twice.
    """
    path = checks.existing_file(path, "Check the path.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise checks.DataFileError(
            path, f"is no text table ({error})", "Write it as UTF-8 with tabs."
        ) from error
    if not rows:
        raise checks.DataFileError(
            path, "is empty, expected a line of column names", "Write the table again."
        )
    names, body = rows[0], rows[1:]
    wrong = next((i for i, row in enumerate(body) if len(row) != len(names)), None)
    if wrong is not None:
        found = f"has {len(body[wrong])} cells in line {wrong + 2} but {len(names)} columns"
        raise checks.DataFileError(
            path, found, "Separate cells by single tabs and write n/a for missing ones."
        )
    if len(set(names)) != len(names):
        raise checks.DataFileError(path, f"names a column twice: {names}", "Rename one.")
    return {name: np.array([row[i].strip() for row in body], dtype=str) for i, name in enumerate(names)}


def column(table: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """A column; a missing one is refused with those that there are."""
    if name not in table:
        found = f"has no column {name!r}; it has {list(table)}"
        raise checks.DataFileError(path, found, f"Add the column.{checks.suggest(name, table)}")
    return table[name]


def numbers(
    table: Mapping[str, np.ndarray], name: str, path: Path, missing: float | None = None
) -> np.ndarray:
    """A column as float64; n/a becomes `missing`, or is refused like anything else that is no finite number."""
    out = np.empty(len(column(table, name, path)))
    for i, text in enumerate(table[name].tolist()):
        try:
            value = missing if text in MISSING and missing is not None else float(text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            found = f"has {text!r} in column {name!r}, line {i + 2}, expected a number"
            raise checks.DataFileError(path, found, "Correct the cell, or remove the row.")
        out[i] = value
    return out


def _applying(folders: list[Path], entities: Mapping[str, str], suffix: str, extension: str) -> list[Path]:
    found = []
    for folder in folders:
        here = [f for p in sorted(folder.glob(f"*{suffix}{extension}")) if (f := parsed(p)) is not None]
        fits = [
            f
            for f in here
            if f.suffix == suffix
            and f.extension == extension
            and all(entities.get(k) == v for k, v in f.entities.items())
        ]
        found += [f.path for f in sorted(fits, key=lambda f: len(f.entities))]
    return found
