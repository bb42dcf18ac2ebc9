"""NIfTI runs become recordings, block means and betas; a file that does not fit is refused."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from braindec import checks
from braindec.data import fmri, nifti
from braindec.types import Recording, Table, VoxelSpace

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
T_R = 2.0


def write(path, data, affine=AFFINE, t_r=T_R, unit="sec"):
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", unit)
    if data.ndim == 4:
        image.header.set_zooms((3, 3, 3, t_r))
    nibabel.save(image, path)
    return path


@pytest.fixture
def space():
    mask = np.zeros((4, 3, 2), dtype=bool)
    mask[1:, 1:, :] = True
    return VoxelSpace(mask, AFFINE)


@pytest.fixture
def events():
    return Table(
        {
            "onset_s": np.array([30.0, 4.0, 60.0]),
            "duration_s": np.array([8.0, 10.0, 6.0]),
            "trial_type": np.array(["cat", "dog", "cat"]),
        }
    )


@pytest.fixture
def bold(tmp_path, rng):
    return write(tmp_path / "bold.nii.gz", rng.integers(500, 1500, (4, 3, 2, 50)).astype(np.int16))


def test_a_run_holds_the_voxels_of_the_mask_in_order(bold, space, events):
    recording = fmri.read_run(bold, space, events, subject=3, run="2")
    data = np.asarray(nibabel.load(bold).dataobj)
    assert recording.signal.shape == (space.n_features, 50) and recording.sfreq == pytest.approx(0.5)
    for row, voxel in zip(recording.signal, np.argwhere(space.mask), strict=True):
        assert np.array_equal(row, data[tuple(voxel)])


def test_milliseconds_in_the_header_are_understood(tmp_path, space, events, rng):
    path = write(
        tmp_path / "ms.nii.gz", rng.integers(1, 9, (4, 3, 2, 5)).astype(np.int16), t_r=1500.0, unit="msec"
    )
    assert fmri.read_run(path, space, events, subject=1, run="1").sfreq == pytest.approx(1 / 1.5)


def test_a_header_without_a_repetition_time_asks_for_it(tmp_path, space, events, rng):
    path = write(tmp_path / "zero.nii.gz", rng.integers(1, 9, (4, 3, 2, 5)).astype(np.int16), t_r=0.0)
    with pytest.raises(checks.DataFileError, match="Give t_r"):
        fmri.read_run(path, space, events, subject=1, run="1")
    assert fmri.read_run(path, space, events, subject=1, run="1", t_r=2.5).sfreq == pytest.approx(0.4)


def test_an_image_on_another_grid_is_refused(tmp_path, space, events, rng):
    data = rng.integers(1, 9, (4, 3, 2, 5)).astype(np.int16)
    for path in (
        write(tmp_path / "a.nii.gz", data, np.diag([2.0, 3, 3, 1])),
        write(tmp_path / "b.nii.gz", data[1:]),
    ):
        with pytest.raises(checks.DataFileError, match="grid"):
            fmri.read_run(path, space, events, subject=1, run="1")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_longer_than_its_header_says_is_refused(tmp_path, space, rng, suffix):
    path = write(tmp_path / f"long{suffix}", rng.integers(1, 9, (4, 3, 2, 5)).astype(np.int16))
    content = gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes()
    longer = content + b"\0" * 48
    path.write_bytes(gzip.compress(longer) if suffix == ".nii.gz" else longer)
    with pytest.raises(checks.DataFileError, match="its header asks for"):
        nifti.load(path)


def test_nan_voxels_are_refused_not_turned_into_zeros(tmp_path, space, events):
    data = np.ones((4, 3, 2, 5), dtype=np.float32)
    data[2, 2, 1, 3] = np.nan
    with pytest.raises(checks.DataFileError, match="1 NaN"):
        fmri.read_run(write(tmp_path / "nan.nii.gz", data), space, events, subject=1, run="1")


def test_a_mask_without_voxels_or_with_time_is_refused(tmp_path):
    with pytest.raises(checks.DataFileError, match="no voxel"):
        nifti.read_mask(write(tmp_path / "empty.nii.gz", np.zeros((2, 2, 2), dtype=np.uint8)))
    with pytest.raises(checks.DataFileError, match="one volume"):
        nifti.read_mask(write(tmp_path / "4d.nii.gz", np.ones((2, 2, 2, 3), dtype=np.uint8)))


def test_events_keep_their_columns_as_text(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_text("onset\tduration\ttrial_type\tstim\n1.5\t2\tnull\t007\n4\t2\tNA\t008\n")
    events = fmri.read_events(path)
    assert events["onset_s"].tolist() == [1.5, 4.0]
    assert events["trial_type"].tolist() == ["null", "NA"] and events["stim"].tolist() == ["007", "008"]
    path.write_text("onset\tduration\nn/a\t2\n")
    with pytest.raises(checks.DataFileError):
        fmri.read_events(path)


def test_block_means_are_those_of_a_loop_over_volumes(bold, space, events):
    motion = {"motion_x": np.arange(50) / 10}
    runs = [fmri.read_run(bold, space, events, subject=1, run=r, confounds=motion) for r in ("1", "2")]
    trials = fmri.block_means(runs, delay_s=4.0)
    assert trials.table["trial_type"].tolist() == ["dog", "cat", "cat"] * 2  # in the order of time
    assert trials.table["repeat"].tolist() == [0, 0, 1, 1, 2, 3]
    assert trials.table["run_position"].tolist() == [0, 1, 2] * 2
    for i, (first, last) in enumerate([(4, 8), (17, 20), (32, 34)]):
        expected = sum(runs[0].signal[:, v].astype(float) for v in range(first, last + 1)) / (
            last - first + 1
        )
        assert trials.responses[i] == pytest.approx(expected, rel=1e-6)
        assert trials.table["motion_x"][i] == pytest.approx(np.mean(np.arange(first, last + 1)) / 10)


def test_an_event_after_the_last_volume_is_refused(bold, space):
    late = Table(
        {"onset_s": np.array([500.0]), "duration_s": np.array([2.0]), "trial_type": np.array(["cat"])}
    )
    with pytest.raises(ValueError, match="covers no volume"):
        fmri.block_means([fmri.read_run(bold, space, late, subject=1, run="1")])


def planted_run(rng, noise, n_events=24, gap_s=6.0):
    """A run whose percent signal change is a sum of planted betas times nilearn's own regressors."""
    from nilearn.glm.first_level import compute_regressor

    n_times, n_voxels = 110, 30
    onsets = 6.0 + gap_s * np.arange(n_events)
    betas = 2.0 * rng.standard_normal((n_events, n_voxels))
    times = np.arange(n_times) * T_R
    shape = [compute_regressor(np.array([[o], [1.0], [1.0]]), "spm", times)[0][:, 0] for o in onsets]
    change = np.stack(shape, axis=1) @ betas + noise * rng.standard_normal((n_times, n_voxels))
    signal = 1000.0 * (1 + change.T / 100)
    events = Table(
        {
            "onset_s": onsets,
            "duration_s": np.ones(n_events),
            "stimulus_id": np.char.add("s", np.arange(n_events).astype(str)),
        }
    )
    mask = np.ones((5, 3, 2), dtype=bool)
    return Recording(
        signal, 1 / T_R, "scanner units", events, VoxelSpace(mask, AFFINE), 1, "1", "1", "fmri"
    ), betas


