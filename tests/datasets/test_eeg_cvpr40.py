"""EEG-CVPR40: planted segments are read one by one, and its block design is caught, not decoded."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from braindec import checks, cli
from braindec.data import NeuralDataset, catalogue, layout, leakage, splits
from braindec.evaluate.audit import audit_splits


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("eeg_cvpr40")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("eeg_cvpr40")
    truth = functions["synthetic"](base / "raw")
    counts = functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out", counts


@pytest.fixture(scope="module")
def written(functions, tmp_path_factory):
    raw = tmp_path_factory.mktemp("eeg_cvpr40_small") / "raw"
    functions["synthetic"](raw, subjects=(1,), n_classes=2)
    return raw


@pytest.fixture
def small(written, tmp_path):
    return shutil.copytree(written, tmp_path / "raw")


def decoded(dataset, split, key_train, key_test):
    """Hits of a linear classifier of the mean of each channel over time."""
    part = dataset.with_split(split)
    sides = []
    for name, keys in (("train", key_train), ("test", key_test)):
        trials = [part.part(name).trials[k] for k in keys]
        x = np.concatenate([np.asarray(t.responses[:]).mean(2) for t in trials])
        sides.append((x, np.concatenate([t.table["category"] for t in trials])))
    (x, y), (test_x, test_y) = sides
    return (RidgeClassifier().fit(x, y).predict(test_x) == test_y).astype(float)


def test_segments_are_the_planted_ones_trial_by_trial(made):
    _, truth, out, _ = made
    dataset = NeuralDataset.read(out)
    assert set(dataset.trials) == set(truth.responses)
    for key, planted in truth.responses.items():
        trials = dataset.trials[key]
        assert np.array_equal(trials.responses[:], planted) and planted.shape[1:] == (128, 440)
        assert (trials.sfreq, trials.tmin) == (1000, 0.02)
        for column, values in truth.tables[key].items():
            assert np.array_equal(trials.table[column], values), column
    for part, images in truth.details["parts"].items():
        assert set(dataset.splits["default"].values(part)) <= set(images)
    leakage.check(dataset.part("train"), dataset.part("test"))  # images are disjoint: the leak is another one


@pytest.mark.parametrize(("form", "before_1_6"), [("raw", True), ("14_70", False)])
def test_both_torch_formats_and_other_files_hold_the_same(functions, tmp_path, form, before_1_6):
    truth = functions["synthetic"](
        tmp_path / "raw", subjects=(2,), n_classes=2, files=form, before_1_6=before_1_6
    )
    functions["prepare"](tmp_path / "raw", tmp_path / "out")
    dataset = NeuralDataset.read(tmp_path / "out")
    assert np.array_equal(dataset.trials["sub-02_eeg"].responses[:], truth.responses["sub-02_eeg"])
    assert dataset.about["epochs"]["z_scored_on"] == ("none" if form == "raw" else "unknown")


def test_drift_alone_is_decoded_on_the_published_split_and_not_in_a_subject_left_out(made):
    """No class was planted. Chance is 1 in 6; the bounds are three standard errors from it."""
    dataset = NeuralDataset.read(made[2])
    hits = np.concatenate([decoded(dataset, "default", [k], [k]) for k in dataset.keys])
    assert len(hits) >= 30 and hits.mean() > 0.9
    left_out = []
    for fold in splits.named(dataset, "leave_one_subject_out"):
        key = f"sub-{int(fold.values('test')[0]):02d}_eeg"
        left_out.append(decoded(dataset, fold.name, [k for k in dataset.keys if k != key], [key]))
    blocks = np.concatenate(left_out)
    n_independent = 3 * 6  # a block's trials are decoded alike
    assert abs(blocks.mean() - 1 / 6) < 3 * np.sqrt(1 / 6 * 5 / 6 / n_independent)


def test_the_audit_says_block_design_and_a_subject_left_out_has_none(made, capsys):
    _, _, out, _ = made
    assert cli.main(["audit", str(out)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "Block design: class = block in time" in shown and "mean recall of 1.00" in shown
    dataset = NeuralDataset.read(out)
    audit = audit_splits(dataset, splits.named(dataset, "leave_one_subject_out"), everything=True)
    assert "block_design" not in {f.kind for f in audit.leaks}


def test_card_and_prepared_folder_carry_the_verdict(made):
    assert "block design: class = block in time" in catalogue.card("eeg_cvpr40").facts["verdict"]
    assert "block design: class = block in time" in NeuralDataset.read(made[2]).about["verdict"]


def test_counts_are_those_of_a_dry_run_which_writes_nothing(functions, made, tmp_path):
    raw, _, out, counts = made
    dry = functions["prepare"](raw, tmp_path / "none", dry_run=True)
    assert dry == counts == catalogue.counts(out) and not list(tmp_path.iterdir())
    said = " ".join(counts.missing)
    assert "180 of 11964" in said and "6 of 40 classes" in said and "4, 5, 6 of 6" in said
    assert "not 450 to 600 samples" in said
    layout.verify(out)


def change(path, **changed):
    torch.save(torch.load(path, weights_only=True) | changed, path)


def refused(functions, raw, match):
    with pytest.raises(checks.DataFileError, match=match) as caught:
        functions["prepare"](raw, raw.parent / "out")
    assert not (raw.parent / "out").exists()
    return caught.value.path.name


def test_contradictions_are_refused_by_file(functions, small):
    signals, published = small / "eeg_5_95_std.pth", small / "block_splits_by_image_all.pth"
    held = torch.load(signals, weights_only=True)
    segments = held["dataset"]

    def one(**changed):
        return [segments[0] | changed, *segments[1:]]

    bad = segments[0]["eeg"].clone()
    bad[3, 100] = float("nan")
    for changed, match in (
        ({"dataset": one(eeg=segments[0]["eeg"][:64])}, "64"),
        ({"dataset": one(label=7)}, "label 7 of 2"),
        ({"dataset": one(label=1 - segments[0]["label"])}, "under the class"),
        ({"dataset": one(subject=9)}, "subject 9"),
        ({"dataset": [{k: v for k, v in segments[0].items() if k != "image"}]}, "lacks one of"),
        ({"dataset": one(eeg=bad)}, "1 NaN or infinite"),
    ):
        torch.save(held | changed, signals)
        assert refused(functions, small, match) == signals.name
    torch.save(held, signals)
    rows = torch.load(published, weights_only=True)["splits"][0]
    for changed, match in (
        (rows | {"val": [*rows["val"], rows["train"][0]]}, "in two parts"),
        (rows | {"val": [10**6]}, "names segment 1000000"),
    ):
        change(published, splits=[changed])
        assert refused(functions, small, match) == published.name


def test_two_files_side_by_side_have_to_be_told_apart_and_missing_ones_are_named(functions, small, tmp_path):
    functions["synthetic"](small, subjects=(1,), n_classes=2, files="raw")
    with pytest.raises(checks.ConfigError, match="--set files="):
        functions["prepare"](small, tmp_path / "out")
    assert functions["prepare"](small, tmp_path / "out", sets=["files=raw"]).trials.keys() == {"sub-01_eeg"}
    assert len(functions["fetch"](tmp_path, dry_run=True)) == 2
    with pytest.raises(checks.DownloadError, match="tinyurl"):
        functions["fetch"](tmp_path)


def test_a_file_that_runs_code_is_refused_before_it_does(functions, small, tmp_path):
    import os

    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    torch.save({"dataset": [Canary()]}, small / "eeg_5_95_std.pth")
    refused(functions, small, "asks to run")
    assert not (tmp_path / "canary").exists()
