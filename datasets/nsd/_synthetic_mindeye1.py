"""A miniature of MindEye1's repacked NSD: webdataset tars of an image, its three rows of responses and its picture."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np

from braindec import seeding
from braindec.data import mindeye1
from braindec.data.catalogue import Truth
from braindec.types import Table

SUBJECT, N_VOXELS, SIDE, CELLS = 1, 60, 64, 4
N_IMAGES = {"train": 24, "val": 6, "test": 10}
N_TARS = {"train": 3, "val": 1, "test": 2}


def write(raw: Path, seed: int) -> Truth:
    """Writes every tar of one subject and returns its responses in the order of the tars."""
    rng = seeding.numpy_generator(seed, "nsd", "synthetic", "mindeye1")
    images = rng.permutation(mindeye1.N_IMAGES)[: sum(N_IMAGES.values())].tolist()
    weights = rng.standard_normal((CELLS * CELLS * 3, N_VOXELS))
    colours = {image: rng.random((CELLS, CELLS, 3)) for image in images}
    responses, ids, parts = [], [], []
    for part, n in N_IMAGES.items():
        own, images = images[:n], images[n:]
        for number in range(N_TARS[part]):
            path = raw / mindeye1.FOLDER / part / f"{part}_subj{SUBJECT:02d}_{number}.tar"
            path.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(path, "w") as tar:
                for i, image in enumerate(own[number :: N_TARS[part]]):
                    n_repeats = 3 if part == "test" else int(rng.integers(1, 4))
                    clean = (colours[image].ravel() - 0.5) @ weights
                    rows = (clean + rng.standard_normal((3, N_VOXELS))).astype(np.float16)
                    rows[n_repeats:] = rows[np.arange(3 - n_repeats) % n_repeats]  # images shown less often
                    members = {"nsdgeneral.npy": rows, "coco73k.npy": np.array([image]),
                               "num_uniques.npy": np.array([n_repeats]), "trial.npy": np.array([i])}  # fmt: skip
                    for kind, values in members.items():
                        _add(tar, f"sample{i:011d}.{kind}", _npy(values))
                    _add(tar, f"sample{i:011d}.jpg", _jpg(colours[image]))
                    responses.append(rows[:n_repeats].astype(np.float32))
                    ids += [f"nsd-{image:05d}"] * n_repeats
                    parts += [part] * n_repeats
    key = f"sub-{SUBJECT:02d}_fmri"
    table = Table(
        {"stimulus_id": np.array(ids), "part": np.array(parts), "shared": np.array(parts) == "test"}
    )
    return Truth({key: np.concatenate(responses)}, {key: table}, {"colours": colours})


def _npy(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def _jpg(colours: np.ndarray) -> bytes:
    from PIL import Image

    place = np.arange(SIDE) * CELLS // SIDE
    content = io.BytesIO()
    Image.fromarray((255 * colours[place][:, place]).astype(np.uint8)).save(content, "JPEG", quality=95)
    return content.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
