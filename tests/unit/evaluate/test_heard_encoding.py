"""Sound against words, voxel by voxel: the paired test against its definition, planted voxels, and the null."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data import NeuralDataset, catalogue
from braindec.evaluate import heard_encoding
from braindec.evaluate.encoded import Settings
from braindec.stats.paired import sign_flip_p
from braindec.types import Embeddings


def test_the_gain_and_p_of_a_voxel_are_those_of_their_definitions(rng):
    truth, first, second = (rng.standard_normal((12, 5)) for _ in range(3))
    first[:, 0] = truth[:, 0] + 0.1 * first[:, 0]
    gain, p = heard_encoding.paired_voxels(first, second, truth, rng, n_flips=20_000)
    for v in range(5):
        lost = [(truth[i, v] - second[i, v]) ** 2 - (truth[i, v] - first[i, v]) ** 2 for i in range(12)]
        assert gain[v] == pytest.approx(np.mean(lost) / np.var(truth[:, v]))
        assert p[v] == pytest.approx(sign_flip_p(lost, rng), abs=0.02)  # all 4096 sign patterns
    assert gain[0] > 0 and p[0] < 0.05


def test_models_that_are_as_good_differ_in_a_twentieth_of_voxels(rng):
    truth = rng.standard_normal((60, 3000)).astype(np.float32)
    first, second = (0.5 * truth + 0.5 * rng.standard_normal(truth.shape) for _ in range(2))
    gain, p = heard_encoding.paired_voxels(first, second, truth, rng, n_flips=499)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.015)
    assert (gain > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_a_constant_voxel_and_equal_models_have_no_gain(rng):
    truth = np.ones((20, 1))
    gain, p = heard_encoding.paired_voxels(truth, truth, truth, rng)
    assert gain.tolist() == [0.0] and p.tolist() == [1.0]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    base = tmp_path_factory.mktemp("heard")
    functions = catalogue.load("nakai2022")
    truth = functions["synthetic"](base / "raw", n_voxels=40)
    functions["prepare"](base / "raw", base / "prepared")
    dataset = NeuralDataset.read(base / "prepared")
    tracks = [i.split("@")[0].split(".") for i in dataset.stimulus_ids]
    values = np.array([truth.details["loudness"][genre, int(track)] for genre, track in tracks])
    sound = Embeddings.from_arrays(dataset.stimulus_ids, values, "loudness")
    words = heard_encoding.words_space(dataset)
    settings = Settings(n_null=3, n_permutations=199)
    found = heard_encoding.compare(dataset, sound, words, settings=settings)
    return truth.details["follows"], found, words


def test_voxels_that_follow_the_sound_are_better_told_the_sound_and_those_of_genre_the_words(compared):
    follows, found, _ = compared
    one = found["sub-01_fmri"]
    sound, genre, nothing = (follows == name for name in ("sound", "genre", "nothing"))
    assert one.told("sound")[sound].all() and one.told("words")[genre].mean() >= 0.9
    assert (one.told("sound") | one.told("words"))[
        nothing
    ].sum() <= 1  # a twentieth of discoveries may be false
    better, worse = (one.gain > 0) & (one.p < 0.05), (one.gain < 0) & (one.p < 0.05)
    assert better[sound].mean() >= 0.4 and not better[genre | nothing].any()
    assert worse[genre].mean() >= 0.4 and not worse[sound | nothing].any()
    shares = one.shares
    assert shares["sound"][0] == pytest.approx(better.sum() / (one.told("sound") | one.told("words")).sum())
    assert shares["sound"][1] < shares["sound"][0] < shares["sound"][2]


def test_scores_and_panels_hold_what_was_found(compared):
    _, found, _ = compared
    rows = {s.name.split(":")[1]: s for s in heard_encoding.scores(found, "heldout_stimuli")}
    assert set(rows) == {"both", "sound", "words"}
    assert rows["both"].value > max(rows["sound"].value, rows["words"].value)
    assert all(abs(s.null) < 0.15 < s.value and s.n == 60 for s in rows.values())
    models, better = heard_encoding.panels(found)
    assert len(models[2]["rows"]) == 3 and [row[1] for row in better[2]["rows"]] == ["sound", "words"]


def test_words_are_an_indicator_of_each_genre(compared):
    _, _, words = compared
    assert words.values.shape == (540, 1, 10)
    genres = [i.split(".")[0] for i in words.ids]
    same = words.values[:, 0] @ words.values[:, 0].T
    assert np.array_equal(same, np.array(genres)[:, None] == np.array(genres)[None])
