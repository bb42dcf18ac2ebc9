"""Items of the view Scores: every number of a run with what it needs to be believed."""

from __future__ import annotations

from collections.abc import Sequence

from braindec import report
from braindec.explore._source import Page
from braindec.explore._views import Item, View, number, numbers
from braindec.types import Score

NONE = ("This run has no scores.", "braindec run demo --smoke --out runs/demo")
NUMBERS = (
    ("value", "Value", False),
    ("above_chance", "Distance from chance", False),
    ("p", "p of the refitted null", True),
    ("n", "n", False),
)


def scores(pages: Sequence[Page]) -> View:
    """Every score of every page."""
    items = [_item(page, score) for page in pages for score in page.report.scores]
    return View("scores", "Scores", "score", items, NONE, NUMBERS)


def _item(page: Page, score: Score) -> Item:
    who = report.subject_of(score.subject, score.modality)
    facets = {"metric": report.title_of(score.name), "system": score.system, "subject": who}
    facets["protocol"] = str(score.details.get("as_published_by") or score.protocol)
    if page.name:
        facets["page"] = page.name
    sign = -1 if score.direction == "lower" else 1
    texts = [
        ["what it is", report.METRICS.get(score.name, "")],
        ["the system", report.SYSTEMS.get(score.system, "")],
    ]
    return {
        "name": f"{report.title_of(score.name)}, {score.system}", "who": who, "facets": facets,
        "numbers": numbers([score.value, sign * (score.value - score.chance), score.p, score.n]),
        "interval": numbers(score.interval), "chance": number(score.chance), "null": number(score.null),
        "null_n": score.null_n, "ceiling": number(score.ceiling), "ceiling_kind": score.ceiling_kind,
        "lower": score.direction == "lower", "texts": [line for line in texts if line[1]],
    }  # fmt: skip
