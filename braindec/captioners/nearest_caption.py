"""The captioner that writes nothing: the known caption whose text embedding lies nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from braindec import checks, store
from braindec.captioners import Captioner


@dataclass(frozen=True)
class Config:
    """Settings of the nearest caption.

    Parameters
    ----------
    centred : bool
        Captions' embeddings about their own mean, and image embeddings about the mean that `build` is given: texts and
        pictures of one space lie in two cones apart from each other.
    """

    centred: bool = True


def build(
    config: Config,
    embeddings: np.ndarray,
    captions: Sequence[str],
    space: str,
    *,
    mean: np.ndarray | None = None,
) -> NearestCaption:
    """The captioner over known captions, usually those of the training stimuli.

    Parameters
    ----------
    config : Config
    embeddings : ndarray of float, shape (n_captions, n_tokens, dim)
        Text embeddings in the space of the image embeddings.
    captions : sequence of str, length n_captions
    space : str
        Name of the embeddings' space.
    mean : ndarray of float, shape (n_tokens, dim), optional
        Mean image embedding of the training stimuli; without, image embeddings are not centred.
    """
    return NearestCaption(config, embeddings, captions, space, mean)


class NearestCaption(Captioner):
    """Captions with their embeddings, compared by the cosine over all tokens at once."""

    name = "nearest_caption"

    def __init__(
        self,
        config: Config,
        embeddings: np.ndarray,
        captions: Sequence[str],
        space: str,
        mean: np.ndarray | None,
    ) -> None:
        checks.n_axes("embeddings", embeddings, ("caption", "token", "dim"))
        checks.at_least(
            "number of captions", checks.same_length("caption", embeddings=embeddings, captions=captions), 1
        )
        checks.finite("embeddings", embeddings)
        self.config, self.space, self.captions = config, space, tuple(captions)
        self.shape = (int(embeddings.shape[1]), int(embeddings.shape[2]))
        known = np.asarray(embeddings, np.float32)
        self._mean = np.zeros(self.shape, np.float32)
        if config.centred:
            known = known - known.mean(0)
            self._mean = self._mean if mean is None else np.asarray(mean, np.float32).reshape(self.shape)
        self._known = _unit(known)
        self._identity = store.content_hash(known=self._known, mean=self._mean, captions=list(self.captions))

    def identity(self) -> dict[str, Any]:
        """How it compares, and a hash of captions, their embeddings and the mean."""
        return {"captioner": self.name, "centred": self.config.centred, "gallery_sha256": self._identity}

    def nearest(self, image_embeddings: np.ndarray) -> np.ndarray:
        """Row among the captions of each embedding's nearest one: ndarray of int64, shape (n,)."""
        told = self.checked(image_embeddings) - self._mean
        return (_unit(told) @ self._known.T).argmax(1)

    def caption(
        self, image_embeddings: np.ndarray, *, generator: torch.Generator, progress: bool = False
    ) -> tuple[str, ...]:
        """The nearest captions; see `Captioner.caption`. Nothing is drawn."""
        return tuple(self.captions[row] for row in self.nearest(image_embeddings).tolist())


def _unit(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), values.shape[1] * values.shape[2])
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
