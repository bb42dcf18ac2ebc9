"""Figures of latents: what they show, and equal bytes for equal data."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import plots
from braindec.plots import latents

PNG = b"\x89PNG\r\n\x1a\n"


def table(rng, n=3):
    return {
        "names": [f"latent {i}" for i in range(n)],
        "images": [rng.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8) for _ in range(n)],
        "auc": np.linspace(0.6, 0.9, n), "interval": np.linspace(0.6, 0.9, n)[:, None] + [-0.05, 0.05],
        "maps": [rng.standard_normal((5, 4)) for _ in range(n)], "ceiling": np.full(n, 0.95),
        "reference": np.full(n, 0.7), "places": rng.random((n, 3)), "place_names": ["early", "high", "silent"],
    }  # fmt: skip


def timing(kind):
    times = np.linspace(-0.1, 0.5, 13)
    planted = np.array([0.1, 0.25])
    similarity = np.exp(-0.5 * ((times - planted[:, None]) / 0.05) ** 2)[None].repeat(2, 0)
    return plots.latent_timing(
        times, similarity, ["early", "high"], planted[None].repeat(2, 0), planted, np.linspace(-1, 1, 9), 0.95,
        kind=kind,
    )  # fmt: skip


def test_a_table_shows_latents_whatever_is_known_of_them(rng):
    whole = table(rng)
    assert plots.latent_table(**whole)[:8] == PNG
    bare = {k: whole[k] for k in ("names", "images", "auc", "interval")}
    assert plots.latent_table(**bare)[:8] == PNG
    assert plots.latent_table(**bare) == plots.latent_table(**bare)


def test_latents_without_a_name_each_are_refused(rng):
    with pytest.raises(ValueError, match="latent"):
        plots.latent_table(**(table(rng) | {"names": ["one"]}))


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
