"""An MLP mixer with MindEye2's heads: tokens, tokens projected for retrieval, and latents of a blurry picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._blurry import Decoder, project_maps
from braindec.backbones._heads import Heads, check_outputs
from braindec.backbones._mixing import FixedMixing, PublishedMixing
from braindec.maths.dense import Dense

SPLIT = 8  # tokens that the mended variant splits a vector into, where the settings name no number
GROUPS = {"published": 32, "fixed": 8}  # of 32 channels in 32 groups, the norm would make five biases inert


@dataclass(frozen=True)
class Config:
    """Settings; every output is a linear head of the mixed tokens unless it is named below.

    Parameters
    ----------
    variant : {"fixed", "published"}
        "published" computes what MindEye2's code computes. It has two residual streams, and at the one token that it
        is used with no block changes anything but a constant. "fixed" has one stream, and mixes.
    n_blocks : int
        Pairs of a block over tokens and a block over dims, >= 0.
    n_tokens : int or None
        Tokens that a shared vector is split into, at least 2; None takes 8. Values that come as (token, dim) are not
        split. "published" takes a vector as one token, and this must be None.
    dropout : float
        Share of hidden values that is dropped in training, in [0, 1).
    projected : tuple of (str, str)
        Outputs that a three-layer network makes of another output's tokens, with the other's name: MindEye2's is
        ``(("clip", "backbone"),)``.
    latents : str or None
        The output, (n_channels, height * width) of a square picture, that a small convolutional decoder makes.
    latent_maps : str or None
        The output, (n_pixels, n_dims), that is made of the decoder's first maps; needs `latents`.
    latent_width : int
        Channels of the decoder's first maps.
    latent_channels : tuple of int
        Channels of its blocks, the last block's first; each block but the last doubles height and width.
    latent_dropout : float
        Share of the first maps that is dropped in training, in [0, 1).

    Notes
    -----
    Scotti et al. 2024, arXiv:2403.11207; published are 4 blocks, a dropout of 0.15 (0.3 of the first maps) and the
    default sizes of the decoder.
    """

    variant: Literal["fixed", "published"] = "fixed"
    n_blocks: int = 4
    n_tokens: int | None = None
    dropout: float = 0.15
    projected: tuple[tuple[str, str], ...] = ()
    latents: str | None = None
    latent_maps: str | None = None
    latent_width: int = 64
    latent_channels: tuple[int, ...] = (32, 64, 128)
    latent_dropout: float = 0.3

    def __post_init__(self) -> None:
        checks.one_of("variant", self.variant, ("fixed", "published"))
        checks.at_least("n_blocks", self.n_blocks, 0)
        checks.at_least("latent_width", self.latent_width, 1)
        checks.at_least("smallest of latent_channels", min(self.latent_channels, default=0), 1)
        for name in ("dropout", "latent_dropout"):
            checks.in_range(name, getattr(self, name), 0.0, 0.99)
        if self.n_tokens is not None:
            checks.at_least("n_tokens", self.n_tokens, 2)
            if self.variant == "published":
                raise checks.ConfigError("variant 'published' splits no vector; leave n_tokens at None.")
        if self.latent_maps is not None and self.latents is None:
            raise checks.ConfigError("latent_maps are made on the way to latents; name latents too.")
        checks.unique("outputs of the mixer", self.special)

    @property
    def affine(self) -> bool:
        """Whether, given vectors, it maps them to its linear heads by weights and a bias alone."""
        return self.variant == "published"

    @property
    def special(self) -> list[str]:
        """Outputs that are no linear head."""
        named = [name for name, _ in self.projected]
        return named + [name for name in (self.latents, self.latent_maps) if name is not None]


class AffineMap(NamedTuple):
    """signal -> left @ (right @ signal) + bias, in factors: the product would be (n_tokens * n_dims, n_values).

    left: (n_tokens * n_dims, n_shared); right: (n_shared, n_values); bias: (n_tokens * n_dims,).
    """

    left: Tensor
    right: Tensor
    bias: Tensor


class MixerBackbone(Backbone):
    """Tokens through the mixing, then a head an output."""

    def __init__(self, shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        self.config = config
        self.outputs = check_outputs(outputs)
        straight = _straight(self.outputs, config)
        self.tokens_shape = _tokens_shape(shared_shape, config)
        mixing = PublishedMixing if config.variant == "published" else FixedMixing
        self.mixing = mixing(*self.tokens_shape, config.n_blocks, config.dropout)
        self.heads = Heads(math.prod(self.tokens_shape), straight) if straight else None
        # The prefix keeps output names apart from the attributes that every module has.
        self.projectors = nn.ModuleDict(
            {f"to_{name}": projector(self.outputs[name][1]) for name, _ in config.projected}
        )
        self.blurry = None if config.latents is None else BlurryHead(self.tokens_shape, self.outputs, config)
        self.inert = self._inert()

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, *shared_shape) to {output name: (n_trials, n_tokens, n_dims)}."""
        flat = self.mixing(shared.reshape(len(shared), *self.tokens_shape)).flatten(1)
        made = {} if self.heads is None else self.heads(flat)
        for name, source in self.config.projected:
            made[name] = self.projectors[f"to_{name}"](made[source])
        if self.blurry is not None:
            made |= self.blurry(flat)
        return {name: made[name] for name in self.outputs}

    def linear_path(self, output: str) -> nn.Linear | None:
        """The head itself: the mixing begins as the identity. None for an output that is no linear head."""
        checks.known_key("output", output, self.outputs)
        if self.heads is None or output in self.config.special:
            return None
        return self.heads.of(output)

    def affine_map(self, weight: Tensor, bias: Tensor, output: str) -> AffineMap:
        """What an affine adapter and this backbone compute together, without dropout, where that is affine.

        Parameters
        ----------
        weight : Tensor, shape (n_shared, n_values)
            The adapter's, from the flattened signal.
        bias : Tensor, shape (n_shared,)
        output : str
            A linear head.

        Returns
        -------
        AffineMap
            Of rank n_shared at most.

        Raises
        ------
        ConfigError
            If the tokens really mix, or the output is no linear head: the map is not affine then.
        """
        mixing = self.mixing
        if not isinstance(mixing, PublishedMixing) or mixing.n_tokens > 1:
            raise checks.ConfigError(
                "only a mixer of variant 'published' with one token is affine; this one mixes its tokens."
            )
        head = self.linear_path(output)
        if head is None:
            raise checks.ConfigError(f"output {output!r} is no linear head and no affine map of the signal.")
        return AffineMap(head.weight, weight, head.weight @ (bias + mixing.shift()) + head.bias)

    def _inert(self) -> frozenset[str]:
        names = set()
        if isinstance(self.mixing, PublishedMixing):
            names |= {f"mixing.{name}" for name in self.mixing.inert()}
        if self.blurry is not None:
            names |= {f"blurry.{name}" for name in self.blurry.inert()}
        return frozenset(names)


