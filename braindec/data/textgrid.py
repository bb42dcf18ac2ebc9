"""Praat TextGrid files, long and short: intervals of each tier by name."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading
from braindec.types import Table

# Text in quotes (doubled inside), or a number that is not an index in brackets: the same sequence in both formats.
VALUE = re.compile(r'"((?:[^"]|"")*)"|(?<![\w\[.+-])([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![\w\].])')
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: str | Path) -> dict[str, Table]:
    """Tiers by name, each a table of start_s, stop_s and text in the order of the file.

    Parameters
    ----------
    path : path
        Long ("ooTextFile") or short format, UTF-8 or UTF-16; tiers of points have equal start and stop.

    Raises
    ------
    DataFileError
        If the file is no TextGrid, ends early, or an interval ends before it begins.
    """
    path = checks.existing_file(path, "Check the path.")
    with reading(path):
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(MARKS) else "utf-8-sig")
    values = [m[2] if m[1] is None else m[1].replace('""', '"') for m in VALUE.finditer(text)]
    if "TextGrid" not in values[:4]:
        raise checks.DataFileError(path, "is no TextGrid file", COPY_AGAIN)
    rest = iter(values[values.index("TextGrid") + 1 :])
    with reading(path):
        _, _, n_tiers = (float(next(rest, "")) for _ in range(3))
        tiers = [_tier(rest) for _ in range(int(n_tiers))]
    found = dict(tiers)
    if len(found) != n_tiers or any((t["stop_s"] < t["start_s"]).any() for t in found.values()):
        raise checks.DataFileError(path, "has tiers of one name, or intervals that end too early", COPY_AGAIN)
    return found


def _tier(values: Iterable[str]) -> tuple[str, Table]:
    """The next tier: class, name, its limits and its intervals or points."""
    rest = iter(values)
    kind, name, _, _, n = (next(rest, "") for _ in range(5))
    if kind not in ("IntervalTier", "TextTier"):
        raise ValueError(f"a tier is of the class {kind!r}")
    start, stop, text = [], [], []
    for _ in range(int(n)):
        start.append(float(next(rest, "")))
        stop.append(float(next(rest, "")) if kind == "IntervalTier" else start[-1])
        said = next(rest, None)
        if said is None:
            raise ValueError(f"tier {name!r} ends before its {n} entries")
        text.append(said)
    return name, Table(
        {"start_s": np.array(start), "stop_s": np.array(stop), "text": np.array(text, dtype=str)}
    )


def write(path: str | Path, tiers: Sequence[tuple[str, Table]], *, short: bool = False) -> None:
    """Writes tiers of intervals, for miniatures.

    Parameters
    ----------
    path : path
    tiers : sequence of (str, Table)
        As `read` gives them; intervals of a tier must follow each other without gaps.
    short : bool
    """
    end = max(float(t["stop_s"][-1]) for _, t in tiers)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["0", f"{end}", "<exists>", f"{len(tiers)}"] if short else _head(end, len(tiers))
    for i, (name, table) in enumerate(tiers, 1):
        rows = list(
            zip(table["start_s"].tolist(), table["stop_s"].tolist(), table["text"].tolist(), strict=True)
        )
        if short:
            lines += ['"IntervalTier"', f'"{name}"', "0", f"{end}", f"{len(rows)}"]
            lines += [line for a, b, text in rows for line in (f"{a}", f"{b}", _quoted(text))]
            continue
        lines += [f"    item [{i}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(rows)}"]
        for k, (a, b, text) in enumerate(rows, 1):
            lines += [f"        intervals [{k}]:", f"            xmin = {a}", f"            xmax = {b}"]
            lines += [f"            text = {_quoted(text)}"]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _head(end: float, n: int) -> list[str]:
    return ["xmin = 0", f"xmax = {end}", "tiers? <exists>", f"size = {n}", "item []:"]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
