"""The shapes that BIDS folders come in: sessions, labels of letters, inherited tables, several spaces and tasks."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, bids, catalogue, layout


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("bids")


@pytest.fixture(scope="module")
def original(functions, tmp_path_factory):
    """(raw folder, responses of subject 1, prepared folder) of plain fMRI."""
    base = tmp_path_factory.mktemp("layouts")
    functions["synthetic"](base / "raw", eeg=False)
    functions["prepare"](base / "raw", base / "out")
    return base / "raw", NeuralDataset.read(base / "out").trials["sub-01_fmri"].responses[:]


@pytest.fixture
def raw(original, tmp_path):
    """Subject 1 of it, to change."""
    shutil.copytree(original[0], tmp_path / "raw")
    for folder in ("sub-02", "derivatives/fmriprep/sub-02"):
        shutil.rmtree(tmp_path / "raw" / folder)
    return tmp_path / "raw"


def into_sessions(root, label="control01"):
    """Runs 1 and 2 become session A, 3 and 4 runs 1 and 2 of session B, of a subject whose label is no number."""
    for base in (root, root / "derivatives/fmriprep"):
        for path in sorted((base / "sub-01/func").iterdir()):
            run = int(path.name.split("run-")[1][0])
            session, number = "AB"[(run - 1) // 2], (run - 1) % 2 + 1
            name = path.name.replace("sub-01_", f"sub-{label}_ses-{session}_").replace(
                f"run-{run}", f"run-{number}"
            )
            target = base / f"sub-{label}/ses-{session}/func/{name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        shutil.rmtree(base / "sub-01")


def test_sessions_and_labels_of_letters_give_the_same_trials(functions, original, raw, tmp_path):
    into_sessions(raw)
    functions["prepare"](raw, tmp_path / "out", sets=("split=session",))
    dataset = NeuralDataset.read(tmp_path / "out")
    trials = dataset.trials["sub-01_fmri"]
    assert np.array_equal(trials.responses[:], original[1])
    assert trials.table["session"].tolist() == ["A"] * 32 + ["B"] * 32
    assert sorted(set(trials.table["exchangeability_block"].tolist())) == ["A/1", "A/2", "B/1", "B/2"]
    assert dataset.split.unit == "session" and dataset.split.values("test") == ("B",)
    assert dataset.about["subject_labels"] == {"1": "control01"}


def test_events_at_the_root_hold_for_every_run_that_has_none_of_its_own(functions, original, raw, tmp_path):
    tables = sorted((raw / "sub-01/func").glob("*_events.tsv"))
    tables[0].rename(raw / "task-pictures_events.tsv")
    for path in tables[1:]:
        path.unlink()
    shutil.rmtree(raw / "sub-01")
    (raw / "sub-01").mkdir()
    functions["prepare"](raw, tmp_path / "out")
    trials = NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"]
    assert np.array_equal(trials.responses[:16], original[1][:16])
    assert np.array_equal(trials.table["onset_s"][:16], trials.table["onset_s"][16:32])


def test_one_of_several_spaces_has_to_be_named(functions, original, raw, tmp_path):
    for path in list((raw / "derivatives/fmriprep/sub-01/func").glob("*space-T1w*")):
        shutil.copyfile(path, path.with_name(path.name.replace("T1w", "MNI152NLin2009cAsym")))
    with pytest.raises(checks.ConfigError, match=r"spaces \['MNI152NLin2009cAsym', 'T1w'\]"):
        functions["prepare"](raw, tmp_path / "out")
    functions["prepare"](raw, tmp_path / "out", sets=("fmri.space=T1w",))
    assert np.array_equal(
        NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"].responses[:], original[1]
    )


def test_one_of_several_tasks_has_to_be_named(functions, raw, tmp_path):
    for base in (raw, raw / "derivatives/fmriprep"):
        for path in list((base / "sub-01/func").iterdir()):
            shutil.copyfile(path, path.with_name(path.name.replace("task-pictures", "task-rest")))
    with pytest.raises(checks.ConfigError, match=r"tasks \['pictures', 'rest'\]"):
        functions["prepare"](raw, tmp_path / "out")


def test_derivatives_may_lie_elsewhere(functions, original, raw, tmp_path):
    (raw / "derivatives/fmriprep").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="no recording of"):
        functions["prepare"](raw, tmp_path / "out")
    functions["prepare"](raw, tmp_path / "out", sets=(f"fmri.derivatives={tmp_path / 'elsewhere'}",))
    assert np.array_equal(
        NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"].responses[:], original[1]
    )
    assert not any("tmp" in name for name in layout.read_manifest(tmp_path / "out")["raw_files"])


def test_only_kept_types_are_trials_and_the_others_are_modelled(functions, original, raw, tmp_path):
    functions["prepare"](raw, tmp_path / "out", sets=('keep=["face","house"]', "fmri.glm.method=lsa"))
    dataset = NeuralDataset.read(tmp_path / "out")
    assert set(dataset.trials["sub-01_fmri"].table["trial_type"].tolist()) == {"face", "house"}
    assert dataset.about["processing"]["sub-01_fmri"]["other_events"] == ["press", "tool", "word"]
    with pytest.raises(checks.DataFileError, match=r"has no trial_type of \['faces'\]"):
        functions["prepare"](raw, tmp_path / "x", sets=('keep=["faces"]',))


def test_a_column_of_choice_names_the_stimulus(functions, raw, tmp_path):
    functions["prepare"](
        raw, tmp_path / "out", sets=("stimulus=trial_type", 'keep=["face","tool","word","house"]')
    )
    dataset = NeuralDataset.read(tmp_path / "out")
    assert dataset.stimuli.ids == ("face", "house", "tool", "word") and dataset.stimuli.kind == "none"
    with pytest.raises(checks.DataFileError, match="has no column 'picture'"):
        functions["prepare"](raw, tmp_path / "x", sets=("stimulus=picture",))


def test_subjects_are_their_labels_numbers_or_counted():
    assert bids.numbered(["01", "07"]) == {1: "01", 7: "07"}
    assert bids.numbered(["CSI1", "CSI2"]) == {1: "CSI1", 2: "CSI2"}
    with pytest.raises(ValueError, match="subject numbers must be unique"):
        bids.numbered(["1", "01"])
    assert sorted(["10", "9", "a2", "a10"], key=bids.natural) == ["9", "10", "a2", "a10"]
