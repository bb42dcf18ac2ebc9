"""The best of several pictures: chosen by what is known, refused where the truth would choose; singles are scored."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.evaluate import protocol_named
from braindec.evaluate.pictures import measure_pictures, measure_samples
from braindec.evaluate.selection import KNOWN, TRUTHS, Selector, best_of, nearest_to_prediction

PICTURES = np.arange(3 * 4, dtype=np.uint8).reshape(3, 4, 1, 1, 1) * np.ones((1, 1, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("truth", TRUTHS)
def test_a_selector_that_is_told_the_truth_is_refused(truth):
    with pytest.raises(checks.LeakageError, match="chosen by the truth"):
        Selector("lucky", ("pictures", truth), lambda **told: 0)
    selector = Selector("honest", ("pictures",), lambda pictures: pictures.mean((2, 3, 4)))
    with pytest.raises((checks.ConfigError, ValueError), match="may be told"):
        best_of(PICTURES, selector, {"pictures": PICTURES, truth: PICTURES[0]})


def test_a_selector_sees_only_what_it_needs_and_its_choice_is_taken():
    seen = {}

    def rate(**told):
        seen.update(told)
        return np.array([[0, 9, 0, 0], [1, 0, 0, 5], [0, 0, 2, 0]])

    told = dict.fromkeys(KNOWN, 1) | {"draws": 2}
    chosen, sample = best_of(PICTURES, Selector("by table", ("draws",), rate), told)
    assert seen == {"draws": 2}
    assert sample.tolist() == [1, 0, 2, 1]
    assert chosen[:, 0, 0, 0].tolist() == [4, 1, 10, 7]


def test_the_sample_nearest_to_the_decoded_embedding_is_chosen():
    truth = torch.eye(4)
    decoder = SimpleNamespace(similarity=lambda prediction, one: prediction @ torch.from_numpy(one).T)
    seen = np.stack([np.roll(np.eye(4, dtype=np.float32), k, 0) for k in (1, 0, 2)])
    _, sample = best_of(PICTURES, nearest_to_prediction(decoder), {"prediction": truth, "embeddings": seen})
    assert sample.tolist() == [1, 1, 1, 1]


def test_ratings_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="rated"):
        best_of(PICTURES, Selector("flat", (), lambda: np.zeros(4)), {})


def test_samples_are_scored_one_by_one_and_their_spread_is_told(rng):
    protocol = protocol_named("heldout_stimuli")
    presented = rng.integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    noise = rng.integers(0, 255, presented.shape, dtype=np.uint8)
    samples = np.stack([presented, noise, presented // 2 + noise // 2])
    stake = {"target": "tiny_openclip/x", "generator": "tiny_openclip/x"}
    only = {"picture_metrics": ("pixel_correlation", "ssim")}
    protocol = type(protocol)(**{**protocol.__dict__, **only})
    found = measure_samples(presented, samples, protocol, np.random.default_rng(0), stake)
    single = [measure_pictures(presented, s, protocol, np.random.default_rng(0), stake) for s in samples]
    for name, measured in found.items():
        each = [one[name].value for one in single]
        assert measured.details["each"] == pytest.approx(each)
        assert measured.value == pytest.approx(np.mean(each))
        assert measured.details["spread"] == pytest.approx(np.std(each, ddof=1))
        np.testing.assert_allclose(
            measured.per_sample, np.mean([one[name].per_sample for one in single], axis=0)
        )
    assert found["pixel_correlation"].details["each"][0] == pytest.approx(1.0)
