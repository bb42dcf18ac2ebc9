"""The generator that invents nothing: the known picture whose embedding lies nearest."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from braindec import checks
from braindec.generators import NOTHING, Generator, Guides, accepted


@dataclass(frozen=True)
class Config:
    """Settings of the nearest picture.

    Parameters
    ----------
    similarity : {"cosine", "euclidean"}
        How embeddings are compared, over all tokens at once.
    """

    similarity: Literal["cosine", "euclidean"] = "cosine"

    def __post_init__(self) -> None:
        checks.one_of("similarity", self.similarity, ("cosine", "euclidean"))


def build(config: Config, embeddings: np.ndarray, images: np.ndarray, space: str) -> NearestImage:
    """The generator over a gallery, usually the pictures of the training trials.

    Parameters
    ----------
    config : Config
        How to compare.
    embeddings : ndarray of float, shape (n_images, n_tokens, dim)
        Embeddings of the gallery.
    images : ndarray of uint8, shape (n_images, height, width, 3)
        The gallery.
    space : str
        Name of the embeddings' space.
    """
    return NearestImage(config, embeddings, images, space)


class NearestImage(Generator):
    """A gallery of pictures with their embeddings."""

    name = "nearest_image"

    def __init__(self, config: Config, embeddings: np.ndarray, images: np.ndarray, space: str) -> None:
        checks.n_axes("embeddings", embeddings, ("stimulus", "token", "dim"))
        checks.n_axes("images", images, ("stimulus", "height", "width", "rgb"))
        checks.at_least(
            "gallery size", checks.same_length("stimulus", embeddings=embeddings, images=images), 1
        )
        checks.finite("embeddings", embeddings)
        self.config, self.space, self.images = config, space, images
        self.item_shape = tuple(embeddings.shape[1:])
        # Distances are taken about the gallery's mean: what all embeddings share would leave no digits for the rest.
        self._middle = np.asarray(embeddings, np.float64).reshape(len(embeddings), -1).mean(0)
        self.embeddings = self._prepared(embeddings)

    def identity(self) -> dict[str, Any]:
        """How it compares, and a hash of the gallery's pictures."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).tobytes()).hexdigest()
        return {"generator": self.name, "similarity": self.config.similarity, "gallery_sha256": digest}

    def nearest(self, image_embeddings: np.ndarray) -> np.ndarray:
        """Row in the gallery of each embedding's nearest picture: ndarray of int64, shape (n,)."""
        checks.n_axes("image_embeddings", image_embeddings, ("stimulus", "token", "dim"))
        if tuple(image_embeddings.shape[1:]) != self.item_shape:
            raise checks.SpaceMismatchError(
                f"image_embeddings have shape {tuple(image_embeddings.shape[1:])} per stimulus, but the gallery has "
                f"{self.item_shape}; embed both with the same target."
            )
        checks.finite("image_embeddings", image_embeddings)
        query = self._prepared(image_embeddings)
        similarity = query @ self.embeddings.T  # (n, n_images)
        if self.config.similarity == "euclidean":
            similarity = similarity - 0.5 * (self.embeddings**2).sum(1)
        return similarity.argmax(1)

    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """The nearest pictures; see `Generator.generate`. Nothing is drawn and there are no steps."""
        accepted(self, guides, len(image_embeddings))
        return self.images[self.nearest(image_embeddings)]

    def _prepared(self, embeddings: np.ndarray) -> np.ndarray:
        flat = np.asarray(embeddings, np.float32).reshape(len(embeddings), math.prod(self.item_shape))
        if self.config.similarity == "euclidean":
            return (flat - self._middle).astype(np.float32)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
