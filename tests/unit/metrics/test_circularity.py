"""A network with a stake in the pictures is named and may not judge."""

from __future__ import annotations

import pytest

from braindec.metrics import Metric, captions, circular, identification, perceptual, pixels

CLIP = identification.METRICS["two_way_clip"]


@pytest.mark.parametrize(
    ("stake", "word"),
    [
        ({"target": "openclip"}, "target"),
        ({"target": "openclip/ViT-L-14/openai/pooled"}, "target"),
        ({"target": ["pixels", "tiny_openclip"]}, "target"),
        ({"reranker": "clip_vit_l14"}, "re-ranker"),
        ({"generator": "embedded_unclip"}, "generator"),
    ],
)
def test_a_clip_judge_has_a_stake_in_clip_pictures(stake, word):
    reason = circular(CLIP, **stake)
    assert reason is not None and reason.startswith("circular") and word in reason


@pytest.mark.parametrize("stake", [{}, {"target": "alexnet"}, {"generator": "pixels", "reranker": None}])
def test_a_judge_without_a_stake_may_judge(stake):
    assert circular(CLIP, **stake) is None


def test_a_metric_without_a_network_has_no_stake():
    assert circular(pixels.METRICS["ssim"], target="openclip", generator="pixels") is None


def test_networks_of_one_architecture_are_one_family():
    reason = circular(perceptual.METRICS["effnet_b1_distance"], target="efficientnet_lite0")
    assert reason is not None and "efficientnet" in reason
    assert circular(perceptual.METRICS["swav_distance"], target="efficientnet_lite0") is None


def test_a_metric_names_its_network_and_layer():
    metric = identification.two_way("alexnet.features.4")
    assert (metric.name, metric.network, metric.node) == (
        "two_way:alexnet.features.4",
        "alexnet",
        "features.4",
    )
    assert pixels.METRICS["ssim"].network is None and pixels.METRICS["ssim"].node is None
    assert captions.METRICS["sentence_similarity"].network == "minilm"


def test_a_metric_that_lacks_something_says_not_computed():
    metric = Metric("x", "captions", None, "higher", "", lambda x: x, missing=lambda: "a dictionary")
    assert metric.status == "not computed: needs a dictionary"
    assert Metric("x", "captions", None, "higher", "", lambda x: x).status == "computed"
