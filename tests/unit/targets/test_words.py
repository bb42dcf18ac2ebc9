"""The word tokenizer: one word, one id, the end is the highest."""

from __future__ import annotations

import pytest
import torch

from braindec import checks
from braindec.targets._words import WordTokenizer


def test_ids_follow_the_vocabulary_between_start_and_end():
    tokens = WordTokenizer(("red", "circle"), context_length=6)(["Circle red", "red"])
    assert torch.equal(tokens, torch.tensor([[3, 2, 1, 4, 0, 0], [3, 1, 4, 0, 0, 0]]))


def test_the_end_is_the_highest_id_where_open_clip_pools():
    tokenizer = WordTokenizer(tuple("abcdefg"), context_length=9)
    assert tokenizer(["g f e"]).argmax(1).item() == 4
    assert tokenizer.vocab_size == tokenizer.end + 1


def test_an_unknown_word_is_refused_with_a_suggestion():
    with pytest.raises(checks.ConfigError, match="Did you mean 'circle'"):
        WordTokenizer(("red", "circle"), 6)(["circel"])


def test_a_text_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="words of a text"):
        WordTokenizer(("red",), 4)(["red red red"])
