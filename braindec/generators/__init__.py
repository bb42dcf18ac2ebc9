"""From embeddings to pictures: the contract of generators.

Every other file of this folder is one generator: a frozen dataclass `Config` and a function `build(config, ...)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch


class Generator(ABC):
    """Makes pictures of image embeddings of one space.

    Attributes
    ----------
    name : str
        Member name, e.g. "embedded_unclip".
    space : str
        The embedding space it was made for; embeddings of another space would give pictures of nothing.
    """

    name: str
    space: str

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What makes the pictures (weights' sha256, steps, guidance or gallery) as JSON values, for provenance."""

    @abstractmethod
    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """One picture for each embedding.

        Parameters
        ----------
        image_embeddings : ndarray of float, shape (n, n_tokens, dim)
            Image embeddings of `space`.
        generator : torch.Generator
            The only source of randomness: equal seeds give equal bytes.
        n_steps : int, optional
            Steps of an iterative generator; None for the config's own number.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        ndarray of uint8, shape (n, height, width, 3)
            RGB, 0-255.
        """
