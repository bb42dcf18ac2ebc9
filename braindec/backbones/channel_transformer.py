"""Channels that attend to each other and to a subject's token, then the temporal-spatial convolution: ATM's encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._attention import RowAttention
from braindec.backbones._dropout import Dropout
from braindec.backbones._tsconv import ResidualHeads, Settings, TSConv, check_shape

MEMBER = "channel_transformer"
VARIANTS = ("ours", "published", "published_old")


@dataclass(frozen=True)
class Config(Settings):
    """Settings; those of the convolution are `_tsconv.Settings`'; the defaults are ATM's.

    Parameters
    ----------
    n_heads : int
        Heads of the attention, at most the number of time samples.
    width : int
        Hidden values a channel of the feed-forward part.
    attention_dropout : float
        Share dropped of embedded channels, of attention weights and after both parts of the layer, in [0, 1).
    variant : str
        ``ours``; ``published``, which adds the biases that have no effect; or ``published_old``, which besides hands
        the token on to the convolution and loses the last channel, as the first published code did.

    Notes
    -----
    Row 0 of the shared values is a subject's token (adapter `subject_token`): it is attended to, and dropped before
    the convolution. Li et al. 2024, arXiv:2403.07721; one post-norm layer after Liu et al. 2024, arXiv:2310.06625.
    """

    n_heads: int = 4
    width: int = 256
    attention_dropout: float = 0.25
    variant: str = "ours"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("n_heads", self.n_heads, 1)
        checks.at_least("width", self.width, 1)
        checks.in_range("attention_dropout", self.attention_dropout, 0.0, 0.99)
        checks.one_of("variant", self.variant, VARIANTS)


class ChannelLayer(nn.Module):
    """One post-norm encoder layer over rows, and the norm behind it."""

    def __init__(self, n_times: int, config: Config):
        super().__init__()
        share = config.attention_dropout
        self.attention = RowAttention(n_times, config.n_heads, share, biases=config.variant != "ours")
        self.norm_1 = nn.LayerNorm(n_times)
        self.widen = nn.Linear(n_times, config.width)
        self.narrow = nn.Linear(config.width, n_times)
        self.norm_2 = nn.LayerNorm(n_times)
        self.norm_3 = nn.LayerNorm(n_times)
        self.dropout = Dropout(share)

    def forward(self, rows: Tensor, first: int) -> Tensor:
        """(n_trials, n_rows, n_times) to (n_trials, n_rows - first, n_times): rows nobody needs are not computed."""
        x = self.norm_1(rows[:, first:] + self.dropout(self.attention(rows, first)))
        hidden = self.dropout(nn.functional.gelu(self.widen(x)))
        x = self.norm_2(x + self.dropout(self.narrow(hidden)))
        made: Tensor = self.norm_3(x)
        return made


class ChannelTransformer(Backbone):
    """A linear map over time, an encoder layer over channels and token, the convolution, a residual head an output."""

    first_layers = ("embed.", "layer.")

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_rows, n_times = shared_shape
        published = config.variant != "ours"
        self.loses_a_channel = config.variant == "published_old"
        self.embed = nn.Linear(n_times, n_times)
        self.dropout = Dropout(config.attention_dropout)
        self.layer = ChannelLayer(n_times, config)
        self.tsconv = TSConv(n_rows - 1, config, biases=published)
        n_features = config.n_features(n_times)
        self.heads = ResidualHeads(MEMBER, n_features, outputs, config.dropout)
        if published:
            self.inert = frozenset(f"tsconv.{name}" for name in TSConv.INERT)

    def features(self, shared: Tensor) -> Tensor:
        """(n_trials, 1 + n_channels, n_times) to (n_trials, n_steps * n_mixed)."""
        embedded = torch.cat([shared[:, :1], self.embed(shared[:, 1:]).to(shared.dtype)], 1)
        # The token tells the layer whose channels these are; what becomes of itself is not used.
        rows = self.layer(self.dropout(embedded), first=0 if self.loses_a_channel else 1)
        features: Tensor = self.tsconv(rows[:, :-1] if self.loses_a_channel else rows)
        return features

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, 1 + n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}."""
        made: dict[str, Tensor] = self.heads(self.features(shared))
        return made

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> ChannelTransformer:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis, no row beside the token, or is too short for kernel, pool or heads.
    """
    n_rows, n_times = check_shape(MEMBER, shared_shape)
    if n_rows < 2:
        raise ValueError(
            f"{MEMBER} needs a token and a channel at least, got {n_rows} row; take the adapter subject_token."
        )
    config.check_times(MEMBER, n_times)
    checks.in_range(f"n_heads of {MEMBER}", config.n_heads, 1, n_times)
    return ChannelTransformer((n_rows, n_times), outputs, config)
