"""What a generator may be told beside embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.generators import NOTHING, Guides


def test_what_is_told_is_named_and_taken_by_rows():
    guides = Guides(low_level=np.zeros((3, 4, 4, 3), np.uint8), texts=("a", "b", "c"))
    assert guides.told() == {"low_level", "texts"}
    assert guides.rows(slice(1, 3)).texts == ("b", "c")
    assert guides.rows(slice(1, 3)).low_level.shape == (2, 4, 4, 3)
    assert guides.without("texts").told() == {"low_level"}
    assert NOTHING.told() == frozenset()
    assert NOTHING.rows(slice(0, 2)).told() == frozenset()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"low_level": np.zeros((3, 4, 4), np.uint8)}, "stimulus, height, width, rgb"),
        ({"low_level": np.zeros((3, 4, 4, 3), np.float32)}, "uint8"),
        ({"low_level": np.zeros((3, 4, 4, 1), np.uint8)}, "1 channels"),
        ({"control": np.zeros((3, 4, 4, 1), np.float32)}, "stimulus, height, width"),
        ({"control": np.full((3, 4, 4), 2.0)}, "must lie in"),
        ({"control": np.full((3, 4, 4), -0.5)}, "at least 0"),
        ({"control": np.full((3, 4, 4), np.nan)}, "NaN"),
    ],
)
def test_a_guide_that_is_no_picture_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Guides(**wrong)
