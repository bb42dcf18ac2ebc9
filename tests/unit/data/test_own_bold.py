"""One's own runs become betas, unless onsets, clocks or confounds cannot be true; slow blocks are warned of."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pytest

from braindec import NeuralDataset, checks
from braindec.data import fmri
from braindec.types import Recording, Table, VoxelSpace

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
T_R, N_VOLUMES = 2.0, 120
ONSETS = 10.0 + 20.0 * np.arange(10)


@pytest.fixture
def given(tmp_path, rng):
    """What `from_bold` is given of three runs of eight voxels; `onsets`, `lasts` and `t_r` of each as wished."""
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.uint8), AFFINE), tmp_path / "mask.nii.gz")

    def write(onsets=ONSETS, lasts=2.0, t_r=(T_R,) * 3):
        bold, events = [], []
        for run, seconds in enumerate(t_r):
            signal = 1000 + rng.standard_normal((2, 2, 2, N_VOLUMES))
            image = nibabel.Nifti1Image(signal.astype(np.float32), AFFINE)
            image.header.set_zooms((3, 3, 3, seconds))
            image.header.set_xyzt_units("mm", "sec")
            bold.append(tmp_path / f"run{run}.nii.gz")
            nibabel.save(image, bold[-1])
            events.append(tmp_path / f"run{run}.tsv")
            rows = "".join(f"{onset}\t{lasts}\tpicture-{i % 5}\n" for i, onset in enumerate(onsets))
            events[-1].write_text("onset\tduration\tshown\n" + rows)
        return bold, events, tmp_path / "mask.nii.gz"

    return write


def betas(given, **told):
    return NeuralDataset.from_bold(*given, stimulus_column="shown", **told)


def test_events_that_the_run_does_not_hold_are_refused_one_or_all(given):
    with pytest.raises(
        checks.DataFileError, match=r"run0.tsv: has 10 of 10 events.*120 volumes of 2 s"
    ) as error:
        betas(given(1000 * ONSETS))
    assert "milliseconds" in str(error.value)
    with pytest.raises(checks.DataFileError, match=r"has 1 of 10 events.*first onset 300 s"):
        betas(given([*ONSETS[:-1], 300.0]))
    with pytest.raises(checks.DataFileError, match=r"has 4 of 10 events.*120 volumes of 1 s.*t_r"):
        betas(given(t_r=(1.0, 1.0, 1.0)))  # the headers are wrong in all runs
    assert betas(given(t_r=(1.0, 1.0, 1.0)), t_r=T_R).n_trials == 30
    assert betas(given([-1.0, *ONSETS])).n_trials == 33  # one that began before the first volume is seen


def test_runs_of_other_lengths_of_a_volume_are_refused_unless_they_are_told(given):
    files = given(t_r=(2.0, 2.0, 2.5))
    with pytest.raises(
        checks.DataFileError, match=r"run2.nii.gz: says 2.5 s a volume, but run0.nii.gz says 2 s"
    ):
        betas(files)
    assert betas(files, t_r=2.0).n_trials == betas(files, t_r=[2.0, 2.0, 2.5]).n_trials == 30
    with pytest.raises(ValueError, match="must match"):
        betas(files, t_r=[2.0, 2.5])


def test_betas_that_no_signal_can_have_are_refused(rng):
    mask = VoxelSpace(np.ones((2, 2, 2), bool), AFFINE)
    events = Table(
        {"onset_s": ONSETS, "duration_s": np.full(10, 2.0), "stimulus_id": np.arange(10).astype(str)}
    )
    signal = rng.standard_normal((8, N_VOLUMES))
    signal += 1e-4 - signal.mean(1, keepdims=True)  # its mean was taken out
    run = Recording(signal, 1 / T_R, "scanner units", events, mask, 1, "1", "1", "fmri")
    with pytest.raises(ValueError, match=r"10 of 10 events .*% of its mean"):
        fmri.glm_betas([run])
    late = Recording(signal + 1000, 1 / T_R, "scanner units", events.replace(onset_s=1000 * ONSETS), mask, 1, "1",
                     "1", "fmri")  # fmt: skip
    with pytest.raises(ValueError, match="10 of 10 events of run '1' have no response"):
        fmri.glm_betas([late])


def test_the_drift_is_warned_of_where_it_takes_slow_blocks_with_it(given):
    blocks = given(20.0 + 60.0 * np.arange(4), 30.0)
    with pytest.warns(
        UserWarning, match="the drift below 0.01 Hz explains .*events last 30 s.*block_means"
    ) as caught:
        betas(blocks)
    assert [w.filename for w in caught] == [__file__]
    for quiet, told in ((blocks, {"high_pass_hz": 0.002}), (blocks, {"high_pass_hz": 0.0}), (given(), {})):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            betas(quiet, **told)
    with pytest.raises(ValueError, match="high_pass_hz must lie in"):
        betas(blocks, high_pass_hz=128)
    with pytest.raises(checks.ConfigError, match="hrf_model must be one of"):
        betas(blocks, hrf_model="canonical")


def test_the_share_of_the_drift_is_that_of_a_regression(given):
    bold, events, _ = given(20.0 + 60.0 * np.arange(4), 30.0)
    run = fmri.read_run(bold[0], VoxelSpace(np.ones((2, 2, 2), bool), AFFINE), fmri.read_events(events[0]), subject=1,
                        run="1")  # fmt: skip
    times = T_R * np.arange(N_VOLUMES)
    cosines = [
        np.cos(np.pi * k * (np.arange(N_VOLUMES) + 0.5) / N_VOLUMES) for k in range(5)
    ]  # up to 0.01 Hz
    expected = fmri.glm_design.responses(np.array([20.0]), np.array([30.0]), times)[:, 0]
    left = expected - np.stack(cosines, 1) @ np.linalg.lstsq(np.stack(cosines, 1), expected, rcond=None)[0]
    assert fmri.drift_share(run, 0.01)[0] == pytest.approx(1 - left.var() / expected.var(), abs=1e-9)
    assert fmri.drift_share(run, 0.0) == pytest.approx(np.zeros(4), abs=1e-12)


def test_a_high_pass_that_is_lowered_gives_back_planted_slow_blocks(given, tmp_path, rng):
    bold, events, mask = given(20.0 + 60.0 * np.arange(4), 30.0, t_r=(T_R,))
    times, planted = T_R * np.arange(N_VOLUMES), rng.standard_normal((4, 8))
    shape = fmri.glm_design.responses(20.0 + 60.0 * np.arange(4), np.full(4, 30.0), times)
    noise = 0.3 * rng.standard_normal((N_VOLUMES, 8))
    image = 1000 + 10 * (shape @ planted + noise)
    nibabel.save(nibabel.Nifti1Image(image.T.reshape(2, 2, 2, -1).astype(np.float32), AFFINE), bold[0])
    found = {}
    for high_pass_hz in (0.0, 0.03):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (trials,) = betas((bold, events, mask), t_r=T_R, high_pass_hz=high_pass_hz).trials.values()
        found[high_pass_hz] = np.corrcoef(trials.responses.ravel(), planted.ravel())[0, 1]
    assert found[0.0] > 0.95 and found[0.0] > found[0.03] + 0.05


def test_confounds_are_columns_and_the_path_of_a_table_is_told_how_to_become_some(given, tmp_path, rng):
    import pandas as pd

    motion = pd.DataFrame(rng.standard_normal((N_VOLUMES, 6)),
                          columns=["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"])  # fmt: skip
    motion.to_csv(tmp_path / "confounds.tsv", sep="\t", index=False)
    files = given(t_r=(T_R,))
    with pytest.raises(TypeError, match="confounds of run 1 must be columns by name") as error:
        betas(files, confounds=[tmp_path / "confounds.tsv"])
    typed = str(error.value).partition("table: ")[2].partition(";")[0]
    columns = eval(typed, {"pandas": pd, "path": tmp_path / "confounds.tsv"})
    (with_motion,) = betas(files, confounds=[columns]).trials.values()
    (plain,) = betas(files).trials.values()
    assert not np.allclose(with_motion.responses, plain.responses)
    columns.loc[0, "rot_x"] = np.nan
    with pytest.raises(ValueError, match=r"confound 'rot_x' of run 1 holds 1 NaN.*fillna\(0\)"):
        betas(files, confounds=[columns])
    with pytest.raises(ValueError, match="confound 'rot_x' of run 1 must be numbers"):
        betas(files, confounds=[{"rot_x": np.array(["n/a"] * N_VOLUMES)}])


def test_a_subject_that_is_no_number_is_refused_before_anything_is_read(given):
    with pytest.raises(TypeError, match="Say subject=1"):
        NeuralDataset.from_bold(
            ["nowhere.nii"], ["nowhere.tsv"], "nowhere.nii", stimulus_column="x", subject="sub-01"
        )
