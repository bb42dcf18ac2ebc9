"""A comparison as sentences, tables and figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from braindec import config
from braindec.decoder import versions
from braindec.evaluate.compare_geometries import Comparison
from braindec.evaluate.compare_sources import label_of, short
from braindec.evaluate.scoring import parse_key
from braindec.rdm.comparators import RANGE
from braindec.stats.permutation import p_value
from braindec.types import Report, Score

MANY_CONDITIONS = 400  # above it a matrix is drawn of every so-manieth condition
LIMITS = (
    "That a model's geometry is like the brain's does not say that the brain computes what the model does: models that "
    "share training images or low-level features are all alike. Compare with untrained networks and with pixels.",
    "Distances are not independent of each other; p-values and intervals come from permuting and resampling stimuli, "
    "never from counting distances.",
    "The lower ceiling is what the mean of the other subjects reaches; with few subjects it is low for that alone.",
)
CAUTION = (
    "A likeness follows what takes up variance, not what is computed: of features that a network computes equally "
    "well, the simple one, and often the one learnt first, takes up more of it, so that a model of that one alone is "
    "more like the network (Lampinen et al. 2024, arXiv:2405.05847; recipe bias_of_complexity). Compare encoding "
    "scores too, and models that lack a feature."
)
COMPARATORS = {"rho_a": "rho-a", "tau_a": "tau-a", "whitened_cosine": "whitened cosine",
               "whitened_correlation": "whitened correlation"}  # fmt: skip


def sentences(found: Comparison) -> list[str]:
    """What was found, models from the best down."""
    lines = list(dict.fromkeys([*found.reference.said, *(s for m in found.models for s in m.said)]))
    if found.inference is not None:
        i = found.inference
        lines += [i.statement, *_by_model(found)]
        if i.ceiling_range is not None:
            lines.append("Ceiling {:.3f} to {:.3f}.".format(*i.ceiling_range))
    if found.measured is not None:
        m = found.measured
        lines += _by_model(found)
        if m.ceiling is not None:
            lines.append(f"Between subjects: {m.ceiling:.3f}.")
        if m.repeats is not None:
            lines.append(
                "A model without noise would reach {:.3f} with half of the repeats, and about {:.3f} with all of "
                "them.".format(*m.repeats)
            )
    return lines


def _by_model(found: Comparison) -> list[str]:
    """A line a model, from the best down."""
    i, m = found.inference, found.measured
    if m is not None:
        order = np.argsort(-m.value if m.measure.higher else m.value, kind="stable")
        return [
            f"{found.models[k].name}: {m.measure.name} {m.value[k]:.3f} [{m.interval[k, 0]:.3f}, "
            f"{m.interval[k, 1]:.3f}], null {m.null[k]:.3f}, p {m.p[k]:.3g}."
            for k in order
        ]
    if i is None:
        raise ValueError("a comparison has an inference or a measure.")
    name = COMPARATORS.get(found.settings.comparator, found.settings.comparator)
    return [
        f"{i.models[k]}: {name} {i.value[k]:.3f} [{i.interval[k, 0]:.3f}, {i.interval[k, 1]:.3f}], null "
        f"{i.null[k]:.3f}, p {i.p_corrected[k]:.3g} corrected over models."
        for k in np.argsort(-i.value, kind="stable")
    ]


def _names(found: Comparison) -> list[str]:
    """What figures call the models: short, but where two would be called the same."""
    called = [short(m.name) for m in found.models]
    return [name if called.count(name) == 1 else m.name for name, m in zip(called, found.models, strict=True)]


def cautions(found: Comparison) -> list[str]:
    """What any likeness leaves open, and over how many directions each side spreads what is compared."""
    sides = (found.reference, *found.models)
    spread = [np.mean([effective_dimensions(p) for p in side.patterns]) for side in sides]
    said = "; ".join(f"{short(side.name)} {value:.1f}" for side, value in zip(sides, spread, strict=True))
    return [
        CAUTION,
        f"Effective dimensions of the patterns (participation ratio; noise counts): {said}. Of a side of few, the "
        "score is that of these few.",
    ]


def effective_dimensions(patterns: np.ndarray) -> float:
    """Participation ratio of the variances along the principal axes of patterns (stimulus, dim), in [1, dim].

    The square of their sum over the sum of their squares: as many as there are axes if all are alike, 1 if one has all
    the variance. 0 for patterns that are all the same.
    """
    centred = np.asarray(patterns, dtype=np.float64)
    centred = centred - centred.mean(0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    power = float(np.square(gram).sum())
    return float(np.trace(gram)) ** 2 / power if power > 0 else 0.0


def report(found: Comparison, *, protocol: str = "comparison", label_column: str | None = None) -> Report:
    """Scores of every model and subject, a table, bars with the ceiling, matrices and time courses.

    Parameters
    ----------
    found : Comparison
    protocol : str
        Name that the scores carry.
    label_column : str, optional
        Groups the conditions of the matrices.
    """
    said = sentences(found)
    panels: list[tuple[str, str, dict[str, Any]]] = [
        ("What was compared", "text", {"text": [f"- {line}" for line in said]}),
        ("Models beside the reference", "table", table(found)),
        ("Models and the ceiling", "model_bars", _bars(found)),
    ]
    if found.course is not None:
        panels.append(("Models over time", "rsa_time_course", _course(found)))
    if found.inference is not None and found.inference.differences:
        panels.append(("Differences of models", "table", _differences(found)))
    panels += _matrices(found, label_column)
    panels.append(
        (
            "What this does not show",
            "text",
            {"text": [f"- {x}" for x in (*LIMITS, *cautions(found))], "section": "limits"},
        )
    )
    run = {
        "title": f"{short(found.reference.name)} beside {', '.join(short(m.name) for m in found.models)}",
        "summary": _by_model(found)[0], "said": said, "protocol": protocol,
        "comparison": as_json(found), "settings": config.to_json(found.settings), "versions": versions(),
        "seed": found.settings.seed, "dataset": None if found.dataset is None else found.dataset.identity(),
    }  # fmt: skip
    return Report(tuple(scores(found, protocol)), run, tuple(panels))


def scores(found: Comparison, protocol: str) -> list[Score]:
    """A score a model and subject: value, the mean under permuted stimuli, and the subject's lower ceiling."""
    i, null = found.inference, found.null
    subjects = found.reference.rdm.coordinates.get("subject", ())
    if i is None or null is None or not subjects:
        return []
    rows = []
    for m, model in enumerate(i.models):
        for s, key in enumerate(subjects):
            subject, modality = parse_key(key)
            value, drawn = float(i.scores[s, m]), null[:, s, m]
            limits = np.clip([value - i.half_width[m], value + i.half_width[m]], *RANGE)
            p = p_value(value, drawn)
            lower = None if i.ceiling is None else float(i.ceiling.lower[s])
            shared = (protocol, subject, modality)
            name = f"rsa_{i.comparator}:{model}"
            details = {"interval": f"of the mean over subjects, for {i.over}", "model": model}
            rows.append(
                Score(name, "braindec", *shared, value, (float(limits[0]), float(limits[1])), 0.0, float(drawn.mean()),
                      i.n_conditions, ceiling=lower, ceiling_kind=None if lower is None else "other_subjects", p=p,
                      null_n=len(drawn), details=details)
            )  # fmt: skip
            one = float(drawn[0])
            rows.append(
                Score(name, "shuffled", *shared, one, (one, one), 0.0, float(drawn.mean()), i.n_conditions)
            )
    return rows


