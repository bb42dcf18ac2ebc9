"""AlexNet trained on ImageNet: the early and middle layers of published two-way identification, and LPIPS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from braindec import _compat, checks
from braindec.targets import _layers

NODES = ("features.4", "features.11", "features.2", "features.9", "perceptual")
SIZE = dict.fromkeys(NODES, 256) | {"perceptual": 128}  # 128: a vector of 0.6 MB a picture instead of 2.6 MB
PERCEPTUAL_LAYERS = (
    "features.1",
    "features.4",
    "features.7",
    "features.9",
    "features.11",
)  # Zhang et al. 2018


@dataclass(frozen=True)
class Config:
    """Settings of the judging network.

    Parameters
    ----------
    node : {"features.4", "features.11", "features.2", "features.9", "perceptual"}
        "AlexNet(2)" and "AlexNet(5)" of published evaluations, what one of them took for these by another index, or the
        five layers of LPIPS as one weighted vector.
    weights : str
        ``"pretrained"`` (torchvision's IMAGENET1K_V1, downloaded once) or the path of a file.
    size : int, optional
        Pixels a side, not cropped; the published 256 (of "perceptual" 128) if not given.
    antialias : bool
        Of the resizing; the published evaluation had none.
    """

    node: Literal["features.4", "features.11", "features.2", "features.9", "perceptual"] = "features.11"
    weights: str = _layers.PRETRAINED
    size: int | None = None
    antialias: bool = False

    def __post_init__(self) -> None:
        checks.one_of("node", self.node, NODES)
        if self.size is not None:
            checks.at_least("size", self.size, 63, unit="pixels")


def build(config: Config) -> _layers.LayerTarget:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    DownloadError
        If the weights have to be downloaded and cannot be.
    """
    _compat.ensure_torchvision()
    from torchvision.models import alexnet

    file = _layers.weights_file(config.weights, _layers.published_url("AlexNet_Weights.IMAGENET1K_V1"))
    network = _layers.loaded(alexnet, _layers.state(file))
    read = _perceptual() if config.node == "perceptual" else _layers.one_output_of(config.node)
    return _layers.LayerTarget(
        "alexnet", network, read, node=config.node, size=config.size or SIZE[config.node],
        antialias=config.antialias, file=file,
    )  # fmt: skip


def _perceptual() -> _layers.Read:
    layers, learned = _layers.output_of(*PERCEPTUAL_LAYERS), lpips_weights()

    def read(network: nn.Module, x: Tensor) -> Tensor:
        return _layers.perceptual(layers(network, x), learned)

    return read


def lpips_weights() -> list[Tensor]:
    """The learned weight of every channel of the five layers, which torchmetrics carries (LPIPS version 0.1)."""
    import torchmetrics

    path = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
    found = torch.load(path, map_location="cpu", weights_only=True)
    return [found[f"lin{i}.model.1.weight"].flatten() for i in range(len(PERCEPTUAL_LAYERS))]
