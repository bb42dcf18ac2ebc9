"""OpenAI's CLIP ViT-L/14 as a judge: pictures resized as published evaluations do, and captions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from braindec import checks
from braindec.targets import ImageTextTarget, _layers, openclip


@dataclass(frozen=True)
class Config:
    """Settings of the judge.

    Parameters
    ----------
    node : {"final"}
        The image embedding after the projection, 768 dims.
    model, weights : str
        As of the target `openclip`: OpenAI's weights are downloaded once, or the path of a file.
    antialias : bool
        Of the resizing (bilinear, not cropped); the published evaluation had none.
    """

    node: Literal["final"] = "final"
    model: str = "ViT-L-14"
    weights: str = "openai"
    antialias: bool = False

    def __post_init__(self) -> None:
        checks.one_of("node", self.node, ("final",))


def build(config: Config) -> ClipJudge:
    """The judge, its weights loaded strictly.

    Raises
    ------
    DownloadError
        If the weights have to be downloaded and cannot be.
    """
    return ClipJudge(config)


class ClipJudge(ImageTextTarget):
    """The target `openclip` behind the published image transform.

    Parameters
    ----------
    config : Config
    """

    name = "clip_vit_l14"

    def __init__(self, config: Config) -> None:
        self._clip = openclip.build(openclip.Config(config.model, config.weights, normalised=False))
        size = self._clip.model.visual.image_size
        self._size = (size, size) if isinstance(size, int) else tuple(size)
        self._antialias = config.antialias
        self.shape = self._clip.shape
        self.space = f"clip_vit_l14/{self._clip.identity()['weights_sha256'][:12]}/{self._size[0]}/final"

    def identity(self) -> dict[str, Any]:
        """Model, sha256 of the weights and transform."""
        known = self._clip.identity()
        how = f"bilinear, {'antialiased' if self._antialias else 'not antialiased'}, no crop"
        return known | {"target": self.name, "resize": how, "size": list(self._size)}

    @torch.inference_mode()
    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, dim); see `ImageTarget.embed_images`."""
        checks.at_least("batch_size", batch_size, 1)
        transform = self._clip.identity()["transform"]
        mean, std = (
            torch.tensor(transform[key], device=device)[None, :, None, None] for key in ("mean", "std")
        )
        self._clip.model.to(device)
        parts = [np.empty((0, *self.shape), np.float32)]
        for batch in _layers.batches(images, batch_size, "embed clip_vit_l14", progress):
            x = torch.cat([self._resized(image) for image in batch]).to(device)
            parts.append(self._clip.model.encode_image((x - mean) / std)[:, None].float().cpu().numpy())
        return np.concatenate(parts)

    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256, device: str = "cpu") -> np.ndarray:
        """float32 (n, dim); see `ImageTextTarget.embed_text`."""
        return self._clip.embed_text(texts, batch_size=batch_size, device=device)

    def _resized(self, image: Any) -> torch.Tensor:
        x = _layers.as_tensor(image)
        if x.shape[-2:] == self._size:
            return x
        return nn.functional.interpolate(
            x, self._size, mode="bilinear", antialias=self._antialias, align_corners=False
        )
