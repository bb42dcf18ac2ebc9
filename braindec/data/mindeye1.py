"""NSD as MindEye1 distributes it: webdataset tars of one image each with its (up to three) responses and its picture.

Sessions, runs and order are not distributed: every trial is of one session, and a row's order is that of the files.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from braindec import checks
from braindec.data import image_files, tars
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.tables import complete_table
from braindec.types import Table

FOLDER = "webdataset_avg_split"
WHOLE = {"train": 8559, "val": 300, "test": 982}  # images of a subject by part; the tested ones are shared
N_IMAGES = 73_000
NUMBER_BYTES = 1 << 12  # of a member that holds one number
RESPONSES, IMAGE, REPEATS, PICTURES = "nsdgeneral.npy", "coco73k.npy", "num_uniques.npy", ("jpg", "png")


@dataclass(frozen=True)
class Sample:
    """One image of a subject.

    Parameters
    ----------
    path : Path
        Of the tar.
    part : str
        ``"train"``, ``"val"`` or ``"test"``.
    image : int
        0-based number among NSD's 73,000.
    n_repeats : int
        Rows that are responses; further ones repeat them.
    offset, dtype, n_voxels
        Where the first row begins in the tar, and what a row is.
    picture : (int, int)
        Where the encoded picture begins, and its bytes.
    """

    path: Path
    part: str
    image: int
    n_repeats: int
    offset: int
    dtype: str
    n_voxels: int
    picture: tuple[int, int]


def subjects_of(raw: str | Path) -> list[int]:
    """Subjects with tars in a folder of this layout; none where it is another layout."""
    found = [
        re.fullmatch(r"train_subj(\d\d)_\d+\.tar", p.name)
        for p in (Path(raw) / FOLDER / "train").glob("*.tar")
    ]
    return sorted({int(m[1]) for m in found if m})


def tars_of(raw: str | Path, subject: int) -> list[Path]:
    """The tars of a subject: training, validation and test ones, by number."""
    found = []
    for part in WHOLE:
        pattern = f"{part}_subj{subject:02d}_*.tar"
        paths = list((Path(raw) / FOLDER / part).glob(pattern))
        if not paths:
            raise FileNotFoundError(
                f"{Path(raw) / FOLDER / part} holds no {pattern}. Get the tars of all parts."
            )
        found += sorted(paths, key=lambda p: int(p.stem.rpartition("_")[2]))
    return found


def read_samples(raw: str | Path, subject: int) -> list[Sample]:
    """All images of a subject, without responses and pictures, which stay in the tars.

    Raises
    ------
    DataFileError
        If a tar is damaged, a sample lacks a member, an image occurs twice, or samples have other numbers of voxels.
    """
    samples = [sample for path in tars_of(raw, subject) for sample in samples_of(path)]
    seen: dict[int, Sample] = {}
    for sample in samples:
        if (other := seen.setdefault(sample.image, sample)) is not sample:
            found = f"holds image {sample.image}, and so does {other.path.name}"
            raise checks.DataFileError(sample.path, found, "Get all tars of one release again.")
        if sample.n_voxels != samples[0].n_voxels:
            found = f"holds responses of {sample.n_voxels} voxels, {samples[0].path.name} of {samples[0].n_voxels}"
            raise checks.DataFileError(sample.path, found, "Get this subject's own tars.")
    return samples


def table_of(samples: Sequence[Sample]) -> Table:
    """A row for each response: its image and the part that it was distributed in; order and run are not known."""
    of = np.repeat(np.arange(len(samples)), [s.n_repeats for s in samples])
    n = len(of)
    columns = {
        "stimulus_id": np.array([f"nsd-{s.image:05d}" for s in samples])[of],
        "run": np.full(n, "unknown"),
        "onset_s": np.zeros(n),
        "acquisition_order": np.full(n, -1),
        "part": np.array([s.part for s in samples])[of],
        "shared": np.array([s.part == "test" for s in samples])[of],
    }
    return complete_table(columns, "1")


class Rows:
    """The responses of all samples by row, float32 (n_trials, n_voxels), read on demand."""

    dtype = np.dtype(np.float32)

    def __init__(self, samples: Sequence[Sample]):
        self._samples = tuple(samples)
        self._first = np.concatenate([[0], np.cumsum([s.n_repeats for s in samples])])
        self.shape = (int(self._first[-1]), samples[0].n_voxels)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), self.shape[1]), dtype=np.float32)
        of = np.searchsorted(self._first, wanted, side="right") - 1
        paths = {self._samples[i].path for i in of.tolist()}
        for path in sorted(paths):
            with reading(path), path.open("rb") as file:
                for place in np.flatnonzero([self._samples[i].path == path for i in of.tolist()]).tolist():
                    out[place] = _row(
                        file, self._samples[of[place]], int(wanted[place] - self._first[of[place]])
                    )
        return out


def picture(sample: Sample) -> np.ndarray:
    """The picture of a sample, uint8 (height, width, 3)."""

    start, n_bytes = sample.picture
    with reading(sample.path), sample.path.open("rb") as file:
        file.seek(start)
        content = file.read(n_bytes)
        with image_files.opened(sample.path, content) as image:
            return np.asarray(image.convert("RGB"))


def _row(file: BinaryIO, sample: Sample, repeat: int) -> np.ndarray:
    n_bytes = sample.n_voxels * np.dtype(sample.dtype).itemsize
    file.seek(sample.offset + repeat * n_bytes)
    content = file.read(n_bytes)
    if len(content) != n_bytes:
        raise checks.DataFileError(
            sample.path, f"ends within {RESPONSES!r} of image {sample.image}", COPY_AGAIN
        )
    return np.frombuffer(content, dtype=sample.dtype).astype(np.float32)


def samples_of(path: Path) -> list[Sample]:
    """The images of one tar, whose name begins with its part."""
    part = path.name.partition("_")[0]
    members: dict[str, dict[str, tarfile.TarInfo]] = {}
    for _, member in tars.members(path):
        key, _, kind = Path(member.name).name.partition(".")
        members.setdefault(key, {})[kind] = member
    with reading(path, tarfile.TarError), tarfile.open(path, "r:") as tar:
        found = [_sample(path, tar, part, key, its) for key, its in members.items()]
    if not found:
        raise checks.DataFileError(path, "holds no sample", COPY_AGAIN)
    return found


def _sample(path: Path, tar: tarfile.TarFile, part: str, key: str, its: dict[str, tarfile.TarInfo]) -> Sample:
    shown = next((its[kind] for kind in PICTURES if kind in its), None)
    lacking = [kind for kind in (RESPONSES, IMAGE, REPEATS) if kind not in its]
    if lacking or shown is None:
        found = f"holds {key!r} without {lacking or 'jpg'}"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    image, n_repeats = (_number(path, tar, its[kind]) for kind in (IMAGE, REPEATS))
    offset, dtype, shape = _array(path, tar, its[RESPONSES])
    if len(shape) != 2 or dtype.kind != "f" or not 1 <= n_repeats <= shape[0] or not 0 <= image < N_IMAGES:
        found = f"holds {key!r}: image {image}, {n_repeats} responses in {dtype} {shape}, expected float (3, voxel)"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return Sample(path, part, image, n_repeats, offset, dtype.str, shape[1], (shown.offset_data, shown.size))


def _number(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> int:
    file = tar.extractfile(member)
    values = np.load(io.BytesIO(file.read(NUMBER_BYTES) if file else b""), allow_pickle=False)
    if values.size != 1 or values.dtype.kind not in "fiu" or values.item() != int(values.item()):
        raise checks.DataFileError(path, f"holds {member.name!r} that is no whole number", COPY_AGAIN)
    return int(values.item())


def _array(
    path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo
) -> tuple[int, np.dtype, tuple[int, ...]]:
    """Where an array begins in the tar, its type and its shape."""
    file: Any = tar.extractfile(member)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read(file)
    head = file.tell()
    if by_column or dtype.hasobject or head + int(np.prod(shape)) * dtype.itemsize != member.size:
        raise checks.DataFileError(path, f"holds {member.name!r} of another length than it says", COPY_AGAIN)
    return member.offset_data + head, dtype, shape
