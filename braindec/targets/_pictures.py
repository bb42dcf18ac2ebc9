"""What targets of pictures have in common: batches, what is seen of a picture, the map and the length at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.targets import ImageTarget, _layers
from braindec.targets._tokens import unit
from braindec.targets._views import View, as_array, map_identity, map_label, map_of


class PictureNetwork(ImageTarget):
    """A network of pictures: a subclass says how they are prepared and which tokens are read.

    Parameters
    ----------
    name, space : str
        See `Target`; the space gets the view, the map and the normalisation appended.
    network : nn.Module
        Put into eval mode; its parameters get no gradient.
    identity : dict
        What the network is, its layer and pooling; the rest is added here.
    view : View
    aligned : str or None
        File of a `LinearMap`.
    normalised : bool
        Every token divided by its length, after the map.
    """

    def __init__(
        self,
        name: str,
        space: str,
        network: nn.Module,
        identity: dict[str, Any],
        *,
        view: View,
        aligned: str | None,
        normalised: bool,
    ) -> None:
        self.name, self.network = name, network.eval().requires_grad_(False)
        self._view, self._map, self._normalised = view, map_of(aligned), normalised
        self.space = space + view.label + map_label(self._map) + ("/unit" if normalised else "")
        self._identity = {"target": name} | identity | {"normalised": normalised}
        self._identity |= view.identity() | map_identity(self._map)
        probe = self.embed_tensor(self._prepared([np.zeros((64, 64, 3), np.uint8)]))
        self.shape = (probe.shape[1], probe.shape[2])

    @abstractmethod
    def _prepared(self, pictures: list[np.ndarray]) -> Tensor:
        """uint8 pictures (height, width, 3) as the network takes them, (n, 3, height, width)."""

    @abstractmethod
    def _tokens(self, x: Tensor) -> Tensor:
        """Prepared pictures to tokens (n, n_tokens, dim)."""

    def identity(self) -> dict[str, Any]:
        """Network, sha256 of the weights, layer, pooling, transform."""
        return dict(self._identity)

    @torch.inference_mode()
    def embed_tensor(self, x: Tensor) -> Tensor:
        """Prepared pictures to the target's embeddings (n, n_tokens, dim)."""
        tokens = self._tokens(x).float()
        if self._map is not None:
            tokens = self._map(tokens)
        return unit(tokens) if self._normalised else tokens

    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """float32 (n, n_tokens, dim); see `ImageTarget.embed_images`."""
        checks.at_least("batch_size", batch_size, 1)
        self.network.to(device)
        parts = [np.empty((0, *self.shape), np.float32)]
        for batch in _layers.batches(images, batch_size, f"embed {self.name}", progress):
            x = self._prepared([self._view.apply(as_array(image)) for image in batch])
            parts.append(self.embed_tensor(x.to(device)).cpu().numpy())
        return np.concatenate(parts)
