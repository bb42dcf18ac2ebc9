"""Two runs beside each other: paired on the same samples, which stimuli differ, pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.report import _comparison_panels as panels
from braindec.report import _files, _verdicts
from braindec.stats.corrections import holm
from braindec.stats.paired import paired_difference
from braindec.types import Report, Score

SAME_SETUP = ("dataset", "protocol", "smoke")  # runs that differ here answer different questions


@dataclass(frozen=True, eq=False)
class Runs:
    """One system's runs, one a seed.

    Parameters
    ----------
    name : str
    reports : tuple of Report
    system : str
        Whose scores are compared, as in report.json.
    folder : str
        Where they lie, for the commands that are suggested.
    """

    name: str
    reports: tuple[Report, ...]
    system: str = "braindec"
    folder: str = "DIR"

    @property
    def seeds(self) -> tuple[Any, ...]:
        """Of each report."""
        return tuple(r.run.get("seed") for r in self.reports)

    def of_seeds(self, seeds: Sequence[Any]) -> Runs:
        """Only these, in this order; all of them where none is named."""
        by_seed = dict(zip(self.seeds, self.reports, strict=True))
        return replace(self, reports=tuple(by_seed[s] for s in seeds)) if seeds else self

    def scores(self) -> dict[tuple[str, int | str, str], list[Score]]:
        """Scores of subjects by (metric, subject, modality), one a seed."""
        found: dict[tuple[str, int | str, str], list[Score]] = {}
        for report in self.reports:
            for s in report.scores:
                if "as_published_by" in s.details:  # of the same name, beside the score that corrects it
                    continue
                if s.system == self.system and s.subject != "group":
                    found.setdefault((s.name, s.subject, s.modality), []).append(s)
        return {key: rows for key, rows in found.items() if len(rows) == len(self.reports)}


def read_runs(folder: str | Path, system: str = "braindec") -> Runs:
    """The run in a folder, or the runs in its subfolders ``seed-*``.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    ValueError
        If two runs have one seed, or none has scores of the system.
    """
    folder = Path(folder)
    places = [folder] if (folder / "report.json").is_file() else sorted(folder.glob("seed-*"))
    if not places:
        raise FileNotFoundError(
            f"{folder} holds no report.json and no folder seed-*. Name the folder of a run: "
            "braindec run RECIPE --data DIR --out DIR [--seeds 5]."
        )
    reports = tuple(_files.read(place) for place in places)
    seeds = [r.run.get("seed") for r in reports]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{folder} holds two runs of one seed ({seeds}); seeds must differ.")
    known = sorted({s.system for r in reports for s in r.scores})
    checks.one_of(f"system of {folder}", system, known)
    return Runs(folder.name or str(folder), reports, system, str(folder))


def compare(a: Runs, b: Runs, *, metrics: Sequence[str] | None = None, seed: int = 0) -> Report:
    """Paired differences a - b on the samples that both were measured on.

    Parameters
    ----------
    a, b : Runs
        Of one dataset and protocol. Where they have seeds in common, only those are compared.
    metrics : sequence of str, optional
        All that both have, by default.
    seed : int
        Of the resampling.

    Returns
    -------
    Report
        No scores: ``run["comparisons"]`` (a row a metric and subject, Holm-corrected over rows), ``run["over_seeds"]``
        (from two common seeds on: subjects, or one subject's stimuli, crossed with seeds), ``run["lacking"]`` (the
        conditions of a verdict that are not met), ``run["verdicts"]`` (withheld unless all are) and panels.

    Raises
    ------
    ValueError
        If the runs differ in dataset, protocol or samples, or share no score with samples.
    """
    _same_setup(a, b)
    lacks = _verdicts.lacking(a, b)
    common = [s for s in a.seeds if s in b.seeds]
    a, b = a.of_seeds(common), b.of_seeds(common)
    first, second = a.scores(), b.scores()
    shared = [k for k in first if k in second and (metrics is None or k[0] in metrics)]
    pairs = {k: _Pair.of(k, first[k], second[k]) for k in shared if _has_samples(first[k] + second[k])}
    if not pairs:
        raise ValueError(
            f"{a.name} ({a.system}) and {b.name} ({b.system}) share no score with samples and their names; "
            f"the first has {sorted({k[0] for k in first})}, the second {sorted({k[0] for k in second})}."
        )
    rows = [pair.row(a, b, seed) for pair in pairs.values()]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(p)
    over = _verdicts.over_seeds(pairs, _verdicts.names_of(a, b), len(common))
    differs = _differing_settings(a.reports[0].run, b.reports[0].run)
    verdicts = _verdicts.verdicts(over, lacks)
    run = {
        "title": f"{a.name} against {b.name}",
        "summary": f"{a.system} of {a.name} minus {b.system} of {b.name}, on the same samples; "
        f"{_seeds_said(common, a, b)}. {_verdicts.subject(lacks, a, b)}",
        "verdicts": verdicts,
        "lacking": lacks,
        "comparisons": rows,
        "over_seeds": over,
        "differs": differs,
        **{key: a.reports[0].run.get(key) for key in SAME_SETUP},
    }
    shown = [
        panels.verdict(verdicts, lacks),
        panels.forest(rows),
        panels.table(rows),
        *([panels.seeds_table(over)] if over else []),
        *panels.who_differs(pairs, a.name, b.name),
        *panels.side_by_side(a.reports[0], b.reports[0], (a.name, b.name)),
        panels.settings(differs),
    ]
    return Report((), run, tuple(shown))


@dataclass(frozen=True, eq=False)
class _Pair:
    """Samples of one metric and subject: (n_seeds, n) of either system, in the first one's order."""

    key: tuple[str, int | str, str]
    ids: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray
    direction: str

    @classmethod
    def of(cls, key: tuple[str, int | str, str], a: list[Score], b: list[Score]) -> _Pair:
        ids = a[0].sample_ids or ()
        return cls(key, ids, _samples(a, ids, key), _samples(b, ids, key), a[0].direction)

    @property
    def difference(self) -> np.ndarray:
        """Mean over seeds, a minus b, a sample: (n,)."""
        return np.asarray(self.a.mean(0) - self.b.mean(0))

    def by_unit(self) -> np.ndarray:
        """Differences of each stimulus and seed, means over its repeats: (n_units, n_seeds)."""
        units, place = np.unique(self.units, return_inverse=True)
        sums = np.zeros((len(units), len(self.a)))
        np.add.at(sums, place, (self.a - self.b).T)
        return sums / np.bincount(place)[:, None]

    @property
    def units(self) -> np.ndarray:
        """The stimulus of each sample, (n,)."""
        return np.array([i.partition("@")[0] for i in self.ids])

    def row(self, a: Runs, b: Runs, seed: int) -> dict[str, Any]:
        name, subject, modality = self.key
        draw = seeding.numpy_generator(seed, "compare", *map(str, self.key))
        units = self.units
        repeated = len(set(units.tolist())) < len(units)
        first, second = self.a.mean(0), self.b.mean(0)
        found = paired_difference(first, second, draw, units=units if repeated else None)
        return {
            "a": a.name, "b": b.name, "metric": name, "key": f"{_who(subject)} {modality}", "subject": subject,
            "modality": modality, "direction": self.direction, "value_a": float(first.mean()),
            "value_b": float(second.mean()), "difference": found.value,
            "interval": [float(found.interval.low), float(found.interval.high)], "p": found.p, "n": found.n,
        }  # fmt: skip


