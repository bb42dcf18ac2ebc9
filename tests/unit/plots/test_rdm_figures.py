"""Figures of representational similarity say what they show and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import plots


def test_conditions_are_brought_together_by_group(rng):
    x = rng.random((12, 3))
    d = ((x[:, None] - x) ** 2).sum(-1)
    names = [f"c{i}" for i in range(12)]
    plain = plots.rdm_matrix(d, names, label="crossnobis")
    assert "c11" in plain and "crossnobis between 12 conditions" in plain
    grouped = plots.rdm_matrix(d, names, groups=["face", "house"] * 6)
    assert "face" in grouped and "c11" not in grouped
    with pytest.raises(ValueError, match="must match"):
        plots.rdm_matrix(d, names[:-1])


def test_bars_run_from_the_best_model_down_inside_the_ceiling(rng):
    drawn = plots.model_bars(
        ["weak", "strong"], np.array([0.1, 0.4]), np.array([[0.0, 0.2], [0.3, 0.5]]), ceiling=(0.5, 0.7),
        null=np.array([0.05, 0.05]), significant=np.array([False, True]), subjects=rng.random((5, 2)), xlabel="rho-a",
    )  # fmt: skip
    assert drawn.index("strong") < drawn.index("weak") and "ceiling" in drawn and "one subject" in drawn


def test_time_courses_mark_when_a_model_is_significant():
    t = np.linspace(-0.1, 0.5, 13)
    wave = np.exp(-(((t - 0.2) / 0.1) ** 2))
    series = {"early": wave, "late": wave[::-1]}
    drawn = plots.rsa_time_course(
        t, series, intervals={"early": np.stack([wave - 0.1, wave + 0.1], 1)},
        significant={"early": wave > 0.5, "late": wave > 2}, ceiling=np.stack([wave, wave + 0.3], 1), ylabel="rho-a",
    )  # fmt: skip
    assert "early" in drawn and "corrected" in drawn and "ceiling" in drawn
    none = plots.rsa_time_course(t, series, significant={"early": wave > 2, "late": wave > 2})
    assert "corrected" not in none
