"""Datasets of many raw files: staged file by file, put together whole or not at all, and planned beforehand."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import catalogue, download, layout, spaces, staging
from braindec.data.catalogue import Counts
from braindec.data.dataset import NeuralDataset
from braindec.data.splits import Split
from braindec.types import Space, StimulusSet, Table, Trials, signal_key

POLICIES = ("refuse", "drop")


@dataclass(frozen=True, eq=False)
class Signal:
    """One subject's responses before they are read.

    Parameters
    ----------
    subject : int
    table : Table
        The trial table; the jobs' rows one after the other are its rows.
    space : Space
        Of the jobs' features.
    units : str
    jobs : tuple of Job
        What reads the responses, a file or session each.
    modality : str
    """

    subject: int
    table: Table
    space: Space
    units: str
    jobs: tuple[staging.Job, ...]
    modality: str = "fmri"

    @property
    def key(self) -> str:
        """``sub-01_fmri``."""
        return signal_key(self.subject, self.modality)

    def trials(self, responses: Any, space: Space) -> Trials:
        """The trials with these responses."""
        return Trials(responses, self.table, space, self.units, self.subject, self.modality)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of the stimuli, read when they are written.

    Parameters
    ----------
    batches : callable () -> iterator of uint8 array (n, side, side, 3)
        In the order of the stimuli.
    side : int
        Pixels.
    n_frames : int, optional
        Of a clip: batches are (n, n_frames, side, side, 3) then. None: pictures.
    """

    batches: Callable[[], Iterator[np.ndarray]]
    side: int
    n_frames: int | None = None

    @property
    def kind(self) -> str:
        """``"image"`` or ``"video"``."""
        return "image" if self.n_frames is None else "video"


@dataclass(frozen=True, eq=False)
class Assembly:
    """All that a prepared dataset is made of.

    Parameters
    ----------
    name, licence, source : str
        As dataset.json names them.
    signals : tuple of Signal
    ids : tuple of str
        Unique stimulus ids.
    table : Table
        A row a stimulus.
    splits : callable (NeuralDataset) -> iterable of Split
        The first is the default.
    pictures : Pictures or None
    files : tuple of Path
        Raw files besides those of the jobs (lists, designs): dataset.json names them with their sha256.
    missing : tuple of str
        What the complete dataset holds and the raw files do not.
    notes : mapping
        Further entries of dataset.json.
    """

    name: str
    licence: str
    source: str
    signals: tuple[Signal, ...]
    ids: tuple[str, ...]
    table: Table
    splits: Callable[[NeuralDataset], Iterable[Split]]
    pictures: Pictures | None = None
    files: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def dataset(self) -> NeuralDataset:
        """The dataset without its responses, which stay unread: what the splits are made of."""
        kept = [s.trials(_Unread(s.table.n_rows, s.space.n_features), s.space) for s in self.signals]
        return NeuralDataset.from_trials(
            kept, StimulusSet(self.ids, "none", table=self.table), name=self.name
        )


def prepare(
    raw: str | Path,
    out: str | Path,
    content: Assembly,
    *,
    dry_run: bool = False,
    n_jobs: int = 1,
    invalid: str = "refuse",
) -> Counts:
    """Writes the prepared dataset, or says what that would read, write and need.

    Parameters
    ----------
    raw : path
        Raw files are named by their path below it.
    out : path
        Nothing appears there before all is complete. A folder made of the same raw files is left as it is.
    content : Assembly
    dry_run : bool
    n_jobs : int
        Processes that read raw files at a time.
    invalid : str
        What is done about features with NaN or without variance: ``"refuse"`` or ``"drop"``.

    Raises
    ------
    DataFileError
        If a raw file is damaged, or features are bad and to be refused.
    """
    checks.at_least("n_jobs", n_jobs, 1)
    checks.one_of("invalid", invalid, POLICIES)
    if dry_run:
        trials = {s.key: s.table.n_rows for s in content.signals}
        return Counts(trials, len(content.ids), content.missing, _plan(out, content, n_jobs))
    settings = {
        "invalid": invalid,
        "image_side": None if content.pictures is None else content.pictures.side,
        "n_frames": None if content.pictures is None else content.pictures.n_frames,
        "jobs": {j.name: dict(j.settings) for s in content.signals for j in s.jobs},
    }
    if not _is_made(Path(raw), Path(out), content, settings):
        jobs = [job for signal in content.signals for job in signal.jobs]
        paths = staging.stage(out, jobs, n_jobs)
        made = staging.folder_of(out) / "made"
        shutil.rmtree(made, ignore_errors=True)
        try:
            _write(Path(raw), made, content, paths, settings, invalid)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        staging.finish(out, made)
    return catalogue.counts(out)


class _Unread:
    """A shape whose values are not there."""

    dtype = np.dtype(np.float32)

    def __init__(self, n_rows: int, n_features: int):
        self.shape = (n_rows, n_features)


