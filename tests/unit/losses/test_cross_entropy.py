"""What cross-entropy takes as a class."""

from __future__ import annotations

import pytest
import torch

from braindec.losses import cross_entropy


def value_of(target):
    return cross_entropy.build(cross_entropy.Config())(
        torch.zeros(target.shape), target, torch.arange(len(target)), 0, None
    )


def test_knowing_nothing_costs_the_log_of_the_number_of_classes():
    assert float(value_of(torch.eye(8).unsqueeze(1))) == pytest.approx(float(torch.tensor(8.0).log()))


@pytest.mark.parametrize(
    "target", [torch.ones(2, 1, 3), torch.tensor([[[2.0, -1.0]]]), torch.eye(4).reshape(2, 2, 4)]
)
def test_what_is_no_distribution_over_classes_is_refused(target):
    with pytest.raises(ValueError, match="cross_entropy"):
        value_of(target)
