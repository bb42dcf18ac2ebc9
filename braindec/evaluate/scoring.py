"""Systems judged by a protocol: scores with chance, a refitted null, an interval and, where one exists, a ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data.preprocessing import Preprocessing
from braindec.evaluate.decoded import Decoded
from braindec.evaluate.exam import Exam
from braindec.evaluate.measures import Measured, measure, metric_table, units_of
from braindec.evaluate.nulls import null_values
from braindec.evaluate.published import AsPublished, Published, published_scores
from braindec.evaluate.systems import Fitter, System
from braindec.protocols import Protocol
from braindec.stats.intervals import Interval, subject_interval
from braindec.stats.paired import paired_difference
from braindec.stats.permutation import p_value
from braindec.types import Score

MIN_REFITS = 19  # fewer cannot give a p of 0.05: (0 + 1) / (19 + 1)
SHUFFLED = "shuffled"  # a system that is one of the null's draws: it is shown, and has no p of its own
Ceilings = Mapping[str, Mapping[str, Mapping[str, float]]]  # key -> kind -> metric -> value


@dataclass(frozen=True, eq=False)
class Judged:
    """One system's outcome.

    Parameters
    ----------
    system : str
    decoded : mapping of str to Decoded
        By signal key.
    measured : mapping of str to mapping of str to Measured
        By signal key, then metric.
    null : mapping of str to mapping of str to array, shape (n_refits,)
        By signal key, then metric: values after refits under a permuted pairing.
    published : mapping of str to mapping of str to mapping of str to Measured
        By as-published protocol, signal key and metric: the same fitted system with what a paper did otherwise.
    sample_names : mapping of str to tuple of str
        By signal key: what was judged, where it was not rows of `decoded`.
    """

    system: str
    decoded: Mapping[str, Decoded]
    measured: Mapping[str, Mapping[str, Measured]]
    null: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    published: Published = field(default_factory=dict)
    sample_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def judge(system: str, fit: Fitter, exam: Exam, n_null: int, ready: Sequence[System] = ()) -> Judged:
    """Fits and judges one system on every fold, then `n_null` times again with the training pairing permuted.

    Parameters
    ----------
    fit : callable
        ``fit(training part, embeddings, seed) -> system``; must choose all it chooses on that part.
    exam : Exam
    n_null : int
    ready : sequence of System
        The first refits of the null, where they exist already; see `null_values`.
    """
    as_published = AsPublished(exam)
    decoded = exam.decode(fit, as_published if exam.only is None else None)
    labels = exam.labels(decoded)
    generator = seeding.numpy_generator(exam.seed, "intervals", system)
    measured = {
        key: measure(d, exam.protocol, labels[key], generator, exam.only) for key, d in decoded.items()
    }
    return Judged(
        system, decoded, measured, null_values(system, fit, exam, n_null, ready), as_published.found
    )


def check_scopes(protocol: Protocol, steps: Preprocessing) -> bool:
    """Whether held-out rows are used without labels; a scope that the protocol does not allow is refused."""
    for scope in steps.scopes:
        if scope not in protocol.scopes:
            raise checks.LeakageError(
                f"protocol {protocol.name!r} allows the preprocessing scopes {list(protocol.scopes)}, got {scope!r}. "
                "Use a step of an allowed scope, or another protocol."
            )
    return steps.transductive


def scores_of(
    judged: Judged,
    protocol: Protocol,
    *,
    ceilings: Ceilings | None = None,
    details: Mapping[str, Any] | None = None,
    null: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> list[Score]:
    """Scores of one system, a row a subject and metric, and the group's mean where there are several subjects.

    Parameters
    ----------
    null : mapping, optional
        Another system's null where this one has none of its own.
    """
    chosen = judged.null or null or {}
    rows: list[Score] = []
    for key, metrics in judged.measured.items():
        subject, modality = parse_key(key)
        for name, m in metrics.items():
            drawn = chosen.get(key, {}).get(name, np.empty(0))
            mean = float(drawn.mean()) if len(drawn) else m.chance
            kind, ceiling, others = _ceiling(ceilings, key, name)
            side = "greater" if m.direction == "higher" else "less"
            tested = len(drawn) >= MIN_REFITS and judged.system != SHUFFLED
            rows.append(
                Score(
                    name, judged.system, protocol.name, subject, modality, m.value, m.interval, m.chance, mean, m.n,
                    m.direction, ceiling, kind, p_value(m.value, drawn, side) if tested else None,
                    len(drawn),
                    m.per_sample, {**(details or {}), **m.details, **others},
                    _samples_of(judged.sample_names.get(key) or row_names(judged.decoded.get(key)), m),
                )
            )  # fmt: skip
    return rows + group_scores(rows) + published_scores(judged.system, judged.published)


def row_names(decoded: Decoded | None) -> tuple[str, ...]:
    """A name for each decoded row: its stimulus, and after an ``@`` which presentation, where it has several rows."""
    if decoded is None:
        return ()
    if len(set(decoded.ids)) == len(decoded.ids):
        return decoded.ids
    where = [decoded.table[c] for c in ("session", "run", "acquisition_order") if c in decoded.table]
    return tuple(f"{i}@{'-'.join(map(str, place))}" for i, *place in zip(decoded.ids, *where, strict=True))


def _samples_of(names: tuple[str, ...], measured: Measured) -> tuple[str, ...] | None:
    return names if measured.per_sample is not None and len(names) == len(measured.per_sample) else None


def group_scores(rows: Sequence[Score]) -> list[Score]:
    """Mean over the subjects of a modality with a t-interval (few subjects: never a bootstrap), for each metric."""
    out = []
    for name, system, modality in dict.fromkeys((s.name, s.system, s.modality) for s in rows):
        found = [s for s in rows if (s.name, s.system, s.modality) == (name, system, modality)]
        if len(found) < 2:
            continue
        summary = subject_interval([s.value for s in found])
        with_ceiling = all(s.ceiling is not None and s.ceiling_kind == found[0].ceiling_kind for s in found)
        out.append(
            Score(
                name, system, found[0].protocol, "group", modality, float(np.mean([s.value for s in found])),
                _possible(name, summary.interval), float(np.mean([s.chance for s in found])),
                float(np.mean([s.null for s in found])), len(found), found[0].direction,
                float(np.mean([s.ceiling for s in found])) if with_ceiling else None,
                found[0].ceiling_kind if with_ceiling else None, None, min(s.null_n for s in found),
                np.array([s.value for s in found]),
                {"subjects": [s.subject for s in found], "interval": "t over subjects"},
            )
        )  # fmt: skip
    return out


def _possible(name: str, interval: Interval) -> tuple[float, float]:
    """An interval cut at the values that a metric can take: it covers as before, and two subjects make no 2.17."""
    metric = metric_table().get(name)
    share = metric is None and name.endswith("_top1")  # of a study: in no table
    if not share and (metric is None or metric.best_value != 1):
        return float(interval.low), float(interval.high)
    from_minus_one = metric is not None and metric.chance is None  # correlations and the like; shares from 0
    lowest = -1.0 if from_minus_one else 0.0
    return max(lowest, float(interval.low)), min(1.0, float(interval.high))


def compare(
    a: Judged, b: Judged, metric: str, seed: int, *, keys: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Paired differences a - b of one metric on the same queries, a row a subject."""
    rows = []
    for key in keys if keys is not None else sorted(set(a.measured) & set(b.measured)):
        first, second = a.measured[key][metric], b.measured[key][metric]
        if a.decoded[key].ids != b.decoded[key].ids:
            raise ValueError(f"{a.system} and {b.system} were not judged on the same queries of {key}.")
        draw = seeding.numpy_generator(seed, "paired", key, metric)
        units = units_of(metric_table()[metric], a.decoded[key])
        found = paired_difference(first.per_sample, second.per_sample, draw, units=units)
        interval = [float(found.interval.low), float(found.interval.high)]
        rows.append({"a": a.system, "b": b.system, "metric": metric, "key": key, "difference": found.value,
                     "interval": interval, "p": found.p, "n": found.n})  # fmt: skip
    return rows


def _ceiling(
    ceilings: Ceilings | None, key: str, metric: str
) -> tuple[str | None, float | None, dict[str, Any]]:
    """(kind, value) of the ceiling shown beside a score, and every other one for its details."""
    kinds = (ceilings or {}).get(key, {})
    found = {kind: float(metrics[metric]) for kind, metrics in kinds.items() if metric in metrics}
    if not found:
        return None, None, {}
    kind = next(
        (k for k in ("oracle_linear", "oracle_image", "repeatability", "ncsnr") if k in found),
        next(iter(found)),
    )
    return kind, found[kind], {"ceilings": found}


def parse_key(key: str) -> tuple[int, str]:
    """(1, "fmri") of ``sub-01_fmri``."""
    subject, modality = key.removeprefix("sub-").split("_")
    return int(subject), modality
