"""Sentences of Pereira et al.: MATLAB files give the planted responses at the voxels that all experiments share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from braindec import checks
from braindec.data import NeuralDataset, catalogue, layout, leakage


@pytest.fixture(scope="module")
def functions():
    return catalogue.load("pereira2018")


@pytest.fixture(scope="module")
def made(functions, tmp_path_factory):
    base = tmp_path_factory.mktemp("pereira2018")
    truth = functions["synthetic"](base / "raw")
    return base / "raw", truth, base / "out", functions["prepare"](base / "raw", base / "out")


@pytest.fixture
def raw(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1,), experiments=("243sentences",))
    return tmp_path / "raw"


def file(raw):
    return raw / "P01" / "examples_243sentences.mat"


def refused(functions, raw):
    with pytest.raises(checks.DataFileError) as error:
        functions["prepare"](raw, raw.parent / "out", experiments=("243sentences",))
    assert error.value.path == file(raw) and not (raw.parent / "out").exists()
    return str(error.value)


def rewrite(path, **changes):
    held = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    savemat(path, {k: v for k, v in (held | changes).items() if v is not None})


def test_prepared_trials_are_the_planted_responses(made):
    _, truth, out, counts = made
    dataset = NeuralDataset.read(out)
    assert counts.trials == {"sub-01_fmri": 627, "sub-03_fmri": 627} and counts.n_stimuli == 627
    for key, values in truth.responses.items():
        trials = dataset.trials[key]
        assert 40 < values.shape[1] < 55 and np.array_equal(trials.responses[:], values)
        assert np.array_equal(trials.table["stimulus_id"], truth.tables[key]["stimulus_id"])
    layout.verify(out)


def test_features_lie_where_the_columns_lay(made):
    dataset = NeuralDataset.read(made[2])
    for key, coordinates in made[1].details["coordinates"].items():
        assert np.array_equal(np.argwhere(dataset.trials[key].space.mask), coordinates)


def test_atlases_are_regions_of_the_same_voxels(functions, raw, tmp_path):
    functions["prepare"](raw, tmp_path / "out", experiments=("243sentences",))
    space = NeuralDataset.read(tmp_path / "out").trials["sub-01_fmri"].space
    meta = loadmat(file(raw), simplify_cells=True)["meta"]
    wanted = {tuple(c) for c in meta["colToCoord"][[0, 1, 2, 3, 4, 9, 10, 11]].astype(int) - 1}
    found = np.argwhere(space.mask)[space.regions["languageLH"]]
    assert {tuple(c) for c in found} == wanted and int(space.regions["visual"].sum()) == 10


def test_sentences_have_their_text_passage_and_topic(made):
    stimuli = NeuralDataset.read(made[2]).stimuli
    row = stimuli.ids.index("384sentences-013")
    assert stimuli.table["text"][row] == "Sentence 12 of 384sentences."
    assert stimuli.table["passage"][row] == 4 and stimuli.table["category"][row] == "topic_1"


def test_splits_test_whole_passages_or_another_experiment(made):
    dataset = NeuralDataset.read(made[2])
    assert list(dataset.splits) == ["default", "384_to_243"]
    for split in dataset.splits:
        train, test = (dataset.with_split(split).part(part) for part in ("train", "test"))
        leakage.check(train, test)
        assert train.n_trials + test.n_trials == dataset.n_trials
    passages = dict(zip(dataset.stimuli.ids, dataset.stimuli.table["passage"].tolist(), strict=True))
    assert all(passages[i] % 5 == 0 for i in dataset.part("test").stimulus_ids)


def test_the_other_release_and_concepts_are_read_alike(functions, tmp_path):
    names = ("180concepts_sentences", "180concepts_pictures", "384sentences")
    truth = functions["synthetic"](
        tmp_path / "raw", subjects=(2,), experiments=names, release="data_{}.mat", seed=1
    )
    counts = functions["prepare"](tmp_path / "raw", tmp_path / "out", experiments=names)
    dataset = NeuralDataset.read(tmp_path / "out")
    trials = dataset.trials["sub-02_fmri"]
    assert np.array_equal(trials.responses[:], truth.responses["sub-02_fmri"])
    assert counts.n_stimuli == 180 + 384 and "concepts_to_sentences" in dataset.splits
    assert trials.table["repeat"].max() == 1  # the second way in which a concept was shown
    assert dataset.about["participants"] == {"sub-02": "M01"}


def test_a_dry_run_counts_and_says_who_is_missing(functions, made, tmp_path):
    raw, _, _, counts = made
    assert functions["prepare"](raw, tmp_path / "none", dry_run=True) == counts
    assert not list(tmp_path.iterdir())
    assert counts.missing == ("not there, so not prepared: M03, M04, M07, M08, M09, M14, M15",)


def test_an_experiment_that_a_person_lacks_is_said(functions, raw, tmp_path):
    counts = functions["prepare"](raw, tmp_path / "out")
    assert counts.trials == {"sub-01_fmri": 243} and counts.missing[0] == "sub-01 (P01): 384sentences"


def test_responses_of_another_shape_are_refused(functions, raw):
    held = loadmat(file(raw))["examples"]
    rewrite(file(raw), examples=held[:-1])
    assert "'examples' of shape (242, 55), expected (243, 55)" in refused(functions, raw)
    rewrite(file(raw), examples=None)
    assert "of shape None" in refused(functions, raw)


def test_labels_of_unnamed_passages_are_refused(functions, raw):
    held = loadmat(file(raw))["labelsPassageForEachSentence"]
    rewrite(file(raw), labelsPassageForEachSentence=held + 1)
    assert "labels passages or topics that it does not name" in refused(functions, raw)


def test_coordinates_outside_of_the_grid_are_refused(functions, raw):
    meta = loadmat(file(raw), simplify_cells=True)["meta"]
    rewrite(file(raw), meta=meta | {"colToCoord": meta["colToCoord"] + 7})
    assert "names voxels twice or outside" in refused(functions, raw)


def test_texts_that_differ_between_people_are_refused(functions, tmp_path):
    functions["synthetic"](tmp_path / "raw", subjects=(1, 3), experiments=("243sentences",))
    path = tmp_path / "raw" / "M02" / "examples_243sentences.mat"
    texts = loadmat(path)["keySentences"]
    texts[0, 0] = "Another one."
    rewrite(path, keySentences=texts)
    with pytest.raises(checks.DataFileError, match="other texts"):
        functions["prepare"](tmp_path / "raw", tmp_path / "out", experiments=("243sentences",))


def test_a_cut_file_is_one_error(functions, raw):
    content = file(raw).read_bytes()
    file(raw).write_bytes(content[: len(content) // 2])
    refused(functions, raw)


def test_absent_people_are_refused_and_fetch_says_where_they_are(functions, raw, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"subject 2 .*M01 is 2"):
        functions["prepare"](raw, tmp_path / "none", subjects=[2])
    with pytest.raises(checks.DownloadError, match="evlab"):
        functions["fetch"](tmp_path, subjects=[1])
    assert len(functions["fetch"](tmp_path / "none", dry_run=True)) == 14
