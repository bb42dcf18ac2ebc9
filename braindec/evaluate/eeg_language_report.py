"""Scores, comparisons and figures of what EEG of reading adds to text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from braindec import seeding
from braindec.evaluate import panels, study
from braindec.evaluate.eeg_language import SOURCES, WAYS, Answers, Judged
from braindec.stats.intervals import proportion_interval
from braindec.stats.macro_f1 import f1_difference, f1_interval, macro_f1
from braindec.stats.paired import paired_difference
from braindec.types import Report, Score

SHOWN = {"eeg": "{} alone", "both": "{} and text, shared space", "weighed": "{} and text, weighed"}
LEVEL = 0.05
EYE = "eye and words' lengths"
LIMITS = (
    "People read the same sentences, so n counts sentences and intervals are over sentences: they say nothing of other "
    "people. Words that the eye skipped have no EEG, and fixations are the reader's choice: what noise in the place of "
    "EEG and the eye's movements alone reach is no decoding.",
    "In task-specific reading, relations were looked for block by block, and the order of reading is not kept: EEG "
    "that tells a relation may tell the block. Labels are those of the text; nobody was asked what the reader felt.",
    "The transformer over text is pretrained and stays as it is, with a trained map behind it. Alignments are compared "
    "with one setting of the networks, which was not chosen on these data.",
)
WORDS = {
    "systems": {
        "braindec": "EEG",
        "contender": "noise in the place of EEG",
        "nuisance": "what the eye did, length and place of words",
        "shuffled": "EEG of other sentences in training: mean and middle 95 % of the null's draws",
    },
    "null": "mean of the same number, refitted to exchanged readings (of text alone: to exchanged labels)",
}


def report(found: Mapping[str, Judged], main: str, *, protocol: str, seed: int, **run: Any) -> Report:
    """Scores of every question, what was found in words, and the figures.

    Parameters
    ----------
    found : mapping of str to Judged
        By the name of the question; the first system of the first one is the first score.
    main : str
        The alignment of all systems but those that compare alignments.
    protocol : str
    seed : int
    **run
        Further entries of the record.
    """
    scores = [s for name, judged in found.items() for s in _scores(name, judged, protocol, seed)]
    rows = [row for name, judged in found.items() for row in _comparisons(name, judged, seed)]
    drawn = [panel for name, judged in found.items() for panel in _panels(name, judged, scores, seed)]
    first = next(iter(found.values())).readings
    about = {
        "title": "EEG of reading, and the text that was read",
        "summary": "Encoders of words' EEG and of sentences' texts, drawn to each other; labels from either side and "
        "from both, over held-out sentences, beside noise and the eye's movements in the place of EEG.",
        "words": WORDS, "comparisons": rows, "main": main, "sentences": first.n_sentences,
        "weights": {name: {s: a.weight for s, a in judged.systems.items()} for name, judged in found.items()},
        **run,
    }  # fmt: skip
    said: panels.Panel = (
        "What was found",
        "text",
        {"text": [f"- {line}" for line in _said(scores, rows, found)]},
    )
    compared = panels.comparisons(rows, "What EEG adds, and to what: paired differences over sentences")
    last: panels.Panel = ("What this does not show", "text", {"text": list(LIMITS), "section": "limits"})
    return Report(tuple(scores), about, (said, *drawn, compared, last))


def _scores(name: str, judged: Judged, protocol: str, seed: int) -> list[Score]:
    made: list[Score] = []
    common: dict[str, Any] = {
        "n": judged.readings.n_sentences, "protocol": protocol, "modality": "eeg", "subject": "people",
        "readings": len(judged.readings.label),
    }  # fmt: skip
    for kind in ("eeg", "both", "weighed", "text"):
        nulls = [_f1(judged, one, kind) for one in judged.nulls]
        told = common | ({"modality": "text"} if kind == "text" else {})
        for system, one in judged.systems.items():
            both = study.scores(
                f"{name}_f1_from_{kind}", _f1(judged, one, kind), _f1_interval(judged, one, kind, seed), nulls,
                chance=1 / len(judged.readings.classes), classes=list(judged.readings.classes),
                accuracy=_accuracy(judged, one, kind), **told,
            )  # fmt: skip
            made += _renamed(both, system) if kind != "text" or system == "braindec" else []
    nulls = [float(one.place["direct"].mean()) for one in judged.nulls]
    for system, one in judged.systems.items():
        ends = proportion_interval(one.place["direct"], units=judged.readings.sentence)
        both = study.scores(
            f"{name}_sentence_rank", float(one.place["direct"].mean()), (ends.low, ends.high), nulls, chance=0.5,
            pool=float(one.pool.mean()), top1=_among(one, 1), **common,
        )  # fmt: skip
        made += _renamed(both, system)
    return made


def _renamed(both: list[Score], system: str) -> list[Score]:
    """The score under its system's name; the twin of shuffled pairs once, beside the EEG's."""
    return both if system == "braindec" else [replace(both[0], system=system, p=None)]


def _among(one: Answers, k: int) -> float:
    """How often the own sentence is among the nearest k; one that others are as near as waits for half of them."""
    return float((one.rank["direct"] + 1 <= k).mean())


def _f1(judged: Judged, one: Answers, kind: str) -> float:
    return macro_f1(judged.readings.label, one.said[kind], len(judged.readings.classes))


def _f1_interval(judged: Judged, one: Answers, kind: str, seed: int) -> tuple[float, float]:
    readings = judged.readings
    draw = seeding.numpy_generator(seed, "sentences", "f1")
    ends = f1_interval(readings.label, one.said[kind], len(readings.classes), draw, units=readings.sentence)
    return float(ends.low), float(ends.high)


def _accuracy(judged: Judged, one: Answers, kind: str) -> dict[str, Any]:
    """Value, interval over sentences, chance (always the largest class), and the mean of refitted nulls."""
    readings = judged.readings
    right = (readings.label == one.said[kind]).astype(float)
    ends = proportion_interval(right, units=readings.sentence)
    nulls = [float((readings.label == null.said[kind]).mean()) for null in judged.nulls]
    return {
        "value": float(right.mean()), "interval": [float(ends.low), float(ends.high)],
        "chance": float(np.bincount(readings.label).max() / len(right)), "null": float(np.mean(nulls)),
    }  # fmt: skip


def _comparisons(name: str, judged: Judged, seed: int) -> list[dict[str, Any]]:
    eeg, noise, eye = (judged.systems[s] for s in SOURCES)
    pairs = (
        ("EEG", eeg.said["eeg"], "noise", noise.said["eeg"]),
        ("EEG", eeg.said["eeg"], EYE, eye.said["eeg"]),
        ("EEG and text, shared space", eeg.said["both"], "text alone", eeg.said["text"]),
        ("EEG and text, weighed", eeg.said["weighed"], "text alone", eeg.said["text"]),
        ("noise and text, weighed", noise.said["weighed"], "text alone", eeg.said["text"]),
        ("EEG and text, weighed", eeg.said["weighed"], "noise and text, weighed", noise.said["weighed"]),
    )
    truth, units, rows = judged.readings.label, judged.readings.sentence, []
    for a, first, b, second in pairs:
        for metric in ("f1", "accuracy"):
            draw = seeding.numpy_generator(seed, "sentences", "differences", a, b)
            if metric == "f1":
                d = f1_difference(truth, first, second, len(judged.readings.classes), draw, units=units)
            else:
                d = paired_difference((truth == first) * 1.0, (truth == second) * 1.0, draw, units=units)
            rows.append({
                "a": a, "b": b, "metric": metric, "key": name, "difference": d.value, "p": d.p, "n": d.n,
                "interval": [float(d.interval.low), float(d.interval.high)],
            })  # fmt: skip
    return rows


def _said(scores: list[Score], rows: list[dict[str, Any]], found: Mapping[str, Judged]) -> list[str]:
    lines = []
    for name, judged in found.items():
        of = {(s.name, s.system): s for s in scores}
        eeg, text = of[f"{name}_f1_from_eeg", "braindec"], of[f"{name}_f1_from_text", "braindec"]
        lines.append(
            f"{name}: macro F1 from EEG {_with(eeg)}, {_verdict(name, of, rows)}; from the text alone {_with(text)}; "
            f"{eeg.n} sentences, "
            f"{len(judged.readings.label)} readings, {len(judged.readings.classes)} classes, chance {eeg.chance:.3f}."
        )
        for a in ("EEG and text, shared space", "EEG and text, weighed"):
            row = _row(rows, name, a, "text alone")
            low, high = row["interval"]
            does = {0: "is not settled to change", 1: "adds to", -1: "takes from"}[_settled(row)]
            lines.append(
                f"{name}: {a}: the EEG {does} the text alone, {row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]."
            )
        place = of[f"{name}_sentence_rank", "braindec"]
        lines.append(
            f"{name}: the sentence lies nearer than {place.value:.1%} "
            f"[{place.interval[0]:.1%}, {place.interval[1]:.1%}] of the others "
            f"in a pool of {place.details['pool']:.0f} (chance 50 %, null {place.null:.1%})."
        )
    return lines


def _row(rows: list[dict[str, Any]], name: str, a: str, b: str) -> dict[str, Any]:
    return next(r for r in rows if (r["key"], r["a"], r["b"], r["metric"]) == (name, a, b, "f1"))


def _settled(row: dict[str, Any]) -> int:
    """The sign of a paired difference whose interval is on one side of 0, else 0."""
    low, high = row["interval"]
    return int(row["p"] < LEVEL) * (int(low > 0) - int(high < 0))


def _verdict(name: str, of: Mapping[tuple[str, str], Score], rows: list[dict[str, Any]]) -> str:
    """What EEG is settled to be above: its null by rank among the refits, the others by paired differences."""
    eeg = of[f"{name}_f1_from_eeg", "braindec"]
    p = 1.0 if eeg.p is None else eeg.p
    above, open_ = list[str](), list[str]()
    (above if p <= LEVEL else open_).append(f"its refitted null ({eeg.null:.3f}, p {p:.3f})")
    for system, rival, words in (
        ("contender", "noise", "noise in its place"),
        ("nuisance", EYE, "what the eye did and how long words are"),
    ):
        value = of[f"{name}_f1_from_eeg", system].value
        known = above if _settled(_row(rows, name, "EEG", rival)) > 0 else open_
        known.append(f"{words} ({value:.3f})")
    parts = {"above": above, "not settled to be above": open_}
    return "; ".join(f"{words} {' and '.join(them)}" for words, them in parts.items() if them)


def _with(score: Score) -> str:
    return f"{score.value:.3f} [{score.interval[0]:.3f}, {score.interval[1]:.3f}]"


def _panels(name: str, judged: Judged, scores: list[Score], seed: int) -> list[panels.Panel]:
    readings = judged.readings
    of = {(s.name, s.system): s for s in scores}
    shown = [of[f"{name}_f1_from_text", "braindec"]]
    labels = ["text alone"]
    for kind, words in SHOWN.items():
        for system, source in SOURCES.items():
            shown.append(of[f"{name}_f1_from_{kind}", system])
            labels.append(words.format(source))
    bars = study.bars(
        labels, {"macro F1": [s.value for s in shown]}, "macro F1 over held-out sentences",
        intervals={"macro F1": [s.interval for s in shown]}, chance=1 / len(readings.classes),
        caption="95 % intervals over sentences; the line is guessing as often as classes are. Noise, and what the eye "
        "did and how long words are, are fed to the same network in the place of EEG.",
    )  # fmt: skip
    return [
        (f"{name.capitalize()}: what tells it", "regions", bars),
        _accuracies(name, labels, shown),
        _by_alignment(name, judged, seed),
        _searched(name, judged),
        (f"{name.capitalize()}: told from EEG alone", "confusion", _confusion(judged)),
        _table(name, judged),
    ]


def _accuracies(name: str, labels: list[str], shown: list[Score]) -> panels.Panel:
    rows = []
    for label, score in zip(labels, shown, strict=True):
        a = score.details["accuracy"]
        low, high = a["interval"]
        rows.append([label, _with(score), f"{score.null:.3f}", f"{a['value']:.3f} [{low:.3f}, {high:.3f}]",
                     f"{a['null']:.3f}", f"{a['chance']:.3f}"])  # fmt: skip
    columns = ["told from", "macro F1", "its null", "accuracy", "its null", "largest class"]
    caption = (
        f"Held-out sentences, n {shown[0].n}, {shown[0].details['readings']} readings. Nulls are of EEG that was "
        "refitted to exchanged readings, and of text refitted to exchanged labels."
    )
    payload = {"columns": columns, "rows": rows, "caption": caption}
    return f"{name.capitalize()}: the same in numbers", "table", payload


def _by_alignment(name: str, judged: Judged, seed: int) -> panels.Panel:
    rows = []
    for label, one in judged.alignments.items():
        low, high = _f1_interval(judged, one, "eeg", seed)
        cells = [
            label,
            f"{_f1(judged, one, 'eeg'):.3f} [{low:.3f}, {high:.3f}]",
            f"{_f1(judged, one, 'both'):.3f}",
        ]
        for way in WAYS:
            ends = proportion_interval(one.place[way], units=judged.readings.sentence)
            cells.append(f"{one.place[way].mean():.3f} [{ends.low:.3f}, {ends.high:.3f}]")
        rows.append([*cells, f"{_among(one, 1):.3f}"])
    columns = [
        "alignment",
        "F1 from EEG",
        "F1 from both",
        "rank of its sentence",
        "after a linear map",
        "top 1",
    ]
    caption = (
        f"Rank: share of the other held-out sentences (pool of {judged.systems['braindec'].pool.mean():.0f}) that lie "
        f"farther from the EEG than its own; chance 0.5. Canonical correlations do not see linear maps, so that places "
        "need one; it is fitted on training readings."
    )
    return f"{name.capitalize()}: alignments", "table", {"columns": columns, "rows": rows, "caption": caption}


def _searched(name: str, judged: Judged) -> panels.Panel:
    """How often the sentence is among the nearest k, over k."""
    pool = int(judged.systems["braindec"].pool.min())
    k = np.arange(1, pool + 1)
    series = {label: np.array([_among(one, int(i)) for i in k]) for label, one in judged.alignments.items()}
    series |= {
        "noise": np.array([_among(judged.systems["contender"], int(i)) for i in k]),
        "chance": k / pool,
    }
    payload = study.lines(k, series, "sentences that are looked at", "share with the own sentence among them")
    return f"{name.capitalize()}: the sentence found again, by alignment", "curve", payload


def _confusion(judged: Judged) -> dict[str, Any]:
    n = len(judged.readings.classes)
    matrix = np.zeros((n, n), int)
    np.add.at(matrix, (judged.readings.label, judged.systems["braindec"].said["eeg"]), 1)
    return {"matrix": matrix, "labels": list(judged.readings.classes)}


def _table(name: str, judged: Judged, n: int = 12) -> panels.Panel:
    """The first sentences by name, not chosen, and what was said of the first reading of each."""
    r, own = judged.readings, judged.systems["braindec"]
    rows = []
    for one in sorted(r.texts)[:n]:
        i = int(np.flatnonzero(r.sentence == one)[0])
        told = [r.classes[own.said[kind][i]] for kind in ("eeg", "text", "weighed")]
        rows.append(
            [r.texts[one], r.classes[r.label[i]], *told, f"{own.rank['direct'][i] + 1:g} of {own.pool[i]}"]
        )
    columns = ["sentence", "label", "from EEG", "from text", "from both, weighed", "place of the sentence"]
    caption = "The first sentences by their id, not chosen; one person's reading each."
    return (
        f"{name.capitalize()}: sentence by sentence",
        "table",
        {"columns": columns, "rows": rows, "caption": caption},
    )
