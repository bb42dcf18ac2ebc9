"""Values return to their voxels, and reliability measures what was planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.data import maps, reliability, repeats
from braindec.types import UNKNOWN, ArraySpace, Table, Trials


def test_values_return_from_an_image_to_the_same_voxels(tmp_path, voxels):
    values = voxels.responses[:3]
    path = tmp_path / "map.nii.gz"
    maps.to_nifti(values, voxels.space).to_filename(path)
    assert np.array_equal(maps.from_nifti(path, voxels.space), values)
    volume = maps.to_volume(values[0], voxels.space, fill=-1)
    for voxel, value in zip(np.argwhere(voxels.space.mask), values[0], strict=True):
        assert volume[tuple(voxel)] == value
    assert (volume[~voxels.space.mask] == -1).all()


def test_a_map_of_another_grid_or_space_is_refused(tmp_path, voxels):
    path = tmp_path / "map.nii.gz"
    maps.to_nifti(voxels.responses[0], replace(voxels.space, affine=np.eye(4))).to_filename(path)
    with pytest.raises(checks.DataFileError, match="grid"):
        maps.from_nifti(path, voxels.space)
    with pytest.raises(checks.SpaceMismatchError):
        maps.to_volume(np.zeros(3), ArraySpace(3))


def planted(rng, ncsnr, n_stimuli=400, n_repeats=3):
    """Trials of two sessions with other means and scales, and the planted signal SD over noise SD."""
    ids = np.tile(np.arange(n_stimuli), n_repeats)
    signal = rng.standard_normal((n_stimuli, len(ncsnr))) * ncsnr
    values = signal[ids] + rng.standard_normal((len(ids), len(ncsnr)))
    session = rng.permutation(np.repeat(["1", "2"], len(ids) // 2))
    values = np.where((session == "1")[:, None], values, 5.0 * values + 100)
    n = len(ids)
    columns = {
        "stimulus_id": np.char.add("s", ids.astype(str)),
        "session": session,
        "run": session,
        "repeat": np.repeat(np.arange(n_repeats), n_stimuli),
        "onset_s": np.arange(n),
        "acquisition_order": np.arange(n),
        "exchangeability_block": session,
    }
    table = Table(columns)
    return Trials(values.astype(np.float32), table, ArraySpace(len(ncsnr)), "a.u.", 1, "fmri")


def test_the_planted_snr_is_found_although_sessions_differ(rng):
    ncsnr = np.array([0.0, 0.3, 0.6, 1.0, 2.0])
    found = reliability.ncsnr(planted(rng, ncsnr))
    assert found[0] < 0.25 and found[1:] == pytest.approx(ncsnr[1:], rel=0.15)


def test_split_half_reliability_agrees_with_the_planted_snr(rng):
    ncsnr = np.array([0.3, 0.6, 1.0, 2.0])
    found = reliability.split_half(planted(rng, np.repeat(ncsnr, 20)), torch.Generator().manual_seed(0))
    assert found.reshape(4, 20).mean(1) == pytest.approx(ncsnr**2 / (ncsnr**2 + 1 / 3), abs=0.03)


def test_noise_and_unknown_stimuli_show_no_reliability(rng):
    trials = planted(rng, np.zeros(50))
    assert np.abs(reliability.split_half(trials, torch.Generator().manual_seed(0)).mean()) < 0.03
    unknown = replace(trials, table=trials.table.replace(stimulus_id=np.full(trials.n_trials, UNKNOWN)))
    with pytest.raises(ValueError, match="repeats"):
        reliability.ncsnr(unknown)


def test_a_voxel_that_never_varies_has_no_signal_and_no_ceiling(rng):
    trials = planted(rng, np.array([1.0, 1.0, 1.0]))
    values = np.asarray(trials.responses).copy()
    values[:, 0] = 0.0
    values[:, 1] = np.where(trials.table["session"] == "1", 1.7, 900.1)
    silent = replace(trials, responses=values)
    assert (
        reliability.ncsnr(silent)[:2].tolist() == reliability.noise_ceiling(silent)[:2].tolist() == [0.0, 0.0]
    )
    assert reliability.ncsnr(silent)[2] == reliability.ncsnr(trials)[2] > 0.8
    tesla = reliability.ncsnr(replace(trials, responses=1e-14 * values), per_session=False)
    expected = reliability.ncsnr(silent, per_session=False)
    assert expected[2] > 0 and tesla[2] == pytest.approx(expected[2], rel=1e-4)


def test_rows_of_repeats_are_those_that_a_loop_finds(rng):
    ids = rng.choice([*(f"s{i}" for i in range(30)), UNKNOWN], 120)
    known, counts = np.unique(ids[ids != UNKNOWN], return_counts=True)
    n = np.bincount(counts[counts > 1]).argmax()
    expected = [np.flatnonzero(ids == i)[:n].tolist() for i in known[counts >= n]]
    assert repeats.repeated_rows(ids).T.tolist() == expected
