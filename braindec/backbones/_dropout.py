"""Dropout whose random draws cost a CPU little: one byte a value instead of one call of the generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 256  # of a byte


class Dropout(nn.Module):
    """What `torch.nn.Dropout` does; on a CPU some ten times faster where `share` is a multiple of 1/256.

    Parameters
    ----------
    share : float
        Probability that a value is set to zero in training, in [0, 1). The others are divided by 1 - share.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; in evaluation the same values."""
        if not self.training or self.share == 0:
            return x
        dropped = self.share * LEVELS
        if x.device.type != "cpu" or dropped != int(dropped):
            return nn.functional.dropout(x, self.share)
        return (x * _kept(x.shape, int(dropped))).mul_(1 / (1 - self.share))


def _kept(shape: torch.Size, n_dropped: int) -> Tensor:
    """False with probability n_dropped / 256: bytes of 64-bit draws from torch's global generator."""
    n = shape.numel()
    words = torch.empty(-(-n // 8), dtype=torch.int64).random_(-(2**63), None)
    return (words.view(torch.uint8)[:n] >= n_dropped).view(shape)
