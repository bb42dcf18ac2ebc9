"""Protocols: named, versioned, frozen ways to evaluate; other constants are another name.

A member `braindec/protocols/<name>.py` defines a table `PROTOCOLS: dict[str, Protocol]`.
"""

from __future__ import annotations

from dataclasses import dataclass

from braindec import checks

CANDIDATES = ("test_stimuli", "fold_stimuli", "classes")
SIMILARITIES = ("own", "distance")


@dataclass(frozen=True)
class Protocol:
    """What is held out, among what is chosen, and what is measured.

    Parameters
    ----------
    name : str
    version : int
        Raised when any other field changes.
    unit : str
        Of the split: train and test share none of it.
    candidates : str
        Among what a decoded trial is identified: all stimuli of the test part (a fixed gallery), the held-out stimuli
        of its own fold, or the classes.
    repeats : str
        Repeats of a stimulus are averaged ``"before"`` the model, ``"after"`` it, or not (``"none"``).
    similarity : str
        ``"own"``, the system's from its training data: cosine about the training stimuli's mean, or what the decoder
        learnt of its own errors. ``"distance"``, minus the squared distance of embeddings: how far, where scores are
        ranked over trials (the cosine to one of two classes only knows the side). No other item of the test set enters
        a pair's value.
    metrics : tuple of str
        Computed from predictions.
    picture_metrics : tuple of str
        Computed from reconstructed pictures, where a generator is given.
    scopes : tuple of str
        Preprocessing scopes that are allowed.
    source : str
        Where this way of evaluating comes from.
    allows : tuple of str
        Kinds of leak (`data.leakage.KINDS`) that this way of evaluating contains by definition: the audit then tells
        them and does not refuse. Empty for every protocol of braindec's own.
    """

    name: str
    version: int
    unit: str
    candidates: str
    repeats: str
    metrics: tuple[str, ...]
    source: str
    picture_metrics: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("train", "unit_train_rows", "causal")
    similarity: str = "own"
    allows: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks.one_of("candidates", self.candidates, CANDIDATES)
        checks.one_of("repeats", self.repeats, ("none", "before", "after"))
        checks.one_of("similarity", self.similarity, SIMILARITIES)
