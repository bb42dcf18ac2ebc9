"""Explanations name what was planted, and their scores know right ones from exchanged ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency, pearsonr
from sklearn.metrics import roc_auc_score

from braindec.sparse import explanation_scores, explanations
from braindec.sparse.explanations import NOTHING

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "star", "heart")
TEXTURES = ("solid", "striped", "dotted")
WORDS = (*COLOURS, *SHAPES, *TEXTURES)
N = 400


@pytest.fixture(scope="module")
def world():
    """Captions of scenes with one object, and a latent for each of their words, louder or quieter but never wrong."""
    rng = np.random.default_rng(0)
    drawn = [[rng.choice(kind) for kind in (TEXTURES, COLOURS, SHAPES)] for _ in range(N)]
    captions = ["a {} {} {} on a plain background".format(*words) for words in drawn]
    present = torch.tensor([[word in words for word in WORDS] for words in drawn])
    return captions, present * torch.from_numpy(rng.uniform(0.5, 2.0, (N, len(WORDS)))).float()


def unrelated(n_latents, seed=0):
    """Latents that are active whatever is shown."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.rand(N, n_latents, generator=draw)
    return values * (torch.rand(N, n_latents, generator=draw) < 0.2)


# -------------------------------------------------------------------------------------------------------- writing


def test_a_latent_is_explained_by_the_word_that_was_planted(world):
    captions, activations = world
    found = explanations.contrast(captions, activations)
    right = [word in text.split(" and ") for word, text in zip(WORDS, found.texts, strict=True)]
    exchanged = [
        word in text.split(" and ")
        for word, text in zip(WORDS, found.texts[1:] + found.texts[:1], strict=True)
    ]
    assert np.mean(right) == 1.0
    assert np.mean(exchanged) < 0.1
    assert (found.z > found.limit).all()


def test_a_pair_of_words_is_told_as_one_phrase(world):
    captions, activations = world
    both = activations[:, [WORDS.index("red")]] * (activations[:, [WORDS.index("square")]] > 0)
    assert explanations.contrast(captions, both).texts == ("red square",)


def test_a_latent_that_means_nothing_gets_no_words(world):
    captions, _ = world
    found = explanations.contrast(captions, unrelated(200))
    # five of a hundred by the level; phrases are few and correlated, captions counted
    assert np.mean([text != NOTHING for text in found.texts]) < 0.1
    silent = explanations.contrast(captions, torch.zeros(N, 2))
    assert silent.texts == (NOTHING, NOTHING) and silent.z.tolist() == [0.0, 0.0]


def test_surprise_is_that_of_a_table_of_counts():
    captions = ["one red", "one red", "one blue", "one blue", "one blue", "one red", "one blue", "two blue"]
    loud = torch.tensor([[3.0], [2.0], [1.0], [0.0], [0.0], [0.0], [0.0], [0.0]])
    found = explanations.contrast(captions, loud, n_top=3)
    table = [[2, 1], [1, 4]]  # "red", and not, in loud and in silent ones
    ratio = chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    assert float(found.z[0]) == pytest.approx(np.sqrt(ratio), rel=1e-9)
    assert found.texts == (NOTHING,)


def test_only_the_loudest_stimuli_count_as_active(world):
    captions, activations = world
    mixed = activations[:, :1] + 0.01 * unrelated(1)  # red, and a whisper of anything
    assert explanations.contrast(captions, mixed, n_top=20).texts == ("red",)
    halves = (
        10 * activations[:, :1] * (torch.arange(N) < 200)[:, None] + activations[:, 5:6]
    )  # loud reds, quiet squares
    assert explanations.contrast(captions, halves, n_top=20).phrases[0][0] == "red"
    assert explanations.contrast(captions, halves, n_top=N).phrases[0][0] == "square"


def test_examples_are_the_loudest_and_silent_ones(world):
    captions, activations = world
    active, silent = explanations.examples(captions, activations, 3, torch.Generator().manual_seed(0))
    assert all(word in text for word, texts in zip(WORDS, active, strict=True) for text in texts)
    assert not any(word in text for word, texts in zip(WORDS, silent, strict=True) for text in texts)
    assert active[0][0] == captions[int(activations[:, 0].argmax())]
    assert {len(texts) for texts in active + silent} == {3}


def test_a_direction_made_of_texts_is_told_by_them_and_a_turned_one_is_not():
    draw = torch.Generator().manual_seed(0)
    texts = torch.randn(40, 64, generator=draw) + 3.0  # a direction that all texts share
    words = [f"w{i}" for i in range(40)]
    centred = torch.nn.functional.normalize(texts, dim=1)
    centred = torch.nn.functional.normalize(centred - centred.mean(0), dim=1)
    planted = 2.0 * centred[[3, 10]] + 1.0 * centred[[20, 31]]
    found = explanations.lens(planted, texts, words, generator=draw, n_words=2)
    assert found.words == (("w3", "w20"), ("w10", "w31"))
    assert found.share.min() > 0.9 > 0.4 > found.null
    other = explanations.lens(torch.randn(30, 64, generator=draw), texts, words, generator=draw, n_words=2)
    assert float(other.share.mean()) == pytest.approx(other.null, abs=0.05)


