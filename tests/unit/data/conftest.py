"""Small trials, stimuli and prepared folders for the data room's tests."""

from __future__ import annotations

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


@pytest.fixture
def voxels(rng: np.random.Generator) -> Trials:
    mask = np.zeros((3, 4, 5), dtype=bool)
    mask[1:, :, 1:4] = True
    n = int(mask.sum())
    space = VoxelSpace(
        mask, np.diag([2.0, 2.0, 2.0, 1.0]), {"early": np.arange(n) < 10, "late": np.arange(n) >= 18}
    )
    values = (3.0 + 2.0 * rng.standard_normal((N_TRIALS, n))).astype(np.float32)
    return Trials(values, trial_table(), space, "percent signal change", 1, "fmri")


@pytest.fixture
def epochs(rng: np.random.Generator) -> Trials:
    positions = np.array([[0.0, 0.1, 0.0], [0.05, 0.0, 0.1], [np.nan] * 3])
    space = SensorSpace(("Oz", "Pz", "X1"), positions, ("eeg",) * 3)
    values = (1e-5 * rng.standard_normal((N_TRIALS, 3, 60))).astype(np.float32)
    return Trials(values, trial_table(), space, "V", 2, "eeg", sfreq=100.0, tmin=-0.1)


@pytest.fixture
def stimuli(rng: np.random.Generator) -> StimulusSet:
    ids = tuple(f"s{i:03d}" for i in range(N_STIMULI))
    images = rng.integers(0, 256, (N_STIMULI, 6, 5, 3), dtype=np.uint8)
    table = Table(
        {"category": np.array(["cat", "dog"] * 10), "concept": np.array([f"c{i // 4}" for i in range(20)])}
    )
    return StimulusSet(
        ids, "image", lambda wanted: images[[ids.index(i) for i in wanted]], {ids[0]: "une été"}, table
    )


@pytest.fixture
def prepared(tmp_path: Path, voxels: Trials, epochs: Trials, stimuli: StimulusSet) -> Path:
    folder = tmp_path / "prepared"
    paths = [layout.write_trials(folder, voxels), layout.write_trials(folder, epochs)]
    images = stimuli.images(stimuli.ids)
    layout.write_stimuli(
        folder, stimuli.ids, kind="image", images=images, captions=stimuli.captions, table=stimuli.table
    )
    split = Split("default", "stimulus", {"train": stimuli.ids[:15], "test": stimuli.ids[15:]})
    by_run = Split("runs", "run", {"train": ("1", "2", "3"), "test": ("4",)})
    layout.write_manifest(
        folder, name="tiny", licence="none", source="a test", splits={"default": split, "runs": by_run},
        recordings=paths, transductive="nothing",
    )  # fmt: skip
    return folder
