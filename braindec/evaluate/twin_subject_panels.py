"""Needed subjects as sentences, a table and a curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from braindec.evaluate.twin_subjects import NeededSubjects, powers

Panel = tuple[str, str, dict[str, Any]]


def of_subjects(needed: NeededSubjects) -> list[str]:
    """What a group result needs, in words."""
    return _of_one(needed) if len(needed.values) == 1 else _of_several(needed)


def subject_panels(groups: Sequence[NeededSubjects]) -> list[Panel]:
    """Subjects by trials of each, and the chance to reach the goal by number of subjects."""
    out: list[Panel] = []
    for needed in groups:
        rows = _rows(needed)
        if rows:
            out.append(
                (f"Subjects that a group result needs, {_name(needed)}", "table", _table(needed, rows))
            )
        if len(needed.values) > 1:
            out += _curve(needed)
    return out


def _of_one(needed: NeededSubjects) -> list[str]:
    value = next(iter(needed.values.values()))
    said = (
        f"{_name(needed)}: how many subjects a group result needs cannot be known from one, who does not tell how "
        "subjects differ."
    )
    if needed.chance is None:
        return [said]
    if not _any_above(needed):
        return [f"{said} This one is not better than chance."]
    parts = ", ".join(f"{_number(n)} at an SD of {sd:.2g}" for sd, (n, _) in needed.assumed.items())
    lines = [
        f"{said} If the mean of all is {value:.3f} as here, an interval above chance takes {parts} "
        f"({needed.goal.power:.0%} power)."
    ]
    if needed.goal.within is not None:
        widths = ", ".join(f"{_number(n)} at an SD of {sd:.2g}" for sd, (_, n) in needed.assumed.items())
        lines.append(f"{_name(needed)}: an interval of +-{needed.goal.within:g} takes {widths}.")
    return lines


def _of_several(needed: NeededSubjects) -> list[str]:
    values = np.array(list(needed.values.values()))
    lines = [
        f"{_name(needed)}: {len(values)} subjects have {values.mean():.3f} on average, SD {values.std(ddof=1):.3f} "
        f"(copies: {needed.between:.3f} between subjects, {needed.single:.3f} from recording to recording)."
    ]
    if needed.chance is not None:
        n = needed.above[1.0]
        goal = f"a group interval above chance ({needed.chance:.3g}) with {needed.goal.power:.0%} power"
        lines.append(
            f"{_name(needed)}: about {n} subjects for {goal}."
            if n is not None
            else f"{_name(needed)}: no number of subjects can be named for {goal}: those at hand are only "
            f"{needed.sure:.0%} sure that the mean lies above."
        )
    if needed.goal.within is not None:
        lines.append(
            f"{_name(needed)}: {_number(needed.within[1.0])} for a group interval of +-{needed.goal.within:g}."
        )
    return lines


def _rows(needed: NeededSubjects) -> list[list[str]]:
    if len(needed.values) == 1:
        return [
            [f"{sd:.3g} assumed", "1", _number(a), _number(w, needed)]
            for sd, (a, w) in needed.assumed.items()
        ]
    spread = f"{np.std(list(needed.values.values()), ddof=1):.3g} found"
    sizes = sorted(set(needed.above) | set(needed.within))
    return [
        [spread, f"{size:g}", _number(needed.above.get(size)), _number(needed.within.get(size), needed)]
        for size in sizes
    ]


def _table(needed: NeededSubjects, rows: list[list[str]]) -> dict[str, Any]:
    width = "-" if needed.goal.within is None else f"+-{needed.goal.within:g}"
    columns = [
        "SD between subjects",
        "training trials over those there are",
        "above chance",
        f"within {width}",
    ]
    caption = (
        f"New subjects whose {needed.goal.level:.0%} t interval reaches the goal with {needed.goal.power:.0%} chance. "
        "What the subjects at hand leave open of mean and spread is in it; an assumed spread is taken for the truth."
    )
    return {"columns": columns, "rows": rows, "caption": caption}


def _curve(needed: NeededSubjects) -> list[Panel]:
    most = max([n for n in (*needed.above.values(), *needed.within.values()) if n is not None], default=20)
    numbers = np.unique(np.geomspace(2, max(2 * most, 10), 16).round().astype(int))
    series = powers(needed, numbers.tolist())
    if not series:
        return []
    payload = {
        "step": numbers, "series": series, "log": False, "section": "scores", "xlabel": "subjects",
        "ylabel": "chance to reach the goal",
    }  # fmt: skip
    return [(f"What a number of subjects reaches, {_name(needed)}", "curve", payload)]


def _name(needed: NeededSubjects) -> str:
    return f"{needed.metric.replace('_', ' ')}, {needed.modality}"


def _any_above(needed: NeededSubjects) -> bool:
    return any(n is not None for n, _ in needed.assumed.values())


def _number(n: int | None, needed: NeededSubjects | None = None) -> str:
    if needed is not None and needed.goal.within is None:
        return "-"
    return "no number of subjects" if n is None else f"{n} subjects"
