"""Shares of variance are those that were planted; two features of one complexity show no bias, a parity does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.evaluate import compare_complexity, compare_report

QUICK = compare_complexity.Settings(n_bits=8, n_parity=2, width=32, n_networks=3, n_steps=400, n_stimuli=100)


@pytest.fixture(scope="module")
def grown():
    return compare_complexity.grow(QUICK)


def test_shares_are_the_planted_ones(generator):
    n = 20_000
    features = {name: torch.randint(2, (n,), generator=generator).double() * 2 - 1 for name in ("a", "b")}
    directions = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    layer = 2 * features["a"][:, None] * directions[0] + features["b"][:, None] * directions[1]
    layer = layer + 0.5**0.5 * torch.randn(n, 6, generator=generator, dtype=torch.float64)
    found = compare_complexity.shares(layer + 3, features)  # variances 4, 1 and 6 times 0.5
    assert found == pytest.approx({"a": 4 / 8, "b": 1 / 8}, abs=0.01)


def test_every_network_computes_what_it_was_taught(grown):
    assert {kind: set(by) for kind, by in grown.accuracy.items()} == {
        kind: set(parts[1]) for kind, parts in compare_complexity.TAUGHT.items()
    }
    assert min(v for by in grown.accuracy.values() for v in by.values()) > 0.99


def test_a_parity_takes_up_less_variance_than_a_bit_and_two_bits_take_up_alike(grown):
    shares = {
        kind: np.mean([list(compare_complexity.shares(one, grown.features).values()) for one in layers], 0)
        for kind, layers in grown.layers.items()
    }
    simple, parity, other = shares["both"]
    assert simple > parity + 0.05 and other < 0.04  # the bit that it was not taught
    assert shares["two simple"][0] == pytest.approx(shares["two simple"][2], abs=0.08)


def test_the_null_exchanges_the_names_of_features_of_one_complexity():
    values, nulls = np.array([0.3, 0.2, 0.4]), np.array([0.1, -0.05, 0.02])
    ours, twin = compare_complexity._scores("bias", values, nulls, QUICK, "planted")
    assert (ours.value, ours.n, ours.null_n) == (pytest.approx(0.3), 3, 8)
    assert ours.null == pytest.approx(0.0, abs=1e-12) and ours.p == pytest.approx(1 / 9)
    assert twin.interval[1] <= 0.17 / 3 + 1e-12


def test_effective_dimensions_are_those_of_the_variances(generator):
    x = torch.randn(300, 5, generator=generator, dtype=torch.float64) * torch.tensor(
        [3.0, 2.0, 1.0, 1.0, 0.1]
    )
    values = np.linalg.eigvalsh(np.cov(x.numpy().T))
    expected = pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert compare_report.effective_dimensions(x.numpy()) == expected
    wide = (x @ torch.linalg.qr(torch.randn(400, 5, generator=generator, dtype=torch.float64)).Q.T).numpy()
    assert compare_report.effective_dimensions(wide) == expected  # more features than stimuli
    assert compare_report.effective_dimensions(np.outer(np.arange(9.0), np.ones(4))) == pytest.approx(1.0)
    assert compare_report.effective_dimensions(np.ones((9, 4))) == 0.0
