"""Figures of latents: what they show, and equal bytes for equal data."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import plots
from braindec.plots import latents

PNG = b"\x89PNG\r\n\x1a\n"


def timing(kind):
    times = np.linspace(-0.1, 0.5, 13)
    planted = np.array([0.1, 0.25])
    similarity = np.exp(-0.5 * ((times - planted[:, None]) / 0.05) ** 2)[None].repeat(2, 0)
    return plots.latent_timing(
        times, similarity, ["early", "high"], planted[None].repeat(2, 0), planted, np.linspace(-1, 1, 9), 0.95,
        kind=kind,
    )  # fmt: skip


def test_a_small_brain_keeps_a_scale_that_others_share_and_leaves_unknown_voxels_empty():
    values = np.array([[0.1, -0.2], [np.nan, 0.05]])
    alone, beside = plots.brain_from_above(values), plots.brain_from_above(values, 1.0)
    assert alone[:8] == beside[:8] == PNG
    assert alone != beside
    assert alone == plots.brain_from_above(values)
    assert plots.brain_from_above(np.full((2, 2), np.nan))[:8] == PNG


def test_few_places_are_bars_with_names_and_many_a_line_over_times():
    few = plots.place_bars(np.array([0.6, 0.8, 0.5]), ["early", "high", "silent"], top=0.9)
    assert all(name in few for name in ("early", "high", "silent", "largest 0.80"))
    many = plots.place_bars(np.linspace(0.5, 0.7, 12), ["0" if i == 3 else "" for i in range(12)], top=0.9)
    assert many.startswith("<svg")
    assert few.count("<path") != many.count("<path")
    with pytest.raises(ValueError, match="place"):
        plots.place_bars(np.array([0.6, 0.8]), ["early"])


def test_a_map_puts_latents_of_a_group_together_and_early_peaks_first():
    values = np.eye(4)[:, [3, 1, 0, 2]]  # peaks at places 3, 1, 0 and 2
    order, edges, names = latents._ordered(values, ["b", "a", "b", "a"])
    assert names == ["b", "a"]
    assert edges == [0, 2, 4]
    assert order.tolist() == [2, 0, 1, 3]


def test_a_map_and_claims_say_what_they_show(rng):
    drawn = plots.latent_map(
        rng.random((3, 9)), ["early", "high", "silent"], groups=list("aaabbbccc"), xlabel="region"
    )
    assert drawn.startswith("<svg") and "early" in drawn and "9 latents by region" in drawn
    drawn = plots.claim_scatter(
        np.array([0.02, 0.1, 0.3]), np.array([0.6, 0.9, 0.5]), ["stands", "not read", "not tested"],
        rates=np.array([0.02, 0.3]), baselines={"pca": np.array([0.5, 0.6])},
    )  # fmt: skip
    assert (
        "stands: 1" in drawn
        and "not read: 1" in drawn
        and "95 % of pca" in drawn
        and "not tested" not in drawn
    )


def test_the_figure_of_latencies_can_be_read_without_a_caption():
    drawn = timing("svg")
    assert "rho 0.95" in drawn and "planted latency" in drawn and "Stimuli permuted" in drawn
    assert timing("svg") == drawn
    assert timing("png")[:8] == PNG


def test_latencies_that_were_not_found_are_left_out_of_the_figure():
    times, planted = np.linspace(-0.1, 0.5, 13), np.array([0.1, 0.25])
    none = np.full((2, 2), np.nan)
    drawn = plots.latent_timing(
        times, np.zeros((2, 2, 13)) + times, ["early", "high"], none, planted, np.zeros(5), 0.0
    )
    assert drawn.startswith("<svg") and "rho 0.00" in drawn


def test_a_claim_of_an_unknown_verdict_is_refused_and_not_left_out():
    with pytest.raises(ValueError, match="verdict must be one of"):
        plots.claim_scatter(np.array([0.1]), np.array([0.8]), ["claimed"])