@pytest.mark.parametrize("method", ["lsa", "lss"])
def test_planted_betas_are_found(rng, method):
    recording, betas = planted_run(rng, noise=0.05)
    found = fmri.glm_betas([recording], method=method).responses
    r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found.T, betas.T, strict=True)])
    assert r > (0.98 if method == "lsa" else 0.9)


def test_noise_gives_betas_unrelated_to_the_planted_ones(rng):
    recording, _ = planted_run(rng, noise=0.5)
    _, other = planted_run(rng, noise=0.5)
    found = fmri.glm_betas([recording]).responses
    assert abs(np.corrcoef(found.ravel(), other.ravel())[0, 1]) < 0.15


def test_percent_change_needs_a_positive_mean(rng):
    recording, _ = planted_run(rng, noise=0.1)
    recording.signal[3] = 0.0
    with pytest.raises(ValueError, match="1 of 30 voxels"):
        fmri.glm_betas([recording])


def test_columns_that_the_events_of_one_run_alone_have_are_left_out(bold, space, events):
    asked = events.replace(answer=np.array(["a", "b", "c"]))
    runs = [fmri.read_run(bold, space, e, subject=1, run=str(i)) for i, e in enumerate((asked, events))]
    assert fmri.block_means(runs[:1]).table["answer"].tolist() == ["b", "a", "c"]
    for given in (runs, runs[::-1]):
        table = fmri.block_means(given).table
        assert "answer" not in table and table["trial_type"].tolist() == ["dog", "cat", "cat"] * 2
