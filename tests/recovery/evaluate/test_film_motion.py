"""A picture that is given moves as the brain says: as it was seen to move, and not where pairs were shuffled."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import NeuralDataset, Split
from braindec.evaluate import encode, encode_continuous, film_motion, video, video_apart
from braindec.generators._frames import moved
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import block_motion
from braindec.types import ArraySpace, Embeddings, StimulusSet, Table, Trials

N, N_TEST, SIDE = 120, 30, 32
IDS = [f"c{i:03d}" for i in range(N)]


@pytest.fixture(scope="module")
def world():
    """Textured pictures that shift; half of the voxels know the speed, half how bright the picture is."""
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (N, 8, 8, 3)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    speed = rng.integers(-2, 3, (N, 2)).astype(float)
    bright = rng.standard_normal((N, 1))
    clips = moved(pictures, np.broadcast_to(speed[:, :, None, None] / SIDE, (N, 2, 1, 1)).copy(), 4)
    known = np.concatenate([speed @ rng.standard_normal((2, 10)), bright @ np.ones((1, 10))], 1)
    responses = known / known.std(0) + 0.5 * rng.standard_normal((N, 20))
    run = np.where(np.arange(N) < N_TEST, "1", "2")
    table = Table({"stimulus_id": np.array(IDS), "session": np.full(N, "1"), "run": run,
                   "repeat": np.zeros(N, int), "onset_s": 2.0 * np.arange(N), "acquisition_order": np.arange(N),
                   "exchangeability_block": run})  # fmt: skip
    trials = Trials(responses.astype(np.float32), table, ArraySpace(20), "a.u.", 1, "fmri")
    row = {name: i for i, name in enumerate(IDS)}
    stimuli = StimulusSet(tuple(IDS), "video", read=lambda ids: clips[[row[i] for i in ids]])
    split = Split("clips", "stimulus", {"train": tuple(IDS[N_TEST:]), "test": tuple(IDS[:N_TEST])})
    dataset = NeuralDataset.from_trials([trials], stimuli, split)
    target = block_motion.build(block_motion.Config(side=SIDE))
    values = target.embed_videos(clips)
    motion = Embeddings(tuple(IDS), values, target.space, target.identity(), "motion")
    return dataset, motion, Embeddings.from_arrays(IDS, bright, "brightness")


def recipe_of() -> Recipe:
    return Recipe(
        data=NeuralData("arrays"), target=block_motion.Config(side=SIDE), adapter=linear.Config(shared_dim=8),
        backbone=backbone.Config(), loss=mse.Config(), fit="closed_form", calibrate=False, n_folds=0,
        protocol="heldout_clips", plan=evaluate.Plan(n_null=2, progress=False),
    )  # fmt: skip


def test_the_given_picture_moves_as_decoded_and_only_its_motion_is_scored(world):
    dataset, motion, _ = world
    recipe = recipe_of()
    decoder, nulls = video_apart.fit_apart(recipe, dataset.part("train"), {"main": motion})
    settings = video.Settings(n_clips=12, n_permutations=39)
    found = film_motion.animated(decoder, nulls, recipe, dataset, settings)
    clips = found.clips["sub-01_fmri"]
    np.testing.assert_array_equal(
        clips.made["braindec"][:, 2], clips.presented[:, 2]
    )  # the middle frame is given
    np.testing.assert_array_equal(clips.made["shuffled"][:, 2], clips.presented[:, 2])
    assert {s.name for s in found.scores} == {"motion_error"}
    assert clips.tests["items"].p <= 0.05
    assert clips.tests["items"].value < 0.6 * min(clips.still, clips.shuffled)
    # The decoder of shuffled pairs, judged as if it were the one: nothing.
    nothing = film_motion.animated(nulls[0], nulls[1:], recipe, dataset, settings).clips["sub-01_fmri"]
    assert nothing.tests["items"].p > 0.05


def test_motion_predicts_voxels_beyond_the_picture_where_it_was_planted_and_there_alone(world):
    dataset, motion, picture = world
    found = film_motion.beyond_pictures(
        dataset, {"main": motion, "picture": picture},
        timing=encode_continuous.Timing(delays_s=(0.0,), gap_s=4.0, lag_s=0.0),
        settings=encode.Settings(n_null=3, n_permutations=19, shares=(0.5,)),
    )["sub-01_fmri"]  # fmt: skip
    assert list(found.layers) == ["motion"]
    beyond = found.best_unique
    assert beyond[:10].mean() > 0.4
    assert abs(beyond[10:].mean()) < 0.1
    assert found.null[:, :10].mean() < 0.2
