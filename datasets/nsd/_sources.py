"""One subject of the Natural Scenes Dataset: what its files hold, checked against each other before all is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.data import mindeye, mindeye1, nsd, nsd_further, spaces, staging
from braindec.data.nsd_space import mesh_size, read_space
from braindec.types import ArraySpace, Table, VertexSpace

N_SESSIONS = {1: 40, 2: 40, 3: 32, 4: 30, 5: 40, 6: 32, 7: 40, 8: 30}
PER_SESSION, N_IMAGES = 750, 73_000


@dataclass(frozen=True, eq=False)
class Source:
    """One subject's trials before anything large is read: who reads them, from which files, into which space."""

    subject: int
    table: Table
    space: Any
    units: str
    jobs: list[staging.Job]
    read: tuple[Path, ...] = ()  # small files
    ncsnr: Any = None
    missing: tuple[str, ...] = ()

    @property
    def space_hash(self) -> str:
        """Names the voxels and their regions."""
        return _hash(self.space)


def distributed(raw: Path, subject: int, chosen: Any) -> Source:
    """One subject of NSD's own layout."""
    space = read_space(raw, subject, grid=chosen.space, mask=chosen.roi)
    size = mesh_size(raw, chosen.space) if isinstance(space, VertexSpace) else 0
    folder = nsd.betas_folder(raw, subject, chosen.space, chosen.betas)
    files = nsd.session_files(folder)
    if not files:
        raise FileNotFoundError(f"{folder} holds no betas of a session. Get them, or choose other betas.")
    wanted = sorted(files if chosen.sessions is None else chosen.sessions)
    lacking = sorted(set(wanted) - set(files))
    if lacking:
        raise FileNotFoundError(
            f"{folder} holds sessions {sorted(files)}, not {lacking}. Get them, or leave them out."
        )
    _check_design(raw)
    table = nsd.read_table(raw, subject, wanted)
    held = [int((table["session"] == str(s)).sum()) for s in wanted]
    responses = raw / "nsddata" / "ppdata" / f"subj{subject:02d}" / "behav" / "responses.tsv"
    if set(held) != {PER_SESSION}:
        found = f"holds {dict(zip(wanted, held, strict=True))} rows by 'SESSION', expected {PER_SESSION} each"
        raise checks.DataFileError(responses, found, "Get the whole file again.")
    tables = [table.replace(task=np.full(table.n_rows, "memory"))]
    made = {"space": _hash(space), "betas": chosen.betas, "grid": chosen.space}
    name = f"sub-{subject:02d}_ses-"
    jobs = [
        _job(f"{name}{s:02d}", files[s], PER_SESSION, space, size, made | {"n": PER_SESSION}) for s in wanted
    ]
    read = [responses, raw / nsd.DESIGN]
    for experiment in (e for e in chosen.experiments if e != "nsd"):
        further = nsd_further.read_further(
            raw,
            subject,
            experiment,
            betas=chosen.betas,
            grid=chosen.space,
            first=PER_SESSION * N_SESSIONS[subject],
        )
        tables.append(further.table)
        job = _job(name + experiment, further.files, further.n_betas, space, size, made, further.kept)
        jobs.append(job)
        read += further.read
    whole = Table({n: np.concatenate([t[n] for t in tables]) for n in tables[0]})
    missing = _lost(subject, wanted)
    quality = None
    if (folder / ("lh.ncsnr.mgh" if size else "ncsnr.nii.gz")).is_file():
        quality = partial(
            nsd.read_nsd_ncsnr, raw, subject, betas=chosen.betas, grid=chosen.space, mask=chosen.roi
        )
    else:
        missing.append("ncsnr")
    return Source(subject, whole, space, "percent signal change", jobs, tuple(read), quality, tuple(missing))


def _job(
    name: str, files: tuple[Path, ...], n: int, space: Any, size: int, settings: Mapping[str, Any],
    index: np.ndarray | None = None,
) -> staging.Job:  # fmt: skip
    read = partial(nsd.session_rows, [files], [n], space, size)
    read()  # checks keys, types and shapes of every file before the first is read
    return staging.Job(name, files, settings, read, index)


