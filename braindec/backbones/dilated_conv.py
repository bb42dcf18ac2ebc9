"""Dilated convolutions over time: speech is decoded from M/EEG sample by sample, and the output keeps time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._heads import check_outputs


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are those of the published speech decoder.

    Parameters
    ----------
    width : int
        Values a time sample inside the trunk.
    n_layers : int
        Dilated convolutions.
    kernel : int
        Length of a filter, odd, time samples.
    dilation_period : int
        Layer k is dilated by 2 ** (k modulo this), samples.
    glu_every : int
        A gated layer follows every so many convolutions; 0 for none.
    glu_context : int
        Samples before and after that a gate sees.
    variant : {"fixed", "published"}
        ``"published"`` keeps each convolution's bias before its batch norm, where it has no gradient.
    aggregation : {"mean", "learned"}
        How an output of fewer tokens than the signal has samples is made of these: means over equal stretches of time,
        or weights of every sample that are learned for each token, so that it matters when something was seen.

    Notes
    -----
    Défossez et al. 2023, doi:10.1038/s42256-023-00714-5. The time of the output is the time of the signal: where an
    output has as many tokens as the signal has samples, token t is sample t. Where it has fewer, token i of n is the
    mean of the trunk over samples floor(i T / n) to ceil((i + 1) T / n), so one token is the mean over the epoch.
    Learned weights over time are those with which MEG is decoded into embeddings of images by Benchetrit et al. 2024,
    arXiv:2310.19812.
    """

    width: int = 320
    n_layers: int = 10
    kernel: int = 3
    dilation_period: int = 5
    glu_every: int = 2
    glu_context: int = 1
    variant: Literal["fixed", "published"] = "fixed"
    aggregation: Literal["mean", "learned"] = "mean"

    def __post_init__(self) -> None:
        for name in ("width", "n_layers", "kernel", "dilation_period"):
            checks.at_least(name, getattr(self, name), 1)
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that samples stay where they are, got {self.kernel}.")
        checks.at_least("glu_every", self.glu_every, 0)
        checks.at_least("glu_context", self.glu_context, 0)
        checks.one_of("variant", self.variant, ["fixed", "published"])
        checks.one_of("aggregation", self.aggregation, ["mean", "learned"])


class Layer(nn.Module):
    """Convolution, batch norm, GELU, added to its input where shapes are equal; then a gate where one is due."""

    def __init__(self, n_in: int, number: int, config: Config):
        super().__init__()
        dilation = 2 ** (number % config.dilation_period)
        self.skip = n_in == config.width
        # No bias before a norm: it would be subtracted again and never learn.
        self.conv = nn.Conv1d(n_in, config.width, config.kernel, dilation=dilation,
                              padding=dilation * (config.kernel // 2), bias=config.variant == "published")  # fmt: skip
        self.norm = nn.BatchNorm1d(config.width)
        gated = config.glu_every > 0 and (number + 1) % config.glu_every == 0
        context = config.glu_context
        self.gate = (
            nn.Sequential(
                nn.Conv1d(config.width, 2 * config.width, 1 + 2 * context, padding=context), nn.GLU(1)
            )
            if gated
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in, n_times) to (n_trials, width, n_times)."""
        y = nn.functional.gelu(self.norm(self.conv(x)))
        return self.gate(x + y if self.skip else y)


class Head(nn.Sequential):
    """Two layers at every token alone: (n_trials, width, n_tokens) to (n_trials, n_dims, n_tokens)."""

    def __init__(self, width: int, n_dims: int):
        super().__init__(nn.Conv1d(width, 2 * width, 1), nn.GELU(), nn.Conv1d(2 * width, n_dims, 1))


class DilatedConv(Backbone):
    """A trunk of dilated convolutions and a head an output; with means over time none knows how long the signal is."""

    first_layers = ("layers.0.",)

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        widths = [shared_shape[0], *[config.width] * (config.n_layers - 1)]
        self.layers = nn.Sequential(*[Layer(n_in, k, config) for k, n_in in enumerate(widths)])
        self.outputs = check_outputs(outputs)
        # The prefix keeps output names apart from the attributes that every module has.
        self.heads = nn.ModuleDict(
            {f"to_{name}": Head(config.width, n_dims) for name, (_, n_dims) in self.outputs.items()}
        )
        shorter = {name: n for name, (n, _) in self.outputs.items() if n != shared_shape[1]}
        learned = shorter if config.aggregation == "learned" else {}
        self.over_time = nn.ModuleDict(
            {f"to_{name}": nn.Linear(shared_shape[1], n) for name, n in learned.items()}
        )
        if config.variant == "published":
            self.inert = frozenset(f"layers.{k}.conv.bias" for k in range(config.n_layers))

    def features(self, shared: Tensor) -> Tensor:
        """(n_trials, n_channels, n_times) to (n_trials, width, n_times)."""
        return self.layers(shared)

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}, tokens in order of time."""
        features = self.features(shared)
        return {
            name: self.heads[f"to_{name}"](self._in_tokens(name, features)).transpose(1, 2)
            for name in self.outputs
        }

    def _in_tokens(self, name: str, features: Tensor) -> Tensor:
        """(n_trials, width, n_times) to (n_trials, width, n_tokens) of an output."""
        if f"to_{name}" in self.over_time:
            made: Tensor = self.over_time[f"to_{name}"](features)
            return made
        return _means(features, self.outputs[name][0])

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.outputs)


def _means(features: Tensor, n_tokens: int) -> Tensor:
    """Means over equal stretches of time: (n_trials, width, n_times) to (n_trials, width, n_tokens)."""
    if features.shape[2] == n_tokens:
        return features
    return adaptive_avg_pool1d(features, n_tokens) if len(features) else features[:, :, :n_tokens]


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> DilatedConv:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis, or an output has more tokens than there are time samples.
    """
    if len(shared_shape) != 2:
        raise ValueError(
            f"dilated_conv needs a shared shape (channel, time), got {shared_shape}; take an adapter that keeps time, "
            "e.g. spatial_merger."
        )
    n_channels, n_times = shared_shape
    for name, (n_tokens, _) in check_outputs(outputs).items():
        if n_tokens > n_times:
            raise ValueError(
                f"dilated_conv gives at most one token a time sample, but output {name!r} has {n_tokens} tokens and "
                f"the signal {n_times} samples; resample the target or the signal."
            )
    return DilatedConv((n_channels, n_times), outputs, config)
