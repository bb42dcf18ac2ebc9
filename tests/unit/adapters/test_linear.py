"""The linear adapter's starting map, and what does not fit it."""

from __future__ import annotations

import pytest
import torch

from braindec.adapters import linear
from braindec.types import ArraySpace, SubjectSignal

SIGNAL = SubjectSignal(1, "eeg", (3, 4), ArraySpace(3), 100.0, 0.0)


def test_channels_and_times_are_flattened_in_that_order(generator):
    adapter = linear.build(SIGNAL, linear.Config(shared_dim=2))
    weight, x = torch.randn(2, 3, 4, generator=generator), torch.randn(5, 3, 4, generator=generator)
    adapter.start_from_(weight.flatten(1), torch.zeros(2))
    torch.testing.assert_close(adapter(x), torch.einsum("sct,nct->ns", weight, x))


def test_a_starting_map_of_another_signal_or_more_rows_is_refused():
    adapter = linear.build(SIGNAL, linear.Config(shared_dim=2))
    with pytest.raises(ValueError, match="11 along axis 'signal value'"):
        adapter.start_from_(torch.zeros(2, 11), torch.zeros(2))
    with pytest.raises(ValueError, match="number of rows"):
        adapter.start_from_(torch.zeros(3, 12), torch.zeros(3))
    with pytest.raises(ValueError, match="must match"):
        adapter.start_from_(torch.zeros(2, 12), torch.zeros(1))


def test_each_step_is_mapped_alone_by_the_same_weights(generator):
    adapter = linear.build(SIGNAL, linear.Config(shared_dim=2, each_step=True))
    x = torch.randn(5, 3, 4, generator=generator)
    assert adapter.shared_shape == (3, 2)
    found = adapter(x)
    for step in range(3):
        torch.testing.assert_close(found[:, step], x[:, step] @ adapter.linear.weight.T + adapter.linear.bias)
    assert not adapter.start_from_(torch.zeros(6, 12), torch.zeros(6))
