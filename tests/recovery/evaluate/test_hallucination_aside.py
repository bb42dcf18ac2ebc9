"""Stimuli set aside make sets that hold the truth as often as they say; training stimuli out of fold make larger ones.

Brains are linear in pictures of six values, with more voxels than a decoder of half the stimuli can tell apart.
"""

from __future__ import annotations

import numpy as np
import pytest

from braindec.adapters import linear as linear_adapter
from braindec.backbones import linear
from braindec.data import NeuralDataset, Split
from braindec.decoder import BrainDecoder
from braindec.decoder.settings import Settings
from braindec.evaluate import hallucination as meter
from braindec.evaluate.hallucination_beliefs import belief_of
from braindec.evaluate.hallucination_draws import ASIDE
from braindec.evaluate.hallucination_draws import meter as calibrated
from braindec.evaluate.hallucination_readouts import attribute
from braindec.losses import mse
from braindec.types import Embeddings

pytestmark = pytest.mark.slow
KEY = "sub-01_fmri"
N_TRAIN, N_ASIDE, N_TEST, N_DIMS, N_VOXELS, N_WORLDS = 48, 80, 100, 6, 60, 20
SETTINGS = meter.Settings(n_permutations=99, alpha=0.05, n_samples=1, n_prior=64)
DECODER = Settings(
    adapter=linear_adapter.Config(shared_dim=N_DIMS), backbone=linear.Config(), loss=mse.Config(), fit="closed_form",
    n_folds=2, calibrate=False,
)  # fmt: skip


def world(seed: int, signal: float) -> dict[str, list[tuple[float, float]]]:
    """By way to calibrate, an attribute each: share of true values in sets, share of verdicts "from the prior"."""
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_ASIDE + N_TEST
    x = rng.standard_normal((n, 1, N_DIMS)).astype(np.float32)
    ids = tuple(f"picture-{i:03d}" for i in range(n))
    embeddings = Embeddings.from_arrays(ids, x, "gaussian")
    weights = signal * rng.standard_normal((N_DIMS, N_VOXELS))
    responses = x[:, 0] @ weights + 2 * rng.standard_normal((n, N_VOXELS))
    told = N_TRAIN + N_ASIDE
    parts = {"train": ids[:N_TRAIN], ASIDE: ids[N_TRAIN:told], "test": ids[told:]}
    dataset = NeuralDataset.from_arrays(responses.astype(np.float32), ids, modality="fmri")
    dataset = dataset.with_split(Split("three", "stimulus", parts))
    decoder = BrainDecoder.build(DECODER, dataset.info, embeddings.info)
    decoder.fit(dataset.part("train"), embeddings, progress=False)
    labels = [np.where(x[:, 0, 0] > 0, "a", "b").tolist(), x[:, 0, 1].tolist()]
    attributes = [
        attribute(name, dict(zip(ids, values, strict=True)), ids[:N_TRAIN], embeddings)
        for name, values in zip(("kind", "size"), labels, strict=True)
    ]
    prediction = decoder.predict(dataset.part("test").trials[KEY])
    draws = decoder.imagine(prediction)
    found: dict[str, list[tuple[float, float]]] = {}
    for way, aside in (("aside", dataset.part(ASIDE)), ("out of fold", None)):
        gauges = calibrated(decoder, attributes, embeddings, aside=aside, settings=SETTINGS, seed=seed)[KEY]
        for gauge, reading in zip(gauges, meter.judge(gauges, draws), strict=True):
            belief, truth = belief_of(gauge.attribute.readings(draws)), gauge.attribute.of(prediction.ids)
            share = float(gauge.covered(belief, truth).mean())
            found.setdefault(way, []).append((share, reading.share(meter.FROM_PRIOR)))
    return found


@pytest.fixture(scope="module")
def worlds():
    return [world(seed, signal=1.0) for seed in range(N_WORLDS)]


def coverage(worlds, way: str, place: int) -> float:
    return float(np.mean([found[way][place][0] for found in worlds]))


def test_stimuli_set_aside_make_sets_that_hold_the_truth_in_nine_of_ten_cases(worlds):
    # Given exchangeable scores the number covered is beta-binomial; its parameters know only the level and both sizes.
    error = (0.9 * 0.1 * (1 / (N_ASIDE + 2) + 1 / N_TEST) / N_WORLDS) ** 0.5
    for place in (0, 1):
        assert coverage(worlds, "aside", place) == pytest.approx(0.9 + 0.5 / (N_ASIDE + 1), abs=3 * error)


def test_encoders_of_half_the_stimuli_make_larger_sets(worlds):
    lost = [found["out of fold"][1][0] - found["aside"][1][0] for found in worlds]
    assert coverage(worlds, "out of fold", 1) > 0.925
    assert np.mean(lost) > 3 * np.std(lost) / N_WORLDS**0.5


def test_brains_of_noise_decide_nothing_whichever_stimuli_calibrate():
    found = [world(100 + seed, signal=0.0) for seed in range(4)]
    for way in ("aside", "out of fold"):
        assert np.mean([share for one in found for _, share in one[way]]) > 0.9
