"""EfficientNet-B1 trained on ImageNet: the features of a published distance between pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from braindec import _compat, checks
from braindec.targets import _layers


@dataclass(frozen=True)
class Config:
    """Settings of the judging network.

    Parameters
    ----------
    node : {"avgpool"}
        Global average pool, 1280 features.
    weights : str
        ``"pretrained"`` (torchvision's IMAGENET1K_V2, downloaded once) or the path of a file.
    size : int
        Pixels a side, not cropped; 255 in the published evaluation.
    antialias : bool
        Of the resizing; the published evaluation had none.
    """

    node: Literal["avgpool"] = "avgpool"
    weights: str = _layers.PRETRAINED
    size: int = 255
    antialias: bool = False

    def __post_init__(self) -> None:
        checks.one_of("node", self.node, ("avgpool",))
        checks.at_least("size", self.size, 32, unit="pixels")


def build(config: Config) -> _layers.LayerTarget:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    DownloadError
        If the weights have to be downloaded and cannot be.
    """
    _compat.ensure_torchvision()
    from torchvision.models import efficientnet_b1

    file = _layers.weights_file(
        config.weights, _layers.published_url("EfficientNet_B1_Weights.IMAGENET1K_V2")
    )
    network = _layers.loaded(efficientnet_b1, _layers.state(file))
    read = _layers.one_output_of(config.node)
    return _layers.LayerTarget(
        "efficientnet_b1",
        network,
        read,
        node=config.node,
        size=config.size,
        antialias=config.antialias,
        file=file,
    )
