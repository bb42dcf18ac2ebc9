"""Single-trial betas against nilearn's FirstLevelModel on images and a plain least-squares loop."""

from __future__ import annotations

import warnings

import nibabel
import numpy as np
import pandas as pd
import pytest

from braindec.data import fmri
from braindec.types import Recording, Table, VoxelSpace

T_R, N_TIMES, N_EVENTS = 2.0, 80, 10
MASK = np.ones((3, 2, 2), dtype=bool)


@pytest.fixture
def recording(rng):
    onsets = 5.0 + 14.0 * np.arange(N_EVENTS)
    signal = 1000 + 20 * rng.standard_normal((12, N_TIMES)).cumsum(1) / 5
    events = Table(
        {"onset_s": onsets, "duration_s": np.full(N_EVENTS, 3.0), "trial_type": np.array(["a", "b"] * 5)}
    )
    motion = Table({"motion_x": rng.standard_normal(N_TIMES)})
    space = VoxelSpace(MASK, np.eye(4))
    return Recording(signal, 1 / T_R, "scanner units", events, space, 1, "1", "1", "fmri", motion)


def first_level(recording, frame):
    """FirstLevelModel's effects (event, voxel) of the events that `frame` names."""
    from nilearn.glm.first_level import FirstLevelModel

    model = FirstLevelModel(
        t_r=T_R, hrf_model="spm", drift_model="cosine", high_pass=0.01, noise_model="ols", signal_scaling=0,
        mask_img=nibabel.Nifti1Image(MASK.astype(np.uint8), np.eye(4)), smoothing_fwhm=None, minimize_memory=False,
    )  # fmt: skip
    image = nibabel.Nifti1Image(recording.signal.reshape(*MASK.shape, N_TIMES), np.eye(4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nilearn warns that the given mask is used
        model.fit(image, events=frame, confounds=recording.confounds.to_pandas())
    names = sorted(set(frame["trial_type"]) - {"others"})
    return np.stack([model.compute_contrast(n, output_type="effect_size").get_fdata()[MASK] for n in names])


def frame_of(recording, names):
    events = recording.events
    return pd.DataFrame({"onset": events["onset_s"], "duration": events["duration_s"], "trial_type": names})


def test_one_model_of_all_events_is_nilearns(recording):
    names = [f"e{i:02d}" for i in range(N_EVENTS)]
    expected = first_level(recording, frame_of(recording, names))
    found = fmri.glm_betas([recording], method="lsa").responses
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_model_for_each_event_is_nilearns_with_two_conditions(recording):
    found = fmri.glm_betas([recording], method="lss").responses
    for i in (0, 4, N_EVENTS - 1):
        names = ["others"] * N_EVENTS
        names[i] = "this"
        assert found[i] == pytest.approx(
            first_level(recording, frame_of(recording, names))[0], rel=1e-3, abs=1e-4
        )
