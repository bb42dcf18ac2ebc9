"""Frozen dataclasses to JSON and back, and typed overrides by dotted path."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from braindec import checks, registry

T = TypeVar("T")
DEVICES = {"auto", "cpu"}


def to_json(value: Any) -> Any:
    """A dataclass as nested dicts that json can write; a component's Config carries its kind and member name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {}
        module = type(value).__module__.split(".")
        if len(module) == 3 and module[1] in registry.KINDS and not module[2].startswith("_"):
            out["kind"], out["name"] = registry.name_of(value)
        return out | {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(
        f"a setting must be a dataclass, dict, list, text, number, bool or null, got {type(value).__name__}."
    )


def component_from_json(data: dict[str, Any], load: Callable[[str, str], Any]) -> Any:
    """The Config of a component written by `to_json`; `load` is `registry.load` and resolves only braindec's kinds."""
    checks.of_type("component", data, dict)
    if "kind" not in data or "name" not in data:
        raise checks.ConfigError(f"a component needs the keys 'kind' and 'name', got {sorted(data)}.")
    module = load(data["kind"], data["name"])
    rest = {k: v for k, v in data.items() if k not in ("kind", "name")}
    return from_json(module.Config, rest, where=f"{data['kind']}/{data['name']}")


def from_json(cls: type[T], data: dict[str, Any], where: str = "config") -> T:
    """A dataclass from a dict; unknown keys and wrong types are refused by name, missing keys take the default."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]  # cls is a dataclass
    for key in data:
        if key not in fields:
            hint = checks.suggest(key, fields)
            raise checks.ConfigError(f"{where} has no setting {key!r}; it has {sorted(fields)}.{hint}")
    return cls(**{key: coerce(value, hints[key], f"{where}.{key}") for key, value in data.items()})


def coerce(value: Any, hint: Any, where: str) -> Any:
    """The value in the annotated type: lists become tuples, dicts dataclasses, 1 a float; nothing else is converted."""
    origin = typing.get_origin(hint)
    if hint is Any or hint is object:
        return value
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, typing.get_args(hint), where)
    if origin is typing.Literal and set(typing.get_args(hint)) == DEVICES and value not in DEVICES:
        raise checks.ConfigError(
            f"{where} must be 'auto' (the GPU where torch finds one) or 'cpu', got {value!r}. What torch finds here is "
            "told by: braindec doctor."
        )
    if origin is typing.Literal:
        return checks.one_of(where, value, typing.get_args(hint))
    if origin in (tuple, list) or hint in (tuple, list):
        return _coerce_sequence(value, hint, where)
    if origin is dict or hint is dict:
        return dict(checks.of_type(where, value, dict))
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_json(hint, value, where)  # type: ignore[arg-type]  # hint is a dataclass type here
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (
        not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool)
    ):
        raise checks.ConfigError(f"{where} must be {hint.__name__}, got {value!r} ({type(value).__name__}).")
    return value


def _coerce_union(value: Any, options: Iterable[Any], where: str) -> Any:
    options = list(options)
    for option in options:
        if option is type(None):
            if value is None:
                return None
            continue
        try:
            return coerce(value, option, where)
        except (checks.ConfigError, TypeError):
            continue
    wanted = " or ".join(getattr(o, "__name__", str(o)) for o in options)
    raise checks.ConfigError(f"{where} must be {wanted}, got {value!r} ({type(value).__name__}).")


def _coerce_sequence(value: Any, hint: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise checks.ConfigError(f"{where} must be a list, got {value!r} ({type(value).__name__}).")
    args = typing.get_args(hint)
    inner = args[0] if args else Any
    if len(args) > 1 and args[1] is not Ellipsis:
        if len(args) != len(value):
            raise checks.ConfigError(f"{where} must have {len(args)} entries, got {len(value)}.")
        items = [coerce(v, a, f"{where}[{i}]") for i, (v, a) in enumerate(zip(value, args, strict=True))]
    else:
        items = [coerce(v, inner, f"{where}[{i}]") for i, v in enumerate(value)]
    return tuple(items) if (typing.get_origin(hint) or hint) is tuple else items


def parse(text: str) -> Any:
    """The value written on a command line: JSON when it is JSON (NaN and Infinity are not), else the text itself."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (
        ValueError,
        RecursionError,
    ):  # also of numbers of thousands of digits, and of thousands of brackets
        return {"None": None, "True": True, "False": False}.get(text, text)


