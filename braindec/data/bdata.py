"""BData (bdpy, BrainDecoderToolbox2): samples by columns of voxels, labels and design, chosen by metadata keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data.bdata_files import Meta, Samples, open_file
from braindec.types import ArraySpace, Space, VoxelSpace

IMAGES_A_SYNSET = 10**6  # a label is synset + image / 10^6: 1518878.010042 is n01518878_10042
NEAR = 5e-7  # half the distance of two labels
BLOCK_BYTES = 64 << 20
VOXELS = "VoxelData"
REGION = "ROI_"
PLACES = ("voxel_x", "voxel_y", "voxel_z")
KEYS_THERE = "Choose a file with this key."


@dataclass(frozen=True, eq=False)
class BData:
    """One file; make it with `read_bdata`.

    Parameters
    ----------
    path : Path
    meta : Meta
        Keys and what they say of each column.
    samples : Samples
        Still on disk.
    """

    path: Path
    meta: Meta
    samples: Samples

    @property
    def n_samples(self) -> int:
        """Rows of the file."""
        return self.meta.n_samples

    def has(self, key: str) -> bool:
        """Whether there is such a key, with a column."""
        return key in self.meta.keys and bool((self.value(key) == 1).any())

    def value(self, key: str) -> np.ndarray:
        """What a key says of each column, float64 (n_columns,); NaN where it says nothing."""
        if key not in self.meta.keys:
            found = f"lacks the metadata key {key!r}; it has {sorted(self.meta.keys)}"
            raise checks.DataFileError(self.path, found, KEYS_THERE)
        return self.meta.values[self.meta.keys.index(key)]

    def columns(self, key: str) -> np.ndarray:
        """Columns that a key selects (its value is 1), bool (n_columns,); a key without any is refused."""
        chosen = self.value(key) == 1
        if not chosen.any():
            raise checks.DataFileError(self.path, f"selects no column by {key!r}", KEYS_THERE)
        return chosen

    def regions(self, members: np.ndarray) -> dict[str, np.ndarray]:
        """The regions (keys ``ROI_*``) by name, bool over the columns of `members`; empty ones are left out."""
        found = {
            k.removeprefix(REGION): self.value(k)[members] == 1
            for k in self.meta.keys
            if k.startswith(REGION)
        }
        return {name: rows for name, rows in found.items() if rows.any()}

    def column(self, *keys: str) -> np.ndarray:
        """The one column of the first of these keys that there is, float64 (n_samples,)."""
        key = next((k for k in keys if self.has(k)), keys[0])
        chosen = np.flatnonzero(self.columns(key))
        if len(chosen) != 1:
            raise checks.DataFileError(
                self.path, f"has {len(chosen)} columns {key!r}, expected 1", KEYS_THERE
            )
        return self.block(slice(0, self.n_samples), chosen)[:, 0]

    def names(self, key: str) -> np.ndarray:
        """A column of numbers as the names that they stand for (``vmap``), text (n_samples,)."""
        known = self.meta.labels.get(key)
        if not known:
            raise checks.DataFileError(self.path, f"names no values of {key!r} (vmap/{key})", KEYS_THERE)
        numbers = np.array(sorted(known))
        values = self.column(key)
        nearest = numbers[np.abs(values[:, None] - numbers).argmin(1)]
        if not (np.abs(nearest - values) <= NEAR).all():
            bad = values[~(np.abs(nearest - values) <= NEAR)][0]
            raise checks.DataFileError(
                self.path, f"has no name for the value {float(bad)} of {key!r}", KEYS_THERE
            )
        return np.array([known[n] for n in nearest.tolist()])

    def block(self, rows: slice, columns: np.ndarray) -> np.ndarray:
        """Chosen columns of some samples, float64 (n, n_chosen), read in pieces of bounded size."""
        step = max(1, BLOCK_BYTES // (8 * self.meta.values.shape[1]))
        start, stop, _ = rows.indices(self.n_samples)
        pieces = [
            self.samples.read(slice(s, min(s + step, stop)))[:, columns] for s in range(start, stop, step)
        ]
        return np.concatenate(pieces).astype(np.float64)


class BDataRows:
    """Some columns of a file by row, float32, read on demand; may be pickled."""

    dtype = np.dtype(np.float32)

    def __init__(self, data: BData, columns: np.ndarray):
        self._data, self._columns = data, columns
        self.shape = (data.n_samples, len(columns))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Rows by slice or positions."""
        if isinstance(rows, slice):
            with np.errstate(over="ignore"):  # infinities are counted by whoever stages the rows
                return self._data.block(rows, self._columns).astype(np.float32)
        wanted = np.arange(len(self))[rows]
        if not len(wanted):
            return np.empty((0, self.shape[1]), dtype=np.float32)
        first = int(wanted.min())
        return self[first : int(wanted.max()) + 1][wanted - first]


