"""The datasets that braindec can prepare: their names, cards and the three functions of each prepare.py."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import layout
from braindec.data.card import Card, read_card
from braindec.types import Table

FUNCTIONS = ("fetch", "prepare", "synthetic")
PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Counts:
    """What `prepare` made, or would make.

    Parameters
    ----------
    trials : mapping of str to int
        By key (``sub-01_fmri``).
    n_stimuli : int
    missing : tuple of str
        What the complete dataset holds and these raw files do not, a sentence each.
    plan : tuple of str
        Of a dry run: what would be read, written and needed, a sentence each.
    """

    trials: Mapping[str, int]
    n_stimuli: int
    missing: tuple[str, ...] = ()
    plan: tuple[str, ...] = field(default=(), compare=False)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"trials": dict(self.trials), "n_stimuli": self.n_stimuli, "missing": list(self.missing)}


@dataclass(frozen=True, eq=False)
class Truth:
    """What `synthetic` planted, so that a test can compare trial by trial.

    Parameters
    ----------
    responses : mapping of str to float array
        By key: the responses that `prepare` should give, or their noise-free part.
    tables : mapping of str to Table
        By key: columns of the trial table that `prepare` should give.
    details : mapping
        Anything further (weights, tolerances).
    """

    responses: Mapping[str, np.ndarray]
    tables: Mapping[str, Table]
    details: Mapping[str, Any] = field(default_factory=dict)


def root() -> Path:
    """The folder of datasets: inside an installed wheel, or of the checkout."""
    installed = PACKAGE / "_datasets"
    return (
        installed
        if installed.is_dir()
        else checks.existing_folder(PACKAGE.parent / "datasets", "Install braindec again.")
    )


def names() -> tuple[str, ...]:
    """Names of all datasets with a prepare.py, sorted."""
    return tuple(sorted(p.parent.name for p in root().glob("*/prepare.py")))


def folder(name: str | Path) -> Path:
    """A dataset's folder, by name, or any folder with a prepare.py by path; an unknown name is refused."""
    if isinstance(name, Path) or "/" in name:
        path = checks.existing_folder(name, "Name a dataset, or a folder with a prepare.py.")
        checks.existing_file(path / "prepare.py", "A dataset's folder holds prepare.py.")
        return path
    return root() / checks.one_of("dataset", name, list(names()))


def card(name: str | Path) -> Card:
    """A dataset's card."""
    return read_card(folder(name) / "README.md")


def load(name: str | Path) -> dict[str, Callable[..., Any]]:
    """The functions `fetch`, `prepare` and `synthetic` of a dataset; its prepare.py is run, not imported."""
    path = folder(name) / "prepare.py"
    found = runpy.run_path(str(path), run_name=f"braindec_dataset_{path.parent.name}")
    missing = [f for f in FUNCTIONS if not callable(found.get(f))]
    if missing:
        raise checks.DataFileError(path, f"defines no {missing}", f"A prepare.py defines {list(FUNCTIONS)}.")
    return {f: found[f] for f in FUNCTIONS}


def counts(prepared: str | Path) -> Counts:
    """What lies in a prepared folder."""
    manifest = layout.read_manifest(prepared)
    stimuli = layout.read_stimuli(Path(prepared) / manifest["stimuli"]["file"])
    trials = {e["key"]: int(e["n_trials"]) for e in manifest["recordings"]}
    return Counts(trials, len(stimuli.ids), tuple(manifest.get("missing", ())))


def raw_folder(raw: str | Path, expected: str, *nested: str) -> Path:
    """The folder that holds `expected`: `raw` itself or one of the named folders inside it.

    Raises
    ------
    FileNotFoundError
        If neither holds it.
    """
    raw = checks.existing_folder(raw, "Point --raw at the folder with the dataset's files.")
    for candidate in (raw, *(raw / name for name in nested)):
        if any(candidate.glob(expected)):
            return candidate
    places = " or ".join(str(raw / name) for name in (".", *nested))
    raise FileNotFoundError(f"no {expected} in {places}. Point --raw at the folder with the dataset's files.")
