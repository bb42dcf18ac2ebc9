"""The real recordings are prepared completely, and a simple decoder finds in them what others found."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from braindec.data import NeuralDataset, catalogue, download
from braindec.data.preprocessing import AverageTime, ClipMad, Crop, Preprocessing, Standardise
from braindec.stats.permutation import permute_within_blocks

FOLDERS = {
    "haxby2001": "fmri_haxby2001_slice",
    "digits69": "fmri_digits69",
    "faces_houses_eeg": "eeg_faces_houses",
}


@pytest.fixture(scope="module")
def prepared(real_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    return {name: _prepare(name, real_data, out / name) for name in FOLDERS}


def _prepare(name, raw, out):
    catalogue.load(name)["prepare"](raw, out)
    return NeuralDataset.read(out)


def folds(dataset):
    for name in dataset.splits:
        if name != "default":
            whole = dataset.with_split(name)
            yield tuple(next(iter(whole.part(p).trials.values())) for p in ("train", "test"))


def features(train, test, *steps):
    fitted = Preprocessing(steps).fit(train)
    return [fitted.apply(t).reshape(t.n_trials, -1) for t in (train, test)]


def lda():
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


@pytest.mark.parametrize("name", FOLDERS)
def test_counts_are_those_of_the_card(name, prepared, real_data, tmp_path):
    facts = catalogue.card(name).facts["counts"]
    dataset = prepared[name]
    key = dataset.keys[0]
    assert dataset.trials[key].n_trials == facts[key]
    assert len(dataset.stimuli.ids) == facts["n_stimuli"]
    shape = dataset.info.of(key).shape
    assert shape[0] == facts.get("n_voxels", facts.get("n_channels"))
    if "n_runs" in facts:
        assert len(dataset.unit_values("run")) == facts["n_runs"]
    nested = catalogue.load(name)["prepare"](real_data / FOLDERS[name], tmp_path, dry_run=True)
    assert nested == catalogue.counts(dataset.folder)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_files_are_the_listed_ones(name, prepared):
    listed = {path: sha256 for path, _, sha256 in download.listed(catalogue.folder(name) / "files.tsv")}
    assert prepared[name].about["raw_files"] == listed


def test_haxby_blocks_agree_with_the_volume_labels(prepared, real_data):
    """The OpenfMRI events and the label of every volume come from different files."""
    folder = real_data / FOLDERS["haxby2001"]
    lines = [line.split() for line in (folder / "attributes_literal.txt").read_text().splitlines()]
    labels, runs = np.array([a for a, _ in lines]), np.array([int(b) for _, b in lines])
    starts = np.flatnonzero((labels != "rest") & (np.concatenate([["rest"], labels[:-1]]) != labels))
    table = prepared["haxby2001"].trials["sub-01_fmri"].table
    assert table["trial_type"].tolist() == labels[starts].tolist()
    assert table["run"].tolist() == (runs[starts] + 1).astype(str).tolist()
    assert np.round(table["onset_s"] / 2.5).astype(int).tolist() == (starts % 121).tolist()


def haxby_accuracy(dataset, labels, *steps):
    hits = []
    for train, test in folds(dataset):
        x, z = features(train, test, *steps)
        a, b = (labels[t.table["acquisition_order"]] for t in (train, test))
        hits.append(lda().fit(x, a).predict(z) == b)
    return float(np.mean(hits))


def test_haxby_categories_are_decoded_when_runs_are_centred(prepared, rng):
    dataset = prepared["haxby2001"]
    table = dataset.trials["sub-01_fmri"].table
    centred = Standardise("run", "unit_unlabelled", scale=False)
    assert haxby_accuracy(dataset, table["trial_type"], centred) >= 0.85
    assert (
        haxby_accuracy(dataset, table["trial_type"]) < 0.75
    )  # runs differ in level: the transductive step matters
    nulls = []
    for _ in range(3):
        order = permute_within_blocks(table["exchangeability_block"], rng)
        nulls.append(haxby_accuracy(dataset, table["trial_type"][order], centred))
    assert np.mean(nulls) < 0.25


def test_haxby_block_position_alone_is_above_chance(prepared):
    hits = []
    for train, test in folds(prepared["haxby2001"]):
        x, z = (np.eye(8)[t.table["run_position"]] for t in (train, test))
        hits.append(lda().fit(x, train.table["trial_type"]).predict(z) == test.table["trial_type"])
    assert 0.17 < np.mean(hits) < 0.35


def test_digits_are_identified_within_their_class(prepared):
    dataset = prepared["digits69"]
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    pixels = dataset.stimuli.images(dataset.stimuli.ids)[..., 0].reshape(100, -1) / 255
    category = dataset.stimuli.table["category"]
    overall, within = [], []
    for train, test in folds(dataset):
        x, z = features(train, test, Standardise())
        a, b = ([row[i] for i in t.table["stimulus_id"]] for t in (train, test))
        mean = pixels[a].mean(0)
        predicted = Ridge(300.0).fit(x, pixels[a]).predict(z) - mean
        r = np.corrcoef(predicted, pixels[b] - mean)[: len(b), len(b) :]
        won = np.diag(r)[:, None] > r
        other = ~np.eye(len(b), dtype=bool)
        overall.append(won[other])
        within.append(won[other & (category[b][:, None] == category[b])])
    assert np.mean(np.concatenate(overall)) >= 0.90
    assert np.mean(np.concatenate(within)) >= 0.83


def test_faces_and_houses_are_told_apart_with_every_trial_scored(prepared):
    areas, n_scored = {True: [], False: []}, 0
    for train, test in folds(prepared["faces_houses_eeg"]):
        for clipped in (True, False):
            steps = (ClipMad(3.0),) if clipped else ()
            x, z = features(train, test, *steps, Crop(0.0, 0.5), AverageTime(4))
            face = [t.table["trial_type"] == "face" for t in (train, test)]
            areas[clipped].append(roc_auc_score(face[1], lda().fit(x, face[0]).decision_function(z)))
        n_scored += test.n_trials
    assert n_scored == 1174
    assert np.mean(areas[True]) >= 0.67
    assert np.mean(areas[True]) > np.mean(areas[False])
