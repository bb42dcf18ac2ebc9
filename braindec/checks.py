"""One voice for every error: what was wrong, what is allowed, what came, and the way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

NUMBERED = re.compile(r"\d+|sub-\d+(_\w+)?")  # a run, or a subject's signal
MOST_SHOWN = 24  # allowed values in a message


class BraindecError(Exception):
    """Base of the errors that braindec words itself."""


class DataFileError(BraindecError, ValueError):
    """A file that is missing content, damaged or not what its name says."""

    def __init__(self, path: str | Path, found: str, way_out: str):
        self.path, self.found, self.way_out = Path(path), found, way_out
        super().__init__(f"{path}: {found}. {way_out}")

    def __reduce__(self) -> tuple[Any, ...]:  # so that it comes whole out of another process
        return type(self), (self.path, self.found, self.way_out)


class LeakageError(BraindecError, ValueError):
    """Training and test data share what they must not share."""


class ConfigError(BraindecError, ValueError):
    """A setting that does not exist, has the wrong type or contradicts another one."""


class SpaceMismatchError(BraindecError, ValueError):
    """Data of one measurement or embedding space given to a decoder of another one."""


class DownloadError(BraindecError, OSError):
    """A file that has to come from the network and did not, or came damaged."""


class SaveError(BraindecError, OSError):
    """A file that could not be written; what was there before is untouched."""


class ShortageError(BraindecError, MemoryError):
    """Work that does not fit into memory, however it is divided."""


class DivergenceError(BraindecError, FloatingPointError):
    """Training met numbers that are not finite; `found` says where, as a dict."""

    def __init__(self, said: str, found: Mapping[str, Any]):
        self.found = dict(found)
        super().__init__(said)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.found)


class MissingPackageError(BraindecError, ImportError):
    """An optional package that the asked feature needs."""


def suggest(value: str, allowed: Iterable[str], cutoff: float = 0.5) -> str:
    """' Did you mean X?' for the closest allowed name, else nothing: another run or subject is no misspelling."""
    names = [str(a) for a in allowed]
    if NUMBERED.fullmatch(str(value)):
        names = [a for a in names if not NUMBERED.fullmatch(a) or _numbers(a) == _numbers(str(value))]
    names = [a for a in names if len(a) >= len(str(value)) / 2]
    lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=cutoff)
    close += [
        lower[name] for name in difflib.get_close_matches(str(value).lower(), lower, n=1, cutoff=cutoff)
    ]
    return f" Did you mean {close[0]!r}?" if close else ""


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def one_of(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """The value itself when it is allowed; else a ValueError that lists what is."""
    if value in allowed:
        return value
    raise ConfigError(f"{name} must be one of {_shown(allowed)}, got {value!r}.{suggest(value, allowed)}")


def known_key(name: str, key: str, mapping: Mapping[str, Any]) -> Any:
    """The entry of a mapping; else a ValueError that lists the keys there are."""
    if key in mapping:
        return mapping[key]
    raise ConfigError(
        f"{name} must be one of {_shown(sorted(map(str, mapping)))}, got {key!r}.{suggest(key, mapping)}"
    )


def _shown(allowed: Sequence[Any]) -> str:
    """The allowed values, or the first of them where nobody would read them all."""
    if len(allowed) <= MOST_SHOWN:
        return str(list(allowed))
    return f"{str(list(allowed[:MOST_SHOWN]))[:-1]}, ... {len(allowed) - MOST_SHOWN} more]"


def in_range(name: str, value: float, low: float, high: float, *, unit: str = "") -> float:
    """The value itself when low <= value <= high (NaN is refused)."""
    if low <= value <= high:
        return value
    raise ValueError(f"{name} must lie in [{low}, {high}]{' ' + unit if unit else ''}, got {value}.")


def at_least(name: str, value: float, low: float, *, unit: str = "", way_out: str = "") -> float:
    """The value itself when value >= low (NaN is refused)."""
    if value >= low:
        return value
    said = f"{name} must be at least {low}{' ' + unit if unit else ''}, got {value}."
    raise ValueError(f"{said} {way_out}".rstrip())


def same_length(axis: str, **arrays: Any) -> int:
    """The common length of the named arrays along their first axis, called `axis` in the message."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) == 1:
        return next(iter(lengths.values()))
    (first, n_first), *rest = lengths.items()
    other, n_other = next((name, n) for name, n in rest if n != n_first)
    raise ValueError(f"{first} has {n_first} along axis {axis!r} but {other} has {n_other}; they must match.")


