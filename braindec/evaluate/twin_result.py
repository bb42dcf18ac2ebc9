"""What a twin found: of every metric the band of its copies, and how scores grow with the training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braindec import checks

SYSTEMS = ("braindec", "ridge")
Values = Mapping[str, Mapping[str, float]]  # key -> metric -> value


@dataclass(frozen=True)
class Settings:
    """How many copies are made and judged.

    Parameters
    ----------
    system : str
        What runs on copies: ``"braindec"``, the recipe's own decoder, or ``"ridge"`` on its signals, in seconds.
    n_copies, n_growth : int
        Copies behind the band, and behind each size of the training set.
    sizes : tuple of float
        Training trials over those there are: below 1 fewer runs or stimuli, above 1 (whole numbers) the same design
        recorded again.
    level : float
        Of the band, in (0, 1).
    """

    system: str = "braindec"
    n_copies: int = 20
    n_growth: int = 3
    sizes: tuple[float, ...] = (0.5, 2.0, 4.0)
    level: float = 0.95

    def __post_init__(self) -> None:
        checks.one_of("system", self.system, SYSTEMS)
        checks.at_least("n_copies", self.n_copies, 3)
        for size in self.sizes:
            if not (0 < size < 1 or (size > 1 and size == int(size))):
                raise ValueError(
                    f"sizes must lie in (0, 1) or be whole numbers above 1, got {size}; 1 is always there."
                )


@dataclass(frozen=True, eq=False)
class Expectation:
    """One metric of one subject: what the recording scored, and what its copies did.

    Parameters
    ----------
    key, metric : str
    value : float
        Of the recording.
    copies : float array, shape (n_copies,)
    band : tuple of float
        Where the score of another recording like this one lies.
    chance : float or None
    growth : mapping of float to float array
        Scores of copies by size of the training set.
    subject : int
    modality : str
    """

    key: str
    metric: str
    value: float
    copies: np.ndarray
    band: tuple[float, float]
    chance: float | None
    growth: Mapping[float, np.ndarray] = field(default_factory=dict)
    subject: int = 0
    modality: str = ""

    @property
    def verdict(self) -> str:
        """``"above"`` the band (suspect a leak), ``"inside"`` or ``"below"`` it."""
        return "above" if self.value > self.band[1] else "below" if self.value < self.band[0] else "inside"

    def size_for(self, target: float) -> float | None:
        """Training trials, over those there are, at which copies reach a score; None where the largest does not."""
        sizes = np.array(sorted(self.growth))
        means = np.maximum.accumulate([float(self.growth[s].mean()) for s in sizes])
        if target > means[-1]:
            return None
        if target <= means[0]:
            return float(sizes[0])
        above = int(np.argmax(means >= target))
        low, high = np.log(sizes[above - 1]), np.log(sizes[above])
        share = (target - means[above - 1]) / max(means[above] - means[above - 1], 1e-12)
        return float(np.exp(low + share * (high - low)))

    def to_json(self) -> dict[str, Any]:
        """The entry in the record."""
        growth = {f"{size:g}": [float(v) for v in found] for size, found in sorted(self.growth.items())}
        return {"key": self.key, "metric": self.metric, "value": self.value, "chance": self.chance,
                "expected": float(self.copies.mean()), "band": list(self.band), "verdict": self.verdict,
                "copies": [float(v) for v in self.copies], "growth": growth}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TwinResult:
    """Expectations by subject and metric, the calibrated gains, and how the anchor was folded."""

    expectations: tuple[Expectation, ...]
    gains: Mapping[str, np.ndarray]
    anchor: Values
    honest_folds: str
    settings: Settings

    def of(self, metric: str, key: str | None = None) -> Expectation:
        """The one expectation of a metric (and subject)."""
        found = [e for e in self.expectations if e.metric == metric and key in (None, e.key)]
        if len(found) != 1:
            have = sorted({(e.metric, e.key) for e in self.expectations})
            raise checks.ConfigError(
                f"{len(found)} expectations match {metric!r}, {key!r}; there are {have}."
            )
        return found[0]

    def to_json(self) -> dict[str, Any]:
        """The record of a twin."""
        return {
            "system": self.settings.system, "n_copies": self.settings.n_copies, "level": self.settings.level,
            "folds_of_the_anchor": self.honest_folds,
            "anchor": {k: dict(v) for k, v in self.anchor.items()},
            "gain": {k: [float(g) for g in v] for k, v in self.gains.items()},
            "expectations": [e.to_json() for e in self.expectations],
        }  # fmt: skip
