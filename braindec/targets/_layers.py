"""Layers of published networks as targets: what pictures look like to the networks that evaluations judge with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from braindec import checks, pretrained, store, weights
from braindec.targets import ImageTarget, _downloads
from braindec.targets._views import not_a_path

IMAGENET_MEAN, IMAGENET_STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of values in [0, 1], as in torchvision
PRETRAINED = "pretrained"

Read = Callable[[nn.Module, Tensor], Tensor]  # network, pictures (n, 3, size, size) -> features (n, ...)


class LayerTarget(ImageTarget):
    """One layer of a network, flattened.

    Parameters
    ----------
    name : str
        Member name.
    network : nn.Module
        Put into eval mode; its parameters get no gradient.
    read : callable
        Runs the network and returns the layer; see `output_of`.
    node : str
        What `read` returns.
    size : int
        Pixels a side to which pictures are resized (bilinear), without cropping.
    antialias : bool
        Of that resizing. Published evaluations resized tensors with torchvision before 0.17: without.
    file : Path
        The weights, for provenance.
    mean, std : sequence of 3 floats
        Of values in [0, 1].
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        read: Read,
        *,
        node: str,
        size: int,
        antialias: bool,
        file: Path,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        self.name = name
        self.network = network.eval().requires_grad_(False)
        self._read, self._size, self._antialias = read, size, antialias
        self._mean, self._std = (torch.tensor(v)[None, :, None, None] for v in (mean, std))
        digest = store.sha256_of(file)
        self.space = f"{name}/{digest[:12]}/{size}/{node}"
        self._identity = {
            "target": name, "weights_sha256": digest, "node": node, "size": size, "mean": list(mean), "std": list(std),
            "resize": f"bilinear, {'antialiased' if antialias else 'not antialiased'}, no crop",
        }  # fmt: skip
        self.shape = (1, self._features(torch.zeros(1, 3, size, size)).shape[1])

    def identity(self) -> dict[str, Any]:
        """Network, sha256 of the weights, layer and transform."""
        return dict(self._identity)

    @torch.inference_mode()
    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, 1, dim); see `ImageTarget.embed_images`."""
        checks.at_least("batch_size", batch_size, 1)
        self.network.to(device)
        parts = [np.empty((0, self.shape[1]), np.float32)]
        for batch in batches(images, batch_size, f"embed {self.name}", progress):
            x = torch.cat([self._resized(image) for image in batch])
            parts.append(self._features(x.to(device)).float().cpu().numpy())
        return np.concatenate(parts)[:, None]

    def _features(self, x: Tensor) -> Tensor:
        """Pictures (n, 3, size, size) in [0, 1] to (n, dim)."""
        return self._read(self.network, (x - self._mean.to(x)) / self._std.to(x)).flatten(1)

    def _resized(self, image: Any) -> Tensor:
        x = as_tensor(image)
        size = (self._size, self._size)
        if x.shape[-2:] == size:
            return x
        return nn.functional.interpolate(
            x, size, mode="bilinear", antialias=self._antialias, align_corners=False
        )


def output_of(*nodes: str) -> Callable[[nn.Module, Tensor], list[Tensor]]:
    """A function that runs a network on pictures and returns what the named modules put out, in this order."""

    def read(network: nn.Module, x: Tensor) -> list[Tensor]:
        found: dict[str, Tensor] = {}

        def keeper(node: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
                found[node] = output

            return keep

        handles = [network.get_submodule(node).register_forward_hook(keeper(node)) for node in nodes]
        try:
            network(x)
        finally:
            for handle in handles:
                handle.remove()
        return [found[node] for node in nodes]

    return read


def one_output_of(node: str) -> Read:
    """`output_of` a single module."""
    read = output_of(node)
    return lambda network, x: read(network, x)[0]


def whole_output(network: nn.Module, x: Tensor) -> Tensor:
    """What the network puts out: a classifier's logits."""
    return network(x)


def perceptual(layers: Sequence[Tensor], channel_weights: Sequence[Tensor] | None = None) -> Tensor:
    """Layers as one vector whose squared distance is the learned perceptual distance of two pictures.

    Parameters
    ----------
    layers : sequence of Tensor, shape (n, channel, row, column)
    channel_weights : sequence of Tensor, shape (channel,), optional
        >= 0; one if not given.

    Returns
    -------
    Tensor, shape (n, sum of channel * row * column)

    Notes
    -----
    Zhang et al. 2018, arXiv:1801.03924, eq. 1: unit length over channels at every position, weighted squared
    difference, mean over positions, sum over layers.
    """
    parts = []
    for i, layer in enumerate(layers):
        unit = layer / (layer.square().sum(1, keepdim=True) + 1e-8).sqrt()  # 1e-8 as published
        if channel_weights is not None:
            unit = unit * channel_weights[i].to(unit).sqrt()[None, :, None, None]
        parts.append(unit.flatten(1) / (layer.shape[2] * layer.shape[3]) ** 0.5)
    return torch.cat(parts, 1)


def weights_file(given: str, url: str) -> Path:
    """The weights: a file of one's own, or the published ones, downloaded once.

    Parameters
    ----------
    given : str
        ``"pretrained"`` or the path of a .safetensors or .pth file.
    url : str
        Of the published weights. Where its file name holds the start of a sha256, the content is checked.

    Raises
    ------
    DownloadError
        If they must be downloaded and cannot be; it says from where and to which place.
    """
    if given != PRETRAINED:
        return checks.existing_file(given, "Give the path of a .safetensors or .pth file, or 'pretrained'.")
    name = url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.is_file():
        return path
    digest = re.search(r"-([0-9a-f]{8,})\.", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    reason = _downloads.why_unreachable(url)
    try:
        if not reason:
            torch.hub.download_url_to_file(url, str(path), digest[1] if digest else None, progress=False)
            return path
    except (OSError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise checks.DownloadError(
        f"weights must be downloaded from {url} and could not be ({reason}). Connect to the network once, or put the "
        f"file at {path}, or give the path of one as weights."
    )


def state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of a .pth file that holds nothing but tensors."""
    if path.suffix == ".safetensors":
        return weights.tensors(path)
    held: dict[str, Tensor] = pretrained.torch_file(
        path, "Give a .safetensors file, or a .pth file of tensors alone."
    )
    return held


def loaded(make: Callable[[], nn.Module], tensors: dict[str, Tensor]) -> nn.Module:
    """The network that `make` describes with these tensors, loaded strictly; nothing is drawn to start it from."""
    with torch.device("meta"):
        network = make()
    network.load_state_dict(tensors, strict=True, assign=True)
    return network


def published_url(name: str) -> str:
    """Where torchvision's weights of this name are, e.g. ``"AlexNet_Weights.IMAGENET1K_V1"``."""
    from torchvision.models import get_weight

    return get_weight(name).url


def as_tensor(image: Any) -> Tensor:
    """A picture (height, width, 3) of uint8, or of PIL, as float (1, 3, height, width) in [0, 1]."""
    not_a_path(image)
    array = np.asarray(image if isinstance(image, np.ndarray) else image.convert("RGB"))
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"a picture must be uint8 (height, width, 3), got {array.dtype} {array.shape}.")
    return torch.tensor(array).permute(2, 0, 1)[None].float() / 255


def batches(images: Iterable[Any], size: int, text: str, progress: bool) -> Iterator[list[Any]]:
    """Pictures in lists of `size`, read when they are asked for, under a progress bar."""
    iterator = iter(images)
    with tqdm(desc=text, disable=not progress) as bar:
        while batch := list(islice(iterator, size)):
            yield batch
            bar.update(len(batch))
