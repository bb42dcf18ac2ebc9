"""From embeddings to words: the contract of captioners, of which some answer questions too.

Every other file of this folder is one captioner: a frozen dataclass `Config` and a function `build(config, ...)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec import checks
from braindec.captioners._writing import Writing

if TYPE_CHECKING:
    import torch

__all__ = ["Captioner", "Writing", "checked_questions"]


class Captioner(ABC):
    """Writes a caption for each image embedding of one space.

    Attributes
    ----------
    name : str
        Member name, e.g. "prefix".
    space : str
        The embedding space it reads; embeddings of another space would be described as nothing.
    shape : tuple of int
        (n_tokens, dim) of one embedding.
    """

    name: str
    space: str
    shape: tuple[int, int]

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What writes the captions (weights' sha256, prompt, beams, temperature) as JSON values, for provenance."""

    @abstractmethod
    def caption(
        self, image_embeddings: np.ndarray, *, generator: torch.Generator, progress: bool = False
    ) -> tuple[str, ...]:
        """A caption for each embedding.

        Parameters
        ----------
        image_embeddings : ndarray of float, shape (n, n_tokens, dim)
            Image embeddings of `space`.
        generator : torch.Generator
            The only source of randomness, of captioners that sample.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        tuple of str, length n
        """

    def answer(
        self,
        image_embeddings: np.ndarray,
        questions: Sequence[str],
        *,
        generator: torch.Generator,
        progress: bool = False,
    ) -> tuple[str, ...]:
        """An answer to each embedding's question; refused by a captioner that only describes.

        Parameters
        ----------
        image_embeddings : ndarray of float, shape (n, n_tokens, dim)
            Image embeddings of `space`; one that is asked several questions stands in several rows.
        questions : sequence of str, length n
            A row's answer depends on no other row, however long the questions are.
        generator, progress
            As of `caption`.

        Returns
        -------
        tuple of str, length n

        Raises
        ------
        ValueError
            If this captioner answers no questions.
        """
        raise ValueError(
            f"{self.name} writes captions alone; multimodal_tokens, and prefix taught it, answer."
        )

    def checked(self, image_embeddings: np.ndarray) -> np.ndarray:
        """The embeddings as contiguous float32, when they have this captioner's shape and are finite.

        Raises
        ------
        SpaceMismatchError
            If they have another number of tokens or dims.
        """
        checks.n_axes("image_embeddings", image_embeddings, ("stimulus", "token", "dim"))
        if tuple(image_embeddings.shape[1:]) != tuple(self.shape):
            raise checks.SpaceMismatchError(
                f"image_embeddings have shape {tuple(image_embeddings.shape[1:])} per stimulus, but {self.name} reads "
                f"{tuple(self.shape)} of {self.space}; embed with the target of this space."
            )
        return np.ascontiguousarray(checks.finite("image_embeddings", image_embeddings), np.float32)


def checked_questions(image_embeddings: np.ndarray, questions: Sequence[str]) -> tuple[str, ...]:
    """The questions, when there is one for each embedding and none is empty."""
    checks.same_length("question", image_embeddings=image_embeddings, questions=questions)
    empty = [i for i, text in enumerate(questions) if not text.strip()]
    if empty:
        raise ValueError(f"question {empty[0]} is empty; ask something of every embedding.")
    return tuple(questions)
