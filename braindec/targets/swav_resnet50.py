"""ResNet-50 trained by SwAV without labels: the features of a published distance between pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from braindec import _compat, checks
from braindec.targets import _layers

URL = "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar"  # no checksum is published
TRAINING_ONLY = ("projection_head.", "prototypes.")  # what SwAV learns beside the network


@dataclass(frozen=True)
class Config:
    """Settings of the judging network.

    Parameters
    ----------
    node : {"avgpool"}
        Global average pool, 2048 features.
    weights : str
        ``"pretrained"`` (the 800-epoch network of facebookresearch/swav, downloaded once) or the path of a file.
    size : int
        Pixels a side, not cropped; 224 in the published evaluation.
    antialias : bool
        Of the resizing; the published evaluation had none.
    """

    node: Literal["avgpool"] = "avgpool"
    weights: str = _layers.PRETRAINED
    size: int = 224
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
    from torchvision.models import resnet50

    file = _layers.weights_file(config.weights, URL)

    def headless() -> nn.Module:
        network = resnet50()
        network.fc = nn.Identity()  # SwAV learns no classes
        return network

    network = _layers.loaded(headless, _of_network(_layers.state(file)))
    read = _layers.one_output_of(config.node)
    return _layers.LayerTarget(
        "swav_resnet50",
        network,
        read,
        node=config.node,
        size=config.size,
        antialias=config.antialias,
        file=file,
    )


def _of_network(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's own tensors under their names in torchvision."""
    named = {key.removeprefix("module."): value for key, value in found.items()}
    return {key: value for key, value in named.items() if not key.startswith(TRAINING_ONLY)}
