"""EEG-SimpleConv: plain one-dimensional convolutions over all channels, halving time, then the mean over time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._heads import Heads
from braindec.backbones._tsconv import check_shape

MEMBER = "eeg_simpleconv"
GROWTH = 1.414  # of the width from block to block, as published


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are the published ones.

    Parameters
    ----------
    width : int
        Maps of the first convolution.
    n_blocks : int
        Blocks of two convolutions, each of which halves time.
    kernel : int
        Length of every filter, samples of its input.

    Notes
    -----
    El Ouahidi et al. 2024, "A strong and simple deep learning baseline for BCI motor imagery decoding",
    arXiv:2309.07159. The paper resamples epochs to 80 Hz or so first: here that is the preprocessing's.
    """

    width: int = 128
    n_blocks: int = 2
    kernel: int = 8

    def __post_init__(self) -> None:
        checks.at_least("width", self.width, 1)
        checks.at_least("n_blocks", self.n_blocks, 1)
        checks.at_least("kernel", self.kernel, 1)

    def widths(self) -> list[int]:
        """Maps of the first convolution and of each block; the first block keeps the width."""
        widths = [self.width, self.width]
        for _ in range(self.n_blocks - 1):
            widths.append(int(GROWTH * widths[-1]))
        return widths


class EEGSimpleConv(Backbone):
    """Convolutions, the mean over time, and a linear head an output."""

    first_layers = ("first.",)

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        widths = config.widths()
        self.first = _convolution(shared_shape[0], widths[0], config.kernel)
        self.blocks = nn.Sequential()
        for n_in, n_out in itertools.pairwise(widths):
            halved = _convolution(n_in, n_out, config.kernel, nn.MaxPool1d(2))
            self.blocks.append(nn.Sequential(halved, _convolution(n_out, n_out, config.kernel)))
        self.heads = Heads(widths[-1], outputs)

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}."""
        made: dict[str, Tensor] = self.heads(self.blocks(self.first(shared)).mean(2))
        return made

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def _convolution(n_in: int, n_out: int, kernel: int, *pool: nn.Module) -> nn.Sequential:
    """Convolution, norm, pool if any, and rectifier, of (n_trials, n_in, n_times)."""
    convolution = nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm1d(n_out), *pool, nn.ReLU())


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> EEGSimpleConv:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis or is too short to be halved so often.
    """
    n_channels, n_times = check_shape(MEMBER, shared_shape)
    if n_times < 2**config.n_blocks:
        raise ValueError(
            f"{MEMBER} with {config.n_blocks} blocks needs at least {2**config.n_blocks} time samples, got {n_times}; "
            "take fewer blocks."
        )
    return EEGSimpleConv((n_channels, n_times), outputs, config)
