"""Features of the words that are heard in stretches of speech: how many and how long, their letters, their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from braindec import checks, registry, store
from braindec.data import NeuralDataset
from braindec.targets import ImageTextTarget, TextTarget
from braindec.types import Embeddings, Table

LETTERS = "abcdefghijklmnopqrstuvwxyz"
RATE, SPELLING = "word_rate", "letters"


def words_of(dataset: NeuralDataset, column: str = "words") -> dict[str, str]:
    """The words that begin in each stretch, by stimulus, from a column of the stimuli's table."""
    table = checks.of_type("table of the stimuli", dataset.stimuli.table, Table)
    if column not in table:
        raise ValueError(f"the stimuli's table has no column {column!r}; it has {sorted(table)}.")
    return dict(zip(dataset.stimuli.ids, table[column].astype(str).tolist(), strict=True))


def spaces(names: Sequence[str], words: dict[str, str]) -> dict[str, Embeddings]:
    """Feature spaces by name: ``"letters"``, ``"word_rate"``, or a text target (``"minilm"``)."""
    plain = {SPELLING: letters, RATE: word_rate}
    return {name: plain[name](words) if name in plain else meaning(words, name) for name in names}


def word_rate(words: dict[str, str]) -> Embeddings:
    """Number of words and of letters in each stretch, (n, 1, 2): what any speech moves, whatever it says."""
    split = [text.split() for text in words.values()]
    values = np.array([[len(said), sum(map(len, said))] for said in split], dtype=np.float32)
    return _embeddings(tuple(words), values, RATE, {"features": ["words", "letters"]})


def letters(words: dict[str, str]) -> Embeddings:
    """How often each letter of the Latin alphabet stands in a stretch's words, (n, 1, 26)."""
    values = np.array([[text.lower().count(c) for c in LETTERS] for text in words.values()], dtype=np.float32)
    return _embeddings(tuple(words), values, SPELLING, {"features": list(LETTERS)})


def meaning(words: dict[str, str], target: str = "minilm", context: int = 4) -> Embeddings:
    """What a text target makes of a stretch's words after those of the stretches before it, (n, 1, dim).

    Parameters
    ----------
    words : dict of str to str
        In the order of time; ids of one medium are ``<medium>-<number>``.
    target : str
        A text target by name; its weights must be installed.
    context : int
        Stretches before that are read with it, of the same medium.
    """
    member = registry.load("targets", target)
    made = member.build(member.Config())
    if not isinstance(made, TextTarget | ImageTextTarget):
        raise checks.ConfigError(
            f"target {target!r} does not embed texts; encoding words needs one that does."
        )
    texts = _in_context(tuple(words), list(words.values()), context)
    values = np.asarray(made.embed_text(texts), dtype=np.float32).reshape(len(texts), -1)
    return _embeddings(tuple(words), values, made.space, {**made.identity(), "context": context})


def _in_context(ids: Sequence[str], texts: Sequence[str], context: int) -> list[str]:
    media = [name.rpartition("-")[0] for name in ids]
    out = []
    for i, medium in enumerate(media):
        before = range(max(0, i - context), i + 1)
        out.append(" ".join(texts[j] for j in before if media[j] == medium and texts[j]))
    return out


def _embeddings(
    ids: tuple[str, ...], values: np.ndarray, space: str, identity: dict[str, object]
) -> Embeddings:
    values = values[:, None]
    return Embeddings(ids, values, space, identity, store.content_hash(values=values, ids=list(ids)))