def _write(
    raw: Path,
    made: Path,
    content: Assembly,
    paths: Mapping[str, Path],
    settings: Mapping[str, Any],
    policy: str,
) -> None:
    pictures = content.pictures
    layout.write_stimuli(
        made,
        content.ids,
        kind="none" if pictures is None else pictures.kind,
        images=None if pictures is None else pictures.batches(),
        table=content.table,
    )
    recordings, hashes = [], download.hashes(raw, list(content.files))
    left_out: dict[str, dict[str, int]] = {}
    for signal in content.signals:
        staged = staging.Staged([paths[job.name] for job in signal.jobs])
        space, n_bad = _usable(signal, staged, policy)
        recordings.append(layout.write_trials(made, signal.trials(staged, space)))
        hashes |= {str(Path(path).relative_to(raw)): sha for path, sha in staged.raw_files.items()}
        left_out |= {recordings[-1].stem: n_bad} if any(n_bad.values()) else {}
    splits = {split.name: split for split in content.splits(content.dataset())}
    notes = dict(content.notes) | ({"voxels_left_out": left_out} if left_out else {})
    layout.write_manifest(
        made,
        name=content.name,
        licence=content.licence,
        source=content.source,
        splits=splits,
        recordings=recordings,
        **notes,
        missing=list(content.missing),
        settings=dict(settings),
        raw_files=dict(sorted(hashes.items())),
    )


def _usable(signal: Signal, staged: staging.Staged, policy: str) -> tuple[Space, dict[str, int]]:
    """The space of the features that can be used, and how many cannot, by what is wrong with them."""
    broken = np.asarray((staged.flags & staging.NOT_FINITE).any(0), dtype=bool)
    constant = np.asarray((staged.flags & staging.CONSTANT).any(0) & ~broken, dtype=bool)
    found = {"not_finite": int(broken.sum()), "constant": int(constant.sum())}
    bad: np.ndarray = np.asarray(broken | constant)
    if bad.any() and policy == "refuse":
        job = signal.jobs[int(np.argmax(staged.flags.any(1)))]
        said = (
            f"holds {found['not_finite']} voxels with NaN or infinities and {found['constant']} that never vary, of "
            f"{len(bad)}, first at {int(np.argmax(bad))} (counted over all {len(signal.jobs)} files of the subject)"
        )
        way_out = "Get the file again, or leave such voxels out: --set invalid=drop."
        raise checks.DataFileError(job.files[0], said, way_out)
    if bad.all():
        raise checks.DataFileError(signal.jobs[0].files[0], "holds no usable voxel", "Get the file again.")
    staged.members = ~bad
    return (spaces.restrict(signal.space, ~bad) if bad.any() else signal.space), found


def _is_made(raw: Path, out: Path, content: Assembly, settings: Mapping[str, Any]) -> bool:
    """Whether `out` holds what these raw files and settings give."""
    if not (out / layout.MANIFEST).is_file():
        return False
    held = layout.read_manifest(out)
    keys = sorted(s.key for s in content.signals)
    same = held.get("settings") == dict(settings) and sorted(e["key"] for e in held["recordings"]) == keys
    if not same or not _same_notes(held, content):
        return False
    files = {f for s in content.signals for j in s.jobs for f in j.files} | set(content.files)
    return held.get("raw_files") == download.hashes(raw, sorted(files)) and _is_whole(out)


def _same_notes(held: Mapping[str, Any], content: Assembly) -> bool:
    return all(held.get(k) == v for k, v in {**content.notes, "missing": list(content.missing)}.items())


def _is_whole(out: Path) -> bool:
    try:
        layout.verify(out)
    except (checks.DataFileError, FileNotFoundError):
        return False
    return True


def _plan(out: str | Path, content: Assembly, n_jobs: int) -> tuple[str, ...]:
    """What a run would read, write and need."""
    files = {f for s in content.signals for j in s.jobs for f in j.files} | set(content.files)
    read = sum(f.stat().st_size for f in files)
    responses = sum(4 * s.table.n_rows * s.space.n_features for s in content.signals)
    images = 0 if content.pictures is None else 3 * len(content.ids) * content.pictures.side**2
    images *= 1 if content.pictures is None else content.pictures.n_frames or 1
    parent = next(p for p in (Path(out).resolve(), *Path(out).resolve().parents) if p.is_dir())
    free = shutil.disk_usage(parent).free
    shapes = ", ".join(
        f"sub-{s.subject:02d} {s.table.n_rows} x {s.space.n_features}" for s in content.signals
    )
    return (
        f"reads {len(files)} files of {_size(read)} with {n_jobs} process(es)",
        f"writes {out}: responses {_size(responses)} ({shapes}), pictures {_size(images)}",
        f"needs {_size(2 * responses + images)} of disk while it runs, {_size(free)} are free",
    )


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"
