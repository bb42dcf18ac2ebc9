"""The gap between texts and pictures of one embedding space: two cones apart, and a way from one into the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Gap:
    """Where texts and where pictures lie in a space that both share.

    Parameters
    ----------
    text, picture : ndarray of float, shape (n_tokens, dim)
        Their means.
    length : float
        How far pictures lie from their mean, on average.

    Notes
    -----
    Liang et al. 2022, "Mind the gap", arXiv:2203.02053.
    """

    text: np.ndarray
    picture: np.ndarray
    length: float

    @classmethod
    def between(cls, texts: np.ndarray, pictures: np.ndarray) -> Gap:
        """Of known texts and pictures, each (n, n_tokens, dim); they need not be pairs."""
        mean = pictures.mean(0)
        return cls(texts.mean(0), mean, float(np.linalg.norm(pictures - mean, axis=2).mean()))

    def as_pictures(self, texts: np.ndarray) -> np.ndarray:
        """Texts (n, n_tokens, dim) moved to where pictures lie, as long about the mean as pictures are."""
        away = texts - self.text
        length = np.maximum(np.linalg.norm(away, axis=2, keepdims=True), 1e-8)
        return self.picture + away * np.float32(self.length) / length
