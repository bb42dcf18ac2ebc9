"""The OpenCLIP model that ships with braindec: 64x64 pictures of the simulated world and their descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from braindec import checks, weights
from braindec.targets import openclip


@dataclass(frozen=True)
class Config:
    """Settings of the shipped model; see `openclip.Config`."""

    tokens: Literal["pooled", "all", "patches"] = "pooled"
    normalised: bool = True

    def __post_init__(self) -> None:
        checks.one_of("tokens", self.tokens, openclip.TOKENS)


def build(config: Config) -> openclip.OpenClip:
    """The shipped model, after its files were found to be the recorded ones."""
    return openclip.build(
        openclip.Config(
            model=str(weights.verified("openclip.json")),
            weights=str(weights.verified("openclip.safetensors")),
            tokens=config.tokens,
            normalised=config.normalised,
        )
    )
