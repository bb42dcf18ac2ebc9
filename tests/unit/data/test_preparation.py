"""What the common part of prepare.py files promises to a dataset that brings its own reading."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from dataclasses import replace

import joblib
import numpy as np
import pytest

from braindec.data import NeuralDataset, layout
from braindec.data.catalogue import Counts
from braindec.data.dataset import view
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


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


PREPARE = """
import os
from pathlib import Path
import numpy as np
from braindec.data import Split
from braindec.data.preparation import Content, Preparation
from braindec.types import ArraySpace, Table, Trials

def read(raw, subjects):
    trials = []
    for s in subjects:
        x = np.load(raw / f"{s}.npy")
        n = np.arange(len(x))
        zero = np.zeros(len(x), int)
        table = Table({"stimulus_id": np.array([f"s{i}" for i in n]), "session": zero, "run": zero, "repeat": zero,
            "onset_s": n * 1.0, "acquisition_order": n, "exchangeability_block": zero})
        trials.append(Trials(x, table, ArraySpace(x.shape[1]), "a.u.", s, "fmri"))
    (raw / f"process-{subjects[0]}").write_text(str(os.getpid()))
    ids = tuple(f"s{i}" for i in range(len(x)))
    return Content(tuple(trials), ids, Table({"n": n}), tuple(raw / f"{s}.npy" for s in subjects))

mine = Preparation(folder=Path(__file__).parent, expected="*.npy", nested="x", licence="", source="", read=read,
    splits=lambda d: [Split("all", "stimulus", {"train": ("s0", "s1"), "test": ("s2",)})], subjects=(1, 2, 3))
prepare = mine.prepare
"""


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_neither_the_number_of_jobs_nor_the_backend_decides_what_is_written(backend, tmp_path, rng):
    script, raw = tmp_path / "mine" / "prepare.py", tmp_path / "raw"
    raw.mkdir()
    script.parent.mkdir()
    script.write_text(PREPARE)
    for subject in (1, 2, 3):
        np.save(raw / f"{subject}.npy", rng.standard_normal((3, 4)).astype(np.float32))
    prepare = runpy.run_path(str(script), run_name="a_dataset")["prepare"]
    prepare(raw, tmp_path / "one")
    if (
        backend == "loky"
    ):  # from a process whose path is a user's: the tests' own hides the checkout from workers
        call = f"import runpy; runpy.run_path({str(script)!r}, run_name='a_dataset')['prepare']"
        call += f"({str(raw)!r}, {str(tmp_path / 'two')!r}, n_jobs=2)"
        subprocess.run([sys.executable, "-c", call], check=True, timeout=120, cwd=tmp_path)
    else:
        with joblib.parallel_config(backend=backend):
            prepare(raw, tmp_path / "two", n_jobs=2)
    processes = {int((raw / f"process-{s}").read_text()) for s in (1, 2, 3)}
    assert (processes == {os.getpid()}) == (backend == "threading")
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "one", "raw", "two"]


def test_a_stopped_run_goes_on_with_the_subjects_that_are_missing(mine, tmp_path):
    about, raw, seen = mine
    about.prepare(raw, tmp_path / "whole")
    seen.clear()

    def stop(folder, subjects):
        if 2 in subjects:
            raise KeyboardInterrupt
        return about.read(folder, subjects)

    with pytest.raises(KeyboardInterrupt):
        replace(about, read=stop).prepare(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists() and seen == [(1,)]
    about.prepare(raw, tmp_path / "out")
    assert seen == [(1,), (2,)]
    assert content_of(tmp_path / "out") == content_of(tmp_path / "whole")


def test_what_is_there_is_not_made_again_unless_a_raw_file_or_the_subjects_change(mine, tmp_path):
    about, raw, seen = mine
    about.prepare(raw, tmp_path / "out")
    before = content_of(tmp_path / "out")
    seen.clear()
    about.prepare(raw, tmp_path / "out")
    assert seen == [] and content_of(tmp_path / "out") == before
    (raw / "recording.bin").write_bytes(b"changed")
    about.prepare(raw, tmp_path / "out")
    assert seen == [(1,), (2,)]
    about.prepare(raw, tmp_path / "out", subjects=[1])
    assert NeuralDataset.read(tmp_path / "out").keys == ("sub-01_fmri",)
    layout.verify(tmp_path / "out")


def test_a_stimulus_that_several_subjects_saw_is_written_once(mine, tmp_path):
    about, raw, _ = mine
    images = np.random.default_rng(0).integers(0, 256, (160, 2, 2, 3), dtype=np.uint8)

    def own(folder, subjects):
        whole = about.read(folder, subjects)
        rows = np.arange(100) if subjects == (1,) else np.arange(159, -1, -1)
        ids = tuple(whole.ids[i] for i in rows)
        trials = tuple(view(t, np.isin(t.table["stimulus_id"], ids)) for t in whole.trials)
        return Content(trials, ids, whole.table.take(rows), whole.files, images[rows])

    replace(about, read=own).prepare(raw, tmp_path / "out")
    found = NeuralDataset.read(tmp_path / "out").stimuli
    assert found.ids == (
        *[f"stimulus-{i:03d}" for i in range(100)],
        *[f"stimulus-{i:03d}" for i in range(159, 99, -1)],
    )
    row = [int(i[-3:]) for i in found.ids]
    assert np.array_equal(found.images(found.ids), images[row])
    assert found.table["category"].tolist() == about.read(raw, (1,)).table["category"][row].tolist()
