"""THINGS-EEG2's preprocessed dictionaries, in every pickled flavour, to Trials whose rows stay in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import safe_npy, safe_pt
from braindec.data.damage import COPY_AGAIN, finite, reading
from braindec.data.sensors import sensor_space
from braindec.data.tables import complete_table
from braindec.types import Trials

PARTS = ("training", "test")
# Channels of the 250 Hz files in their order; .pt files do not name them. NICE-EEG, issue 3.
CHANNELS = (
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1 Cz "
    "C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
).split()


def read_image_metadata(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """What image_metadata.npy says of each condition of each part, in the files' order.

    Returns
    -------
    dict of dict of text arrays, shape (n_conditions,)
        By part (`PARTS`): `stem`, `file` and `folder` of the picture, `concept`, and `things`, its numbered name.

    Raises
    ------
    DataFileError
        If lists are missing or of different length, an image is named twice, or training and test share a concept.
    """
    path = checks.existing_file(path, "Put image_metadata.npy into image_set, or into the raw folder.")
    names = ("img_files", "img_concepts", "img_concepts_THINGS")
    keys = tuple(f"{prefix}_{name}" for prefix in ("train", "test") for name in names)
    held = safe_npy.dictionary(path, keys, safe_npy.load(path))
    found = {}
    for part, prefix in zip(PARTS, ("train", "test"), strict=True):
        files, folders, things = (np.array([str(v) for v in held[f"{prefix}_{name}"]]) for name in names)
        if not len(files) == len(folders) == len(things):
            raise checks.DataFileError(
                path, f"has lists of different length for {prefix} images", "Download it again."
            )
        stems = np.array([Path(f).stem for f in files.tolist()])
        concepts = np.array([t.partition("_")[2] or t for t in things.tolist()])
        found[part] = {"stem": stems, "file": files, "folder": folders, "concept": concepts, "things": things}
    stems = np.concatenate([found[part]["stem"] for part in PARTS])
    shared = set(found["training"]["concept"].tolist()) & set(found["test"]["concept"].tolist())
    if len(set(stems.tolist())) != len(stems) or shared:
        said = (
            f"shares {len(shared)} concepts between training and test" if shared else "names an image twice"
        )
        raise checks.DataFileError(path, said, "Download it again.")
    return found


def read_things_eeg2(
    path: str | Path,
    conditions: Sequence[str],
    *,
    subject: int,
    montage: str | None = "standard_1005",
    extra: Mapping[str, Sequence[Any]] | None = None,
) -> Trials:
    """THINGS-EEG2's preprocessed dictionary (any pickled flavour) as trials, condition by condition.

    Parameters
    ----------
    path : path
        ``preprocessed_eeg_{training,test}.npy``: keys preprocessed_eeg_data (n_conditions, n_repeats,
        n_channels, n_times), ch_names, times; or ``{train,test}.pt``: keys eeg and times.
    conditions : sequence of str
        Stimulus id of each condition, in the file's order (image_metadata.npy).
    subject : int
    montage : str, optional
        As in `sensor_space`.
    extra : mapping of str to sequence, optional
        Further columns, a value a condition (e.g. concept).

    Returns
    -------
    Trials
        float32, read by rows; the order of acquisition is not in the file: `acquisition_order` is -1 and
        `onset_s` 0. All trials form one session, run and exchangeability block.

    Raises
    ------
    DataFileError
        If the file is damaged, is not such a dictionary, or would run code when opened; when rows are read, if
        they hold NaN or infinities.

    Notes
    -----
    Where `times` has more entries than the data have samples, the first ones were dropped by the authors: the data
    end with the last time (the 250 Hz files keep 250 of 300 samples).
    """
    rows = ConditionRows(path)
    with reading(path):
        times = rows.times[len(rows.times) - rows.shape[2] :]
        step = float(np.diff(times).mean()) if len(times) > 1 else 0.0
    if len(rows.names) != rows.shape[1] or len(times) != rows.shape[2] or not step > 0:
        found = f"has data {rows.held} for {len(rows.names)} channels and {len(rows.times)} times"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    n_conditions, n_repeats = rows.held[:2]
    if n_conditions != len(conditions):
        found = f"holds {n_conditions} conditions, expected {len(conditions)}"
        raise checks.DataFileError(
            path, found, "Check that image_metadata.npy, subject and part belong together."
        )
    ids = np.repeat(np.array(conditions, dtype=str), n_repeats)
    columns = {
        "stimulus_id": ids,
        "repeat": np.tile(np.arange(n_repeats), n_conditions),
        "onset_s": np.zeros(len(ids)),
        "acquisition_order": np.full(len(ids), -1),
    }
    columns |= {name: np.repeat(np.array(values), n_repeats) for name, values in (extra or {}).items()}
    space = sensor_space(rows.names, "eeg", montage)
    sfreq = round(1.0 / step, 3)
    return Trials(
        rows, complete_table(columns, "1"), space, "noise SD", subject, "eeg", sfreq, float(times[0])
    )


class ConditionRows:
    """Trials of a preprocessed dictionary by row, float32 (n_conditions * n_repeats, n_channels, n_times).

    Parameters
    ----------
    path : path
        As in `read_things_eeg2`.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: str | Path):
        self.path = Path(path)
        held = _preprocessed(self.path)
        with reading(path):
            self._data: np.ndarray | None = _four_axes(self.path, held["data"])
            self.held: tuple[int, ...] = self._data.shape
            self.names = tuple(str(n) for n in held["names"])
            self.times = np.asarray(held["times"], dtype=np.float64).ravel()
        self.shape = (self.held[0] * self.held[1], *self.held[2:])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_data": None}  # a map would be pickled as what it maps

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice, mask, position or positions."""
        if self._data is None:
            self._data = _four_axes(self.path, _preprocessed(self.path)["data"])
        if isinstance(rows, int | np.integer):
            return self[np.array([rows])][0]
        condition, repeat = np.divmod(np.arange(len(self))[rows], self.held[1])
        with reading(self.path):
            found = self._data[condition, repeat].astype(np.float32)
        return finite(self.path, found)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)


def _preprocessed(path: Path) -> dict[str, Any]:
    if path.suffix == ".pt":
        held = safe_npy.dictionary(path, ("eeg", "times"), safe_pt.load(path))
        return {"data": held["eeg"], "names": held.get("ch_names", CHANNELS), "times": held["times"]}
    keys = ("preprocessed_eeg_data", "ch_names", "times")
    held = safe_npy.dictionary(path, keys, safe_npy.load(path))
    return {"data": held[keys[0]], "names": held["ch_names"], "times": held["times"]}


def _four_axes(path: Path, data: Any) -> np.ndarray:
    if not isinstance(data, np.ndarray) or data.ndim != 4 or data.dtype.kind != "f":
        what = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        found = f"holds {what}, expected floats of the axes condition, repeat, channel, time"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return data
