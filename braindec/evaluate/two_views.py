"""What contrast of two views is worth: one decoder whose trunk learnt from windows without labels, and one without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.decoder.two_views import Config as TwoViews
from braindec.evaluate.outputs import NAMES, by_output
from braindec.evaluate.panels import Panel
from braindec.evaluate.video_apart import METRIC, Apart, pretrained_with_nulls
from braindec.evaluate.whole import Evaluation
from braindec.types import Embeddings

LEVEL = 0.05  # a difference is told where its interval leaves zero out and its test says so too
# System of a score -> what its trunk starts from.
WORDS = {
    "braindec": "contrast of views first",
    "scratch": "random weights",
    "ridge": "ridge, closed form",
    "shuffled": "contrast of views first, shuffled stimuli",
}


@dataclass(frozen=True, eq=False)
class Started:
    """Decoders of the same trials with equally many labelled steps.

    Parameters
    ----------
    views : Apart
        Its trunk was pretrained by contrast of two views.
    nulls : list of Apart
        The same fitted on permuted pairings.
    scratch : BrainDecoder
        From random weights.
    """

    views: Apart
    nulls: list[Apart]
    scratch: BrainDecoder


def started(
    recipe: Any, part: NeuralDataset, embeddings: Embeddings, settings: TwoViews, out_dir: Path | None = None
) -> Started:
    """The recipe's decoder with and without contrast of views, and the nulls of the first.

    Parameters
    ----------
    recipe : Recipe
        Its plan says how many nulls.
    part : NeuralDataset
        ``dataset.part("train")``, windows of volumes.
    embeddings : Embeddings
    settings : decoder.two_views.Config
    out_dir : path, optional
        Where the logs go.
    """
    views, nulls = pretrained_with_nulls(recipe, part, embeddings, settings, out_dir)
    scratch = BrainDecoder.build(recipe, part.info, embeddings.info)
    return Started(views, nulls, scratch.fit(part, embeddings, progress=recipe.plan.progress))


def judged(found: Started, recipe: Any, dataset: NeuralDataset, embeddings: Embeddings) -> Evaluation:
    """What each tells apart of the test clips, by cosines in the target's space, beside ridge.

    Parameters
    ----------
    found : Started
    recipe : Recipe
    dataset : NeuralDataset
        Whole, with the split in use.
    embeddings : Embeddings

    Returns
    -------
    Evaluation
        Without the calibrated similarity of the first decoder; `comparisons` are paired on the same clips, which says
        nothing of other random weights.
    """
    whole = by_output(
        found.views.main, [n.main for n in found.nulls], recipe, dataset, {"main": embeddings}, "main", (METRIC,),
        scratch=found.scratch,
    )  # fmt: skip
    systems = {NAMES[system]: system for system in WORDS}
    rows = tuple(
        row | {"a": WORDS["braindec"], "b": WORDS[systems[row["b"]]]}
        for row in whole.comparisons
        if row["b"] in systems
    )
    scores = tuple(s for s in whole.scores if s.system in WORDS)
    return Evaluation(scores, {name: whole.judged[name] for name in WORDS}, rows, whole.record)


def panels(found: Started, seen: Evaluation) -> list[Panel]:
    """How held-out views found each other, and what that is worth to the decoder."""
    return [_said(seen), _views(found.views.main.pretrained.about["views"]), _worth(seen)]


def _said(seen: Evaluation) -> Panel:
    """A line a subject: whether contrast of views first tells more clips apart, or nothing can be told."""
    lines = []
    for row in seen.comparisons:
        if row["b"] == WORDS["scratch"]:
            low, high = row["interval"]
            told = (low > 0 or high < 0) and row["p"] < LEVEL
            what = ("more" if row["difference"] > 0 else "fewer") if told else "neither more nor fewer"
            lines.append(f"- {row['key'].replace('_', ' ')}: {what} ({_difference(row)})")
    head = "Pairs of test clips told apart with contrast of views first, beside equally many labelled steps alone:"
    return "What contrast of views gains", "text", {"text": "\n".join([head, *lines])}


def _views(views: Mapping[str, Mapping[str, Any]]) -> Panel:
    rows = [
        [
            key.replace("_", " "), v["n"], f"{v['identified']:.3f} [{v['interval'][0]:.3f}, {v['interval'][1]:.3f}]",
            f"{v['untrained']:.3f}", f"{v['chance']:.4f}",
        ]
        for key, v in views.items()
    ]  # fmt: skip
    caption = (
        "Two views of each training window that was held out to choose the step: places hidden, and volumes "
        "interpolated in time. Identified: the most similar view of the other kind is that of the same window; by the "
        "untrained trunk, as drawn; by chance. The interval takes windows for independent; those that overlap are not."
    )
    columns = ["subject", "windows", "views identified", "untrained", "chance"]
    told = {"columns": columns, "rows": rows, "caption": caption}
    return "Do two views of a window find each other?", "table", told


def _worth(seen: Evaluation) -> Panel:
    rows = []
    for key in seen.judged["braindec"].measured:
        against = {
            system: next((c for c in seen.comparisons if (c["key"], c["b"]) == (key, said)), None)
            for system, said in WORDS.items()
        }
        for system, said in WORDS.items():
            m = seen.judged[system].measured[key][METRIC]
            value = f"{m.value:.3f} [{m.interval[0]:.3f}, {m.interval[1]:.3f}]"
            rows.append([key.replace("_", " "), said, value, _difference(against[system])])
    caption = (
        "Two test clips told apart (chance 0.5), all with equally many labelled steps. The difference is paired over "
        "clips of this one fit: other random weights move it too, which its interval does not cover."
    )
    columns = ["subject", "trunk", "two clips told apart", "views first minus this"]
    return "What is contrast of views worth?", "table", {"columns": columns, "rows": rows, "caption": caption}


def _difference(row: Mapping[str, Any] | None) -> str:
    """A paired difference in words; nothing where there is none."""
    if row is None:
        return ""
    low, high = row["interval"]
    return f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}], p {row['p']:.3f}"
