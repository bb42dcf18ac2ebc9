"""A BIDS folder is prepared session by session: what is done is kept, and what was stopped goes on."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, bids_fmri, bids_meeg, catalogue, layout

CHOOSING = ("fmri.glm.hrf=library", "fmri.glm.max_components=2", "split=session", 'test=["B"]')


class Stopped(Exception):
    """What a test stops preparing with."""


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("bids")


@pytest.fixture(scope="module")
def original(functions, tmp_path_factory):
    """A raw folder of one subject with BOLD and EEG in the sessions A and B, two runs each."""
    raw = tmp_path_factory.mktemp("sessions") / "raw"
    functions["synthetic"](raw)
    for base in (raw, raw / "derivatives/fmriprep"):
        shutil.rmtree(base / "sub-02")
        for path in sorted(base.glob("sub-01/*/*run-*")):
            _into_session(base, path)
    return raw


def _into_session(base, path):
    run = int(path.name.split("run-")[1][0])
    session, number = "AB"[(run - 1) // 2], (run - 1) % 2 + 1

    def renamed(text):
        return text.replace("sub-01_", f"sub-01_ses-{session}_").replace(f"run-{run}_", f"run-{number}_")

    target = base / f"sub-01/ses-{session}" / path.parent.name / renamed(path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".vhdr", ".vmrk"):  # they name each other
        path.write_text(renamed(path.read_text()))
    path.rename(target)


@pytest.fixture
def raw(original, tmp_path):
    shutil.copytree(original, tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def stop_at(monkeypatch):
    """A function that counts the runs read by `name` of a module, by session, and stops at the n-th."""

    def watch(module, name, n=None):
        real, seen = getattr(module, name), []

        def counted(*args):
            file = next(f for a in args for f in (getattr(a, "file", a),) if hasattr(f, "session"))
            if len(seen) + 1 == n:
                raise Stopped
            seen.append(file.session)
            return real(*args)

        monkeypatch.setattr(module, name, counted)
        return seen

    return watch


def contents(out):
    return {e["key"]: e["content"] for e in layout.read_manifest(out)["recordings"]}


@pytest.mark.parametrize(
    ("module", "name", "modality"), [(bids_fmri, "percent", "fmri"), (bids_meeg, "_read_run", "eeg")]
)
def test_sessions_that_are_done_are_not_read_again_by_the_run_that_goes_on(
    module, name, modality, functions, raw, tmp_path, stop_at, monkeypatch
):
    sets = (f'modalities=["{modality}"]',)
    functions["prepare"](raw, tmp_path / "whole", sets=sets)
    with monkeypatch.context(), pytest.raises(Stopped):
        stop_at(module, name, n=4)  # the second run of session B
        functions["prepare"](raw, tmp_path / "out", sets=sets)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    seen = stop_at(module, name)
    functions["prepare"](raw, tmp_path / "out", sets=sets)
    assert seen == ["B", "B"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert {p.name for p in tmp_path.iterdir()} == {"raw", "whole", "out"}


def test_where_something_is_chosen_signals_and_choices_are_kept_too(
    functions, raw, tmp_path, stop_at, monkeypatch
):
    sets = ('modalities=["fmri"]', *CHOOSING)
    functions["prepare"](raw, tmp_path / "whole", sets=sets)
    with pytest.raises(Stopped):
        stop_at(bids_fmri, "estimated", n=3)
        functions["prepare"](raw, tmp_path / "out", sets=sets)
    monkeypatch.undo()
    signals, choices, estimates = (
        stop_at(bids_fmri, "percent"),
        stop_at(bids_fmri.glm_choices, "best_hrf"),
        stop_at(bids_fmri, "estimated"),
    )
    functions["prepare"](raw, tmp_path / "out", sets=sets)
    assert (signals, choices, estimates) == ([], [], ["B", "B"])
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_another_choice_of_training_runs_reads_no_signal_again(
    functions, raw, tmp_path, stop_at, monkeypatch
):
    sets = ('modalities=["fmri"]', *CHOOSING)
    with pytest.raises(Stopped):
        stop_at(bids_fmri, "estimated", n=1)
        functions["prepare"](raw, tmp_path / "out", sets=sets)
    monkeypatch.undo()
    seen = stop_at(bids_fmri, "percent")
    functions["prepare"](raw, tmp_path / "out", sets=(*sets[:-1], 'test=["A"]'))
    functions["prepare"](raw, tmp_path / "fresh", sets=(*sets[:-1], 'test=["A"]'))
    assert seen == ["A", "A", "B", "B"]  # those of `fresh` alone
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_session_whose_files_changed_meanwhile_is_read_again(
    functions, raw, tmp_path, stop_at, monkeypatch
):
    sets = ('modalities=["fmri"]',)
    with pytest.raises(Stopped):
        stop_at(bids_fmri, "percent", n=3)
        functions["prepare"](raw, tmp_path / "out", sets=sets)
    monkeypatch.undo()
    table = next(raw.glob("derivatives/fmriprep/sub-01/ses-A/func/*run-1_desc-confounds_timeseries.tsv"))
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows[:-1], rows[-2]]) + "\n")
    seen = stop_at(bids_fmri, "percent")
    functions["prepare"](raw, tmp_path / "out", sets=sets)
    assert seen == ["A", "A", "B", "B"]


def test_a_folder_made_of_the_same_content_and_settings_is_left_alone(functions, raw, tmp_path, stop_at):
    out = tmp_path / "out"
    functions["prepare"](raw, out)
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    signals, epochs = stop_at(bids_fmri, "percent"), stop_at(bids_meeg, "_read_run")
    for path in raw.rglob("*.tsv"):
        os.utime(path, (1, 1))
    functions["prepare"](raw, out)
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before and not signals + epochs
    functions["prepare"](raw, out, sets=("meeg.tmax=0.6",))
    assert len(epochs) == 4
    assert NeuralDataset.read(out).trials["sub-01_eeg"].responses.shape[2] == 161
    picture = next((raw / "stimuli").rglob("*.png"))
    shutil.copyfile(next(p for p in (raw / "stimuli").rglob("*.png") if p != picture), picture)
    epochs.clear()
    functions["prepare"](raw, out, sets=("meeg.tmax=0.6",))
    assert len(epochs) == 4


def test_sessions_with_other_channels_are_refused_by_the_second_one_s_name(functions, raw, tmp_path):
    for path in raw.glob("sub-01/ses-B/eeg/*_channels.tsv"):
        path.write_text(path.read_text().replace("Oz\tEEG", "Oz\tMISC"))
    with pytest.raises(checks.DataFileError, match=r"ses-B.*has 11 channels at 200 Hz, the first run 12"):
        functions["prepare"](raw, tmp_path / "out", sets=('modalities=["eeg"]',))
    assert not (tmp_path / "out").exists()


def test_voxels_that_are_bad_in_one_session_are_left_out_of_all(functions, raw, tmp_path):
    import nibabel

    path = next(raw.glob("derivatives/fmriprep/sub-01/ses-B/func/*run-2*desc-preproc_bold.nii.gz"))
    image = nibabel.load(path)
    data = np.asarray(image.dataobj).copy()
    data[4, 4, 2, 9] = np.nan
    nibabel.save(nibabel.Nifti1Image(data, image.affine, image.header), path)
    for name, further in {"plain": (), "choosing": CHOOSING}.items():
        sets = ('modalities=["fmri"]', "fmri.bad_voxels=drop", *further)
        functions["prepare"](raw, tmp_path / name, sets=sets)
        trials = NeuralDataset.read(tmp_path / name).trials["sub-01_fmri"]
        assert trials.responses.shape == (64, 171) and trials.space.n_features == 171
