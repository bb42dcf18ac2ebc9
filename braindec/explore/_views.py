"""A view of the explorer: like items, what they can be chosen and sorted by, and what a run without them lacks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]


@dataclass(frozen=True)
class View:
    """Items of one kind.

    Parameters
    ----------
    key, title, noun : str
        `noun` is one item, e.g. ``"picture"``.
    items : list of dict
        ``name``, ``who`` (subject), ``facets`` {name: value}, ``numbers`` (a value or None for each of the view's
        `numbers`), ``texts`` ((label, text), ...) and what the kind draws.
    numbers : tuple of (name, title, whether less is better)
    lacks : (text, command)
        Said where there are no items.
    more : mapping
        What all items share.
    """

    key: str
    title: str
    noun: str
    items: list[Item]
    lacks: tuple[str, str]
    numbers: tuple[tuple[str, str, bool], ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What the page reads: items keyed, facets in the order in which they first occur."""
        used: dict[str, int] = {}
        items = []
        for item in self.items:
            key = f"{item.get('who', '')}|{item['name']}"
            used[key] = used.get(key, 0) + 1
            items.append({"key": key if used[key] == 1 else f"{key}|{used[key]}", **item})
        facets = list(dict.fromkeys(name for item in self.items for name in item.get("facets", {})))
        return {
            "key": self.key, "title": self.title, "noun": self.noun, "facets": facets, "items": items,
            "numbers": [{"name": n, "title": t, "lower": low} for n, t, low in self.numbers],
            "lacks": {"text": self.lacks[0], "command": self.lacks[1]}, "more": dict(self.more),
        }  # fmt: skip


def number(value: Any) -> float | int | None:
    """A value for the page: five digits, None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else float(f"{float(value):.5g}")


def numbers(values: Iterable[Any]) -> list[float | int | None]:
    """Values for the page."""
    return [number(v) for v in values]


def spoken(key: str) -> str:
    """``sub-01 fmri`` of ``sub-01_fmri``."""
    return key.replace("_", " ")