def _seeds_said(common: Sequence[Any], a: Runs, b: Runs) -> str:
    if common:
        return f"{len(common)} seed{'s' * (len(common) != 1)} of both"
    return f"{len(a.reports)} and {len(b.reports)} seeds, none in common"


def _who(subject: int | str) -> str:
    return f"sub-{subject:02d}" if isinstance(subject, int) else subject


def _has_samples(scores: Sequence[Score]) -> bool:
    return all(s.per_sample is not None and s.sample_ids is not None for s in scores)


def _samples(scores: list[Score], ids: tuple[str, ...], key: tuple[str, int | str, str]) -> np.ndarray:
    rows = []
    for score in scores:
        place = {name: i for i, name in enumerate(score.sample_ids or ())}
        if len(place) != len(ids) or any(name not in place for name in ids):
            alone = sorted(set(ids) ^ set(place))
            raise ValueError(
                f"the runs were not measured on the same samples: {key[0]} of {key[1]} {key[2]} has {len(ids)} and "
                f"{len(place)}, {len(alone)} are in one only, e.g. {alone[:3]}. Compare runs of one split."
            )
        values = np.asarray(score.per_sample, dtype=np.float64)
        rows.append(values[[place[name] for name in ids]])
    return np.stack(rows)


def _same_setup(a: Runs, b: Runs) -> None:
    for field in SAME_SETUP:
        have = {str(r.run.get(field)) for r in (*a.reports, *b.reports)}
        if len(have) > 1:
            raise ValueError(
                f"the runs differ in {field} ({', '.join(sorted(have))}); only runs of one {field} can be paired."
            )


def _differing_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[list[str]]:
    """[setting, of a, of b] of the recorded recipes."""
    first, second = _leaves(a.get("config", {})), _leaves(b.get("config", {}))
    names = [n for n in dict.fromkeys([*first, *second]) if n != "seed" and first.get(n) != second.get(n)]
    recipe = (
        [["recipe", str(a.get("recipe")), str(b.get("recipe"))]] if a.get("recipe") != b.get("recipe") else []
    )
    return recipe + [[n, _said(first.get(n, "—")), _said(second.get(n, "—"))] for n in names]


def _said(value: Any) -> str:
    """A setting as a reader writes it: steps as calls, lists without brackets."""
    if isinstance(value, Mapping):
        said = ", ".join(f"{k}={_said(v)}" for k, v in value.items() if k != "step")
        return f"{value['step']}({said})" if "step" in value else said
    if isinstance(value, (list, tuple)):
        return ", ".join(_said(v) for v in value) or "none"
    return str(value)


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for name, entry in value.items() for k, v in _leaves(entry, f"{path}.{name}").items()}
    return {path.lstrip("."): value}
