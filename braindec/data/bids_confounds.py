"""Motion, anatomical components and displacement that fMRIPrep wrote beside a BOLD image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import bids
from braindec.data.bids_settings import FmriSettings

MOTION = tuple(f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz")
FURTHER = {
    6: ("",),
    12: ("", "_derivative1"),
    24: ("", "_derivative1", "_power2", "_derivative1_power2"),
    0: (),
}


def confounds(
    file: bids.BidsFile, n_times: int, settings: FmriSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(displacement in mm, columns of the design (n_times, n_columns), volumes before the steady state)."""
    path = derived(file, "desc-confounds_timeseries", ".tsv", spaceless=True)
    checks.existing_file(path, "fMRIPrep writes it beside the BOLD image.")
    table = bids.read_tsv(path)
    n_rows = len(next(iter(table.values())))
    if n_rows != n_times:
        found = f"has {n_rows} rows but {file.path.name} has {n_times} volumes"
        raise checks.DataFileError(path, found, "Take both from one fMRIPrep run.")
    motion = [m + end for end in FURTHER[settings.motion] for m in MOTION]
    components = [f"a_comp_cor_{i:02d}" for i in range(settings.n_acompcor)]
    _held(table, path, motion, "Or model others: --set fmri.motion=6, =12 or =24; 0 for none.")
    n_held = next((i for i, name in enumerate(components) if name not in table), len(components))
    _held(table, path, components, f"Or model those that there are: --set fmri.n_acompcor={n_held}.")
    if settings.fd_mm is not None:
        _held(table, path, ["framewise_displacement"], "Or censor no volume: --set fmri.fd_mm=null.")
    names = [*motion, *components]
    columns = [_from_first(table, name, path) for name in names]
    fd = (
        _from_first(table, "framewise_displacement", path)
        if settings.fd_mm is not None
        else np.zeros(n_times)
    )
    outliers = [bids.numbers(table, n, path) for n in table if n.startswith("non_steady_state_outlier")]
    unsteady = np.sum(outliers, axis=0) > 0 if outliers else np.zeros(n_times, dtype=bool)
    return fd, np.stack(columns, axis=1) if columns else np.empty((n_times, 0)), unsteady


def _held(table: dict[str, np.ndarray], path: Path, names: list[str], way_out: str) -> None:
    """Refuses a table without these columns."""
    missing = [name for name in names if name not in table]
    if missing:
        few = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise checks.DataFileError(path, f"has no column {few}", f"Add the column. {way_out}")


def _from_first(table: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """A column whose first value may be n/a (differences have none): it becomes 0."""
    values = bids.column(table, name, path)
    if len(values) and values[0] in bids.MISSING:
        table = table | {name: np.concatenate([["0"], values[1:]])}
    return bids.numbers(table, name, path)


def derived(file: bids.BidsFile, ending: str, extension: str = ".nii.gz", *, spaceless: bool = False) -> Path:
    """The derivative beside a BOLD image with another ending."""
    kept = file.recorded if spaceless else {k: v for k, v in file.entities.items() if k != "desc"}
    stem = "_".join(f"{k}-{v}" for k, v in kept.items())
    path = file.path.with_name(f"{stem}_{ending}{extension}")
    return path if path.exists() or not extension.endswith(".gz") else _unzipped(path)


def _unzipped(path: Path) -> Path:
    plain = path.with_suffix("")
    return plain if plain.exists() else path
