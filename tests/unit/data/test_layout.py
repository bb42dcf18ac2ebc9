"""What is written into a prepared folder comes back equal, and damage is noticed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braindec import checks
from braindec.data import layout, spaces
from braindec.types import ArraySpace, SensorSpace, VertexSpace, VoxelSpace

REGION = np.array([True, False, True])
SPACES = {
    "voxels": VoxelSpace(np.array([[[True, False], [True, True]]]), np.eye(4) * 2, {"v1": REGION}),
    "vertices": VertexSpace("fsaverage5", np.array([3, 9]), np.array([4]), {"v1": REGION}),
    "one_hemisphere": VertexSpace("fsaverage5", np.array([3, 9, 11]), np.array([], dtype=int), {}),
    "sensors": SensorSpace(
        ("Fz", "Öz", "A 1"), np.array([[0, 0, 1], [np.nan] * 3, [1, 0, 0]]), ("eeg", "eeg", "mag")
    ),
    "array": ArraySpace(3, {"v1": REGION}),
}


@pytest.mark.parametrize("name", SPACES)
def test_trials_of_every_space_come_back_equal(name, tmp_path, voxels, rng):
    space = SPACES[name]
    values = rng.standard_normal((40, 3)).astype(np.float32)
    trials = type(voxels)(values, voxels.table, space, "z", 7, "fmri")
    back = layout.read_trials(layout.write_trials(tmp_path, trials))
    assert np.array_equal(np.asarray(back.responses[:]), values)
    assert spaces.same(back.space, space)
    assert {k: v.tolist() for k, v in back.space.regions.items()} == {
        k: v.tolist() for k, v in space.regions.items()
    }
    assert (back.subject, back.modality, back.units, back.sfreq) == (7, "fmri", "z", None)
    for column in trials.table:
        assert np.array_equal(back.table[column], trials.table[column])
        assert back.table[column].dtype.kind == trials.table[column].dtype.kind


def test_epochs_come_back_with_their_time_axis(tmp_path, epochs):
    back = layout.read_trials(layout.write_trials(tmp_path, epochs))
    assert np.array_equal(back.responses[[3, 1, 1]], epochs.responses[[3, 1, 1]])
    assert np.array_equal(back.times, epochs.times)


def test_responses_that_are_not_finite_are_refused_and_leave_no_file(tmp_path, voxels):
    voxels.responses[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        layout.write_trials(tmp_path, voxels)
    assert list(tmp_path.iterdir()) == []


def test_stimuli_come_back_by_id_in_any_order(prepared, stimuli):
    back = layout.read_stimuli(prepared / "stimuli.h5")
    wanted = ["s007", "s000", "s007"]
    assert np.array_equal(back.images(wanted), stimuli.images(wanted))
    assert back.captions == stimuli.captions
    assert np.array_equal(back.table["category"], stimuli.table["category"])
    with pytest.raises(ValueError, match="s999"):
        back.images(["s999"])


def test_images_may_come_in_batches(tmp_path, stimuli):
    images = stimuli.images(stimuli.ids)
    path = layout.write_stimuli(tmp_path, stimuli.ids, kind="image", images=iter([images[:7], images[7:]]))
    assert np.array_equal(layout.read_stimuli(path).images(stimuli.ids), images)


def test_a_set_without_images_names_its_labels(tmp_path):
    path = layout.write_stimuli(tmp_path, ["a", "b"], kind="none", table={"category": np.array(["x", "y"])})
    with pytest.raises(ValueError, match="holds no images"):
        layout.read_stimuli(path).images(["a"])


@pytest.mark.parametrize("name", ["sub-01_fmri.h5", "sub-02_eeg.h5", "stimuli.h5"])
def test_no_flipped_bit_passes_verification(prepared, name, rng):
    path = prepared / name
    content = bytearray(path.read_bytes())
    for at in rng.integers(0, len(content), 20):
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(checks.DataFileError):
            layout.verify(prepared)
    path.write_bytes(content)
    layout.verify(prepared)


def test_a_file_swapped_for_another_good_one_is_refused_on_reading(prepared, voxels, rng):
    from braindec.data import NeuralDataset

    other = type(voxels)(voxels.responses + 1, voxels.table, voxels.space, voxels.units, 1, "fmri")
    layout.write_trials(prepared, other)
    with pytest.raises(checks.DataFileError, match="not the file that"):
        NeuralDataset.read(prepared)


def test_a_manifest_cannot_point_outside_of_its_folder(prepared):
    manifest = json.loads((prepared / "dataset.json").read_text())
    manifest["recordings"][0]["file"] = "../elsewhere.h5"
    (prepared / "dataset.json").write_text(json.dumps(manifest))
    from braindec.data import NeuralDataset

    with pytest.raises(checks.DataFileError, match="outside"):
        NeuralDataset.read(prepared)


def test_a_folder_that_is_not_prepared_says_how_to_prepare_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="braindec prepare"):
        layout.read_manifest(tmp_path)


def test_subjects_and_modalities_may_come_from_an_iterator(prepared):
    there = layout.read_manifest(prepared)["recordings"]
    assert [e["key"] for e in layout.chosen(there, iter((1,)), None)] == ["sub-01_fmri"]
    assert [e["key"] for e in layout.chosen(there, None, iter(("eeg",)))] == ["sub-02_eeg"]
    with pytest.raises(checks.ConfigError, match="subjects"):
        layout.chosen(there, iter((1, 7)), None)
