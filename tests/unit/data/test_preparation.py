"""What the common part of prepare.py files promises to a dataset that brings its own reading."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data import NeuralDataset, layout
from braindec.data.catalogue import Counts
from braindec.data.preparation import Content, Preparation


@pytest.fixture
def mine(planted, tmp_path):
    """(a dataset of two subjects whose raw folder holds one file, that folder, a list of what was read)."""
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "recording.bin").write_bytes(b"content")
    seen = []
    dataset = planted.dataset

    def read(folder, subjects):
        seen.append(subjects)
        trials = tuple(t for t in dataset.trials.values() if t.subject in subjects)
        return Content(trials, dataset.stimuli.ids, dataset.stimuli.table, (folder / "recording.bin",))

    about = Preparation(
        folder=tmp_path / "mine", expected="*.bin", nested="inner", licence="CC0", source="here", read=read,
        splits=lambda d: [dataset.split], subjects=(1, 2), notes={"label": "category"},
    )  # fmt: skip
    return about, raw, seen


def test_only_the_chosen_subjects_are_read_and_written(mine, planted, tmp_path):
    about, raw, seen = mine
    counts = about.prepare(raw, tmp_path / "out", subjects=[2])
    found = NeuralDataset.read(tmp_path / "out")
    assert seen == [(2,)]
    assert counts == Counts({"sub-02_fmri": planted.dataset.trials["sub-02_fmri"].n_trials}, 160)
    assert found.name == "mine" and found.about["label"] == "category"
    assert np.array_equal(
        found.trials["sub-02_fmri"].responses[:], planted.dataset.trials["sub-02_fmri"].responses
    )
    assert list(found.about["raw_files"]) == ["recording.bin"]
    layout.verify(tmp_path / "out")


def test_a_dry_run_writes_nothing_and_counts_the_same(mine, tmp_path):
    about, raw, _ = mine
    dry = about.prepare(raw, tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert dry == about.prepare(raw, tmp_path / "out")


@pytest.mark.parametrize(("subjects", "wrong"), [([3], "subjects"), ([], "number of subjects")])
def test_subjects_that_are_not_there_are_refused_before_anything_is_read(mine, tmp_path, subjects, wrong):
    about, raw, seen = mine
    with pytest.raises(ValueError, match=wrong):
        about.prepare(raw, tmp_path / "out", subjects=subjects)
    with pytest.raises(ValueError, match=wrong):
        about.fetch(raw, subjects=subjects, dry_run=True)
    assert seen == []


def test_fewer_than_one_job_is_refused(mine, tmp_path):
    about, raw, _ = mine
    with pytest.raises(ValueError, match="n_jobs"):
        about.prepare(raw, tmp_path / "out", n_jobs=0)