def read_bdata(path: str | Path) -> BData:
    """A BData file: ``.h5`` (old and new key names) or ``.mat`` (v5 and v7.3); its samples stay on disk.

    Raises
    ------
    DataFileError
        If the file is damaged, is no BData, or its metadata do not fit its samples.
    """
    samples, meta = open_file(path)
    return BData(Path(path), meta, samples)


def image_names(path: str | Path, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (``n01518878_10042``) and synset (``n01518878``) of labels such as 1518878.010042.

    Parameters
    ----------
    path : path
        For the message.
    labels : float64 array, shape (n,)
        A label without decimals is a synset alone; its image is then the synset.

    Raises
    ------
    DataFileError
        If a label is no such number, or all lost their decimals (float32 keeps none of seven-digit synsets).
    """
    labels = np.asarray(labels, dtype=np.float64)
    fine = np.isfinite(labels) & (labels >= 1) & (labels < 1e8)
    total = np.rint(np.where(fine, labels, 0) * IMAGES_A_SYNSET).astype(np.int64)
    fine &= np.abs(labels * IMAGES_A_SYNSET - total) < 0.25
    if not fine.all():
        found = f"holds the label {float(labels[~fine][0])!r}, expected synset.image as in 1518878.010042"
        raise checks.DataFileError(path, found, "Choose the column of stimulus ids.")
    synset, image = np.divmod(total, IMAGES_A_SYNSET)
    if image.any() and np.array_equal(labels.astype(np.float32), labels):
        raise checks.DataFileError(
            path, "holds labels rounded to float32, which name no image", "Get float64 labels."
        )
    synsets = [f"n{s:08d}" for s in synset.tolist()]
    names = [s if i == 0 else f"{s}_{i}" for s, i in zip(synsets, image.tolist(), strict=True)]
    return np.array(names), np.array(synsets)


def label_of(name: str) -> float:
    """The label of an image: 1518878.010042 for ``n01518878_10042``, and 1518878.0 for ``n01518878``."""
    synset, _, image = name.removeprefix("n").partition("_")
    return (int(synset) * IMAGES_A_SYNSET + int(image or 0)) / IMAGES_A_SYNSET


def voxels(data: BData, key: str = VOXELS) -> tuple[np.ndarray, Space]:
    """The columns of a key (or, where it is absent, of any region) in the order of their space, and that space.

    Columns whose millimetres (``voxel_x``, ``voxel_y``, ``voxel_z``) lie on a grid along the axes become voxels;
    others an array of features.
    """
    regions = [k for k in data.meta.keys if k.startswith(REGION)]
    chosen = data.columns(key) if data.has(key) else _any(data, regions)
    columns = np.flatnonzero(chosen)
    grid = (
        _grid(np.stack([data.value(k)[columns] for k in PLACES], 1))
        if set(PLACES) <= set(data.meta.keys)
        else None
    )
    if grid is None:
        return columns, ArraySpace(len(columns), data.regions(columns))
    index, affine = grid
    mask = np.zeros(index.max(0) + 1, dtype=bool)
    mask[tuple(index.T)] = True
    columns = columns[np.lexsort(index.T[::-1])]  # as np.nonzero orders the mask
    return columns, VoxelSpace(mask, affine, data.regions(columns))


def _any(data: BData, keys: Sequence[str]) -> np.ndarray:
    if not keys:
        found = f"has neither {VOXELS!r} nor a region {REGION}*; it has {sorted(data.meta.keys)}"
        raise checks.DataFileError(data.path, found, KEYS_THERE)
    return np.any([data.value(k) == 1 for k in keys], axis=0)


def _grid(place: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices (n, 3) and affine of places (mm) on a grid along the axes; None where they are on none."""
    if not np.isfinite(place).all():
        return None
    origin = place.min(0)
    steps = [np.diff(np.unique(np.round(place[:, i], 3))) for i in range(3)]
    size = np.array([s.min() if len(s) else 1.0 for s in steps])
    index = (place - origin) / size
    whole = np.rint(index).astype(np.int64)
    if np.abs(index - whole).max() > 0.01 or len(np.unique(whole, axis=0)) < len(whole) or whole.max() > 1000:
        return None
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = origin
    return whole, affine