def packed(raw: Path, subject: int, chosen: Any) -> Source:
    """One subject of MindEye2's files, whose betas are those of nsdgeneral, standardised within each session."""
    _no_choice(chosen)
    table = mindeye.read_behaviour(raw, subject)
    if chosen.sessions is not None:
        kept = np.isin(table["session"], [str(s) for s in chosen.sessions])
        lacking = sorted(set(chosen.sessions) - set(table["session"].astype(int).tolist()))
        if lacking:
            raise FileNotFoundError(f"{raw / 'wds'} holds no trials of sessions {lacking}. Leave them out.")
        table = table.take(kept)
    rows = mindeye.read_betas(raw, subject, table)
    space = mindeye.read_space(raw, subject, rows.shape[1])
    path = raw / mindeye.BETAS.format(subject=subject)
    read = partial(mindeye.Rows, path, table["beta_row"], rows.shape[1])
    job = staging.Job(
        f"sub-{subject:02d}", (path,), {"rows": store.content_hash(rows=table["beta_row"])}, read
    )
    table = Table({n: c for n, c in table.items() if n != "beta_row"}).replace(
        task=np.full(table.n_rows, "memory")
    )
    tars = tuple(sorted((raw / "wds" / f"subj{subject:02d}").glob("*/*.tar")))
    lost = _lost(subject, sorted(set(table["session"].astype(int).tolist())))
    return Source(subject, table, space, "SD of a session", [job], tars, missing=tuple(lost))


def averaged(raw: Path, subject: int, chosen: Any) -> Source:
    """One subject of MindEye1's tars: up to three responses to each image, in no known order."""
    _no_choice(chosen)
    if chosen.sessions is not None:
        raise checks.ConfigError(
            "MindEye1's tars do not say which session a trial is of; leave sessions out."
        )
    samples = mindeye1.read_samples(raw, subject)
    table = mindeye1.table_of(samples)
    rows = mindeye1.Rows(samples)
    job = staging.Job(
        f"sub-{subject:02d}",
        tuple(mindeye1.tars_of(raw, subject)),
        {},
        partial(mindeye1.Rows, tuple(samples)),
    )
    table = table.replace(task=np.full(table.n_rows, "memory"))
    held = {part: sum(s.part == part for s in samples) for part in mindeye1.WHOLE}
    missing = tuple(
        f"{held[p]} of {n} images of the part {p}" for p, n in mindeye1.WHOLE.items() if held[p] != n
    )
    return Source(subject, table, ArraySpace(rows.shape[1]), "SD of a session", [job], missing=missing)


def _no_choice(chosen: Any) -> None:
    other = (chosen.betas, chosen.space, chosen.roi, chosen.experiments)
    if other != (nsd.BETAS, "func1pt8mm", "nsdgeneral", ("nsd",)):
        raise checks.ConfigError("MindEye's files hold one preparation of NSD alone; leave betas, space, roi and "
                                 "experiments out, or point --raw at NSD's own files.")  # fmt: skip


def _lost(subject: int, wanted: list[int]) -> list[str]:
    """The sessions that the subject had and are not prepared, as ranges."""
    lost = sorted(set(range(1, N_SESSIONS[subject] + 1)) - set(wanted))
    if not lost:
        return []
    runs = np.split(np.array(lost), np.flatnonzero(np.diff(lost) != 1) + 1)
    said = ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
    return [f"{len(lost)} of {N_SESSIONS[subject]} sessions ({said})"]


def _check_design(raw: Path) -> None:
    """Refuses a design whose lists of images contradict each other."""
    path = raw / nsd.DESIGN
    held = nsd.read_mat(path, ("masterordering", "subjectim", "sharedix"))
    order, images, shared = held["masterordering"].ravel(), held["subjectim"], held["sharedix"].ravel()
    faults = {
        f"'subjectim' {images.shape}, expected (8, 10000)": images.shape != (8, 10_000),
        f"'masterordering' of {len(order)}, expected 30000": len(order) != 30_000,
        f"'sharedix' of {len(shared)}, expected 1000": len(shared) != nsd.SHARED,
        f"image ids {images.min()}..{images.max()}, expected 1-based ones within 1..73000": images.min() < 1
        or images.max() > N_IMAGES,
    }
    found = [said for said, wrong in faults.items() if wrong]
    if not found and (images[:, : nsd.SHARED] != shared).any():
        found = ["'subjectim' whose first 1,000 columns are not 'sharedix'"]
    if found:
        raise checks.DataFileError(path, f"holds {'; '.join(found)}", "Get nsd_expdesign.mat again.")


def _hash(space: Any) -> str:
    config, arrays = spaces.to_arrays(space)
    return store.content_hash(config=config, **arrays)
