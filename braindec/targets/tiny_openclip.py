"""The OpenCLIP model that ships with braindec: 64x64 pictures of the simulated world and their descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from braindec import weights
from braindec.targets import openclip
from braindec.targets._views import View

VIEW = View()


@dataclass(frozen=True)
class Config:
    """Settings of the shipped model, which has one embedding a picture (its image tower is a small ResNet).

    Parameters
    ----------
    normalised : bool
        Divide embeddings by their length.
    tokens, layer, view, aligned
        As of the target `openclip`. Layers are 1 (the stem) to 5 (the last stage); their "pooled" is a mean over
        positions, and "patches" has a token a position.
    """

    normalised: bool = True
    tokens: Literal["pooled", "all", "patches", "mean"] = "pooled"
    layer: int | None = None
    view: View = VIEW
    aligned: str | None = None


def build(config: Config) -> openclip.OpenClip:
    """The shipped model, after its files were found to be the recorded ones."""
    return openclip.build(
        openclip.Config(
            model=str(weights.verified("openclip.json")),
            weights=str(weights.verified("openclip.safetensors")),
            tokens=config.tokens,
            normalised=config.normalised,
            layer=config.layer,
            view=config.view,
            aligned=config.aligned,
        )
    )
