"""Systems judged by a protocol: scores with chance, a refitted null, an interval and, where one exists, a ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, splits
from braindec.data.preprocessing import Preprocessing
from braindec.evaluate.decoded import Decoded, cross_decode
from braindec.evaluate.measures import Measured, measure, metric_table, units_of, values
from braindec.evaluate.systems import Fitter
from braindec.protocols import Protocol
from braindec.stats.intervals import subject_interval
from braindec.stats.paired import paired_difference
from braindec.stats.permutation import p_value, permute_within_blocks
from braindec.types import Embeddings, Score, Trials

MIN_REFITS = 19  # fewer cannot give a p of 0.05: (0 + 1) / (19 + 1)
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
    """

    system: str
    decoded: Mapping[str, Decoded]
    measured: Mapping[str, Mapping[str, Measured]]
    null: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


def judge(
    system: str,
    fit: Fitter,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folds: Sequence[Split],
    protocol: Protocol,
    *,
    seed: int,
    n_null: int,
    label_column: str | None = None,
    progress: bool = True,
) -> Judged:
    """Fits and judges one system on every fold, then `n_null` times again with the training pairing permuted.

    Parameters
    ----------
    fit : callable
        ``fit(training part, embeddings, seed) -> system``; must choose all it chooses on that part.
    folds : sequence of Split
        One for a held-out test set, several for cross-validation.
    label_column : str, optional
        Column with each trial's class, of the trial table or the stimuli's.
    """
    decoded = cross_decode(fit, dataset, embeddings, folds, protocol, seed, label_column)
    labels = row_labels(decoded, dataset, label_column)
    generator = seeding.numpy_generator(seed, "intervals", system)
    measured = {key: measure(d, protocol, labels[key], generator) for key, d in decoded.items()}
    null = null_values(
        system, fit, dataset, embeddings, folds, protocol, seed=seed, n_null=n_null, label_column=label_column,
        progress=progress,
    )  # fmt: skip
    return Judged(system, decoded, measured, null)


def null_values(
    system: str,
    fit: Fitter,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folds: Sequence[Split],
    protocol: Protocol,
    *,
    seed: int,
    n_null: int,
    label_column: str | None = None,
    progress: bool = True,
) -> dict[str, dict[str, np.ndarray]]:
    """Metric values of `n_null` refits, each with its own permutation of the training pairing within blocks."""
    found: dict[str, dict[str, list[float]]] = {}
    for number in tqdm(range(n_null), desc=f"null of {system}", disable=not progress, leave=False):
        draw = seeding.numpy_generator(seed, "null", number)

        def permuted_fit(part: NeuralDataset, e: Embeddings, s: int, draw: np.random.Generator = draw) -> Any:
            return fit(permuted(part, draw, protocol), e, s)

        decoded = cross_decode(permuted_fit, dataset, embeddings, folds, protocol, seed, label_column)
        labels = row_labels(decoded, dataset, label_column)
        for key, d in decoded.items():
            for name, value in values(d, protocol, labels[key]).items():
                found.setdefault(key, {}).setdefault(name, []).append(value)
    return {key: {name: np.array(v) for name, v in metrics.items()} for key, metrics in found.items()}


def permuted(part: NeuralDataset, generator: np.random.Generator, protocol: Protocol) -> NeuralDataset:
    """The part with its brain-stimulus pairing permuted within exchangeability blocks.

    Where stimuli are held out, all repeats of a stimulus take the same other one; where runs or sessions are, trials
    trade places one by one. Repeats that span blocks (NSD shows a picture in several sessions, in an order drawn at
    random) are exchanged over the whole recording: within equal patterns of blocks a tenth of the stimuli and more
    would keep their own responses, and the null would know them.
    """
    trials = {}
    for key, t in part.trials.items():
        ids = t.table["stimulus_id"]
        repeat = protocol.unit in ("stimulus", "concept") and len(np.unique(ids)) < len(ids)
        blocks = t.table["exchangeability_block"].astype(str)
        if repeat and len(set(zip(ids.tolist(), blocks.tolist(), strict=True))) > len(set(ids.tolist())):
            blocks = np.zeros(len(ids), dtype=int)
        order = permute_within_blocks(blocks, generator, units=ids if repeat else None)
        trials[key] = replace(t, table=t.table.replace(stimulus_id=ids[order]))
    return replace(part, trials=trials)


def row_labels(
    decoded: Mapping[str, Decoded], dataset: NeuralDataset, column: str | None
) -> dict[str, np.ndarray | None]:
    """Each decoded row's class as text, by signal key; None without a column."""
    if column is None:
        return dict.fromkeys(decoded)
    return {key: _column(dataset.trials[key], d, dataset, column) for key, d in decoded.items()}


def _column(trials: Trials, decoded: Decoded, dataset: NeuralDataset, column: str) -> np.ndarray:
    if column in decoded.table:
        return decoded.table[column].astype(str)
    view = replace(trials, responses=np.zeros((len(decoded.ids), trials.space.n_features)), table=decoded.table,
                   sfreq=None, tmin=None)  # fmt: skip
    return splits.stimulus_column(view, dataset.stimuli, column).astype(str)


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
            rows.append(
                Score(
                    name, judged.system, protocol.name, subject, modality, m.value, m.interval, m.chance, mean, m.n,
                    m.direction, ceiling, kind, p_value(m.value, drawn, side) if len(drawn) >= MIN_REFITS else None,
                    len(drawn),
                    m.per_sample, {**(details or {}), **others},
                )
            )  # fmt: skip
    return rows + group_scores(rows)


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
                (float(summary.interval.low), float(summary.interval.high)), float(np.mean([s.chance for s in found])),
                float(np.mean([s.null for s in found])), len(found), found[0].direction,
                float(np.mean([s.ceiling for s in found])) if with_ceiling else None,
                found[0].ceiling_kind if with_ceiling else None, None, min(s.null_n for s in found),
                np.array([s.value for s in found]),
                {"subjects": [s.subject for s in found], "interval": "t over subjects"},
            )
        )  # fmt: skip
    return out


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
