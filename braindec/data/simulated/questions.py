"""Questions about simulated scenes and their true answers, of which the wording alone tells as little as it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from braindec import checks
from braindec.data.simulated.scenes import BACKGROUNDS, COLOURS, FACTORS, PATTERNS, PLACES, SHAPES, Scene

COUNTS = ("one", "two", "three")
YES_NO = ("yes", "no")
# By kind of question, what may be answered.
ANSWERS = {
    "background": BACKGROUNDS,
    "pattern": PATTERNS,
    "count": COUNTS,
    "colour": COLOURS,
    "shape": SHAPES,
    "texture": FACTORS["texture"],
    "size": FACTORS["size"],
    "place": PLACES,
    "is there a shape": YES_NO,
    "is there a colour": YES_NO,
}
KINDS = tuple(ANSWERS)


@dataclass(frozen=True)
class Question:
    """One question about one scene.

    Parameters
    ----------
    scene : int
        Row of the scene.
    kind : str
        Of `ANSWERS`.
    text, answer : str
        The answer is one of the kind's.
    """

    scene: int
    kind: str
    text: str
    answer: str

    @property
    def chance(self) -> float:
        """How often a guess among the kind's answers is right."""
        return 1 / len(ANSWERS[self.kind])


def ask(
    scenes: Sequence[Scene], generator: np.random.Generator, kinds: Sequence[str] = KINDS
) -> list[Question]:
    """A question of each kind about each scene, as far as the scene has one; scene by scene.

    Parameters
    ----------
    scenes : sequence of Scene
    generator : numpy.random.Generator
        Which object is asked about, and of what is asked whether it is there: a fair coin says first whether the answer
        is to be yes.
    kinds : sequence of str
        Of `ANSWERS`.

    Returns
    -------
    list of Question
        Asked about "the object at the top left" is an object that is there, and "where is the star" only where there is
        one star.
    """
    for kind in kinds:
        checks.one_of("kind of question", kind, KINDS)
    found = []
    for row, scene in enumerate(scenes):
        for kind in kinds:
            made = _asked(scene, kind, generator)
            if made is not None:
                found.append(Question(row, kind, *made))
    return found


def _asked(scene: Scene, kind: str, generator: np.random.Generator) -> tuple[str, str] | None:
    """(question, answer), or None where the scene has no such question."""
    if kind == "background":
        return "what colour is the background ?", scene.background
    if kind == "pattern":
        return "what pattern has the background ?", scene.pattern
    if kind == "count":
        return "how many objects are there ?", COUNTS[len(scene.objects) - 1]
    if kind == "place":
        shapes = [o.shape for o in scene.objects]
        alone = [o for o in scene.objects if shapes.count(o.shape) == 1]
        if not alone:
            return None
        one = alone[generator.integers(len(alone))]
        return f"where is the {one.shape} ?", one.place
    if kind in FACTORS:
        one = scene.objects[generator.integers(len(scene.objects))]
        return f"what {kind} is the object at the {one.place} ?", getattr(one, kind)
    factor, coin = kind.rpartition(" ")[2], int(generator.integers(2))
    there = {getattr(o, factor) for o in scene.objects}
    words = [word for word in FACTORS[factor] if (word in there) == bool(coin)]
    word = words[generator.integers(len(words))]
    thing = f"a {word}" if factor == "shape" else f"something {word}"
    return f"is there {thing} ?", YES_NO[1 - coin]
