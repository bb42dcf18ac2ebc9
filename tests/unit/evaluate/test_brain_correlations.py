"""Brain correlation through a given encoding model: right pictures above other items', circular networks refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from braindec import checks, evaluate
from braindec.data import NeuralDataset, Split
from braindec.evaluate.reconstructions import Gallery, Reconstructions
from braindec.targets import pixels, tiny_openclip
from braindec.types import ArraySpace, StimulusSet, Table, Trials

KEY = "sub-01_fmri"
SEEN = pixels.build(pixels.Config(height=4, width=4, colour="rgb"))


@pytest.fixture
def world(rng):
    """(dataset, pictures by id): voxels are noisy sums of a picture's pixels; 60 train, 20 are tested twice each."""
    ids = [f"s{i:02d}" for i in range(80)]
    images = rng.integers(0, 256, (80, 4, 4, 3)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    order = np.concatenate([np.arange(60), np.repeat(np.arange(60, 80), 2)])
    clean = (SEEN.embed_images(images)[:, 0] - 0.5) @ rng.standard_normal((48, 30))
    n, zero = np.arange(len(order)), np.zeros(len(order), int)
    table = Table({
        "stimulus_id": np.array(ids)[order], "session": zero, "run": n // 10, "repeat": zero, "onset_s": 30.0 * n,
        "acquisition_order": n, "exchangeability_block": zero,
    })  # fmt: skip
    responses = (clean[order] + 0.5 * rng.standard_normal((len(order), 30))).astype(np.float32)
    trials = Trials(responses, table, ArraySpace(30), "a.u.", 1, "fmri")
    row = {name: i for i, name in enumerate(ids)}
    stimuli = StimulusSet(tuple(ids), "image", read=lambda names: images[[row[i] for i in names]])
    split = Split("one", "stimulus", {"train": tuple(ids[:60]), "test": tuple(ids[60:])})
    return NeuralDataset.from_trials([trials], stimuli, split, name="seen"), dict(
        zip(ids, images, strict=True)
    )


@pytest.fixture
def recipe():
    return SimpleNamespace(
        preprocessing=(), seed=0, protocol="heldout_stimuli", target=tiny_openclip.Config()
    )


def gallery(images, order):
    ids = tuple(f"s{i:02d}" for i in range(60, 80))
    true = np.stack([images[i] for i in ids])
    made = {"braindec": true, "oracle": true, "shuffled": true[order]}
    return Reconstructions({KEY: Gallery(ids, true, made, {})}, {}, ())


def test_the_right_pictures_evoke_the_measured_pattern_and_other_items_do_not(world, recipe, rng):
    dataset, images = world
    encoders = evaluate.ridge_encoders(recipe, dataset.part("train"), SEEN)
    drawn = gallery(images, np.roll(np.arange(20), 7))
    ours, shuffled = evaluate.brain_correlations(drawn, recipe, dataset, encoders)
    assert (ours.system, shuffled.system) == ("braindec", "shuffled") and ours.n == 20
    assert ours.value > 0.7 > 0.4 > abs(ours.chance) and ours.interval[0] > ours.chance
    assert abs(shuffled.value - ours.chance) < 0.2
    assert ours.details["encoding model, presented pictures"] == pytest.approx(ours.value)
    assert ours.sample_ids == drawn.galleries[KEY].ids


def test_an_encoding_model_sees_no_test_response(world, recipe, rng):
    dataset, _ = world
    encode = evaluate.ridge_encoding(recipe, dataset.part("train"), KEY, SEEN)
    trials = dataset.trials[KEY]
    spoilt = np.array(trials.responses)
    spoilt[60:] = 1e3 * rng.standard_normal((40, 30))
    other = replace(dataset, trials={KEY: replace(trials, responses=spoilt)})
    again = evaluate.ridge_encoding(recipe, other.part("train"), KEY, SEEN)
    pictures = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    assert np.array_equal(encode(pictures), again(pictures))


def test_the_target_s_own_family_is_no_witness(world, recipe):
    network = tiny_openclip.build(tiny_openclip.Config())
    with pytest.raises(checks.ConfigError, match="of the family of tiny_openclip"):
        evaluate.ridge_encoding(recipe, world[0].part("train"), KEY, network)
