"""The OpenCLIP model that ships with braindec: 64x64 pictures of the simulated world and their descriptions."""

from __future__ import annotations

from dataclasses import dataclass

from braindec import weights
from braindec.targets import openclip


@dataclass(frozen=True)
class Config:
    """Settings of the shipped model, which has one embedding a picture (its image tower is a small ResNet).

    Parameters
    ----------
    normalised : bool
        Divide embeddings by their length.
    """

    normalised: bool = True


def build(config: Config) -> openclip.OpenClip:
    """The shipped model, after its files were found to be the recorded ones."""
    return openclip.build(
        openclip.Config(
            model=str(weights.verified("openclip.json")),
            weights=str(weights.verified("openclip.safetensors")),
            normalised=config.normalised,
        )
    )
