"""One's own BOLD runs and events: single-trial betas in one call, unless clocks, onsets or confounds do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import fmri, glm_design, nifti
from braindec.types import Recording, Table, Trials, signal_key
from braindec.types.table import texts

NO_STIMULUS = ("n/a", "")  # of a column of events: modelled, and no trial
SAME_T_R = 1e-3  # s
HRF_MODELS = ("spm", "glover")  # of one column each; derivatives would share an event's beta out


def bold_trials(
    bold: Sequence[str | Path],
    events: Sequence[str | Path],
    mask: str | Path,
    *,
    stimulus_column: str,
    subject: int,
    method: str,
    t_r: float | Sequence[float] | None,
    confounds: Sequence[Mapping[str, Any]] | None,
    sessions: Sequence[str] | None,
    high_pass_hz: float,
    hrf_model: str,
) -> tuple[Trials, str | None]:
    """A beta for each event of each run, and what to be warned of; see `NeuralDataset.from_bold`."""
    signal_key(subject, "fmri")  # refused before anything is read
    checks.in_range("high_pass_hz", high_pass_hz, 0.0, 0.1, unit="Hz")
    checks.one_of("hrf_model", hrf_model, HRF_MODELS)
    checks.at_least("number of runs", len(bold), 1)
    seconds = list(t_r) if isinstance(t_r, Sequence) else [t_r] * len(bold)
    told: dict[str, Sequence[Any]] = {"bold": bold, "events": events, "t_r": seconds}
    told |= {"confounds": confounds} if confounds is not None else {}
    told |= {"sessions": sessions} if sessions is not None else {}
    checks.same_length("run", **told)
    space = nifti.read_mask(mask)
    runs: list[Recording] = []
    for number, (image, table) in enumerate(zip(bold, events, strict=True)):
        shown = fmri.read_events(table)
        named = shown.replace(stimulus_id=_column(shown, stimulus_column, table))
        runs.append(
            fmri.read_run(
                image, space, named, subject=subject, run=str(number + 1), t_r=seconds[number],
                session="1" if sessions is None else str(sessions[number]),
                confounds=None if confounds is None else _confounds(confounds[number], number),
            )
        )  # fmt: skip
        if t_r is None:
            _same_t_r(image, runs[-1], bold[0], runs[0])
        _inside(table, runs[-1])
    found = fmri.glm_betas(runs, method=method, high_pass=high_pass_hz, hrf_model=hrf_model)
    kept = found.take(~np.isin(found.table["stimulus_id"], NO_STIMULUS))
    return kept, _slow(runs, high_pass_hz)


def _confounds(columns: Any, number: int) -> Mapping[str, Any]:
    """Columns of numbers; the path of a table is none."""
    if isinstance(columns, str | Path | np.ndarray):
        raise TypeError(
            f"confounds of run {number + 1} must be columns by name, one value a volume, got {str(columns)[:80]!r}. "
            'Read those that you want from a table: pandas.read_csv(path, sep="\\t")[["trans_x", "trans_y", "trans_z", '
            '"rot_x", "rot_y", "rot_z"]]; `braindec prepare bids` reads fMRIPrep\'s tables by itself.'
        )
    kept = {}
    for name, column in columns.items():
        said, values = f"confound {name!r} of run {number + 1}", np.asarray(column)
        if values.dtype.kind not in "fiub":
            raise ValueError(f"{said} must be numbers, got {values.dtype}: read n/a as NaN, and make it 0.")
        kept[str(name)] = checks.finite(said, values, way_out="Leave it out, or make them 0: fillna(0).")
    return kept


def _same_t_r(path: str | Path, run: Recording, first_path: str | Path, first: Recording) -> None:
    """Refuses headers that disagree on how long a volume takes."""
    seconds, of_first = 1 / run.sfreq, 1 / first.sfreq
    if abs(seconds - of_first) > SAME_T_R:
        raise checks.DataFileError(
            path,
            f"says {seconds:g} s a volume, but {Path(first_path).name} says {of_first:g} s",
            "Where a header is wrong, say how long a volume takes: t_r=SECONDS; where the runs do differ, t_r of each "
            f"run: t_r=[{of_first:g}, ..., {seconds:g}].",
        )


def _inside(path: str | Path, run: Recording) -> None:
    """Refuses events of which the run recorded no response."""
    missed = fmri.unseen(run)
    if not missed.any():
        return
    first, length = float(run.events["onset_s"][np.flatnonzero(missed)[0]]), run.duration_s
    what = f"the run's {run.signal.shape[1]} volumes of {1 / run.sfreq:g} s ({length:g} s)"
    hint = " These look like milliseconds: divide by 1000." if 0 < first / 1e3 < length < first / 10 else ""
    raise checks.DataFileError(
        path,
        f"has {int(missed.sum())} of {len(missed)} events without a response in {what}, first onset {first:g} s",
        f"Correct the column 'onset' (seconds from the first volume), or remove these events; where the header of the "
        f"image is wrong, give t_r.{hint}",
    )


def _slow(runs: Sequence[Recording], high_pass_hz: float) -> str | None:
    """What to say where the drift takes much of the responses with it."""
    shares = [fmri.drift_share(run, high_pass_hz) for run in runs]
    worst = max(range(len(runs)), key=lambda i: float(np.median(shares[i])))
    lasts = float(np.median(runs[worst].events["duration_s"]))
    said = glm_design.slow_events(runs[worst].run, float(np.median(shares[worst])), lasts, high_pass_hz)
    return None if said is None else f"{said}, or take block means: braindec.data.fmri.block_means."


def _column(table: Table, name: str, path: str | Path) -> np.ndarray:
    if name not in table:
        raise checks.DataFileError(
            path, f"has no column {name!r}, it has {list(table)}", "Choose stimulus_column among them."
        )
    return texts(f"column {name!r}", table[name], "Write n/a there: such an event is modelled, and no trial.")
