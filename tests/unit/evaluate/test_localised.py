"""Silencing the cubes in which a concept is found costs more than silencing others, unless pairs were shuffled."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from braindec import checks
from braindec.data import maps
from braindec.decoder import localisation
from braindec.evaluate import localised

W = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "planted_concepts.py")))
KEY = "sub-01_fmri"
SETTINGS = localised.Settings(concepts=W.CONCEPTS, share=0.125, n_random=12)
RECIPE = SimpleNamespace(protocol="heldout_stimuli")


@pytest.fixture(scope="module")
def world():
    known, present = W.recorded()
    training = known.part("train")
    decoder = W.fitted(training, present, None)
    nulls = [W.fitted(training, present, seed, n_steps=25) for seed in range(1, 5)]
    return known, decoder, nulls


@pytest.fixture(scope="module")
def located(world):
    known, decoder, nulls = world
    return localised.locate(decoder, nulls, known, W.DIRECTIONS, SETTINGS)


def test_the_planted_cubes_are_silenced_and_cost_their_own_concept_alone(located):
    one = located[KEY]
    assert np.argmax(one.found, 1).tolist() == [0, 2, 4, 6] and one.found.sum() == 4
    cost = one.cost.mean(2)
    others = cost[~np.eye(4, dtype=bool)]
    assert np.diag(cost).min() > 0.3 * one.contrast.min() > 0
    assert np.diag(cost).min() > 3 * np.abs(others).max()


def test_own_cubes_cost_more_than_random_ones_and_than_those_of_shuffled_decoders(located):
    for row in localised.comparisons(located, SETTINGS):
        assert row["interval"][0] > 0.1 and row["p"] < 0.05 and row["n"] == W.N_TEST
    ours, shuffled = localised.scores(located, RECIPE, SETTINGS)
    assert (ours.system, shuffled.system) == ("braindec", "shuffled")
    # A slope of either sign is as likely after shuffling: such a decoder chooses the carrying cube half of the time.
    assert ours.null_n == 4 and ours.value > max(3 * ours.chance, 1.5 * ours.null)


def test_of_a_decoder_of_shuffled_pairs_own_cubes_cost_no_more_than_others(world):
    """The null: it knows no concept, so that silencing the cubes it would choose takes nothing from held-out ones."""
    known, decoder, nulls = world
    gains, intact = [], localised.locate(decoder, nulls[:1], known, W.DIRECTIONS, SETTINGS)[KEY].own.mean()
    for i, one in enumerate(nulls):
        found = localised.locate(one, [nulls[i - 1]], known, W.DIRECTIONS, SETTINGS)[KEY]
        gains.append((found.own - found.other).mean())
    assert np.mean(gains) == pytest.approx(0, abs=0.25 * intact)


def test_shares_of_stimuli_add_up_to_the_loss_of_contrast(world, located):
    """An independent count: the contrast of whole means, with a concept's cubes at the training mean."""
    known, decoder, _ = world
    _, x = localisation.prepared(decoder, known.part("train").trials[KEY])
    ids, shown = localisation.prepared(decoder, known.part("test").trials[KEY])
    there = np.array(["ring" in known.stimuli.captions[i].split() for i in ids])
    silent = shown.copy()
    silent[:, located[KEY].parts == 2] = x.mean(0)[located[KEY].parts == 2]
    before, after = (localisation.agreement(decoder, KEY, v, W.DIRECTIONS[1]) for v in (shown, silent))
    lost = (before[there].mean() - before[~there].mean()) - (after[there].mean() - after[~there].mean())
    assert located[KEY].own[1].mean() == pytest.approx(lost, abs=1e-5)


def test_maps_are_written_as_volumes_and_shown(world, located, tmp_path):
    known, _, _ = world
    paths = localised.save(located, known, SETTINGS, tmp_path)
    assert [p.name for p in paths] == [f"{KEY}_{c}.nii.gz" for c in W.CONCEPTS]
    values = maps.from_nifti(paths[1], known.trials[KEY].space)
    assert set(np.flatnonzero(values == values.max())) == set(np.flatnonzero(located[KEY].parts == 2))
    kinds = [kind for _, kind, _ in localised.panels(located, known, SETTINGS)]
    assert kinds == ["table", "volume", "volume"]


def test_a_concept_that_no_caption_says_is_refused(world):
    known, decoder, nulls = world
    told = localised.Settings(concepts=("star", "moon"))
    with pytest.raises(ValueError, match="'moon'"):
        localised.locate(decoder, nulls, known, W.DIRECTIONS[:2], told)
    with pytest.raises(checks.ConfigError, match="method"):
        localised.Settings(method="guess")


def test_captions_say_words_whatever_their_case_and_signs():
    texts = ["A dog, on a beach.", "Two hotdogs", "the end of a White Background!", "white; no background"]
    said = localised._said(texts, ("dog", "white background"))
    assert said.tolist() == [[True, False, False, False], [False, False, True, False]]
