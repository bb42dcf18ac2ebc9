"""What a comparison of two runs shows: differences with their intervals, stimuli, seeds, pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from braindec.types import Report

N_SHOWN = 8  # stimuli on each side of the list of differences


class Pair(Protocol):
    """Samples of one metric and subject, of both runs."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the samples; what stands before an ``@`` is the stimulus."""

    @property
    def difference(self) -> np.ndarray:
        """Mean over seeds, a minus b, a sample: (n,)."""


Panel = tuple[str, str, dict[str, Any]]


def forest(rows: Sequence[Mapping[str, Any]]) -> Panel:
    """Every difference with its interval about zero."""
    payload = {
        "regions": [f"{r['metric'].replace('_', ' ')}, {r['key']}" for r in rows],
        "series": {"a − b": np.array([r["difference"] for r in rows])},
        "intervals": {"a − b": np.array([r["interval"] for r in rows])},
        "chance": 0.0,
        "chance_label": "no difference",
        "xlabel": "difference a − b, 95 % interval",
        "section": "headline",
        "caption": f"a: {rows[0]['a']}; b: {rows[0]['b']}.",
    }
    return "Differences on the same samples", "regions", payload


def table(rows: Sequence[Mapping[str, Any]]) -> Panel:
    columns = ["metric", "subject", "a", "b", "a − b", "95 % interval", "p", "p (Holm)", "n"]
    cells = [
        [
            r["metric"].replace("_", " "), r["key"], f"{r['value_a']:.3f}", f"{r['value_b']:.3f}",
            f"{r['difference']:+.3f}", f"[{r['interval'][0]:+.3f}, {r['interval'][1]:+.3f}]", f"{r['p']:.3g}",
            f"{r['p_holm']:.3g}", str(r["n"]),
        ]
        for r in rows
    ]  # fmt: skip
    caption = "a: {a}; b: {b}. Queries are resampled together for both. An interval around zero is a result.".format(
        **rows[0]
    )
    return "Paired differences", "table", {"columns": columns, "rows": cells, "caption": caption}


def verdict(verdicts: Sequence[Mapping[str, str]], lacks: Sequence[Mapping[str, str]]) -> Panel:
    """What may be said of the systems, or what is missing for it and how to get it."""
    if lacks:
        rows = [[r["condition"], r["why"], r["way_out"]] for r in lacks]
        caption = "No verdict: which system is above the other is said only when nothing is missing here."
        columns = ["missing", "why", "how to get it"]
        return (
            "Verdict withheld",
            "table",
            {"columns": columns, "rows": rows, "caption": caption, "section": "headline"},
        )
    rows = [[v["metric"].replace("_", " "), v["modality"], v["verdict"]] for v in verdicts]
    caption = (
        "Equal search space, validation split and stopping rule; seeds are a component of variance. Above: "
        "p < 0.05 after Holm's correction over these rows."
    )
    columns = ["metric", "modality", "verdict"]
    return "Verdict", "table", {"columns": columns, "rows": rows, "caption": caption, "section": "headline"}


def seeds_table(over: Sequence[Mapping[str, Any]]) -> Panel:
    """The difference with an interval that seeds widen too, and where its variance comes from."""
    columns = ["metric", "modality", "rows x seeds", "a − b", "95 % interval", "p (Holm)", "SD over seeds (a, b)",
               "SD of the difference over", "speaks of"]  # fmt: skip
    cells = [
        [
            r["metric"].replace("_", " "), r["modality"], f"{r['n_rows']} {_plural(r['rows'])} x {r['n_seeds']}",
            f"{r['difference']:+.3f}", f"[{r['interval'][0]:+.3f}, {r['interval'][1]:+.3f}]", f"{r['p_holm']:.3g}",
            f"{r['seed_sd_a']:.3f}, {r['seed_sd_b']:.3f}",
            ", ".join(f"{name} {value**0.5:.3f}" for name, value in r["variance"].items()),
            r["speaks_of"],
        ]
        for r in over
    ]  # fmt: skip
    return "Over seeds", "table", {"columns": columns, "rows": cells}


def _plural(word: str) -> str:
    return {"stimulus": "stimuli"}.get(word, f"{word}s")


def who_differs(pairs: Mapping[Any, Pair], a: str, b: str) -> list[Panel]:
    """Stimuli on which the runs differ most, by the mean over subjects of a metric."""
    out: list[Panel] = []
    for metric in dict.fromkeys(k[0] for k in pairs):
        sums: dict[str, list[float]] = {}
        for key, pair in pairs.items():
            if key[0] == metric:
                for name, value in zip(pair.ids, pair.difference, strict=True):
                    sums.setdefault(name.partition("@")[0], []).append(float(value))
        means = {name: float(np.mean(values)) for name, values in sums.items()}
        order = sorted(means, key=lambda name: (-means[name], name))
        chosen = [n for n in order[:N_SHOWN] if means[n] > 0] + [n for n in order[-N_SHOWN:] if means[n] < 0]
        if not chosen or len(means) < 4:
            continue
        rows = [[name, f"{means[name]:+.3f}", str(len(sums[name])), a if means[name] > 0 else b]
                for name in chosen]  # fmt: skip
        share = sum(v != 0 for v in means.values())
        caption = f"{share} of {len(means)} stimuli differ; values are means over subjects, trials and seeds."
        columns = ["stimulus", "a − b", "values", "higher in"]
        title = f"Where {metric.replace('_', ' ')} differs"
        out.append((title, "table", {"columns": columns, "rows": rows, "caption": caption}))
    return out


def side_by_side(a: Report, b: Report, names: tuple[str, str], n: int = 12) -> list[Panel]:
    """Pictures of both runs for stimuli that both drew, the largest differences first."""
    first, second = _galleries(a), _galleries(b)
    out: list[Panel] = []
    for title in (t for t in first if t in second):
        one, two = first[title], second[title]
        place = {str(name): i for i, name in enumerate(two["ids"])}
        both = [(i, place[str(name)], str(name)) for i, name in enumerate(one["ids"]) if str(name) in place]
        if not both:
            continue
        gap = [
            np.abs(one["reconstructed"][i].astype(float) - two["reconstructed"][j]).mean() for i, j, _ in both
        ]
        chosen = [both[i] for i in np.argsort(gap, kind="stable")[::-1][:n]]
        left, right = [i for i, _, _ in chosen], [j for _, j, _ in chosen]
        rows = {"presented": one["presented"][left], f"a: {names[0]}": one["reconstructed"][left],
                f"b: {names[1]}": two["reconstructed"][right]}  # fmt: skip
        caption = f"{len(both)} stimuli were drawn by both; those whose pictures differ most come first."
        payload = {"rows": rows, "captions": [name for _, _, name in chosen], "caption": caption}
        out.append((f"{title}: side by side", "image_grid", payload))
    return out


def _galleries(report: Report) -> dict[str, Mapping[str, Any]]:
    return {t: p["gallery"] for t, kind, p in report.panels if kind == "image_grid" and "gallery" in p}


def settings(differs: Sequence[Sequence[str]]) -> Panel:
    rows = [list(row) for row in differs] or [["none recorded", "", ""]]
    return (
        "Settings that differ",
        "table",
        {"columns": ["setting", "a", "b"], "rows": rows, "section": "config"},
    )
