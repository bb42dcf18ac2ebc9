"""THINGS-MEG's epochs (FIF, in several files) and runs to Trials and Recording; epochs stay in the files."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import whole
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.sensors import positions_of
from braindec.data.tables import complete_table, repeats
from braindec.data.things import concept_of, stem_of
from braindec.types import Recording, SensorSpace, Table, Trials

CATCH = 999_999  # event code of a picture that is no object, asked about
STIM, PICTURE_ON = "UPPT001", 64  # trigger channel of the recordings and its value while a picture is on
COLUMNS = ("trial_type", "session_nr", "run_nr", "image_path", "image_on")
KINDS = ("exp", "test", "catch")
ALL_PARTS = "Get all of its parts: preprocessed_P*-epo-1.fif and so on, under their own names."


def read_things_meg(path: str | Path, attributes: str | Path, *, subject: int) -> Trials:
    """Preprocessed epochs of one subject as trials, without the catch trials; responses are read by rows.

    Parameters
    ----------
    path : path
        ``preprocessed_P<n>-epo.fif``; further files (``-epo-1.fif``, ...) lie beside it.
    attributes : path
        ``sample_attributes_P<n>.csv``, a row an epoch: trial_type (exp, test, catch), session_nr, run_nr, image_on
        (s), image_path.
    subject : int

    Returns
    -------
    Trials
        float32 in units of the baseline's standard deviation, as saved. `stimulus_id` is the image's name,
        `acquisition_order` counts the catch trials too.

    Raises
    ------
    DataFileError
        If a file is damaged or missing, or epochs and rows of the table contradict each other.
    """
    rows = EpochRows(path)
    table = read_attributes(attributes)
    if table.n_rows != rows.n_epochs:
        found = f"and the files it names hold {rows.n_epochs} epochs, {Path(attributes).name} has {table.n_rows} rows"
        raise checks.DataFileError(path, found, ALL_PARTS)
    is_catch = table["trial_type"] == "catch"
    n_other = int((is_catch != (rows.codes == CATCH)).sum())
    if n_other:
        found = f"marks other epochs as catch trials than {Path(attributes).name} ({n_other} differ)"
        raise checks.DataFileError(path, found, "Check that both are of one subject.")
    columns = trial_columns(table.take(~is_catch)) | {
        "acquisition_order": np.flatnonzero(~is_catch),
        "event": rows.codes[~is_catch],
    }
    chosen = rows.without(is_catch)
    return Trials(
        chosen, complete_table(columns, "1"), rows.space, "baseline SD", subject, "meg", rows.sfreq, rows.tmin
    )


def trial_columns(kept: Table) -> dict[str, np.ndarray]:
    """Columns of trials from rows of the table, those of no catch trial."""
    ids = np.array([stem_of(p) for p in kept["image_path"].tolist()])
    session, run = kept["session_nr"].astype(str), kept["run_nr"].astype(str)
    return {
        "stimulus_id": ids,
        "concept": np.array([concept_of(i) for i in ids.tolist()]),
        "trial_type": kept["trial_type"],
        "session": session,
        "run": np.char.add(np.char.add(session, "-"), run),
        "repeat": repeats(ids.tolist()),
        "onset_s": kept["image_on"],
    }


def read_attributes(path: str | Path) -> Table:
    """The columns of sample_attributes_P<n>.csv that trials need, a row an epoch.

    Raises
    ------
    DataFileError
        If a column is missing, or a trial is of no known type.
    """
    import pandas as pd

    path = checks.existing_file(path, "Get sourcedata/sample_attributes_P*.csv.")
    with reading(path, pd.errors.ParserError):
        frame = pd.read_csv(path)
        missing = [c for c in COLUMNS if c not in frame]
        if missing:
            raise checks.DataFileError(path, f"has no column {missing}", COPY_AGAIN)
        text = {c: frame[c].astype(str).to_numpy().astype(str) for c in ("trial_type", "image_path")}
        numbers = {c: frame[c].to_numpy(dtype=np.float64) for c in ("session_nr", "run_nr", "image_on")}
        if not all(np.isfinite(v).all() for v in numbers.values()):
            raise checks.DataFileError(path, "has rows without session, run or time", COPY_AGAIN)
        whole = {c: numbers[c].astype(np.int64) for c in ("session_nr", "run_nr")}
    unknown = sorted(set(text["trial_type"].tolist()) - set(KINDS))
    if unknown:
        raise checks.DataFileError(
            path, f"has trials of the type {unknown}, known are {list(KINDS)}", COPY_AGAIN
        )
    return Table(text | whole | {"image_on": numbers["image_on"]})


class EpochRows:
    """Epochs of FIF files by row, float32 (n_epochs, n_channels, n_times); only the asked epochs are read.

    Parameters
    ----------
    path : path
        The first file; further ones are found by what it says.
    rows : int array, optional
        Which epochs, in order; all by default.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: str | Path, rows: np.ndarray | None = None):
        import mne

        self.path = checks.existing_file(path, "Get derivatives/preprocessed/preprocessed_P*-epo.fif.")
        epochs = self._open()
        with reading(self.path, Exception):  # mne raises bare Exceptions on unknown tags
            self._picks = mne.pick_types(epochs.info, meg=True, exclude=())
            info = mne.pick_info(epochs.info, self._picks)
            names, kinds = tuple(info["ch_names"]), tuple(info.get_channel_types())
            self.space = SensorSpace(names, positions_of(info), kinds)
            self.sfreq, self.tmin = round(float(epochs.info["sfreq"]), 6), float(epochs.tmin)
            self.codes = np.asarray(epochs.events[:, 2], dtype=np.int64)
            self.n_epochs, n_times = len(epochs.events), len(epochs.times)
        self._rows = np.arange(self.n_epochs) if rows is None else rows
        self.shape = (len(self._rows), len(names), n_times)

    def without(self, left_out: np.ndarray) -> EpochRows:
        """The epochs but for those of a mask, bool (n_epochs,)."""
        return EpochRows(self.path, np.flatnonzero(~left_out))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_opened"}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask, position or positions."""
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        wanted = self._rows[np.arange(len(self))[rows]]
        from mne.utils import use_log_level

        with reading(self.path, Exception), use_log_level("error"):
            found = self._opened.get_data(self._picks, item=wanted, copy=False).astype(np.float32)
        return finite(self.path, found)

    @functools.cached_property
    def _opened(self) -> Any:
        return self._open()

    def _open(self) -> Any:
        import mne

        whole.fif(self.path)
        with reading(self.path, Exception):
            try:
                return mne.read_epochs(self.path, proj=False, preload=False, verbose="error")
            except FileNotFoundError as error:
                found = f"goes on in {Path(str(error.filename)).name}, which is not there"
                raise checks.DataFileError(self.path, found, ALL_PARTS) from error