def n_axes(name: str, array: Any, axes: Sequence[str]) -> Any:
    """The array itself when it has as many axes as named; the message names them."""
    if array.ndim == len(axes):
        return array
    raise ValueError(f"{name} must have axes ({', '.join(axes)}), got shape {tuple(array.shape)}.")


def finite(name: str, array: Any, *, way_out: str = "Remove or mask these entries first.") -> Any:
    """The array itself when it holds no NaN and no infinity (numpy or torch)."""
    import numpy as np

    # A tensor is asked itself: numpy has no bfloat16.
    bad = ~(array.detach().isfinite().cpu().numpy() if hasattr(array, "detach") else np.isfinite(array))
    if not bad.any():
        return array
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    raise ValueError(
        f"{name} holds {int(bad.sum())} NaN or infinite of {bad.size} values, first at {first}. {way_out}"
    )


def unique(name: str, values: Iterable[Any]) -> list[Any]:
    """The values as a list when no two are equal."""
    values = list(values)
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{name} must be unique, but {value!r} occurs more than once.")
        seen.add(value)
    return values


def of_type(name: str, value: Any, kind: type | tuple[type, ...], *, way_out: str = "") -> Any:
    """The value itself when it is an instance of `kind`."""
    if isinstance(value, kind):
        return value
    kinds = kind if isinstance(kind, tuple) else (kind,)
    wanted = " or ".join(k.__name__ for k in kinds)
    raise TypeError(f"{name} must be {wanted}, got {type(value).__name__}. {way_out}".rstrip())


def existing_file(path: str | Path, way_out: str) -> Path:
    """The path when it is a file; else a FileNotFoundError with the command that makes it."""
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder, and a file is needed. {way_out}")
    near = _beside(path, [p for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else [])
    raise FileNotFoundError(f"{path} does not exist. {way_out}{near}")


def existing_folder(path: str | Path, way_out: str) -> Path:
    """The path when it is a folder; else a FileNotFoundError with the command that makes it."""
    path = Path(path)
    if path.is_dir():
        return path
    if path.exists():
        raise FileNotFoundError(f"{path} is a file, and a folder is needed. {way_out}")
    near = _beside(path, [p for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else [])
    raise FileNotFoundError(f"folder {path} does not exist. {way_out}{near}")


def _beside(path: Path, there: Iterable[Path]) -> str:
    """The name that was meant, where what lies beside it has nearly the same."""
    return suggest(path.name, [p.name for p in there], cutoff=0.75)


def needs_package(package: str, extra: str | None, feature: str) -> MissingPackageError:
    """The error to raise when an optional package is absent, with the line that installs it."""
    target = f"braindec[{extra}]" if extra else package
    return MissingPackageError(
        f"{feature} needs the package {package!r}; install it with: pip install '{target}'"
    )


def same_space(name: str, found: str, expected: str, way_out: str) -> None:
    """Refuses data of another space than the one a decoder was fitted on."""
    if found != expected:
        raise SpaceMismatchError(f"{name} is {found}, expected {expected}. {way_out}")


def same_target(name: str, found: Any, expected: Any, way_out: str) -> None:
    """Refuses embeddings of another space or size than a decoder was fitted on; both have `space` and `shape`."""
    same_space(name, found.space, expected.space, way_out)
    if tuple(found.shape) != tuple(expected.shape):
        raise SpaceMismatchError(
            f"{name} called {found.space} have the shape (tokens, values) {tuple(found.shape)}, expected "
            f"{tuple(expected.shape)}: what another model or layer made needs another name. {way_out}"
        )
