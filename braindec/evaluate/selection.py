"""Best of several pictures, chosen by something that was not told the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks
from braindec.decoder import BrainDecoder, Prediction

# What a selector may be told. The presented pictures and their embeddings are not among it, and never will be.
KNOWN = ("prediction", "draws", "pictures", "embeddings")
TRUTHS = ("presented", "truth", "true embedding", "labels", "captions")


@dataclass(frozen=True, eq=False)
class Selector:
    """How one of several pictures of each stimulus is chosen.

    Parameters
    ----------
    name : str
        Stands beside the score.
    needs : tuple of str
        Of `KNOWN`: what `rate` is called with, by name. ``prediction``: what the brain was decoded to; ``draws``:
        embeddings that the pictures were drawn from (n_samples, n, n_tokens, n_dims); ``pictures``: uint8
        (n_samples, n, height, width, 3); ``embeddings``: of these pictures, shaped as the draws.
    rate : callable
        ``rate(**told) -> (n_samples, n)``: higher is chosen. A function that knows the truth by other ways than its
        arguments cannot be told from one that does not: who writes it answers for that.

    Raises
    ------
    LeakageError
        If it asks for the truth: the best of many pictures by the truth says how lucky they were, not how good.
    """

    name: str
    needs: tuple[str, ...]
    rate: Callable[..., Any]

    def __post_init__(self) -> None:
        asked = [what for what in self.needs if what in TRUTHS]
        if asked:
            raise checks.LeakageError(
                f"selector {self.name!r} is told {', '.join(asked)}: a picture chosen by the truth is no "
                "reconstruction. Choose by what the brain was decoded to."
            )
        for what in self.needs:
            checks.one_of(f"what selector {self.name!r} is told", what, KNOWN)


def best_of(
    pictures: np.ndarray, selector: Selector, told: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """The chosen picture of each stimulus, and which sample it was.

    Parameters
    ----------
    pictures : uint8 array, shape (n_samples, n, height, width, 3)
    selector : Selector
        Sees of `told` what it needs and nothing else.
    told : mapping of str to anything
        By names of `KNOWN`; others are refused.

    Returns
    -------
    chosen : uint8 array, shape (n, height, width, 3)
    sample : int64 array, shape (n,)
    """
    for what in told:
        checks.one_of("what a selector may be told", what, KNOWN)
    values = np.asarray(
        selector.rate(**{what: checks.known_key("told", what, told) for what in selector.needs})
    )
    if values.shape != pictures.shape[:2]:
        raise ValueError(
            f"selector {selector.name!r} rated {values.shape}, there are {pictures.shape[:2]} (sample, stimulus)."
        )
    sample = values.argmax(0)
    return pictures[sample, np.arange(pictures.shape[1])], sample


def nearest_to_prediction(decoder: BrainDecoder) -> Selector:
    """Chooses the picture whose embedding fits the decoded one best, by the decoder's own comparison."""

    def rate(prediction: Prediction, embeddings: np.ndarray) -> np.ndarray:
        fits = [decoder.similarity(prediction, one).diagonal().numpy() for one in embeddings]
        return np.stack(fits)

    return Selector("nearest to the decoded embedding", ("prediction", "embeddings"), rate)
