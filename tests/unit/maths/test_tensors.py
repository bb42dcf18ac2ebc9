"""What callers hold becomes the tensor that it is, whatever numpy allows that torch does not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from braindec.maths.tensors import as_tensor, as_tensors


def test_a_tensor_stays_itself_and_an_array_is_not_copied_where_it_need_not_be(rng):
    given, array = torch.zeros(3), rng.standard_normal(3)
    assert as_tensor("x", given) is given
    assert as_tensor("x", array).data_ptr() == array.ctypes.data


def test_arrays_that_torch_refuses_or_warns_of_have_the_same_numbers(rng):
    array = rng.standard_normal((4, 3))
    fixed = array.copy()
    fixed.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one in (array[::-1], array[:, ::-2], array.astype(">f4"), fixed, array.tolist()):
            found = as_tensor("x", one)
            np.testing.assert_array_equal(found.numpy(), np.asarray(one))
    found += 1.0
    np.testing.assert_array_equal(fixed, array)


def test_what_holds_no_numbers_is_refused_by_name():
    with pytest.raises(TypeError, match="layer 'b' must hold numbers"):
        as_tensors("layer", {"a": np.zeros(2), "b": np.array(["x"])})
    with pytest.raises(TypeError, match=r"x must be floating, got torch.int64. Give x.astype"):
        as_tensor("x", np.arange(3), floating=True)
