"""Tokens of a small closed vocabulary: one word, one id."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from braindec import checks

PAD = 0


class WordTokenizer:
    """Turns descriptions into ids for a CLIP text tower that pools at the highest id.

    Parameters
    ----------
    vocabulary : sequence of str
        Words without spaces; word i has the id i + 1. Start is len + 1 and end len + 2, the highest id.
    context_length : int
        Ids per text; shorter texts are padded with 0.
    """

    def __init__(self, vocabulary: Sequence[str], context_length: int) -> None:
        self.ids = {word: i + 1 for i, word in enumerate(checks.unique("vocabulary", vocabulary))}
        self.start, self.end = len(self.ids) + 1, len(self.ids) + 2
        self.context_length = context_length

    @property
    def vocab_size(self) -> int:
        """Number of ids, padding, start and end included."""
        return self.end + 1

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Ids of some texts.

        Parameters
        ----------
        texts : sequence of str
            Lower or upper case words of the vocabulary between blanks.

        Returns
        -------
        Tensor of int64, shape (n, context_length)
            Start, words, end, padding.

        Raises
        ------
        ConfigError
            If a word is not in the vocabulary.
        ValueError
            If a text does not fit.
        """
        tokens = torch.full((len(texts), self.context_length), PAD, dtype=torch.long)
        for row, text in zip(tokens, texts, strict=True):
            ids = [checks.known_key("word", word, self.ids) for word in text.lower().split()]
            checks.in_range("words of a text", len(ids), 0, self.context_length - 2)
            row[: len(ids) + 2] = torch.tensor([self.start, *ids, self.end])
        return tokens
