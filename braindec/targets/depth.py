"""Depth as a target: how near everything in a picture is, by a depth model of transformers (DPT, Depth Anything)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from braindec import checks
from braindec.targets import ImageTarget, _layers, _pretrained
from braindec.targets._views import as_array

CLASSES = ("DPTForDepthEstimation", "DepthAnythingForDepthEstimation")


@dataclass(frozen=True)
class Config:
    """Settings of a depth target.

    Parameters
    ----------
    model : str
        Folder written by ``save_pretrained`` of a DPTForDepthEstimation or DepthAnythingForDepthEstimation and its
        image processor, or ``owner/name`` of a model downloaded before; see docs/targets.md.
    side : int
        Pixels a side of the map that is decoded (averaged down from the model's own size).
    """

    model: str = "depth-anything/Depth-Anything-V2-Small-hf"
    side: int = 32

    def __post_init__(self) -> None:
        checks.at_least("side", self.side, 2, unit="pixels")


def build(config: Config) -> Depth:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    DownloadError
        If the model is not on this machine; it says how to get it.
    ConfigError
        If the folder holds another class of model.
    DataFileError
        If the folder lacks weights.
    """
    return Depth(config)


class Depth(ImageTarget):
    """Relative nearness, each picture's own from 0 (its farthest point) to 1 (its nearest), flattened.

    Models of relative depth tell no distances: scale and offset of their output mean nothing.

    Parameters
    ----------
    config : Config
    """

    name = "depth"

    def __init__(self, config: Config) -> None:
        folder, self._model = _pretrained.opened(config.model, self.name, pooler=False, of=CLASSES)
        self._processor = _pretrained.image_processor(folder)
        self.config, self.shape = config, (1, config.side**2)
        digest, kind = _pretrained.weights_digest(folder), str(self._model.config.model_type)
        self.space = f"depth/{config.side}x{config.side}/{kind}/{digest[:12]}"
        self._identity = {
            "target": self.name, "model": kind, "weights_sha256": digest, "side": config.side,
            "config_sha256": _pretrained.config_digest(folder),
            "transform": _pretrained.as_json(self._processor.to_dict()),
        }  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """Model, sha256 of the weights, transform and side."""
        return dict(self._identity)

    @torch.inference_mode()
    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 16, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, side * side) in [0, 1]; see `ImageTarget.embed_images`."""
        checks.at_least("batch_size", batch_size, 1)
        self._model.to(device)
        parts = [np.empty((0, *self.shape), np.float32)]
        for batch in _layers.batches(images, batch_size, "embed depth", progress):
            x = self._processor(
                images=[as_array(image) for image in batch],
                return_tensors="pt",
                input_data_format="channels_last",
            )["pixel_values"]
            parts.append(self._maps(x.to(device)).cpu().numpy())
        return np.concatenate(parts)

    def _maps(self, x: Tensor) -> Tensor:
        near = self._model(pixel_values=x).predicted_depth.float()[:, None]
        if getattr(self._model.config, "depth_estimation_type", "relative") == "metric":
            near = -near  # metres; relative models put out what is large where it is near
        size = (self.config.side, self.config.side)
        flat = interpolate(near, size, mode="area").flatten(2)  # (n, 1, side * side)
        low, high = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True)
        spread = high - low
        return torch.where(spread > 0, (flat - low) / spread, 0.0)  # a map without depth is all far
