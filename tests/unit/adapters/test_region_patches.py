"""Region patches: whose voxels a row averages, whatever their number and order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.adapters import region_patches
from braindec.types import ArraySpace, SubjectSignal


def signal(n, **regions):
    members = {name: np.isin(np.arange(n), rows) for name, rows in regions.items()}
    return SubjectSignal(1, "fmri", (n,), ArraySpace(n, members))


def test_a_row_holds_neighbours_of_one_region_in_the_order_that_was_asked_for():
    adapter = region_patches.build(
        signal(10, late=[0, 2, 4, 6], early=[1, 3]), region_patches.Config(("early", "late"), True, 1, 2)
    )
    values = torch.arange(10.0)[None]
    expected = torch.tensor([[1.0, 3.0], [1.0, 5.0], [6.0, 8.5]])  # rest: means of (5, 7) and (8, 9)
    torch.testing.assert_close(adapter(values)[0], expected)


def test_a_region_with_fewer_voxels_than_places_repeats_them():
    adapter = region_patches.build(signal(2), region_patches.Config(n_patches=2, patch=2))
    torch.testing.assert_close(adapter(torch.tensor([[3.0, 7.0]]))[0], torch.tensor([[3.0, 3.0], [7.0, 7.0]]))


def test_subjects_of_any_number_of_voxels_end_in_one_shape():
    config = region_patches.Config(("early",), False, 3, 4)
    shapes = {
        region_patches.build(signal(n, early=np.arange(k)), config).shared_shape
        for n, k in ((9, 2), (40, 40), (7, 5))
    }
    assert shapes == {(3, 4)}


def test_a_region_that_is_not_there_is_named():
    with pytest.raises(checks.ConfigError, match="early"):
        region_patches.build(signal(4, early=[0]), region_patches.Config(("erly",)))
    with pytest.raises(checks.ConfigError, match="rest"):
        region_patches.Config(rest=False)
