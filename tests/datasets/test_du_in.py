"""Du-IN: pickled runs in the authors' own class are read trial by trial, channel by channel, and nothing is run."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage
from braindec.evaluate.audit import audit_splits

RUN = "seeg.he2023xuanwu/001/word-recitation/run2/dataset.bipolar.default.unaligned"


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("du_in")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("du_in")
    truth = functions["synthetic"](base / "raw")
    counts = functions["prepare"](base / "raw", base / "out")
    return base / "raw", truth, base / "out", counts


@pytest.fixture
def small(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), n_times=50)
    return tmp_path / "raw"


def test_trials_are_the_planted_ones_and_channels_are_matched_by_name_over_runs(made):
    _, truth, out, _ = made
    dataset = NeuralDataset.read(out)
    assert set(dataset.trials) == {"sub-01_ieeg", "sub-02_ieeg"}
    for key, planted in truth.responses.items():
        trials = dataset.trials[key]
        assert np.array_equal(trials.responses[:], planted)
        assert trials.space.names == tuple(f"TI'{i}" for i in range(1, 7))
        assert trials.space.kinds == ("seeg",) * 6 and (trials.sfreq, trials.tmin) == (1000, -0.5)
        for column, values in truth.tables[key].items():
            assert np.array_equal(trials.table[column], values), column
    assert set(dataset.stimuli.ids) == set(truth.tables["sub-01_ieeg"]["word"].tolist())


def test_the_planted_patterns_are_decoded_from_another_run_and_not_under_shuffled_words(made, rng):
    dataset = NeuralDataset.read(made[2])
    train, test = (dataset.part(p).trials["sub-01_ieeg"] for p in ("train", "test"))
    leakage.check(dataset.part("train"), dataset.part("test"))
    words = sorted(set(train.table["word"].tolist()))
    x, y = np.asarray(train.responses[:]).reshape(train.n_trials, -1), train.table["word"]

    def score(labels):
        means = np.stack([x[labels == w].mean(0) for w in words])
        near = np.corrcoef(means, np.asarray(test.responses[:]).reshape(test.n_trials, -1))[4:, :4].argmax(1)
        return float((np.array(words)[near] == test.table["word"]).mean())

    assert score(y) == 1.0
    assert abs(np.mean([score(rng.permutation(y)) for _ in range(40)]) - 0.25) < 0.12


def test_counts_are_those_of_a_dry_run_which_writes_nothing(functions, made, tmp_path):
    raw, _, out, counts = made
    dry = functions["prepare"](raw, tmp_path / "none", dry_run=True)
    assert dry == counts == catalogue.counts(out) and not list(tmp_path.iterdir())
    said = " ".join(counts.missing)
    assert "sub-01: 4 of 61 words" in said and "3, 4, 5, 6, 7, 8, 9, 10, 11, 12 of 12" in said
    layout.verify(out)


def test_the_audit_asks_how_intracranial_epochs_were_made(made):
    """The authors do not say on what trials they standardised: that is told, not passed over."""
    dataset = NeuralDataset.read(made[2])
    audit = audit_splits(dataset, [dataset.split], everything=True)
    assert "epochs.z_scored_on" in audit.not_checked["normalisation"] and not audit.leaks


def test_a_subject_with_one_run_is_named_and_has_no_held_out_part(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), n_runs=1, n_times=50)
    counts = functions["prepare"](tmp_path / "raw", tmp_path / "out")
    assert any("one run alone" in said for said in counts.missing)
    assert not NeuralDataset.read(tmp_path / "out").splits


def test_the_folder_data_of_the_repository_is_found_and_missing_forms_are_named(functions, small, tmp_path):
    (tmp_path / "up").mkdir()
    small.rename(tmp_path / "up" / "data")
    assert functions["prepare"](tmp_path / "up", tmp_path / "out", dry_run=True).trials == {"sub-01_ieeg": 24}
    with pytest.raises(FileNotFoundError, match="form aligned"):
        functions["prepare"](tmp_path / "up", tmp_path / "out", sets=["form=aligned"])
    with pytest.raises(checks.ConfigError, match="form"):
        functions["prepare"](tmp_path / "up", tmp_path / "out", form="bipolar")
    with pytest.raises(checks.DownloadError, match="huggingface"):
        functions["fetch"](tmp_path)


def refused(functions, raw, match):
    with pytest.raises(checks.DataFileError, match=match) as caught:
        functions["prepare"](raw, raw.parent / "out")
    assert not (raw.parent / "out").exists()
    assert caught.value.path.parent == raw / RUN


def test_contradictions_and_damage_are_refused_by_file(functions, small):
    data, info = small / RUN / "data", small / RUN / "info"
    good = data.read_bytes()
    trial = {"name": "a", "data_s": np.zeros((7, 50), np.float32)}
    for held, match in (
        ([trial, trial | {"data_s": np.zeros((7, 51))}], "shapes"),
        ([trial | {"data_s": np.zeros((5, 50))}], "7 channels"),
        ([trial | {"data_s": np.zeros((7, 60))}], "another length"),
        ([{"name": "a"}], "data_s"),
        ([trial | {"data_s": np.full((7, 50), np.nan)}], "NaN"),
        ([], "no list"),
    ):
        data.write_bytes(pickle.dumps(held, protocol=4))
        refused(functions, small, match)
    data.write_bytes(good[:-100])
    refused(functions, small, "cannot be read")
    data.write_bytes(good)
    for names, match in ((["A", "A"], "one twice"), (list("abcdefg"), "shares no channel")):
        info.write_bytes(pickle.dumps({"ch_names": names}))
        refused(functions, small, match)


def test_a_file_that_runs_code_is_refused_before_it_does(functions, small, tmp_path):
    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "canary"),)

    (small / RUN / "data").write_bytes(pickle.dumps([Canary()], protocol=4))
    refused(functions, small, "asks to run")
    assert not (tmp_path / "canary").exists()
