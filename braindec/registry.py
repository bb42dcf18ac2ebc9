"""The folder is the registry: a file `braindec/<kind>/<name>.py` is the member `name` of that kind."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

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
        If there is no such kind or member, with the closest name there is.
    """
    checks.one_of(f"{kind} member", name, names(kind))
    return importlib.import_module(f"braindec.{kind}.{name}")


def name_of(config: object) -> tuple[str, str]:
    """(kind, member) of a component's Config object, read from the module that defines its class."""
    parts = type(config).__module__.split(".")
    if len(parts) == 3 and parts[0] == "braindec" and parts[1] in KINDS:
        return parts[1], parts[2]
    raise checks.ConfigError(
        f"{type(config).__name__} comes from {type(config).__module__}; a component's Config lives in "
        f"braindec/<kind>/<name>.py with kind one of {list(KINDS)}."
    )