def stim_onsets(values: np.ndarray, code: int = PICTURE_ON) -> np.ndarray:
    """Samples at which a trigger channel changes to a value, int (n_onsets,).

    Parameters
    ----------
    values : array, shape (n_times,)
        The channel; whole numbers.
    code : int
    """
    on = np.round(np.asarray(values)).astype(np.int64) == code
    return np.flatnonzero(on & ~np.concatenate([[False], on[:-1]]))


def read_things_meg_run(
    path: str | Path, attributes: str | Path, *, subject: int, session: int, run: int
) -> Recording:
    """One continuous run with its pictures at the onsets of the trigger channel, catch trials left out.

    Parameters
    ----------
    path : path
        The run as mne reads it: a CTF folder ``.ds``, or FIF.
    attributes : path
        As in `read_things_meg`.
    subject, session, run : int

    Returns
    -------
    Recording
        T, float32, the whole run. Events have `said_onset_s`, the time that the presenting program noted (it lags the
        trigger by about 150 ms).

    Raises
    ------
    DataFileError
        If the run has another number of triggers than the table has rows.
    """
    import mne

    path = Path(path)
    with reading(path, Exception):
        raw = mne.io.read_raw(path, preload=False, verbose="error")
        onsets = stim_onsets(raw.get_data(picks=[STIM])[0])
        sfreq = float(raw.info["sfreq"])
        raw.pick("meg", exclude=(), verbose="error")
        signal = raw.get_data().astype(np.float32)
        space = SensorSpace(tuple(raw.ch_names), positions_of(raw.info), tuple(raw.get_channel_types()))
    table = read_attributes(attributes)
    own = table.take((table["session_nr"] == session) & (table["run_nr"] == run))
    if own.n_rows != len(onsets):
        found = (
            f"has {len(onsets)} triggers {PICTURE_ON} on {STIM}, the table {own.n_rows} pictures of this run"
        )
        raise checks.DataFileError(
            path, found, "Check that recording and table are of one subject, session and run."
        )
    kept = own["trial_type"] != "catch"
    ids = np.array([stem_of(p) for p in own["image_path"][kept].tolist()], dtype=str)
    events = Table(
        {
            "onset_s": onsets[kept] / sfreq,
            "duration_s": np.zeros(int(kept.sum())),
            "stimulus_id": ids,
            "trial_type": own["trial_type"][kept],
            "said_onset_s": own["image_on"][kept],
        }
    )
    name = f"{session}-{run}"
    return Recording(finite(path, signal), sfreq, "T", events, space, subject, str(session), name, "meg")
