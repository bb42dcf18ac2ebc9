"""The events of a run: which are trials, what each showed, and which further ones have to be modelled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import bids
from braindec.data.bids_settings import BidsSettings

STIMULUS_COLUMNS = ("stimulus_id", "stim_id", "stim_file", "trial_type")
OWN = (
    "onset", "duration", "sample", "stimulus_id", "session", "run", "repeat", "onset_s", "duration_s", "run_position",
    "acquisition_order", "exchangeability_block", "since_previous_s", "to_next_s",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Events:
    """A run's events in order of time.

    Parameters
    ----------
    path : Path
        The events file.
    onset_s, duration_s : float array, shape (n_trials,)
    stimulus_id : text array, shape (n_trials,)
    columns : dict of str to text array
        Further columns of the file.
    others : dict of str to (onset_s, duration_s)
        Events that are no trials, by their type.
    dropped : int
        Trials that the policy left out.
    """

    path: Path
    onset_s: np.ndarray
    duration_s: np.ndarray
    stimulus_id: np.ndarray
    columns: dict[str, np.ndarray]
    others: dict[str, tuple[np.ndarray, np.ndarray]]
    dropped: int = 0

    def take(self, kept: np.ndarray) -> Events:
        """Only these trials (bool); the rest is counted as dropped."""
        return Events(
            self.path, self.onset_s[kept], self.duration_s[kept], self.stimulus_id[kept],
            {n: c[kept] for n, c in self.columns.items()}, self.others, self.dropped + int((~kept).sum()),
        )  # fmt: skip


def read(paths: list[Path], recording: Path, settings: BidsSettings) -> Events:
    """The events that apply to a recording.

    Parameters
    ----------
    paths : list of Path
        As `bids.of_recording` finds them; the last (most specific) is read.
    recording : Path
        For the error where there is none.
    settings : BidsSettings

    Raises
    ------
    DataFileError
        If there is no events file, it lacks a column, an onset is no number, or no event is a trial.
    """
    if not paths:
        raise checks.DataFileError(
            recording,
            "has no events file",
            "Add one beside the raw recording: ..._events.tsv with onset and duration.",
        )
    path = paths[-1]
    table = bids.read_tsv(path)
    onset, duration = bids.numbers(table, "onset", path), bids.numbers(table, "duration", path, missing=0.0)
    if (duration < 0).any():
        raise checks.DataFileError(
            path, f"has the duration {duration.min()} s, expected 0 or more", "Correct the column 'duration'."
        )
    stimulus = bids.column(table, stimulus_column(table, settings, path), path)
    kind = table.get("trial_type", np.full(len(onset), "event"))
    trial = ~np.isin(stimulus, bids.MISSING)
    if settings.keep:
        absent = [k for k in settings.keep if k not in kind]
        if absent == list(settings.keep):
            found = f"has no trial_type of {list(settings.keep)}; it has {sorted(set(kind.tolist()))}"
            raise checks.DataFileError(path, found, "Choose others with --set keep=[...].")
        trial &= np.isin(kind, settings.keep)
    if not trial.any():
        raise checks.DataFileError(
            path, "holds no event with a stimulus", "Name its column with --set stimulus=..."
        )
    order = np.argsort(onset, kind="stable")
    rows = order[trial[order]]
    others = {
        name: (onset[~trial & (kind == name)], duration[~trial & (kind == name)])
        for name in sorted(set(kind[~trial].tolist()))
        if name not in bids.MISSING
    }
    columns = {n: c[rows] for n, c in table.items() if n not in OWN}
    return Events(path, onset[rows], duration[rows], stimulus[rows], columns, others)


def stimulus_column(table: dict[str, np.ndarray], settings: BidsSettings, path: Path) -> str:
    """The column that names the stimulus."""
    if settings.stimulus is not None:
        return settings.stimulus
    for name in STIMULUS_COLUMNS:
        if name in table and not np.isin(table[name], bids.MISSING).all():
            return name
    found = f"has none of the columns {list(STIMULUS_COLUMNS)}; it has {list(table)}"
    raise checks.DataFileError(
        path, found, "Name the column that tells stimuli apart: --set stimulus=COLUMN."
    )


def within(events: Events, fits: np.ndarray, span: str, policy: str) -> Events:
    """The events for which `fits` (bool) holds; others are refused or dropped as the policy says.

    Parameters
    ----------
    span : str
        What they had to fit into, for the message: ``"the run's 0 to 240 s"``.
    """
    if fits.all():
        return events
    if policy == "drop":
        if not fits.any():
            raise checks.DataFileError(
                events.path, f"has no event that fits into {span}", "Check the clock of 'onset'."
            )
        return events.take(fits)
    first = float(events.onset_s[np.flatnonzero(~fits)[0]])
    found = f"has {int((~fits).sum())} of {len(fits)} onsets that do not fit into {span}, first {first:g} s"
    raise checks.DataFileError(
        events.path,
        found,
        "Correct the column 'onset' (seconds from the first sample), or --set bad_events=drop.",
    )
