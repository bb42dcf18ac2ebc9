"""The folder is the registry: a file `braindec/<kind>/<name>.py` is the member `name` of that kind."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from braindec import checks

KINDS = ("adapters", "backbones", "targets", "losses", "priors", "generators", "captioners", "metrics", "protocols",
         "similarity")  # fmt: skip


def names(kind: str) -> list[str]:
    """The members of a kind, sorted: every file of its folder that does not start with `_`."""
    return list(_members(checks.one_of("kind", kind, KINDS)))


@cache
def _members(kind: str) -> tuple[str, ...]:
    folder = Path(__file__).parent / kind
    return tuple(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")))


def load(kind: str, name: str) -> ModuleType:
    """The module of one member.

    Raises
    ------
    ConfigError
        If there is no such kind or member, with the closest name there is, or its file is faulty.
    """
    checks.one_of(f"{kind} member", name, names(kind))
    try:
        return importlib.import_module(f"braindec.{kind}.{name}")
    except (ValueError, TypeError, NameError, AttributeError, SyntaxError) as error:
        raise checks.ConfigError(
            f"{_file(kind, name)} cannot be loaded ({type(error).__name__}: {error}). Correct or remove it."
        ) from error


def tables(kind: str, table: str) -> dict[str, Any]:
    """The entries of all members' tables, e.g. ``METRICS`` of each file of metrics, by name.

    Raises
    ------
    ConfigError
        If a file is faulty or has no such table, or two have an entry of one name.
    """
    found: dict[str, Any] = {}
    places: dict[str, str] = {}
    for member in names(kind):
        held = getattr(load(kind, member), table, None)
        if not isinstance(held, Mapping):
            raise checks.ConfigError(
                f"{_file(kind, member)} defines no table {table} of {kind} by name. Add it, or remove the file."
            )
        for name, entry in held.items():
            if name in found:
                raise checks.ConfigError(
                    f"{_file(kind, member)} and {_file(kind, places[name])} both define {name!r}. Rename one."
                )
            found[name], places[name] = entry, member
    return found


def _file(kind: str, name: str) -> str:
    return str(Path(__file__).parent / kind / f"{name}.py")


def name_of(config: object) -> tuple[str, str]:
    """(kind, member) of a component's Config object, read from the module that defines its class."""
    parts = type(config).__module__.split(".")
    if len(parts) == 3 and parts[0] == "braindec" and parts[1] in KINDS:
        return parts[1], parts[2]
    raise checks.ConfigError(
        f"{type(config).__name__} comes from {type(config).__module__}; a component's Config lives in "
        f"braindec/<kind>/<name>.py with kind one of {list(KINDS)}."
    )
