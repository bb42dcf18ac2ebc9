"""Captions as targets: what a stimulus was described as, in the text space of OpenCLIP or of a sentence model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from braindec import checks
from braindec.targets import ImageTextTarget, TextTarget, minilm, openclip, tiny_openclip

ENCODERS = ("openclip", "tiny_openclip", "minilm")


@dataclass(frozen=True)
class Config:
    """Settings of a caption target; other text models: `transformers_text`.

    Parameters
    ----------
    encoder : {"openclip", "tiny_openclip", "minilm"}
        An OpenCLIP model's text tower, that of the model that ships with braindec, or all-MiniLM-L6-v2.
    model, weights : str
        Of "openclip", as of the target of that name.
    normalised : bool
        Divide embeddings by their length; sentence embeddings of "minilm" always are.
    """

    encoder: Literal["openclip", "tiny_openclip", "minilm"] = "minilm"
    model: str = "ViT-L-14"
    weights: str = "openai"
    normalised: bool = True

    def __post_init__(self) -> None:
        checks.one_of("encoder", self.encoder, ENCODERS)
        if self.encoder == "minilm" and not self.normalised:
            raise checks.ConfigError("embeddings of minilm have unit length; leave normalised=true.")


def build(config: Config) -> CaptionText:
    """The target of a config.

    Raises
    ------
    DownloadError
        If weights of OpenCLIP have to be downloaded and cannot be.
    MissingPackageError
        If the package with the weights of minilm (extra `captions`) is not installed.
    """
    if config.encoder == "minilm":
        return CaptionText(minilm.build(minilm.Config()))
    if config.encoder == "tiny_openclip":
        return CaptionText(tiny_openclip.build(tiny_openclip.Config(config.normalised)))
    return CaptionText(
        openclip.build(openclip.Config(config.model, config.weights, normalised=config.normalised))
    )


class CaptionText(TextTarget):
    """Descriptions alone, through a model that may embed pictures as well.

    Parameters
    ----------
    encoder : TextTarget or ImageTextTarget
    """

    name = "caption_text"

    def __init__(self, encoder: TextTarget | ImageTextTarget) -> None:
        self._encoder = encoder
        self.shape = (1, encoder.shape[1])
        # A space shared with pictures keeps its name: a caption and a picture in it can be compared.
        self.space = encoder.space

    def identity(self) -> dict[str, Any]:
        """The model's, and that captions went through it."""
        return self._encoder.identity() | {"target": self.name, "of": "captions"}

    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256, device: str = "cpu") -> np.ndarray:
        """float32 (n, dim); see `TextTarget.embed_text`."""
        return self._encoder.embed_text(texts, batch_size=batch_size, device=device)