def test_an_effect_points_where_the_output_moves():
    draw = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(16, generator=draw), dim=0)
    changes = -(1 + torch.rand(50, 1, generator=draw)) * axis + 0.01 * torch.randn(50, 16, generator=draw)
    assert float(explanations.effect_direction(changes) @ -axis) > 0.999


# -------------------------------------------------------------------------------------------------------- scoring


def test_scores_are_those_of_other_libraries(generator):
    fits = torch.randn(60, 5, generator=generator).round(decimals=1)  # ties
    values = torch.randn(60, 5, generator=generator).relu()
    found = explanation_scores.score(fits, values)
    for latent in range(5):
        for told in range(5):
            area = roc_auc_score(values[:, latent] > 0, fits[:, told])
            assert float(found.areas[latent, told]) == pytest.approx(area, abs=1e-9)
            r = pearsonr(values[:, latent], fits[:, told]).statistic
            assert float(found.correlations[latent, told]) == pytest.approx(r, abs=1e-6)


def test_explanations_of_one_half_tell_the_other_half_and_exchanged_ones_do_not(world, generator):
    captions, activations = world
    texts = explanations.contrast(captions[:200], activations[:200]).texts
    found = explanation_scores.score(
        explanation_scores.fits_by_words(texts, captions[200:]), activations[200:]
    )
    area, correlation = found.means()
    nulls = found.exchanged(generator, 199)
    assert area > 0.95 and correlation > 0.8
    assert nulls.mean(0) == pytest.approx(
        [0.5 + (area - 0.5) / len(WORDS), correlation / len(WORDS)], abs=0.12
    )
    assert nulls[:, 0].max() < 0.85
    assert (found.q <= 0.1).all()  # eleven latents: p is a rank of eleven


def test_latents_that_mean_nothing_score_at_chance_even_where_words_are_forced_on_them(world):
    captions, _ = world
    values = unrelated(60, seed=1)
    texts = explanations.contrast(captions[:200], values[:200], level=0.5).texts
    assert np.mean([text != NOTHING for text in texts]) > 0.1
    found = explanation_scores.score(explanation_scores.fits_by_words(texts, captions[200:]), values[200:])
    assert found.means() == pytest.approx((0.5, 0.0), abs=0.02)
    assert (found.q <= 0.05).sum() == 0


def test_no_explanation_is_neither_right_nor_wrong(world):
    captions, activations = world
    fits = explanation_scores.fits_by_words((NOTHING,) * len(WORDS), captions)
    assert explanation_scores.score(fits, activations).means() == pytest.approx((0.5, 0.0))


def test_latents_that_are_too_rare_or_too_common_are_not_judged():
    values = torch.zeros(40, 3)
    values[:4, 0], values[:20, 1], values[:37, 2] = 1.0, 1.0, 1.0
    found = explanation_scores.score(torch.randn(40, 3), values, min_active=4)
    assert found.judged.tolist() == [True, True, False]
    assert found.detection.isnan().tolist() == found.q.isnan().tolist() == [False, False, True]
    assert np.isfinite(found.exchanged(torch.Generator(), 3)).all()


def test_a_judge_of_pictures_compares_what_is_not_shared(generator):
    shared = {
        "text": 5 * torch.randn(8, generator=generator),
        "picture": 5 * torch.randn(8, generator=generator),
    }
    words = dict(zip(("red", "blue"), torch.eye(8), strict=False))
    seen = torch.eye(8)[[0, 1, 0]] + shared["picture"]

    def embed(texts):
        return torch.stack([words[t] + shared["text"] for t in texts])

    def unit(x):
        return torch.nn.functional.normalize(x, dim=1)

    centres = {"text_centre": unit(embed(["red", "blue"])).mean(0), "stimulus_centre": unit(seen[:2]).mean(0)}
    fits = explanation_scores.fits_by_embedding(("blue", NOTHING, "red", "blue"), embed, seen, **centres)
    assert (fits[:, 0] > 0).tolist() == [False, True, False]
    assert (fits[:, 2] > 0).tolist() == [True, False, True]
    assert torch.equal(fits[:, 0], fits[:, 3]) and not fits[:, 1].any()


def test_as_many_active_as_silent_stimuli_are_asked_about():
    active = torch.zeros(50, 1, dtype=torch.bool)
    active[:8] = True
    rows = explanation_scores.asked(active, 5, torch.Generator().manual_seed(0))
    assert active[rows, 0].sum() == 5 and len(rows) == 10
    assert len(explanation_scores.asked(active, 20, torch.Generator())) == 16
