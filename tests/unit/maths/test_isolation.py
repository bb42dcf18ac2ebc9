"""Independent draws lie alone; look-alikes do not."""

import torch

from braindec.maths.nearest import isolation


def test_independent_rows_are_isolated_and_pairs_are_not():
    draw = torch.Generator().manual_seed(0)
    alone = torch.randn(200, 64, generator=draw)
    twins = alone[:100].repeat_interleave(2, 0) + 0.3 * torch.randn(200, 64, generator=draw)
    assert isolation(alone) > 0.9
    assert isolation(twins) < 0.6


def test_units_do_not_matter():
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    assert abs(isolation(x) - isolation(1000 * x + 5)) < 1e-5
