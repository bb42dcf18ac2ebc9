"""Small trials, stimuli and prepared folders for the data room's tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from braindec.data import Split, layout
from braindec.types import SensorSpace, StimulusSet, Table, Trials, VoxelSpace

N_TRIALS, N_STIMULI = 40, 20


def trial_table(n: int = N_TRIALS) -> Table:
    """Each stimulus twice, two sessions of two runs of ten trials."""
    order = np.arange(n)
    session, run = (order // 20 + 1).astype(str), (order // 10 + 1).astype(str)
    return Table(
        {
            "stimulus_id": np.array([f"s{i % N_STIMULI:03d}" for i in order]),
            "session": session,
            "run": run,
            "repeat": order // N_STIMULI,
            "onset_s": (order % 10) * 2.5,
            "acquisition_order": order,
            "exchangeability_block": run,
        }
    )


def make_voxels() -> Trials:
    mask = np.zeros((3, 4, 5), dtype=bool)
    mask[1:, :, 1:4] = True
    n = int(mask.sum())
    regions = {"early": np.arange(n) < 10, "late": np.arange(n) >= 18}
    space = VoxelSpace(mask, np.diag([2.0, 2.0, 2.0, 1.0]), regions)
    values = (3.0 + 2.0 * np.random.default_rng(1).standard_normal((N_TRIALS, n))).astype(np.float32)
    return Trials(values, trial_table(), space, "percent signal change", 1, "fmri")


def make_epochs() -> Trials:
    positions = np.array([[0.0, 0.1, 0.0], [0.05, 0.0, 0.1], [np.nan] * 3])
    space = SensorSpace(("Oz", "Pz", "X1"), positions, ("eeg",) * 3)
    values = (1e-5 * np.random.default_rng(2).standard_normal((N_TRIALS, 3, 60))).astype(np.float32)
    return Trials(values, trial_table(), space, "V", 2, "eeg", sfreq=100.0, tmin=-0.1)


def make_stimuli() -> StimulusSet:
    ids = tuple(f"s{i:03d}" for i in range(N_STIMULI))
    images = np.random.default_rng(3).integers(0, 256, (N_STIMULI, 6, 5, 3), dtype=np.uint8)
    concept = np.array([f"c{i // 4}" for i in range(N_STIMULI)])
    table = Table({"category": np.array(["cat", "dog"] * 10), "concept": concept})
    return StimulusSet(
        ids, "image", lambda wanted: images[[ids.index(i) for i in wanted]], {ids[0]: "une été"}, table
    )


@pytest.fixture
def voxels() -> Trials:
    return make_voxels()


@pytest.fixture
def epochs() -> Trials:
    return make_epochs()


@pytest.fixture
def stimuli() -> StimulusSet:
    return make_stimuli()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder, written once: writing waits for the disk."""
    folder = tmp_path_factory.mktemp("template")
    paths = [layout.write_trials(folder, make_voxels()), layout.write_trials(folder, make_epochs())]
    shown = make_stimuli()
    layout.write_stimuli(
        folder,
        shown.ids,
        kind="image",
        images=shown.images(shown.ids),
        captions=shown.captions,
        table=shown.table,
    )
    split = Split("default", "stimulus", {"train": shown.ids[:15], "test": shown.ids[15:]})
    by_run = Split("runs", "run", {"train": ("1", "2", "3"), "test": ("4",)})
    layout.write_manifest(
        folder,
        name="tiny",
        licence="none",
        source="a test",
        splits={"default": split, "runs": by_run},
        recordings=paths,
        transductive="nothing",
    )
    return folder


@pytest.fixture
def prepared(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "prepared"))