class BlurryHead(nn.Module):
    """From the mixed tokens to latents of a small picture, and to maps that a vision network would make of it."""

    def __init__(self, tokens_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        self.latents, self.maps = str(config.latents), config.latent_maps
        n_channels, n_pixels = outputs[self.latents]
        self.side = _first_side(n_pixels, config)
        width = config.latent_width
        self.start = Dense(math.prod(tokens_shape), width * self.side**2)
        self.dropout = nn.Dropout(config.latent_dropout)
        self.norm = nn.GroupNorm(1, width)
        published = config.variant == "published"
        self.decoder = Decoder(
            width, n_channels, config.latent_channels, GROUPS[config.variant], key_bias=published
        )
        self.project = None
        if self.maps is not None:
            n_places, n_dims = outputs[self.maps]
            if n_places != self.side**2:
                raise checks.ConfigError(
                    f"latent_maps must have {self.side**2} tokens ({self.side} x {self.side}, where the decoder of "
                    f"{self.latents!r} begins), got {n_places}."
                )
            self.project = project_maps(width, n_dims)

    def forward(self, flat: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_values) to latents (n_trials, n_channels, height * width) and maps (n_trials, place, dim)."""
        first = self.dropout(self.start(flat)).unflatten(1, (-1, self.side, self.side))
        first = self.norm(first)  # (trial, channel, side, side)
        made = {self.latents: self.decoder(first).flatten(2)}
        if self.project is not None and self.maps is not None:
            made[self.maps] = self.project(first).flatten(2).transpose(1, 2)
        return made

    def inert(self) -> set[str]:
        """Names of the parameters that reach nothing."""
        return {f"decoder.{name}" for name in self.decoder.inert()}


def projector(n_dims: int) -> nn.Sequential:
    """MindEye2's `clip_proj`: three times norm, GELU and a linear layer, on each token."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.LayerNorm(n_dims), nn.GELU(), Dense(n_dims, n_dims)]
    return nn.Sequential(*layers)


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> MixerBackbone:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ConfigError
        If the shared shape or an output cannot be what the settings make of it.
    """
    return MixerBackbone(shared_shape, outputs, config)


def _tokens_shape(shared_shape: tuple[int, ...], config: Config) -> tuple[int, int]:
    """(n_tokens, n_dims) that are mixed."""
    if len(shared_shape) > 2:
        raise checks.ConfigError(
            f"mixer needs a shared shape (value,) or (token, dim), got {shared_shape}; take an adapter that "
            "ends in one."
        )
    published = config.variant == "published"
    if len(shared_shape) == 2 and (published or shared_shape[0] > 1):
        n_tokens, n_dims = shared_shape
    else:
        n_values = math.prod(shared_shape)
        n_tokens = 1 if published else config.n_tokens or SPLIT
        if n_values % n_tokens:
            raise checks.ConfigError(
                f"mixer splits a shared vector into n_tokens={n_tokens} of equal length, which {n_values} values do "
                "not allow; set n_tokens, or the adapter's shared_dim, so that one divides the other."
            )
        n_dims = n_values // n_tokens
    if n_dims < 2:
        raise checks.ConfigError(
            f"mixer norms each token over its dims and needs 2 at least, got {n_tokens} tokens of {n_dims}; set a "
            "smaller n_tokens or a longer shared vector."
        )
    return n_tokens, n_dims


def _straight(outputs: Mapping[str, tuple[int, int]], config: Config) -> dict[str, tuple[int, int]]:
    """The outputs that are linear heads; outputs that the settings name must be there and fit."""
    for name in config.special:
        checks.known_key("output of the mixer", name, outputs)
    straight = {name: shape for name, shape in outputs.items() if name not in config.special}
    for name, source in config.projected:
        checks.known_key(f"what {name!r} is projected from", source, straight)
        if outputs[name] != outputs[source]:
            raise checks.ConfigError(
                f"{name!r} is projected from {source!r} token by token, so their shapes must be equal: "
                f"{outputs[name]} is not {outputs[source]}."
            )
    return straight


def _first_side(n_pixels: int, config: Config) -> int:
    """Height of the decoder's first maps."""
    side, growth = math.isqrt(n_pixels), 2 ** (len(config.latent_channels) - 1)
    if side * side != n_pixels or side % growth:
        raise checks.ConfigError(
            f"latents {config.latents!r} must be a square picture whose side the {len(config.latent_channels)} blocks "
            f"reach by doubling (a multiple of {growth}), got {n_pixels} pixels; change latent_channels."
        )
    return side // growth
