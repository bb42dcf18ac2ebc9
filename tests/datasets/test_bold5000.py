"""BOLD5000: three releases of the same betas, joined with the presentation lists."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from braindec import checks, protocols, registry
from braindec.data import NeuralDataset, catalogue, layout, leakage

KEY = "sub-01_fmri"
RELEASES = ("regions", "volumes", "first")


@pytest.fixture(scope="module")
def bold():
    return catalogue.load("bold5000")


@pytest.fixture(scope="module", params=RELEASES)
def made(bold, request, tmp_path_factory):
    base = tmp_path_factory.mktemp(request.param)
    truth = bold["synthetic"](base / "raw", release=request.param)
    return (
        request.param,
        base / "raw",
        truth,
        base / "out",
        bold["prepare"](base / "raw", base / "out", image_side=16),
    )


@pytest.fixture
def raw(bold, tmp_path):
    bold["synthetic"](tmp_path / "raw")
    return tmp_path / "raw"


def refused(bold, raw, path, **kwargs):
    with pytest.raises(checks.DataFileError) as error:
        bold["prepare"](raw, raw.parent / "out", **kwargs)
    assert error.value.path == path and not (raw.parent / "out").exists()
    return str(error.value)


def betas(raw, region="LHLOC"):
    folder = raw / "BOLD5000_GLMsingle_ROI_betas" / "py"
    return folder / f"CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_{region}.npy"


def test_prepared_trials_are_the_planted_ones_in_every_release(made):
    release, _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    trials = dataset.trials[KEY]
    assert counts.trials == {KEY: 370} and counts.n_stimuli == 144
    assert np.array_equal(trials.table["stimulus_id"], truth.tables[KEY]["stimulus_id"])
    found, planted = trials.responses[:], truth.responses[KEY]
    assert np.array_equal(found, planted)
    assert trials.space.regions["LOC"].sum() == 6 and trials.space.regions["LHLOC"].sum() == 3
    ours = trials.space.regions["LHLOC"]
    assert np.array_equal(found[:, ours], planted[:, 3:6])
    layout.verify(out)
    assert dataset.about["release"] == release


def test_what_is_missing_of_the_complete_dataset_is_said(made):
    counts, out = made[4], made[3]
    assert counts.missing == ("sub-01: 132 of 142 runs (presentation lists)",)
    assert layout.read_manifest(out)["missing"] == list(counts.missing)


def test_the_rim_of_the_brain_is_left_out_and_counted(made):
    about = layout.read_manifest(made[3])
    expected = {KEY: {"not_finite": 1, "constant": 0}} if made[0] == "volumes" else None
    assert about.get("voxels_left_out") == expected


def test_the_test_part_is_the_113_repeated_pictures(made):
    dataset = NeuralDataset.read(made[3])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    protocol = registry.load("protocols", "object_images").PROTOCOLS["bold5000_113"]
    with pytest.raises(checks.ConfigError, match="fixed list of stimulus"):
        protocol.check_pool(test.stimulus_ids)  # the right number, but pictures of a miniature
    written = next(made[1].rglob("repeated_stimuli_113_list.txt")).read_text().split()
    assert protocols.ids_sha256(Path(n).stem for n in written) == protocols.ids_sha256(test.stimulus_ids)
    assert test.n_trials == 339 and train.n_trials == 31
    table = test.trials[KEY].table
    assert np.array_equal(np.bincount(table["repeat"]), [113, 113, 113]) and table["repeated"].all()


def test_runs_sessions_and_onsets_are_those_of_the_lists(made):
    table = NeuralDataset.read(made[3]).trials[KEY].table
    assert table["run"].tolist() == [f"1-{r}" for r in range(1, 11) for _ in range(37)]
    assert np.array_equal(table["onset_s"][:3], [6, 16, 26])


def test_how_the_betas_were_made_is_told_to_the_audit(made):
    about = NeuralDataset.read(made[3]).about["betas"]
    assert about["ridge_chosen_on"] == ("none" if made[0] == "first" else "all")


def test_pictures_belong_to_their_ids(made):
    stimuli = NeuralDataset.read(made[3]).stimuli
    names = made[2].details["names"]
    for i in (0, 113, 143):
        picture = stimuli.images([names[i].rsplit(".", 1)[0]])[0]
        assert picture.shape == (16, 16, 3)
        assert picture[..., 2].mean() == pytest.approx(i, abs=3)
    assert set(stimuli.table["source"]) == {"COCO", "ImageNet", "Scene"}


def test_a_dry_run_counts_and_writes_nothing(bold, made, tmp_path):
    _, raw, _, _, counts = made
    assert bold["prepare"](raw, tmp_path / "none", dry_run=True) == counts and not list(tmp_path.iterdir())


def test_betas_of_another_number_of_trials_are_refused_with_both_numbers(bold, raw):
    np.save(betas(raw), np.zeros((369, 3), dtype=np.float32))
    message = refused(bold, raw, betas(raw))
    assert "(369, 3)" in message and "(370, any) (trial, voxel)" in message


def test_a_missing_key_of_the_first_release_is_named(bold, tmp_path):
    bold["synthetic"](tmp_path / "raw", release="first")
    path = tmp_path / "raw" / "ROIs" / "CSI1" / "h5" / "CSI1_ROIs_TR34.h5"
    with h5py.File(path, "r+") as file:
        del file["RHPPA"]
    assert "'RHPPA'" in refused(bold, tmp_path / "raw", path)


def test_a_truncated_array_is_refused(bold, raw):
    path = betas(raw)
    path.write_bytes(path.read_bytes()[:-10])
    assert "its header asks for" in refused(bold, raw, path)


def test_nan_is_refused_when_that_is_asked_for(bold, raw):
    values = np.load(betas(raw))
    values[5, 1] = np.nan
    np.save(betas(raw), values)
    first = betas(raw, "LHEarlyVis")
    assert "1 voxels with NaN" in refused(bold, raw, first, invalid="refuse")


def test_a_list_that_is_short_or_misnamed_is_refused(bold, raw):
    folder = raw / "BOLD5000_Stimuli" / "Stimuli_Presentation_Lists" / "CSI1" / "CSI1_sess01"
    path = folder / "CSI1_sess01_run03.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))
    assert "lists 36 pictures, expected 37" in refused(bold, raw, path)


def test_two_releases_in_one_folder_are_asked_about(bold, raw):
    bold["synthetic"](raw, release="first")
    with pytest.raises(checks.ConfigError, match="choose one"):
        bold["prepare"](raw, raw.parent / "out")
    assert bold["prepare"](raw, raw.parent / "out", release="first", image_side=8).trials == {KEY: 370}


def test_fetch_lists_every_session(bold, tmp_path):
    paths = bold["fetch"](tmp_path, dry_run=True)
    assert sum("_ses-" in p.name for p in paths) == 15 * 3 + 9
