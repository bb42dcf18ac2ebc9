"""Protocols on the command line: one a line, and every field of one of them in words."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from typing import Any

from braindec import registry
from braindec.protocols import Protocol

WIDTH = 100


def protocols() -> dict[str, Protocol]:
    """Every protocol by name."""
    return registry.tables("protocols", "PROTOCOLS")


def sentence(name: str) -> str:
    """Unit, pool and source of a protocol, or whose departures it follows, on one line."""
    protocol = protocols()[name]
    if protocol.published_by is not None:
        return f"as published by {protocol.published_by}, shown beside {protocol.corrects}"
    size = "" if protocol.pool.size is None else f"{protocol.pool.size} test stimuli; "
    return f"hold out by {protocol.unit}; {size}{protocol.source}"


def info(name: str) -> str:
    """Every field of a protocol, what it is set to and what it means."""
    protocol = protocols()[name]
    head = f"protocol {name}, version {protocol.version}, sha256 {protocol.content_hash[:16]}"
    beside = [p.name for p in protocols().values() if p.corrects == name]
    lines = [head, ""]
    for field in dataclasses.fields(protocol):
        if field.name in ("name", "version"):
            continue
        lines += _told(field.name, getattr(protocol, field.name), meaning(Protocol, field.name))
    if beside:
        lines += ["", f"Shown beside it from the same predictions: {', '.join(beside)}"]
    return "\n".join(lines)


def meaning(kind: type, field: str) -> str:
    """What a field's entry in the class's docstring says, on one line; empty where it is only named."""
    found = re.search(
        rf"^(?:\w+, )*{field}(?:, \w+)* : .*\n((?:    .*\n?)+)",
        inspect.cleandoc(kind.__doc__ or ""),
        re.MULTILINE,
    )
    return " ".join(found[1].split()) if found else ""


def _told(name: str, value: Any, said: str) -> list[str]:
    lines = [f"{name:<16} {_words(value)}"] if not _is_nested(value) else [name]
    if _is_nested(value):
        for field in dataclasses.fields(value):
            lines.append(f"  {field.name:<16} {_words(getattr(value, field.name))}")
            lines += _meant(meaning(type(value), field.name), 4)
        return lines
    if name == "departures" and value:
        lines = [name]
        for departure in value:
            mark = f"computed ({departure.how})" if departure.how else f"said only: {departure.why}"
            lines += textwrap.wrap(
                f"- {departure.what} [{mark}]", WIDTH, initial_indent="  ", subsequent_indent="    "
            )
        return lines
    return lines + _meant(said, 2)


def _meant(said: str, indent: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(said, WIDTH, initial_indent=space, subsequent_indent=space)


def _is_nested(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _words(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return ", ".join(map(_words, value))
    return str(value)
