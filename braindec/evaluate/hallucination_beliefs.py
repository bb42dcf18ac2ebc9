"""What is left open about one attribute of each stimulus, and the sets and claims that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from braindec import checks
from braindec.stats import conformal

HALF = 0.55  # of the prior, about, as shares of samples vary: to leave no more open is to learn about one bit
FLOOR = 1e-6  # of a probability whose logarithm is taken
EDGE = 1e-9  # sums of shares that should be equal differ by rounding


class Sets(Protocol):
    """One set of values for each of n stimuli."""

    @property
    def mass(self) -> np.ndarray:
        """Share of the prior that each set holds, (n,) in [0, 1]."""

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether each set holds the value of its stimulus, bool (n,)."""

    def words(self, names: Sequence[str]) -> tuple[str, ...]:
        """Each set in words."""


class Belief(Protocol):
    """What is left open about one attribute of n stimuli."""

    @property
    def best(self) -> np.ndarray:
        """The likeliest value of each stimulus, (n,)."""

    def gain(self, truth: np.ndarray) -> np.ndarray:
        """How well each stimulus' true value was foreseen, (n,); higher is better."""

    def strangeness(self, truth: np.ndarray) -> np.ndarray:
        """How unlikely each stimulus' true value was held, (n,)."""

    def sets(self, calibration: np.ndarray, prior: Any, level: float, generator: np.random.Generator) -> Sets:
        """Conformal sets, given the strangeness of calibration cases' truths; none is empty."""

    def covered(self, calibration: np.ndarray, truth: np.ndarray, level: float, generator: Any) -> np.ndarray:
        """Whether each true value lies in its conformal set before empty ones are filled, bool (n,)."""

    def claims(self, prior: Any, truth: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Confidence that the truth is in the half of the prior that is likeliest here, and whether it is not."""


@dataclass(frozen=True, eq=False)
class ClassSets:
    """Sets of classes: bool (n, n_classes), with the prior's probability of each class."""

    member: np.ndarray
    prior: np.ndarray

    @cached_property
    def mass(self) -> np.ndarray:
        """Share of the prior in each set."""
        return self.member @ self.prior

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether each set holds its class; -1, no class, is held by none."""
        found = self.member[np.arange(len(values)), np.maximum(values, 0)]
        return found & (np.asarray(values) >= 0)

    def words(self, names: Sequence[str]) -> tuple[str, ...]:
        """``red or orange``, ``any but blue``, ``any``."""
        return tuple(_classes_in_words(row, names) for row in self.member)


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals of a number, each (n,), with what the prior draws, (n_draws,)."""

    low: np.ndarray
    high: np.ndarray
    prior: np.ndarray

    @cached_property
    def mass(self) -> np.ndarray:
        """Share of the prior's draws in each interval."""
        inside = (self.prior >= self.low[:, None]) & (self.prior <= self.high[:, None])
        return inside.mean(1)

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether each interval holds its number."""
        return (values >= self.low) & (values <= self.high)

    def words(self, names: Sequence[str]) -> tuple[str, ...]:
        """``3.1 to 4.2``."""
        return tuple(f"{low:.3g} to {high:.3g}" for low, high in zip(self.low, self.high, strict=True))


@dataclass(frozen=True, eq=False)
class Classes:
    """Probability of each class: (n, n_classes), rows sum to 1."""

    probabilities: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The likeliest class, int (n,)."""
        return self.probabilities.argmax(1)

    def gain(self, truth: np.ndarray) -> np.ndarray:
        """Logarithm of the true class' probability."""
        return np.log(np.maximum(self.probabilities[np.arange(len(truth)), truth], FLOOR))

    def strangeness(self, truth: np.ndarray) -> np.ndarray:
        """One minus the true class' probability (Sadinle, Lei & Wasserman 2019, doi:10.1080/01621459.2017.1395341)."""
        return 1 - self.probabilities[np.arange(len(truth)), truth]

    def sets(
        self, calibration: np.ndarray, prior: np.ndarray, level: float, generator: np.random.Generator
    ) -> ClassSets:
        """Classes that are not stranger than calibration allows, and in any case the likeliest one."""
        member = self._member(calibration, level, generator)
        member[np.arange(len(member)), self.best] = True
        return ClassSets(member, prior)

    def covered(
        self, calibration: np.ndarray, truth: np.ndarray, level: float, generator: np.random.Generator
    ) -> np.ndarray:
        """Whether each true class lies in its conformal set, which may be empty."""
        return self._member(calibration, level, generator)[np.arange(len(truth)), truth]

    def claims(self, prior: np.ndarray, truth: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest classes that together hold at most half of the prior; never none of them."""
        order = np.argsort(-self.probabilities, axis=1, kind="stable")
        held = np.cumsum(prior[order], axis=1)
        kept = held <= HALF + EDGE
        kept[:, 0] = True
        own = np.take_along_axis(self.probabilities, order, axis=1)
        confidence = np.where(held[:, 0] <= HALF + EDGE, (own * kept).sum(1), -np.inf)
        if truth is None:
            return confidence, np.zeros(len(order), dtype=bool)
        return confidence, ~(kept & (order == np.asarray(truth)[:, None])).any(1)

    def _member(self, calibration: np.ndarray, level: float, generator: np.random.Generator) -> np.ndarray:
        return conformal.p_values(calibration, 1 - self.probabilities, generator) > 1 - level


@dataclass(frozen=True, eq=False)
class Numbers:
    """A number: what is expected, and how far samples lie apart (ones where nothing is known of that); each (n,)."""

    centre: np.ndarray
    scale: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The expected number."""
        return self.centre

    def gain(self, truth: np.ndarray) -> np.ndarray:
        """Minus the distance."""
        return -np.abs(truth - self.centre)

    def strangeness(self, truth: np.ndarray) -> np.ndarray:
        """Distance in units of the scale."""
        return np.abs(truth - self.centre) / self.scale

    def sets(
        self, calibration: np.ndarray, prior: np.ndarray, level: float, generator: np.random.Generator
    ) -> Intervals:
        """Centre, plus and minus as many scales as calibration asks for."""
        half = conformal.limit(calibration, level) * self.scale
        return Intervals(self.centre - half, self.centre + half, prior)

    def covered(
        self, calibration: np.ndarray, truth: np.ndarray, level: float, generator: np.random.Generator
    ) -> np.ndarray:
        """Whether each true number lies in its interval."""
        return self.strangeness(truth) <= conformal.limit(calibration, level)

    def claims(self, prior: np.ndarray, truth: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Nearer to the centre than half of what the prior draws."""
        reach = np.median(np.abs(prior - self.centre[:, None]), axis=1)
        wrong = np.zeros(len(reach), bool) if truth is None else np.abs(truth - self.centre) > reach
        return reach / self.scale, wrong


def belief_of(readings: np.ndarray) -> Classes | Numbers:
    """What samples of each stimulus leave open.

    Parameters
    ----------
    readings : ndarray, shape (n_samples, n, n_classes) or (n_samples, n)
        Probabilities of the classes, or numbers, read from each sample.
    """
    if readings.ndim == 3:
        return Classes(readings.mean(0))
    checks.n_axes("readings", readings, ("sample", "stimulus"))
    spread = readings.std(0)
    known = len(readings) > 1 and bool((spread > 0).all())
    return Numbers(readings.mean(0), spread if known else np.ones(readings.shape[1]))


def _classes_in_words(row: np.ndarray, names: Sequence[str]) -> str:
    inside = [name for name, held in zip(names, row, strict=True) if held]
    outside = [name for name, held in zip(names, row, strict=True) if not held]
    if not outside:
        return "any"
    if len(outside) < len(inside) and len(outside) <= 2:
        return f"any but {' and '.join(outside)}"
    return " or ".join(inside)
