"""Pictures, captions and COCO ids of the Natural Scenes Dataset's stimuli, by their prepared ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import hdf5, image_files, mindeye, mindeye1, nsd, nsd_further
from braindec.data.damage import COPY_AGAIN, reading
from braindec.store import open_readonly
from braindec.types import Table

STIMULI = Path("nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5")
INFO = Path("nsddata/experiments/nsd/nsd_stim_info_merged.csv")
CAPTIONS = "COCO_73k_annots_curated.npy"
TARGETS = Path("nsddata/experiments/nsdimagery/rawtargetimages")
SYNTHETIC = Path("nsddata_stimuli/stimuli/nsdsynthetic")
N_IMAGES, BATCH = 73_000, 64
KINDS = ("nsd", "nsdimagery", "nsdsynthetic")  # as their ids begin, and sort


def check(raw: Path, form: str) -> None:
    """Refuses absent or other pictures before anything else is read."""
    if form == "mindeye1":
        return  # they lie beside the responses, whose tars are checked
    if form == "mindeye2":
        checks.existing_file(raw / mindeye.IMAGES, "Get it from MindEye2's files.")
        return
    path = checks.existing_file(raw / STIMULI, "Get NSD's nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5.")
    hdf5.require(
        path, "imgBrick", dtype=np.uint8, shape=(N_IMAGES, None, None, 3), axes="image, y, x, colour"
    )


def pictures_of(raw: Path, ids: list[str], form: str, side: int) -> Iterator[np.ndarray]:
    """Batches of uint8 (n, side, side, 3) in the order of the ids, which are sorted.

    Parameters
    ----------
    raw : Path
    ids : list of str
    form : str
        ``"nsd"``, ``"mindeye1"``, or ``"mindeye2"``, whose pictures have 224 pixels a side already.
    side : int
    """
    core = _core(ids)
    if form == "mindeye2":
        yield from mindeye.images(raw, core, BATCH)
        return
    if form == "mindeye1":
        subjects = mindeye1.subjects_of(raw)
        held = {sample.image: sample for s in subjects for sample in mindeye1.read_samples(raw, s)}
        for start in range(0, len(core), BATCH):
            yield _resized([mindeye1.picture(held[i]) for i in core[start : start + BATCH]], side)
        return
    path = raw / STIMULI
    hdf5.require(
        path, "imgBrick", dtype=np.uint8, shape=(N_IMAGES, None, None, 3), axes="image, y, x, colour"
    )
    for start in range(0, len(core), BATCH):
        yield _resized(_rows(path, "imgBrick", core[start : start + BATCH]), side)
    for name in (i for i in ids if i.startswith("nsdimagery-")):
        yield _resized([_target(raw, name.rpartition("-")[2])], side)
    for name in (i for i in ids if i.startswith("nsdsynthetic-")):
        yield _resized([_synthetic(raw, name)], side)


def table_of(raw: Path, ids: list[str]) -> Table:
    """Experiment and 0-based NSD number (-1 for others) of every stimulus, with COCO ids where their list is there.

    Raises
    ------
    DataFileError
        If the list of COCO ids contradicts the design.
    """
    kind = np.array([i.partition("-")[0] for i in ids])
    number = np.array([int(i[4:]) if k == "nsd" else -1 for i, k in zip(ids, kind.tolist(), strict=True)])
    table = Table({"experiment": kind, "nsd_id": number})
    return table if not (raw / INFO).is_file() else table.replace(**_coco(raw, number))


def captions_of(raw: Path, ids: list[str]) -> dict[str, str]:
    """The first curated caption of every NSD image, where MindEye2's list of captions is there."""
    path, core = raw / CAPTIONS, _core(ids)
    if not path.is_file():
        return {}
    with reading(path):
        held = np.load(path, mmap_mode="r", allow_pickle=False)
        if held.ndim != 2 or len(held) != N_IMAGES or held.dtype.kind != "U":
            found = f"holds {held.dtype} {held.shape}, expected text ({N_IMAGES}, 5)"
            raise checks.DataFileError(path, found, COPY_AGAIN)
        first = {f"nsd-{i:05d}": str(held[i, 0]).strip() for i in core}
    return {name: text for name, text in first.items() if text}


def _core(ids: list[str]) -> list[int]:
    return [int(i[4:]) for i in ids if i.startswith("nsd-")]


def _coco(raw: Path, number: np.ndarray) -> dict[str, np.ndarray]:
    import pandas as pd

    path = raw / INFO
    with reading(path):
        frame = pd.read_csv(path, usecols=["cocoId", "cocoSplit", "nsdId", "shared1000"])
        frame = frame.set_index("nsdId").sort_index()
        coco, part = frame["cocoId"].to_numpy(np.int64), frame["cocoSplit"].to_numpy(str)
        shared = frame["shared1000"].to_numpy(bool)
    listed = np.flatnonzero(shared) + 1
    if len(frame) != N_IMAGES or (frame.index != np.arange(N_IMAGES)).any():
        found = f"holds {len(frame)} rows, expected one for each 'nsdId' 0..{N_IMAGES - 1}"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    if (raw / nsd.DESIGN).is_file():
        expected = np.sort(nsd.read_mat(raw / nsd.DESIGN, ("sharedix",))["sharedix"].ravel())
        if not np.array_equal(listed, expected):
            found = f"marks {len(listed)} images as 'shared1000' that are not 'sharedix' of nsd_expdesign.mat"
            raise checks.DataFileError(path, found, "Get both files of one release again.")
    known = number >= 0
    return {"coco_id": np.where(known, coco[number], -1), "coco_split": np.where(known, part[number], "")}


def _rows(path: Path, key: str, rows: list[int]) -> np.ndarray:
    with reading(path), open_readonly(path) as file:
        return np.asarray(file[key][rows])


def _target(raw: Path, letter: str) -> np.ndarray:
    """The picture that a letter stood for in NSD-Imagery, uint8 (height, width, 3)."""

    folder = checks.existing_folder(raw / TARGETS, "Get nsddata/experiments/nsdimagery/rawtargetimages.")
    name = nsd_further.TARGETS[letter]
    found = sorted(folder.rglob(name))
    path = found[0] if found else checks.existing_file(folder / name, "Get it, or leave nsdimagery out.")
    with image_files.opened(path) as image:
        return np.asarray(image.convert("RGB"))


def _synthetic(raw: Path, name: str) -> np.ndarray:
    parts = name.split("-")
    index, shared = int(parts[1]), nsd_further.SYNTHETIC_SHARED
    own = index >= shared
    path = (
        raw
        / SYNTHETIC
        / (f"nsdsynthetic_colorstimuli_{parts[2]}.hdf5" if own else "nsdsynthetic_stimuli.hdf5")
    )
    n = nsd_further.SYNTHETIC_STIMULI - shared if own else shared
    hdf5.require(path, "imgBrick", dtype=np.uint8, shape=(n, None, None, 3), axes="image, y, x, colour")
    return _rows(path, "imgBrick", [index - shared if own else index])[0]


def _resized(images: Any, side: int) -> np.ndarray:
    """Central squares at this size (PIL's bicubic filter, antialiased), uint8 (n, side, side, 3)."""
    from PIL import Image

    out = []
    for image in images:
        height, width = image.shape[:2]
        cut = min(height, width)
        top, left = (height - cut) // 2, (width - cut) // 2
        square = Image.fromarray(np.ascontiguousarray(image[top : top + cut, left : left + cut]))
        out.append(
            np.asarray(square if cut == side else square.resize((side, side), Image.Resampling.BICUBIC))
        )
    return np.stack(out)
