"""What every prepare.py is called with, made of what each has of its own."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
import pytest

from braindec import checks
from braindec.data import Split, large, public
from braindec.data.catalogue import Counts
from braindec.types import ArraySpace, Table, Trials

SUBJECTS = (1, 2, 3)


@dataclass(frozen=True)
class Choice:
    """What can be asked for.

    Parameters
    ----------
    tasks : tuple of str
    gain : float
    """

    tasks: tuple[str, ...] = ("a", "b")
    gain: float = 1.0


def trials(subject, gain):
    values = gain * np.arange(6, dtype=np.float32).reshape(2, 3)
    ids = np.array(["x", "y"])
    columns = {"stimulus_id": ids, "session": np.array(["1", "1"]), "run": np.array(["1", "2"])}
    columns |= {"repeat": np.zeros(2, int), "onset_s": np.zeros(2), "acquisition_order": np.arange(2)}
    table = Table(columns | {"exchangeability_block": columns["run"]})
    return Trials(values, table, ArraySpace(3), "V", subject, "eeg")


@public.preparing(Choice, "sub-*.txt", "nested")
def prepare(raw, subjects, choice):
    """Says what was asked for."""
    files = {s: [p for p in (raw / f"sub-{s}.txt",) if p.is_file()] for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, raw, "sub-{}.txt")
    sources = tuple(
        large.Source(f"sub-{s:02d}_eeg", tuple(own), lambda s=s: trials(s, choice.gain))
        for s, own in chosen.items()
    )
    return large.Whole(
        "made", "CC0", "nowhere", raw, sources, large.Pictures(("x", "y"), Table({"name": np.array(["x", "y"])})),
        lambda dataset: [Split("default", "stimulus", {"train": ("x",), "test": ("y",)})],
        notes={"tasks": list(choice.tasks)}, settings={"gain": choice.gain}, missing=missing,
    )  # fmt: skip


@public.by_hand(SUBJECTS)
def fetch(raw, subjects):
    """A file a subject."""
    return [raw / f"sub-{s}.txt" for s in subjects], "Write to the authors."


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw" / "nested"
    folder.mkdir(parents=True)
    for s in (1, 3):
        (folder / f"sub-{s}.txt").write_text("x")
    return tmp_path / "raw"


def test_the_settings_of_a_dataset_stand_in_its_signature_and_in_its_help():
    parameters = inspect.signature(prepare).parameters
    assert tuple(parameters) == ("raw", "out", "subjects", "dry_run", "n_jobs", "tasks", "gain", "sets")
    assert parameters["gain"].default == 1.0 and parameters["n_jobs"].default == 1
    said = inspect.getdoc(prepare)
    assert said.startswith("Says what was asked for.") and "gain : float" in said


def test_settings_come_by_name_or_from_the_command_line_which_wins(raw, tmp_path):
    from braindec.data import NeuralDataset

    prepare(raw, tmp_path / "out", tasks=["a"], gain=2.0, sets=("gain=3",))
    dataset = NeuralDataset.read(tmp_path / "out")
    assert dataset.about["tasks"] == ["a"]
    assert np.array_equal(dataset.trials["sub-03_eeg"].responses[:], trials(3, 3.0).responses)


def test_a_dry_run_counts_and_names_the_absent_subjects(raw, tmp_path):
    counts = prepare(raw, tmp_path / "out", dry_run=True)
    said = "Not there, so not prepared: subjects 2 of 3."
    assert counts == Counts({"sub-01_eeg": 2, "sub-03_eeg": 2}, 2, (said,))
    assert counts.plan and not (tmp_path / "out").exists()


def test_subjects_may_be_counted_off_once(raw, tmp_path):
    counts = prepare(raw, tmp_path / "out", subjects=(s for s in (3,)), dry_run=True)
    assert counts.trials == {"sub-03_eeg": 2} and counts.missing == ()


def test_what_is_no_setting_no_folder_and_no_subject_is_refused(raw, tmp_path):
    with pytest.raises(TypeError, match="gian"):
        prepare(raw, tmp_path / "out", gian=2.0)
    with pytest.raises(checks.ConfigError, match="gain"):
        prepare(raw, tmp_path / "out", sets=("gian=2",))
    with pytest.raises(ValueError, match="n_jobs"):
        prepare(raw, tmp_path / "out", n_jobs=0)
    with pytest.raises(FileNotFoundError, match=r"sub-2\.txt"):
        prepare(raw, tmp_path / "out", subjects=[2])
    with pytest.raises(FileNotFoundError, match=r"no sub-\*\.txt"):
        prepare(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_had_by_hand_are_named_with_where_they_are(raw):
    nested = raw / "nested"
    assert fetch(nested, subjects=[1, 3]) == [nested / "sub-1.txt", nested / "sub-3.txt"]
    assert len(fetch(nested, dry_run=True)) == 3 and fetch.__doc__ == "A file a subject."
    with pytest.raises(checks.DownloadError, match=r"1 of 3 files .*sub-2\.txt\. Write to the authors\."):
        fetch(nested)
    with pytest.raises(checks.ConfigError, match="subjects"):
        fetch(nested, subjects=[4], dry_run=True)