def _refuse_constant(text: str) -> Any:
    """A run with such a setting ends when its report cannot be written, with all its work lost."""
    raise ValueError(f"{text} is no number of JSON")


def override(settings: T, assignments: Iterable[str], load: Callable[[str, str], Any] | None = None) -> T:
    """A copy of nested dataclasses with `a.b=value` assignments applied; typed, and refused by name.

    Parameters
    ----------
    settings : dataclass
        Left unchanged.
    assignments : iterable of str
        ``"train.n_steps=30"``; an entry of a tuple by its place, ``"preprocessing.0.scale=false"``; a component is
        replaced by another member of its kind with ``"backbone=linear"``, or, with settings of its own, by
        ``'generator={"kind": "generators", "name": "refined", "folder": "sdxl-base"}'``.
    load : callable, optional
        ``registry.load``; needed only to replace a component by name.

    Raises
    ------
    ConfigError
        If the path does not exist (with the closest name), the value has the wrong type, or settings contradict each
        other. Which of those that go together comes first does not matter.
    """
    pending: list[tuple[str, Any]] = []
    for assignment in assignments:
        path, eq, text = assignment.partition("=")
        if not eq:
            raise checks.ConfigError(f"an override is written path=value, got {assignment!r}.")
        pending.append((path.strip(), parse(text.strip())))
    while pending:
        first_error, refused = None, list[tuple[str, Any]]()
        for i, (path, value) in enumerate(pending):
            try:
                settings = _assign(settings, path.split("."), value, path, load)
            except ValueError as error:  # perhaps allowed with one that comes later
                if any(_overlap(path, later) for later, _ in pending[i + 1 :]):
                    raise
                first_error = first_error or error
                refused.append((path, value))
        if first_error is not None and len(refused) == len(pending):
            raise first_error
        pending = refused
    return settings


def _overlap(path: str, other: str) -> bool:
    """Whether one of two paths is or holds the other."""
    a, b = path.split("."), other.split(".")
    n = min(len(a), len(b))
    return a[:n] == b[:n]


def _assign(
    node: Any, path: list[str], value: Any, where: str, load: Callable[[str, str], Any] | None
) -> Any:
    head, *rest = path
    if isinstance(node, dict):
        current = checks.known_key(where, head, node)
        if rest:
            return node | {head: _assign(current, rest, value, where, load)}
        return node | {head: _alike(current, _member(current, value, load), where)}
    if isinstance(node, tuple):
        checks.one_of(f"place in {where}", head, [str(i) for i in range(len(node))])
        i = int(head)
        entry = _assign(node[i], rest, value, where, load) if rest else value
        return (*node[:i], entry, *node[i + 1 :])
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        raise checks.ConfigError(f"{where}: {type(node).__name__} has no settings below it.")
    fields = [f.name for f in dataclasses.fields(node)]
    if head not in fields:
        raise checks.ConfigError(
            f"{where}: there is no setting {head!r}; there are {fields}.{checks.suggest(head, fields)}"
        )
    current = getattr(node, head)
    if rest:
        new = _assign(current, rest, value, where, load)
        if isinstance(current, tuple):
            new = coerce(new, typing.get_type_hints(type(node))[head], where)
    else:
        new = coerce(_member(current, value, load), typing.get_type_hints(type(node))[head], where)
    return dataclasses.replace(node, **{head: new})


def _alike(current: Any, value: Any, where: str) -> Any:
    """The value of an entry that has no annotated type; words where a number or bool was are a slip ("no" is true)."""
    if isinstance(value, str) and isinstance(current, int | float):
        kind = "true or false" if isinstance(current, bool) else "a number"
        raise checks.ConfigError(f"{where} must be {kind} (it is {current!r}), got {value!r}.")
    return value


def _member(current: Any, value: Any, load: Callable[[str, str], Any] | None) -> Any:
    """The component that a name, or a kind and a name with settings, stand for where one is already; else the value."""
    if load is None or not dataclasses.is_dataclass(current) or isinstance(current, type):
        return value
    if isinstance(value, dict) and {"kind", "name"} <= set(value):
        checks.one_of("kind", value["kind"], (registry.name_of(current)[0],))
        return component_from_json(value, load)
    return load(registry.name_of(current)[0], value).Config() if isinstance(value, str) else value
