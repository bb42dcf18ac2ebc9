"""Motor imagery: recordings that MOABB opens become windows after cues; MOABB itself, where it is installed, agrees."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from pathlib import Path

import mne
import numpy as np
import pytest
from scipy.io import loadmat

from braindec import checks
from braindec.data import NeuralDataset, catalogue, continuous, layout, leakage

KEY = "sub-01_eeg"
STORED = Path("MNE-bnci-data") / "~bci" / "database" / "001-2014"


class Imagery:
    """Reads the files as MOABB's BNCI2014_001 does, from where mne's environment says."""

    paradigm = "imagery"
    subject_list = (1, 2, 3)
    event_id = {"left_hand": 1, "right_hand": 2, "feet": 3, "tongue": 4}  # noqa: RUF012
    interval = (2, 6)
    doi = "10.3389/fnins.2012.00055"

    def data_path(self, subject):
        return [str(Path(os.environ["MNE_DATA"]) / STORED / f"A{subject:02d}{part}.mat") for part in "TE"]

    def get_data(self, subjects):
        return {
            s: {name: self.runs(p) for name, p in zip(("0train", "1test"), self.data_path(s), strict=True)}
            for s in subjects
        }

    def runs(self, path):
        held = loadmat(path, struct_as_record=False, squeeze_me=True)["data"]
        opened = [self.opened(run) for run in held if np.size(run.trial)]
        return {str(i): raw for i, raw in enumerate(opened)}

    def opened(self, run):
        names = [f"E{i}" for i in range(22)] + ["EOG1", "EOG2", "EOG3"]
        info = mne.create_info(names, float(run.fs), ["eeg"] * 22 + ["eog"] * 3)
        raw = mne.io.RawArray(1e-6 * run.X.T, info, first_samp=100, verbose="error")
        names = [list(self.event_id)[y - 1] for y in run.y]
        onset = (run.trial.astype(int) - 1) / run.fs + self.interval[0]
        return raw.set_annotations(mne.Annotations(onset, 4.0, names))


class Speller(Imagery):
    paradigm = "p300"


@pytest.fixture
def fake(monkeypatch):
    """A module `moabb` with two datasets."""
    package, datasets = types.ModuleType("moabb"), types.ModuleType("moabb.datasets")
    package.__version__ = "0"
    package.datasets = datasets
    datasets.BNCI2014_001, datasets.Speller = Imagery, Speller
    monkeypatch.setitem(sys.modules, "moabb", package)
    monkeypatch.setitem(sys.modules, "moabb.datasets", datasets)


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("moabb_motor_imagery")


@pytest.fixture(scope="module")
def written(functions, tmp_path_factory):
    raw = tmp_path_factory.mktemp("moabb") / "raw"
    return raw, functions["synthetic"](raw, subjects=(1, 2))


def agree(trials, truth, key=KEY):
    assert np.allclose(trials.responses[:], truth.responses[key], atol=1e-11)
    for column in truth.tables[key]:
        assert np.array_equal(trials.table[column], truth.tables[key][column]), column


def test_prepared_trials_are_the_planted_windows(functions, written, fake, tmp_path):
    raw, truth = written
    counts = functions["prepare"](raw, tmp_path / "out", subjects=[1, 2])
    dataset = NeuralDataset.read(tmp_path / "out")
    assert counts.trials == {"sub-01_eeg": 16, "sub-02_eeg": 16} and counts.n_stimuli == 4
    for key in truth.responses:
        trials = dataset.trials[key]
        agree(trials, truth, key)
        assert (trials.units, trials.sfreq, trials.tmin) == ("V", 250.0, 2.0)
    layout.verify(tmp_path / "out")
    assert set(dataset.about["raw_files"]) == {f"{STORED}/A0{s}{part}.mat" for s in (1, 2) for part in "TE"}


def test_whole_runs_hold_what_lies_between_the_cues_too(functions, written, fake, tmp_path):
    raw, truth = written
    functions["prepare"](raw, tmp_path / "out", subjects=[1], whole_runs=True)
    dataset = NeuralDataset.read(tmp_path / "out")
    found = continuous.runs(dataset.trials[KEY])
    assert [r.session for r in found] == ["0train"] * 2 + ["1test"] * 2
    assert all(r.duration_s == 31.0 for r in found)  # four trials of 7.5 s, and 1 s
    during = [
        r.signal[:, (first := round(float(onset) * 250)) : first + 1000]
        for r in found
        for onset in r.events["onset_s"]
    ]
    assert np.allclose(during, truth.responses[KEY], atol=1e-11)
    assert (
        np.concatenate([r.events["trial_type"] for r in found]).tolist()
        == truth.tables[KEY]["stimulus_id"].tolist()
    )
    assert set(found[0].events["duration_s"]) == {4.0}


def test_the_last_session_is_tested(functions, written, fake, tmp_path):
    functions["prepare"](written[0], tmp_path / "out", subjects=[1])
    dataset = NeuralDataset.read(tmp_path / "out")
    train, test = dataset.part("train"), dataset.part("test")
    leakage.check(train, test)
    assert (
        set(test.trials[KEY].table["session"].tolist()) == {"1test"} and train.n_trials == test.n_trials == 8
    )


def test_another_window_begins_at_the_cue(functions, written, fake, tmp_path):
    raw, truth = written
    functions["prepare"](raw, tmp_path / "out", subjects=[1], sets=("tmin=1.0", "tmax=3.0"))
    trials = NeuralDataset.read(tmp_path / "out").trials[KEY]
    assert trials.responses.shape == (16, 22, 500) and trials.tmin == 1.0
    assert np.allclose(trials.responses[:][:, :, 250:], truth.responses[KEY][:, :, :250], atol=1e-11)
    with pytest.raises(checks.DataFileError, match="tmax="):
        functions["prepare"](raw, tmp_path / "none", subjects=[1], tmax=20.0)
    with pytest.raises(checks.ConfigError, match="before tmax"):
        functions["prepare"](raw, tmp_path / "none", subjects=[1], tmax=1.0)


def test_a_filter_removes_what_lies_outside_of_its_band(functions, written, fake, tmp_path):
    functions["prepare"](written[0], tmp_path / "out", subjects=[1], l_freq=8.0, h_freq=32.0)
    x = NeuralDataset.read(tmp_path / "out").trials[KEY].responses[:].astype(np.float64)
    power, rate = np.abs(np.fft.rfft(x * 1e6)) ** 2, np.fft.rfftfreq(x.shape[-1], 1 / 250)
    inside = power[..., (rate > 12) & (rate < 28)].mean()
    assert power[..., (rate < 4) | (rate > 45)].mean() < 0.03 * inside


def test_a_dry_run_counts_writes_nothing_and_leaves_the_environment(
    functions, written, fake, tmp_path, monkeypatch
):
    monkeypatch.setenv("MNE_DATA", "/elsewhere")
    counts = functions["prepare"](written[0], tmp_path / "none", subjects=[1], dry_run=True)
    assert counts.trials == {KEY: 16} and not list(tmp_path.iterdir())
    assert os.environ["MNE_DATA"] == "/elsewhere" and "MOABB_DOWNLOAD_PROVIDER" not in os.environ


def test_damaged_files_are_one_error(functions, fake, tmp_path):
    functions["synthetic"](tmp_path / "raw")
    path = tmp_path / "raw" / STORED / "A01E.mat"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(checks.DataFileError):
        functions["prepare"](tmp_path / "raw", tmp_path / "out", subjects=[1])
    assert not (tmp_path / "out").exists()


def test_unknown_datasets_and_other_paradigms_and_subjects_are_refused(functions, written, fake, tmp_path):
    for asked, said in (("BNCI2014_01", "Did you mean 'BNCI2014_001'"), ("Speller", "is of 'p300'")):
        with pytest.raises(checks.ConfigError, match=said):
            functions["prepare"](written[0], tmp_path / "out", sets=(f"dataset={asked}",))
    with pytest.raises(checks.ConfigError, match="subjects"):
        functions["prepare"](written[0], tmp_path / "out", subjects=[10])


def test_fetch_gives_the_files_of_the_dataset(functions, written, fake, tmp_path):
    assert [p.name for p in functions["fetch"](written[0], subjects=[2])] == ["A02T.mat", "A02E.mat"]
    assert functions["fetch"](tmp_path / "x", dry_run=True) == [tmp_path / "x"]


def test_without_moabb_the_line_that_installs_it_is_said(functions, written, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "moabb", None)
    with pytest.raises(checks.MissingPackageError, match=r"pip install 'braindec\[moabb\]'"):
        functions["prepare"](written[0], tmp_path / "out")
    with pytest.raises(checks.MissingPackageError):
        functions["fetch"](tmp_path / "raw")


@pytest.mark.skipif(importlib.util.find_spec("moabb") is None, reason="needs braindec[moabb]")
@pytest.mark.filterwarnings("ignore")
def test_moabb_itself_reads_the_same_windows(functions, written, tmp_path):
    raw, truth = written
    functions["prepare"](raw, tmp_path / "out", subjects=[1])
    agree(NeuralDataset.read(tmp_path / "out").trials[KEY], truth)
