"""The files of a report that programs read, and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.types import Report, Score

SCHEMA = 1
_WAY_OUT = "Make it with: braindec run RECIPE --data DIR --out DIR."
_ARRAY = "$array"  # stands in a panel's JSON where an array was
_ITEMS = "$items"  # holds a mapping as pairs: files of this library sort the keys of their JSON


def write(report: Report, folder: Path) -> None:
    """report.json (scores and run), scores.h5 (a value a sample) and panels.h5 (what report.html is drawn from)."""
    content = plain(report.to_json(), "report")
    store.write_json(folder / "report.json", content)
    with store.writer(folder / "scores.h5") as out:
        rows: list[dict[str, Any]] = []
        lists: dict[tuple[str, ...], str] = {}
        for i, score in enumerate(report.scores):
            row = _identity(content["scores"][i]) | {"array": None, "ids": None}
            if score.per_sample is not None:
                row["array"] = f"samples/{i:04d}"
                out.array(row["array"], np.atleast_1d(score.per_sample))
            if score.sample_ids is not None:
                if score.sample_ids not in lists:  # many scores are of the same samples
                    lists[score.sample_ids] = f"ids/{len(lists):04d}"
                    out.array(lists[score.sample_ids], list(score.sample_ids))
                row["ids"] = lists[score.sample_ids]
            rows.append(row)
        out.attributes({"scores": rows})
    with store.writer(folder / "panels.h5") as out:
        arrays: dict[str, np.ndarray] = {}
        panels = [[title, kind, _without_arrays(payload, arrays)] for title, kind, payload in report.panels]
        for name, values in arrays.items():
            out.array(name, values)
        out.attributes({"panels": plain(panels, "panels")})


def read(folder: Path) -> Report:
    """The report in a folder."""
    path = folder / "report.json"
    content = store.read_json(path, _WAY_OUT)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else None
        raise checks.DataFileError(path, f"has schema {found}, this version reads {SCHEMA}", _WAY_OUT)
    samples = _samples(folder / "scores.h5", content["scores"])
    scores = tuple(_score(path, row, *samples[i]) for i, row in enumerate(content["scores"]))
    return Report(scores, content["run"], _panels(folder / "panels.h5"))


def plain(value: Any, where: str) -> Any:
    """The value in JSON's own types; numpy numbers and arrays, tuples and paths are converted, NaN is refused."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, which JSON cannot hold; leave the entry out or write null.")
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(entry, f"{where}.{key}") for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry, f"{where}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{where} must be JSON values or arrays, got {type(value).__name__}.")


def _score(path: Path, row: dict[str, Any], samples: np.ndarray | None, ids: tuple[str, ...] | None) -> Score:
    known = {key: value for key, value in row.items() if key in Score.__dataclass_fields__}
    missing = {
        "name",
        "system",
        "protocol",
        "subject",
        "modality",
        "value",
        "interval",
        "chance",
        "null",
        "n",
    } - set(known)
    if missing:
        raise checks.DataFileError(path, f"holds a score without {sorted(missing)}", _WAY_OUT)
    low, high = known.pop("interval")
    return Score(**known, interval=(low, high), per_sample=samples, sample_ids=ids)


def _identity(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("name", "system", "protocol", "subject", "modality")}


def _samples(
    path: Path, rows: list[dict[str, Any]]
) -> list[tuple[np.ndarray | None, tuple[str, ...] | None]]:
    """Values and names of each score's samples."""
    if not path.is_file():
        return [(None, None)] * len(rows)
    stored = store.Stored(path)
    have = stored.attributes["scores"]
    if [_identity(row) for row in have] != [_identity(row) for row in rows]:
        raise checks.DataFileError(path, "holds the samples of another report.json", _WAY_OUT)
    return [
        (
            None if row["array"] is None else stored.array(row["array"]),
            None if row.get("ids") is None else tuple(str(v) for v in stored.array(row["ids"])),
        )
        for row in have
    ]


def _panels(path: Path) -> tuple[tuple[str, str, dict[str, Any]], ...]:
    if not path.is_file():
        return ()
    stored = store.Stored(path)
    return tuple(
        (title, kind, _with_arrays(payload, stored)) for title, kind, payload in stored.attributes["panels"]
    )


def _without_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The payload with its arrays taken out into `arrays` by name."""
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "biufU":
        name = f"panels/{len(arrays):04d}"
        arrays[name] = value
        return {_ARRAY: name}
    if hasattr(value, "items"):
        return {_ITEMS: [[str(key), _without_arrays(entry, arrays)] for key, entry in value.items()]}
    if isinstance(value, list | tuple):
        return [_without_arrays(entry, arrays) for entry in value]
    return value


def _with_arrays(value: Any, stored: store.Stored) -> Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return stored.array(value[_ARRAY])
        return {key: _with_arrays(entry, stored) for key, entry in value[_ITEMS]}
    return [_with_arrays(entry, stored) for entry in value] if isinstance(value, list) else value
