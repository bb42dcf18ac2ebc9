"""What the brain is decoded into: the contract of targets.

Every other file of this folder is one target: a frozen dataclass `Config` and a function `build(config) -> Target`.
A target owns everything between a stimulus and its embedding, the image transform included, and names the space it
embeds into, so that embeddings of two spaces are never mixed up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Target(ABC):
    """A space of embeddings and what makes them.

    Attributes
    ----------
    name : str
        Member name, e.g. "openclip".
    space : str
        Name of the embedding space, e.g. "openclip/ViT-L-14/openai/pooled"; equal names mean comparable embeddings.
    shape : tuple of int
        (n_tokens, dim) of one embedding.
    """

    name: str
    space: str
    shape: tuple[int, int]

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What made the embeddings (model, sha256 of the weights, layer, transform) as JSON values, for provenance."""


class ImageTarget(Target):
    """A target that embeds pictures."""

    @abstractmethod
    def embed_images(
        self, images: Iterable[Any], *, batch_size: int = 64, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """Embeddings of pictures.

        Parameters
        ----------
        images : iterable of ndarray of uint8, shape (height, width, 3), or PIL.Image.Image
            RGB, any size; read one batch at a time. Of files: ``data.image_files.rgb(paths)``.
        batch_size : int
            Pictures per forward pass.
        device : str
            Where the model runs.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        ndarray of float32, shape (n, n_tokens, dim)
        """


class ImageTextTarget(ImageTarget):
    """A target that embeds pictures and descriptions into one space."""

    @abstractmethod
    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256, device: str = "cpu") -> np.ndarray:
        """Embeddings of descriptions: ndarray of float32, shape (n, dim), comparable to pooled picture embeddings."""


class TextTarget(Target):
    """A target that embeds descriptions alone."""

    @abstractmethod
    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256, device: str = "cpu") -> np.ndarray:
        """Embeddings of descriptions: ndarray of float32, shape (n, dim)."""


class VideoTarget(Target):
    """A target that embeds clips."""

    @abstractmethod
    def embed_videos(
        self, clips: Iterable[Any], *, batch_size: int = 8, device: str = "cpu", progress: bool = False
    ) -> np.ndarray:
        """Embeddings of clips.

        Parameters
        ----------
        clips : iterable of ndarray of uint8, shape (frame, height, width, 3)
            RGB, any size and number of frames; read one batch at a time.

        Returns
        -------
        ndarray of float32, shape (n, n_tokens, dim)
        """


class AudioTarget(Target):
    """A target that embeds sounds."""

    @abstractmethod
    def embed_audio(
        self,
        sounds: Iterable[tuple[np.ndarray, float]],
        *,
        batch_size: int = 8,
        device: str = "cpu",
        progress: bool = False,
    ) -> np.ndarray:
        """Embeddings of sounds.

        Parameters
        ----------
        sounds : iterable of (float array of shape (sample,), float)
            One channel in [-1, 1] and its sampling rate in Hz; read one batch at a time.

        Returns
        -------
        ndarray of float32, shape (n, n_tokens, dim)
        """


class JoinedTarget(Target):
    """A target made of several, each of which embeds the stimuli by itself.

    Attributes
    ----------
    parts : tuple of Target
    """

    parts: tuple[Target, ...]

    @abstractmethod
    def join(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """The parts' embeddings of the same stimuli, each (n, its tokens, its dims), as one (n, n_tokens, dim)."""


class LabelTarget(Target):
    """A target made from stimulus labels alone."""

    @abstractmethod
    def embed(self, labels: Sequence[str]) -> np.ndarray:
        """Embeddings of labels: ndarray of float32, shape (n, n_tokens, dim)."""


def differentiable(target: ImageTarget) -> Callable[[Tensor], Tensor]:
    """What embeds pictures that are tensors, for whatever makes pictures by them; gradients flow through it.

    Parameters
    ----------
    target : ImageTarget
        An OpenCLIP model, EfficientNet-Lite0, or a layer of a published network.

    Returns
    -------
    callable
        ``features(pictures) -> (n, n_features)`` for square pictures (n, 3, side, side) in [0, 1]; the target's tokens
        flattened. Equal to its `embed_images` on the same pictures as bytes. It runs where the target's network lies.

    Raises
    ------
    ConfigError
        If the target is of a kind whose transform is not known to be differentiable.
    """
    from braindec.targets import _differentiable  # it knows members, which know this file

    return _differentiable.differentiable(target)
