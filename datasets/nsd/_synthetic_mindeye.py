"""A miniature of MindEye2's repacked NSD: webdataset tars of behaviour, standardised betas, float16 pictures."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import h5py
import numpy as np

from braindec import seeding
from braindec.data import mindeye
from braindec.data.catalogue import Truth
from braindec.types import Table

SUBJECT, N_SESSIONS, N_RUNS, PER_RUN, N_VOXELS = 1, 3, 2, 20, 60
N_SHARED, N_OWN = 10, 30  # images, three times each
CELLS = 4
AROUND = {"past_behav": 15, "future_behav": 15, "olds_behav": 3}  # rows of the members beside each behav


def write(raw: Path, seed: int) -> Truth:
    """Writes every file of one subject and returns its betas and table in the order of acquisition."""
    rng = seeding.numpy_generator(seed, "nsd", "synthetic", "mindeye2")
    n = N_SESSIONS * N_RUNS * PER_RUN
    images = rng.permutation(mindeye.N_IMAGES)[: N_SHARED + N_OWN]
    order = rng.permutation(np.repeat(np.arange(N_SHARED + N_OWN), 3))
    colours = rng.random((N_SHARED + N_OWN, CELLS, CELLS, 3))
    weights = rng.standard_normal((CELLS * CELLS * 3, N_VOXELS))
    betas = ((colours[order].reshape(n, -1) - 0.5) @ weights + rng.standard_normal((n, N_VOXELS))).astype(
        np.float32
    )
    behaviour = _behaviour(images[order], order < N_SHARED)
    raw.mkdir(parents=True, exist_ok=True)
    _write_tars(raw / "wds" / f"subj{SUBJECT:02d}", behaviour, rng)
    with h5py.File(raw / mindeye.BETAS.format(subject=SUBJECT), "w") as file:
        file["betas"] = betas
    with h5py.File(raw / mindeye.INDICES, "w") as file:
        file[f"subj{SUBJECT:02d}"] = images[order]
    with h5py.File(raw / mindeye.REGIONS, "w") as file:
        for name in ("V1", "V2", "higher_vis"):
            file[f"subj{SUBJECT:02d}/{name}"] = rng.random(N_VOXELS) < 0.3
    _write_pictures(raw / mindeye.IMAGES, images, colours)
    shared = np.zeros(mindeye.N_IMAGES, dtype=bool)
    shared[images[:N_SHARED]] = True
    np.save(raw / "shared1000.npy", shared)
    key = f"sub-{SUBJECT:02d}_fmri"
    table = Table(
        {"stimulus_id": np.array([f"nsd-{i:05d}" for i in images[order]]), "shared": order < N_SHARED}
    )
    return Truth({key: betas}, {key: table}, {"colours": dict(zip(images.tolist(), colours, strict=True))})


def _behaviour(nsd_id: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """A row of 17 numbers a trial, float64; what is not known of a trial is NaN."""
    n = len(nsd_id)
    session, rest = np.divmod(np.arange(n), N_RUNS * PER_RUN)
    run, trial = np.divmod(rest, PER_RUN)
    out = np.full((n, mindeye.COLUMNS), np.nan)
    out[:, : mindeye.TIME + 1] = np.stack(
        [nsd_id, np.full(n, SUBJECT), session + 1, run + 1, trial + 1, np.arange(n),
         0.4 + 7 * session + (run * 300 + 4 * trial) / 86_400], axis=1,
    )  # fmt: skip
    out[:, mindeye.SHARED] = shared
    return out


def _write_tars(folder: Path, behaviour: np.ndarray, rng: np.random.Generator) -> None:
    shared = behaviour[:, mindeye.SHARED] == 1
    mixed = rng.permutation(np.flatnonzero(~shared))  # train tars are shuffled
    for name, rows in (
        ("train/0", mixed[::2]),
        ("train/1", mixed[1::2]),
        ("new_test/0", np.flatnonzero(shared)),
    ):
        path = folder / f"{name}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for i, row in enumerate(rows.tolist()):
                members = {"behav": behaviour[row : row + 1]}
                members |= {name: np.full((n, mindeye.COLUMNS), -1.0) for name, n in AROUND.items()}
                for kind, values in members.items():
                    _add(tar, f"sample{i:09d}.{kind}.npy", values)


def _add(tar: tarfile.TarFile, name: str, values: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, values)
    member = tarfile.TarInfo(name)
    member.size = content.tell()
    content.seek(0)
    tar.addfile(member, content)


def _write_pictures(path: Path, images: np.ndarray, colours: np.ndarray) -> None:
    shape = (mindeye.N_IMAGES, 3, mindeye.SIDE, mindeye.SIDE)
    place = np.arange(mindeye.SIDE) * CELLS // mindeye.SIDE
    with h5py.File(path, "w") as file:  # pictures that nobody saw stay unwritten, and take no space
        data = file.create_dataset("images", shape, np.float16, chunks=(1, *shape[1:]))
        for i, own in zip(images.tolist(), colours, strict=True):
            data[i] = own[place][:, place].transpose(2, 0, 1).astype(np.float16)
