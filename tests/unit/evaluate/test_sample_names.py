"""What a score's samples were measured on has a name that outlives the run."""

import numpy as np
import torch

from braindec.evaluate.decoded import Decoded
from braindec.evaluate.scoring import row_names
from braindec.types import Table


def _decoded(ids):
    n = len(ids)
    table = Table({"session": np.ones(n, int), "run": np.arange(n) // 2, "acquisition_order": np.arange(n)})
    nothing = torch.zeros(n, 1)
    return Decoded("sub-01_fmri", tuple(ids), nothing, nothing, torch.zeros(n), table, torch.zeros(n, 0), ())


def test_rows_of_distinct_stimuli_are_named_after_them():
    assert row_names(_decoded(["a", "b", "c"])) == ("a", "b", "c")


def test_presentations_of_one_stimulus_have_names_of_their_own_that_begin_with_it():
    names = row_names(_decoded(["a", "b", "a", "a"]))
    assert len(set(names)) == 4
    assert [name.partition("@")[0] for name in names] == ["a", "b", "a", "a"]


def test_nothing_decoded_has_no_names():
    assert row_names(None) == ()
