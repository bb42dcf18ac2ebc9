"""A number with everything it needs to be believed, and a report of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braindec import checks
from braindec.types import score_table

SYSTEMS = (
    "braindec", "ridge", "mean", "adapted", "scratch", "shuffled", "nuisance", "contender",
    "sample", "selected", "prior", "nearest", "oracle",
)  # fmt: skip
CEILINGS = ("oracle_image", "oracle_linear", "oracle_n", "repeatability", "ncsnr", "other_subjects")


@dataclass(frozen=True, eq=False, repr=False)
class Score:
    """One metric of one system on one subject, never a bare float.

    Parameters
    ----------
    name : str
        Metric, e.g. ``"image_retrieval_top1"``.
    system : str
        ``"braindec"``, ``"ridge"``, ``"mean"``, ``"adapted"``, ``"scratch"``, ``"shuffled"``, ``"nuisance"``,
        ``"contender"`` (of `evaluate.contest`); of pictures also ``"sample"``, ``"selected"``, ``"prior"``,
        ``"nearest"`` and ``"oracle"`` (of `evaluate.reconstructions`).
    protocol : str
        The named evaluation.
    subject : int or str
        Subject number, or ``"group"`` for a summary over subjects.
    modality : str
    value : float
    interval : (float, float)
        95 % interval.
    chance : float
        Theoretical chance (the permutation mean where folds or ties bias it).
    null : float
        Mean score of the refitted null: pairing permuted in training, everything fitted again.
    n : int
        Number of independent units (queries, items, blocks) behind the value.
    direction : str
        ``"higher"`` or ``"lower"`` is better.
    ceiling, ceiling_kind
        The typed upper bound where one exists.
    p : float or None
        (c + 1) / (N + 1) of the refitted null.
    null_n : int
        Refits behind `null`.
    per_sample : float array or None
        The values that were averaged; written to scores.h5.
    details : mapping
        Further JSON values (e.g. fraction kept, scope, further ceilings).
    sample_ids : tuple of str or None
        What each of `per_sample` was measured on (stimulus, or trial), so that two runs can be paired.
    """

    name: str
    system: str
    protocol: str
    subject: int | str
    modality: str
    value: float
    interval: tuple[float, float]
    chance: float
    null: float
    n: int
    direction: str = "higher"
    ceiling: float | None = None
    ceiling_kind: str | None = None
    p: float | None = None
    null_n: int = 0
    per_sample: np.ndarray | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    sample_ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        checks.one_of("system", self.system, SYSTEMS)
        checks.one_of("direction", self.direction, ("higher", "lower"))
        if (self.ceiling is None) != (self.ceiling_kind is None):
            raise ValueError("a ceiling and its ceiling_kind come together.")
        if self.ceiling_kind is not None:
            checks.one_of("ceiling_kind", self.ceiling_kind, CEILINGS)
        for name in ("value", "chance", "null"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} of score {self.name!r} must be finite, got {getattr(self, name)}.")
        if len(self.interval) != 2 or not all(math.isfinite(v) for v in self.interval):
            raise ValueError(
                f"interval of score {self.name!r} must be two finite numbers, got {self.interval}."
            )
        checks.at_least("n", self.n, 1)
        if self.sample_ids is not None:
            values = () if self.per_sample is None else self.per_sample
            checks.same_length("sample", sample_ids=self.sample_ids, per_sample=values)

    def __repr__(self) -> str:
        return score_table.as_text([self])

    def _repr_html_(self) -> str:
        return score_table.as_html(f"Score under {self.protocol}", [self])

    def to_json(self) -> dict[str, Any]:
        """The row of report.json."""
        keys = ("name", "system", "protocol", "subject", "modality", "value", "chance", "null", "ceiling",
                "ceiling_kind", "n", "direction", "p", "null_n")  # fmt: skip
        row = {key: getattr(self, key) for key in keys}
        return row | {"interval": [float(v) for v in self.interval], "details": dict(self.details)}


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """Scores, what made them, and what a person looks at.

    Parameters
    ----------
    scores : tuple of Score
    run : mapping
        Recipe, versions, machine, seeds, times, dataset and split hashes: JSON values.
    panels : tuple
        (title, kind, payload) in the order of the page; payloads are arrays and tables that `plots` draws.
    """

    scores: tuple[Score, ...]
    run: Mapping[str, Any]
    panels: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()

    def __repr__(self) -> str:
        return score_table.as_text(self.scores) if self.scores else "Report without scores"

    def _repr_html_(self) -> str:
        return score_table.as_html(str(self.run.get("title", "Report")), self.scores)

    def to_json(self) -> dict[str, Any]:
        """The content of report.json."""
        return {"schema": 1, "scores": [score.to_json() for score in self.scores], "run": dict(self.run)}

    def score(self, name: str, system: str = "braindec", subject: int | str | None = None) -> Score:
        """The one score with this name, system and (where given) subject; not one that is marked as published."""
        found = [
            s
            for s in self.scores
            if s.name == name
            and s.system == system
            and (subject is None or s.subject == subject)
            and "as_published_by" not in s.details
        ]
        if len(found) != 1:
            have = sorted({(s.name, s.system, s.subject) for s in self.scores}, key=str)
            raise ValueError(
                f"{len(found)} scores match {name!r}, {system!r}, {subject!r}; there are {have}."
            )
        return found[0]
