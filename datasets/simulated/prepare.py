"""Simulated brains that watch simulated scenes: a world with a known truth, written as real files and read like them.

Subjects of the main study and a new one have NSD's layout of files, EEG subjects have FIF epochs. Nothing is downloaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, config, seeding, store
from braindec.data import fmri, layout, meeg
from braindec.data.simulated import features, meeg_files, nsd_files, scenes, truth
from braindec.data.simulated.design import MOTION_COLUMNS
from braindec.data.simulated.world import (
    TR_S, Simulated, Stimuli, Subject, World, draw_stimuli, load_world, simulate_subject,
)  # fmt: skip
from braindec.data.splits import Split
from braindec.types import Table, Trials

HERE = Path(__file__).parent
FOLDERS = {"main": "nsd", "new": "nsd_new"}
SHOWN_S = 3.0  # as in NSD: three seconds of picture in every four


@dataclass(frozen=True, eq=False)
class Truth:
    """What `synthetic` planted: the world, its scenes and every subject's brain and trials."""

    world: World
    stimuli: Stimuli
    subjects: dict[str, Simulated]


def fetch(raw: Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> None:
    """Says that there is nothing to fetch."""
    print("simulated: nothing to fetch; `synthetic` makes the raw files.")


def synthetic(raw: str | Path, *, seed: int = 0, world: str | Path | None = None, progress: bool = False) -> Truth:
    """Writes the raw files of a simulated world.

    Parameters
    ----------
    raw : path
    seed : int
        Added to the world's own seed.
    world : path, optional
        JSON of a world; None is the demo's, ``"smoke"`` the small one for tests.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Truth
    """
    raw = Path(raw)
    named = {None: "world.json", "smoke": "world_smoke.json"}
    chosen = load_world(HERE / named[world] if world in named else world)
    chosen = replace(chosen, seed=chosen.seed + seed)
    stimuli = draw_stimuli(chosen, embed=_target_embedding() if chosen.inverse_crime else None, progress=progress)
    ids = stimulus_ids(chosen.n_stimuli)
    raw.mkdir(parents=True, exist_ok=True)
    store.write_json(raw / "world.json", config.to_json(chosen))
    store.write_json(raw / "scenes.json", [scenes.to_dict(s) for s in stimuli.scenes])
    simulated = {}
    for subject in chosen.subjects:
        one = simulate_subject(chosen, subject, stimuli)
        truth.write_truth(raw, one, stimuli, ids)
        _write(raw, chosen, one, ids)
        simulated[subject.key] = one
    _write_studies(raw, chosen, stimuli, simulated)
    return Truth(chosen, stimuli, simulated)


def prepare(
    raw: str | Path, out: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False, n_jobs: int = 1
) -> dict[str, int]:
    """Reads the raw files and writes the prepared dataset.

    Parameters
    ----------
    raw, out : path
    subjects : iterable of int, optional
        None prepares all.
    dry_run : bool
        Only counts what there is.
    n_jobs : int
        Not used: the files are small.

    Returns
    -------
    dict of str to int
        Trials of each key, and ``"stimuli"``.
    """
    raw, out = Path(raw), Path(out)
    world = _world_of(raw)
    chosen = [s for s in world.subjects if subjects is None or s.subject in set(subjects)]
    counts = {}
    recordings = []
    for subject in chosen:
        trials = _read(raw, subject)
        counts[subject.key] = trials.n_trials
        if dry_run:
            continue
        recordings.append(layout.write_trials(out, trials))
        shutil.copyfile(truth.truth_path(raw, subject.key), truth.truth_path(out, subject.key))
    if not dry_run:
        _write_stimuli(raw, out, world)
        layout.write_manifest(
            out, name=world.name, licence="CC0-1.0", source="braindec.data.simulated", recordings=recordings,
            splits={"default": split(world)}, simulated=True, inverse_crime=world.inverse_crime,
        )  # fmt: skip
    return counts | {"stimuli": world.n_stimuli}


def stimulus_ids(n: int) -> list[str]:
    """Names of the scenes of a world, in order."""
    return [f"scene-{i:05d}" for i in range(n)]


def split(world: World) -> Split:
    """The gallery that all subjects see is the test part; every other picture is for training."""
    ids = stimulus_ids(world.n_stimuli)
    parts = {"train": tuple(ids[world.n_gallery :]), "test": tuple(ids[: world.n_gallery])}
    return Split("default", "stimulus", parts)


def _target_embedding() -> Callable[[np.ndarray], np.ndarray]:
    """The decoding target that an inverse-crime world is built from."""
    from braindec.targets import tiny_openclip

    return tiny_openclip.embed_images


def _write(raw: Path, world: World, one: Simulated, ids: list[str]) -> None:
    subject = one.subject
    if subject.modality == "eeg":
        meeg_files.write_epochs(
            raw / "eeg", subject.subject, one.responses, one.schedule, ids, sfreq=world.meeg.sfreq, tmin=world.meeg.tmin
        )
        return
    generator = seeding.numpy_generator(world.seed, "behaviour", subject.key)
    nsd_files.write_subject(
        raw / FOLDERS[subject.recording], subject.subject, one.brain.space, one.responses, one.schedule,
        world.n_gallery, TR_S, generator,
    )  # fmt: skip


def _write_studies(raw: Path, world: World, stimuli: Stimuli, simulated: dict[str, Simulated]) -> None:
    """Design of each fMRI study; the pictures of all subjects lie with the main one."""
    for recording, folder in FOLDERS.items():
        own = [s for s in world.subjects if s.modality == "fmri" and s.recording == recording]
        if own:
            schedules = {s.subject: simulated[s.key].schedule for s in own}
            images = stimuli.images if recording == "main" else None
            nsd_files.write_study(raw / folder, schedules, world.n_gallery, images)


def _world_of(raw: Path) -> World:
    return load_world(checks.existing_file(raw / "world.json", "Make the raw files first: synthetic(raw)."))


def _read(raw: Path, subject: Subject) -> Trials:
    if subject.modality == "eeg":
        return _read_eeg(raw / "eeg", subject)
    root = raw / FOLDERS[subject.recording]
    trials = fmri.read_nsd(root, subject.subject)
    ids = np.char.replace(trials.table["stimulus_id"], "nsd-", "scene-")
    columns = {name: column for name, column in trials.table.items() if name != "shared"}
    columns |= {"stimulus_id": ids} | _motion(root, subject.subject, trials.table)
    return replace(trials, table=Table(columns))


def _read_eeg(folder: Path, subject: Subject) -> Trials:
    paths = sorted(folder.glob(f"sub-{subject.subject:02d}_ses-*_task-scenes_epo.fif"))
    sessions = [meeg.read_epochs_fif(path, subject=subject.subject) for path in paths]
    first = sessions[0]
    table = Table({name: np.concatenate([s.table[name] for s in sessions]) for name in first.table})
    return replace(first, responses=np.concatenate([s.responses for s in sessions]), table=table)


def _motion(root: Path, subject: int, table: Table) -> dict[str, np.ndarray]:
    """Mean head position while each picture was shown: six columns."""
    values = np.empty((table.n_rows, len(MOTION_COLUMNS)))
    runs = table["run"]
    for name in np.unique(runs):
        session, run = (int(part) for part in str(name).split("-"))
        position = nsd_files.read_motion(root, subject, session, run)
        for row in np.flatnonzero(runs == name):
            start = int(table["onset_s"][row] / TR_S)
            values[row] = position[start : start + int(np.ceil(SHOWN_S / TR_S))].mean(0)
    return {f"motion_{name}": values[:, i] for i, name in enumerate(MOTION_COLUMNS)}


def _write_stimuli(raw: Path, out: Path, world: World) -> None:
    import h5py

    drawn = [scenes.from_dict(record) for record in store.read_json(raw / "scenes.json")]
    ids = stimulus_ids(len(drawn))
    with h5py.File(raw / FOLDERS["main"] / "nsddata_stimuli" / "stimuli" / "nsd" / "nsd_stimuli.hdf5") as file:
        images = file["imgBrick"][()]
    captions = {key: scenes.caption(scene) for key, scene in zip(ids, drawn, strict=True)}
    layout.write_stimuli(out, ids, kind="image", images=images, captions=captions, table=factor_table(drawn))


def factor_table(drawn: list[scenes.Scene]) -> Table:
    """A row a scene: category, number of objects, background, pattern, the largest object's factors, and all factors."""
    largest = {name: [getattr(s.objects[0], name) for s in drawn] for name in scenes.FACTORS}
    columns: dict[str, Any] = {
        "category": [scenes.category(s) for s in drawn],
        "n_objects": [len(s.objects) for s in drawn],
        "background": [s.background for s in drawn],
        "pattern": [s.pattern for s in drawn],
    }
    counts = features.factor_features(drawn).astype(np.int8)
    named = {f"factor_{str(word).replace(' ', '_')}": counts[:, i] for i, word in enumerate(features.FACTOR_WORDS)}
    return Table(columns | largest | named)
