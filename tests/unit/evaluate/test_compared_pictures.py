"""Pictures of several systems: what one has more than another, and how all are shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from braindec.evaluate import compared_pictures
from braindec.evaluate.compared_pictures import Compared, differences

N = 40
OWN, OTHER = ("own", "ours"), ("other", "theirs")


def compared(own: np.ndarray, other: np.ndarray) -> Compared:
    pictures = {name: np.zeros((N, 4, 4, 3), np.uint8) for name in ("own", "other")}
    measured = {
        name: {"ssim": SimpleNamespace(per_sample=values, value=float(values.mean()))}
        for name, values in (("own", own), ("other", other))
    }
    return Compared(tuple(f"scene-{i}" for i in range(N)), pictures["own"], pictures, measured)


def test_a_planted_gain_is_found_and_no_gain_is_not(rng):
    other = rng.standard_normal(N)
    (line,) = differences(compared(other + 0.5, other), "sub-01_fmri", 0, OWN, OTHER, ("test",))
    assert line["difference"] == pytest.approx(0.5)
    assert (line["a"], line["b"], line["key"], line["n"]) == ("ours", "theirs", "sub-01_fmri", N)
    noise = rng.standard_normal(N)
    (null,) = differences(
        compared(other + noise - noise.mean(), other), "sub-01_fmri", 0, OWN, OTHER, ("test",)
    )
    assert null["interval"][0] < 0 < null["interval"][1]


def test_the_table_has_every_system_and_the_grid_the_first_stimuli_by_name(rng):
    found = {"sub-01_fmri": compared(np.full(N, 0.25), np.full(N, 0.75))}
    table, grid = compared_pictures.panels(found, {"own": "ours", "other": "theirs"}, "title", "grid", n=3)
    assert table[2]["rows"] == [["sub-01 fmri", "ours", "0.250"], ["sub-01 fmri", "theirs", "0.750"]]
    assert list(grid[2]["rows"]) == ["presented", "ours", "theirs"]
    assert grid[2]["captions"] == ["scene-0", "scene-1", "scene-2"]
