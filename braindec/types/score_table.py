"""Scores as one table: a row a metric and subject, a column a system, chance and null beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from braindec import outlines

if TYPE_CHECKING:
    from braindec.types.score import Score

FIRST = ("braindec", "adapted", "scratch", "ridge", "nuisance")


def columns(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows; the decoder, its baselines, and no controls: a report's page shows those too."""
    there = list(dict.fromkeys(s.system for s in scores if "as_published_by" not in s.details))
    systems = [s for s in FIRST if s in there] or there
    several = len({s.protocol for s in scores}) > 1
    rows = []
    for key in dict.fromkeys((s.protocol, s.name, s.subject, s.modality) for s in scores):
        found = {
            s.system: s
            for s in scores
            if (s.protocol, s.name, s.subject, s.modality) == key
            and s.system in systems
            and "as_published_by" not in s.details
        }
        if found:
            rows.append(_row(found, systems, several))
    return ["score", "of", "n", "chance", "null", "p", *systems], rows


def _row(found: dict[str, Score], systems: Sequence[str], several: bool) -> list[str]:
    lead = next(found[s] for s in systems if s in found)
    who = f"sub-{lead.subject:02d}" if isinstance(lead.subject, int) else lead.subject
    name = f"{lead.name} ({lead.protocol})" if several else lead.name
    null = f"{lead.null:.3f} ({lead.null_n})" if lead.null_n else "-"
    p = "-" if lead.p is None else f"{lead.p:.3g}"
    cells = [_value(found[s]) if s in found else "-" for s in systems]
    return [name, f"{who} {lead.modality}", str(lead.n), f"{lead.chance:.3g}", null, p, *cells]


def _value(score: Score) -> str:
    low, high = score.interval
    return f"{score.value:.3f} [{low:.2f}, {high:.2f}]"


def as_text(scores: Sequence[Score]) -> str:
    """For `print`."""
    return outlines.text_grid(*columns(scores))


def as_html(title: str, scores: Sequence[Score]) -> str:
    """For a notebook."""
    return outlines.grid(title, *columns(scores))
