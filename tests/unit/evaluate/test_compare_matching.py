"""Units of two networks: found again in another order, not in a rotated space, and not where nothing is shared."""

from __future__ import annotations

import pytest
import torch

from braindec.evaluate import compare_matching as matching
from braindec.sparse.matching import rotation

QUICK = matching.Settings(n_null=5, n_latents=12, n_active=3, n_steps=30)


def units(generator, n=160, dim=10):
    """Units that are few stimuli's each, so that a rotation is no order of them."""
    return torch.randn(n, dim, generator=generator) ** 3


def test_units_in_another_order_are_matched_and_in_a_rotated_space_they_are_not(generator):
    x = units(generator)
    order = torch.randperm(10, generator=generator)
    same = matching._measured("one_to_one", x, 2 * x[:, order] + 1, QUICK)
    turned = matching._measured("one_to_one", x, x @ rotation(10, generator), QUICK)
    assert same["value"] == pytest.approx(1, abs=1e-5)
    assert float(same["permuted"].mean()) < 0.3 and float(same["rotated"].mean()) < 0.85
    assert turned["value"] < 0.85
    assert abs(turned["value"] - float(turned["rotated"].mean())) < 0.15


def test_unrelated_units_are_at_the_permuted_null_in_every_way(generator):
    x, y = units(generator), units(generator)
    for name in matching.MEASURES:
        row = matching._measured(name, x, y, QUICK)
        assert row["value"] < float(row["permuted"].max()) + 0.15
        assert row["low"] <= row["value"] <= row["high"]


def test_the_report_has_every_way_with_its_twin_and_says_what_a_rotation_keeps(generator):
    x = units(generator)
    noisy = x[:, torch.randperm(10, generator=generator)] + 0.3 * torch.randn(x.shape, generator=generator)
    report = matching.matching_study({"one": x, "two": noisy, "untrained": units(generator)}, QUICK)
    ours = {s.name: s for s in report.scores if s.system == "braindec"}
    assert set(ours) == {f"units_{name}" for name in matching.MEASURES}
    one = ours["units_one_to_one"]
    assert one.value > 0.8 and one.value > one.details["rotated"] + 0.1 and one.p == pytest.approx(1 / 6)
    bars = next(p for t, _, p in report.panels if t == "Which networks share units")
    itself, two, untrained = bars["series"]["as they are"]
    assert itself == pytest.approx(1, abs=1e-5) and two > untrained + 0.4


def test_one_network_has_nobody_to_be_compared_with(generator):
    with pytest.raises(ValueError, match="number of networks"):
        matching.matching_study({"one": units(generator)}, QUICK)
