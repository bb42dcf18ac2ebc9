"""THINGS-fMRI's miniature through prepare, trial by trial; the pandas container, regions, ceilings; contradictions."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage, things_fmri

KEY = "sub-01_fmri"
BETAS, STIMULI, VOXELS = (
    f"sub-01_{n}" for n in ("ResponseData.h5", "StimulusMetadata.csv", "VoxelMetadata.csv")
)


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("things_fmri")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    """(raw folder, truth, prepared folder)."""
    base = tmp_path_factory.mktemp("things_fmri")
    truth = functions["synthetic"](base / "raw")
    functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out"


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw")
    return tmp_path / "raw"


def refused(functions, raw, out, match, **settings):
    with pytest.raises(checks.DataFileError, match=match) as caught:
        functions["prepare"](raw, out, **settings)
    assert not out.exists()
    return caught.value


def test_responses_are_the_planted_ones_trial_by_trial_in_the_order_of_the_grid(made):
    _, truth, out = made
    trials = NeuralDataset.read(out).trials[KEY]
    assert np.array_equal(trials.responses[:], truth.responses[KEY])
    assert trials.space.kind == "voxels" and trials.space.affine[0, 0] == 2.0
    for column, values in truth.tables[KEY].items():
        assert np.array_equal(trials.table[column], values), column


def test_regions_and_noise_ceilings_belong_to_their_voxels(made):
    _, truth, out = made
    space = NeuralDataset.read(out).trials[KEY].space
    maps = things_fmri.read_voxel_maps(out, KEY)
    assert np.array_equal(maps["nc_testset"], truth.details["nc_testset"][KEY])
    place = np.argwhere(space.mask)
    assert np.array_equal(place, np.stack([maps[f"voxel_{a}"] for a in "xyz"], 1))
    assert np.array_equal(space.regions["V1"], place[:, 0] == 0)  # as planted: x tells the region
    assert np.array_equal(space.regions["LO1 (prf)"], place[:, 0] == 4)
    some = NeuralDataset.read(out, region=["V1", "V2"]).trials[KEY]
    assert np.array_equal(some.responses[:], truth.responses[KEY][:, place[:, 0] < 2])


def test_small_slabs_give_the_same_betas(made, monkeypatch, tmp_path, functions):
    monkeypatch.setattr(things_fmri, "SLAB_BYTES", 4 * 207 * 13)
    monkeypatch.setattr(things_fmri, "PIECE_BYTES", 8 * 13 * 10)
    functions["prepare"](made[0], tmp_path / "out")
    found = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert np.array_equal(found.responses[:], made[1].responses[KEY])


def test_only_test_images_are_tested_and_their_concepts_do_not_train(made):
    dataset = NeuralDataset.read(made[2])
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert (train.n_trials, test.n_trials) == ((10 - 4) * 4, 4 * 12)
    assert set(test.trials[KEY].table["trial_type"].tolist()) == {"test"}
    within = dataset.with_split("stimuli")
    assert (within.part("train").n_trials, within.part("test").n_trials) == (40, 48)


def test_a_dry_run_counts_the_same_and_says_what_the_whole_dataset_has(made, functions, tmp_path):
    dry = functions["prepare"](made[0], tmp_path / "none", dry_run=True)
    assert dry.trials == catalogue.counts(made[2]).trials and list(tmp_path.iterdir()) == []
    assert any("40 of 8640" in line for line in dry.missing)
    layout.verify(made[2])


def test_dataset_json_says_on_what_the_betas_were_chosen(made):
    about = NeuralDataset.read(made[2]).about
    assert about["betas"]["ridge_chosen_on"] == "all" and about["betas"]["overlap"] == "modelled"


def test_without_a_brain_mask_voxels_have_regions_but_no_place(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", brain_mask=False)
    counts = functions["prepare"](tmp_path / "raw", tmp_path / "out")
    space = NeuralDataset.read(tmp_path / "out").trials[KEY].space
    assert space.kind == "array" and space.regions["V1"].any()
    assert any("brainmask" in line for line in counts.missing)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5])
def test_bad_voxels_are_counted_and_refused_unless_left_out(functions, raw, tmp_path, value):
    with h5py.File(raw / "betas_csv" / BETAS, "r+") as file:
        values = file["ResponseData/block0_values"]
        changed = values[[3, 8]]
        changed[:, slice(None) if value == 0.5 else 4] = value  # 0.5: never varies
        values[[3, 8]] = changed
    error = refused(functions, raw, tmp_path / "out", "2 of 207 voxels .*invalid=drop")
    assert error.path.name == BETAS
    functions["prepare"](raw, tmp_path / "out", sets=["invalid=drop"])
    dataset = NeuralDataset.read(tmp_path / "out")
    assert dataset.trials[KEY].responses.shape == (88, 205)
    assert dataset.about["voxels_left_out"] == {KEY: 2}
    assert len(things_fmri.read_voxel_maps(tmp_path / "out", KEY)["nc_testset"]) == 205


def test_files_that_contradict_each_other_are_refused_by_name(functions, raw, tmp_path):
    import pandas as pd

    out, folder = tmp_path / "out", raw / "betas_csv"
    stimuli, voxels = (pd.read_csv(folder / n) for n in (STIMULI, VOXELS))
    for name, frame, match in (
        (STIMULI, stimuli.iloc[:-1], r"expected floats \(207, 87\)"),
        (STIMULI, stimuli.drop(columns="stimulus"), "no column .*stimulus"),
        (STIMULI, stimuli.assign(trial_type="exp"), "known are train and test"),
        (VOXELS, voxels.iloc[:-1], r"expected floats \(206, 88\)"),
        (VOXELS, voxels.assign(voxel_id=voxels["voxel_id"] + 1), "other voxel ids"),
        (VOXELS, voxels.assign(voxel_x=99), "outside of the brain mask"),
        (VOXELS, voxels.assign(voxel_x=voxels["voxel_x"].iloc[0], voxel_y=voxels["voxel_y"].iloc[0],
                               voxel_z=voxels["voxel_z"].iloc[0]), "a voxel twice"),
        (VOXELS, voxels.assign(V1=2), "other values than 0 and 1"),
    ):  # fmt: skip
        frame.to_csv(folder / name, index=False)
        refused(functions, raw, out, match)
        stimuli.to_csv(folder / STIMULI, index=False)
        voxels.to_csv(folder / VOXELS, index=False)
    functions["prepare"](raw, out)


def test_other_pandas_files_and_cut_ones_are_refused_with_the_way_out(functions, raw, tmp_path):
    path = raw / "betas_csv" / BETAS
    content = path.read_bytes()
    with h5py.File(path, "r+") as file:
        file["ResponseData"].attrs["pandas_type"] = np.bytes_(b"frame_table")
    refused(functions, raw, tmp_path / "out", r"frame_table.*read_hdf\(path\)\.to_hdf")
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    refused(functions, raw, tmp_path / "out", "0 frames")
    path.write_bytes(content[:-20_000])
    refused(functions, raw, tmp_path / "out", "ResponseData")


def test_voxel_ids_may_be_the_first_column_of_the_floats(raw):
    path = raw / "betas_csv" / BETAS
    with h5py.File(path, "r+") as file:
        group = file["ResponseData"]
        values = group["block0_values"][()]
        del group["block0_values"], group["block1_values"]
        group["block0_values"] = np.concatenate([np.arange(207.0)[:, None], values], axis=1)
        group.attrs["nblocks"] = 1
    rows = things_fmri.BetaRows(path, 88, np.arange(207), np.arange(207))
    assert np.array_equal(rows[5], values[:, 5].astype(np.float32))


def test_missing_files_are_named(functions, raw, tmp_path):
    (raw / "betas_csv" / VOXELS).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(VOXELS)):
        functions["prepare"](raw, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="sub-02"):
        functions["prepare"](raw, tmp_path / "out", subjects=[2])
    assert len(functions["fetch"](tmp_path, subjects=[1], dry_run=True)) == 5
    with pytest.raises(checks.DownloadError, match=r"figshare\.plus"):
        functions["fetch"](tmp_path)


def test_betas_are_read_in_bounded_memory(tmp_path):
    path = tmp_path / "large.h5"
    write_frame = runpy.run_path(str(catalogue.folder("things_fmri") / "_synthetic.py"))["write_frame"]
    write_frame(path, np.random.default_rng(0).standard_normal((10_000, 1000)))  # 80 MB
    script = textwrap.dedent("""
        import sys, re
        import numpy as np
        from braindec.data import things_fmri
        things_fmri.SLAB_BYTES, things_fmri.PIECE_BYTES = 4 << 20, 2 << 20
        def own(): return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
        before, most = own(), 0.0
        rows = things_fmri.BetaRows(sys.argv[1], 1000, np.arange(10_000), np.arange(10_000))
        for start in range(0, 1000, 50):
            rows[start : start + 50]
            most = max(most, own() - before)
        print(most)
    """)
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert float(ran.stdout) < 30