def table(found: Comparison) -> dict[str, Any]:
    """Columns and rows, models from the best down."""
    if found.measured is not None:
        m = found.measured
        order = np.argsort(-m.value if m.measure.higher else m.value, kind="stable")
        rows = [
            [found.models[k].name, f"{m.value[k]:.3f}", "[{:.3f}, {:.3f}]".format(*m.interval[k]), f"{m.null[k]:.3f}",
             f"{m.calibrated[k]:.3f}", f"{m.p[k]:.3g}", "" if m.back is None else f"{m.back[k]:.3f}",
             "" if m.ceiling is None else f"{m.ceiling:.3f}",
             "" if m.repeats is None else "{:.3f} to {:.3f}".format(*m.repeats), str(len(found.conditions))]
            for k in order
        ]  # fmt: skip
        columns = [
            "model",
            m.measure.name,
            "95 % interval",
            "null",
            "calibrated",
            "p",
            "model first",
            "between subjects",
            "ceiling of repeats",
            "stimuli",
        ]
        return {"columns": columns, "rows": rows, "caption": m.measure.source}
    i = found.inference
    if i is None:
        raise ValueError("a comparison has an inference or a measure.")
    limits = "" if i.ceiling_range is None else "{:.3f} to {:.3f}".format(*i.ceiling_range)
    rows = [
        [i.models[k], f"{i.value[k]:.3f}", "[{:.3f}, {:.3f}]".format(*i.interval[k]), f"{i.null[k]:.3f}",
         f"{i.p_corrected[k]:.3g}", "" if i.p_below_ceiling is None else f"{i.p_below_ceiling[k]:.3g}", limits,
         f"{i.n_subjects} / {i.n_conditions}"]
        for k in np.argsort(-i.value, kind="stable")
    ]  # fmt: skip
    columns = ["model", COMPARATORS.get(i.comparator, i.comparator), "95 % interval", "null", "p, corrected",
               "p below ceiling", "ceiling", "subjects / stimuli"]  # fmt: skip
    return {"columns": columns, "rows": rows, "caption": i.statement}


