"""Inception-v3 trained on ImageNet: the pooled layer of published two-way identification and KID, and its classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from braindec import _compat, checks
from braindec.targets import _layers


@dataclass(frozen=True)
class Config:
    """Settings of the judging network.

    Parameters
    ----------
    node : {"avgpool", "logits"}
        Global average pool, 2048 features, or the logits of 1000 classes.
    weights : str
        ``"pretrained"`` (torchvision's IMAGENET1K_V1, downloaded once) or the path of a file.
    size : int
        Pixels a side, not cropped; 342 in the published evaluation.
    antialias : bool
        Of the resizing; the published evaluation had none.
    """

    node: Literal["avgpool", "logits"] = "avgpool"
    weights: str = _layers.PRETRAINED
    size: int = 342
    antialias: bool = False

    def __post_init__(self) -> None:
        checks.one_of("node", self.node, ("avgpool", "logits"))
        checks.at_least("size", self.size, 75, unit="pixels")


def build(config: Config) -> _layers.LayerTarget:
    """The target of a config, its weights loaded strictly.

    Raises
    ------
    DownloadError
        If the weights have to be downloaded and cannot be.
    """
    _compat.ensure_torchvision()
    from torchvision.models import inception_v3

    file = _layers.weights_file(config.weights, _layers.published_url("Inception_V3_Weights.IMAGENET1K_V1"))
    # torchvision's pretrained network undoes ImageNet's normalisation for the one it was trained with.
    make = partial(inception_v3, init_weights=False, transform_input=True)
    network = _layers.loaded(make, _layers.state(file))
    read = _layers.whole_output if config.node == "logits" else _layers.one_output_of(config.node)
    return _layers.LayerTarget(
        "inception_v3",
        network,
        read,
        node=config.node,
        size=config.size,
        antialias=config.antialias,
        file=file,
    )
