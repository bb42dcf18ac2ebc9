"""Convolution over time, then over channels: the small network that EEG and MEG epochs are decoded with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._channel_mixing import GraphAttention, SelfAttention
from braindec.backbones._tsconv import (
    VARIANTS,
    ResidualHeads,
    Settings,
    TSConv,
    check_shape,
    start_as_published_,
)

MEMBER = "temporal_spatial"
ATTENTIONS = {"self": SelfAttention, "graph": GraphAttention}


@dataclass(frozen=True)
class Config(Settings):
    """Settings; those of the convolution are `_tsconv.Settings`', NICE's, made for 250 samples at 250 Hz.

    Parameters
    ----------
    attention : str
        What lets channels see each other before the convolutions: ``none``, ``self`` (NICE-SA) or ``graph`` (NICE-GA).
    variant : str
        ``ours``, or ``published``: with the convolutions' biases that the norms cancel, the published first weights,
        and the faults of the published attention modules (see `_channel_mixing`). Checkpoints need ``published``.

    Notes
    -----
    Song et al. 2024, "Decoding natural images from EEG for object recognition", arXiv:2308.13234.
    """

    attention: str = "none"
    variant: str = "ours"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("attention", self.attention, ("none", *ATTENTIONS))
        checks.one_of("variant", self.variant, VARIANTS)


class TemporalSpatial(Backbone):
    """Attention between channels where asked for, the convolutions, and a residual head an output."""

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_channels, n_times = shared_shape
        published = config.variant == "published"
        # Wider than what it becomes here: a plain module without parameters where there is no attention.
        self.attention: nn.Module = nn.Identity()
        if config.attention != "none":
            self.attention = ATTENTIONS[config.attention](n_channels, n_times, published=published)
        self.tsconv = TSConv(n_channels, config, biases=published)
        n_features = config.n_features(n_times)
        self.heads = ResidualHeads(MEMBER, n_features, outputs, config.dropout)
        if published:
            start_as_published_(self)
            self.inert = frozenset(f"tsconv.{name}" for name in TSConv.INERT)
            if isinstance(self.attention, SelfAttention):
                self.inert |= {f"attention.{name}" for name in self.attention.inert}

    def features(self, shared: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, n_steps * n_mixed), mixed filters changing fastest."""
        features: Tensor = self.tsconv(self.attention(shared))
        return features

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}."""
        made: dict[str, Tensor] = self.heads(self.features(shared))
        return made

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> TemporalSpatial:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis or is too short for kernel and pool.
    """
    n_channels, n_times = check_shape(MEMBER, shared_shape)
    config.check_times(MEMBER, n_times)
    return TemporalSpatial((n_channels, n_times), outputs, config)
