"""Clips are found in responses: how they look and move, each by a decoder of its own; and nothing in shuffled ones."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks, evaluate
from braindec.adapters import linear
from braindec.backbones import linear as backbone
from braindec.data import NeuralDataset, Split
from braindec.evaluate import video, video_apart
from braindec.generators import pixels as drawn
from braindec.generators._frames import moved
from braindec.losses import mse
from braindec.recipe import NeuralData, Recipe
from braindec.targets import block_motion, pixels
from braindec.targets._embedding import embed
from braindec.types import ArraySpace, StimulusSet, Table, Trials

N, N_TEST, SIDE = 150, 30, 32
IDS = [f"c{i:03d}" for i in range(N)]


@pytest.fixture(scope="module")
def world():
    """Clips of a few blobs that move; half of the voxels know how they look, half their speed."""
    rng = np.random.default_rng(5)
    basis = np.kron(rng.uniform(-1, 1, (8, 8, 8, 1)), np.ones((1, 4, 4, 3)))
    looks, speed = rng.standard_normal((N, 8)), rng.integers(-2, 3, (N, 2)).astype(float)
    pictures = np.clip(128 + 60 * np.einsum("nk,khwc->nhwc", looks, basis), 0, 255).astype(np.uint8)
    motion = np.broadcast_to(speed[:, :, None, None] / SIDE, (N, 2, 1, 1))
    clips = moved(pictures, motion.copy(), 4)
    known = np.concatenate([looks @ rng.standard_normal((8, 20)), speed @ rng.standard_normal((2, 20))], 1)
    responses = known / known.std(0) + 0.3 * rng.standard_normal((N, 40))
    n = np.arange(N)
    table = Table({"stimulus_id": np.array(IDS), "session": np.full(N, "1"), "run": np.full(N, "1"),
                   "repeat": np.zeros(N, int), "onset_s": 2.0 * n, "acquisition_order": n,
                   "exchangeability_block": np.full(N, "1")})  # fmt: skip
    trials = Trials(responses.astype(np.float32), table, ArraySpace(40), "a.u.", 1, "fmri")
    row = {name: i for i, name in enumerate(IDS)}
    stimuli = StimulusSet(tuple(IDS), "video", read=lambda ids: clips[[row[i] for i in ids]])
    split = Split("clips", "stimulus", {"train": tuple(IDS[N_TEST:]), "test": tuple(IDS[:N_TEST])})
    dataset = NeuralDataset.from_trials([trials], stimuli, split)
    recipe = Recipe(
        data=NeuralData("arrays"), target=pixels.Config(height=SIDE, width=SIDE, colour="gray"),
        targets={"motion": block_motion.Config(side=SIDE)}, adapter=linear.Config(shared_dim=16),
        backbone=backbone.Config(), loss=mse.Config(), fit="closed_form", calibrate=False, n_folds=0,
        generator=drawn.Config(space=f"pixels/{SIDE}x{SIDE}/gray"), protocol="heldout_clips",
        plan=evaluate.Plan(n_null=2, progress=False),
    )  # fmt: skip
    embeddings = {
        name: embed(module.build(config), stimuli, content="test")
        for name, module, config in (
            ("main", pixels, recipe.target),
            ("motion", block_motion, recipe.targets["motion"]),
        )
    }
    decoder, nulls = video_apart.fit_apart(recipe, dataset.part("train"), embeddings)
    return dataset, recipe, embeddings, decoder, nulls


def test_looks_and_motion_are_each_told_apart_by_their_own_decoder(world):
    dataset, recipe, embeddings, decoder, nulls = world
    scores, apart = video_apart.decoded_apart(decoder, nulls, recipe, dataset, embeddings)
    for name in ("main", "motion"):
        found = apart[name]["sub-01_fmri"]
        assert found["low"] > 0.55 and found["null"] < found["value"], name
    assert {s.system for s in scores} == {"braindec", "ridge", "shuffled"}


def test_motion_is_that_of_the_clip_and_of_no_other_one(world):
    dataset, recipe, _, decoder, nulls = world
    settings = video.Settings(n_clips=12, n_permutations=40)
    found = video.watched(decoder, nulls, recipe, dataset, settings)
    clips = found.clips["sub-01_fmri"]
    assert clips.tests["items"].p < 0.05 and clips.tests["frames"].p < 0.05
    assert clips.tests["items"].value < 0.7 * min(
        clips.still, clips.shuffled, clips.tests["items"].null.mean()
    )
    ours = {s.name: s for s in found.scores if s.system == "braindec"}
    assert ours["motion_error"].value < ours["motion_error"].null
    assert ours["frame_ssim"].value > ours["frame_ssim"].null
    swapped = video.watched(nulls[0], nulls[1:], recipe, dataset, settings).clips["sub-01_fmri"]
    assert swapped.tests["items"].p > 0.05  # a decoder of shuffled pairs moves its pictures too


def test_motion_can_be_given_to_the_frames_as_structure_only_where_there_is_one(world):
    dataset, recipe, _, decoder, nulls = world
    with pytest.raises(checks.ConfigError, match="follow 'moved'"):
        video.watched(decoder, nulls, recipe, dataset, video.Settings(n_clips=4, follow="drawn"))