def as_json(found: Comparison) -> dict[str, Any]:
    """Values, intervals, nulls, ceilings, differences and the time course as JSON."""
    out: dict[str, Any] = {"reference": found.reference.name, "n_conditions": len(found.conditions)}
    if found.inference is not None:
        out |= found.inference.to_json()
    if found.measured is not None:
        m = found.measured
        out |= {
            "measure": m.measure.name, "between_subjects": m.ceiling, "ceiling_of_repeats": m.repeats,
            "models": [
                {"model": model.name, "value": float(m.value[k]), "interval": m.interval[k].tolist(),
                 "null": float(m.null[k]), "calibrated": float(m.calibrated[k]), "p": float(m.p[k]),
                 "back": None if m.back is None else float(m.back[k])}
                for k, model in enumerate(found.models)
            ],
        }  # fmt: skip
    if found.course is not None:
        c = found.course
        names = [m.name for m in found.models]
        out["over_time"] = {
            "times": c.times.tolist(), "values": dict(zip(names, c.values.T.tolist(), strict=True)),
            "p": dict(zip(names, c.p.T.tolist(), strict=True)),
            "ceiling": None if c.ceiling is None else c.ceiling.tolist(),
        }  # fmt: skip
    return out


def _bars(found: Comparison) -> dict[str, Any]:
    names = _names(found)
    if found.measured is not None:
        m = found.measured
        return {
            "models": names, "values": m.value, "intervals": m.interval, "null": m.limit, "significant": m.p < 0.05,
            "ceiling": m.repeats, "subjects": m.subjects,
            "xlabel": f"{m.measure.name} with {short(found.reference.name)}",
        }  # fmt: skip
    i, null = found.inference, found.null
    if i is None or null is None:
        raise ValueError("a comparison has an inference or a measure.")
    payload = {
        "models": names, "values": i.value, "intervals": i.interval, "ceiling": i.ceiling_range,
        "null": np.quantile(null.mean(1), 0.95, axis=0), "significant": i.p_corrected < 0.05,
        "xlabel": f"{COMPARATORS.get(i.comparator, i.comparator)} with {short(found.reference.name)}",
        "caption": i.statement + " Filled: p < 0.05, corrected over models.",
    }  # fmt: skip
    return payload | ({"subjects": i.scores} if i.n_subjects > 1 else {})


def _course(found: Comparison) -> dict[str, Any]:
    c, i = found.course, found.inference
    if c is None or i is None:
        raise ValueError("no time axis.")
    names = _names(found)
    # Intervals of more than two lines hide each other.
    drawn = np.argsort(-i.value, kind="stable")[:2]
    return {
        "time_s": c.times, "series": dict(zip(names, c.values.T, strict=True)), "ceiling": c.ceiling,
        "intervals": {names[k]: c.intervals[:, k] for k in drawn},
        "significant": {name: c.p[:, k] < 0.05 for k, name in enumerate(names)}, "null_limit": c.null_limit,
        "ylabel": f"{COMPARATORS.get(i.comparator, i.comparator)} with {short(found.reference.name)}",
        "caption": "Shaded: 95 % intervals of the two models with the highest mean; grey: the ceiling. " + i.statement,
    }  # fmt: skip


def _differences(found: Comparison) -> dict[str, Any]:
    i = found.inference
    rows = [
        [d.a, d.b, f"{d.value:+.3f}", "[{:+.3f}, {:+.3f}]".format(*d.interval), f"{d.p:.3g}", f"{d.p_holm:.3g}",
         f"{d.p_fdr:.3g}"]
        for d in (i.differences if i is not None else ())
    ]  # fmt: skip
    columns = ["a", "b", "a - b", "95 % interval", "p", "p, Holm", "p, FDR"]
    return {"columns": columns, "rows": rows, "caption": "Paired over the same subjects and stimuli."}


def _matrices(found: Comparison, label_column: str | None) -> list[tuple[str, str, dict[str, Any]]]:
    """The reference's mean distances, and those of the model that is most like it."""
    shown = found.conditions[:: -(-len(found.conditions) // MANY_CONDITIONS)]
    groups = None
    if label_column is not None and found.dataset is not None:
        groups = label_of(found.dataset, label_column, shown).tolist()
    i, m = found.inference, found.measured
    if m is not None:
        value = m.value if m.measure.higher else -m.value
    else:
        value = i.value if i is not None else np.zeros(len(found.models))
    best = found.models[int(np.argmax(value))]
    rdm = found.reference.rdm
    pairs = ((found.reference, rdm.mean("subject") if rdm.axes else rdm), (best, best.rdm))
    return [
        (f"Distances of {short(g.name)}", "rdm",
         {"matrix": r.subset(shown).square().double().numpy(), "conditions": list(shown), "groups": groups,
          "label": f"{r.measure} distance", "section": "brain"})
        for g, r in pairs
    ]  # fmt: skip
