"""The page, the printed tables and the figure, each made from the result's JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
TOP1 = "image_retrieval_top1"
HEAD = """# What works

Written by `benchmarks/accuracy.py` from `benchmarks/results/accuracy.json`; every number here stands there. The brains
of the `fmri`, `eeg` and `newcomer` regimes are simulated, with a known truth: their scores say nothing about real
recordings, their order and their distance to the ceiling may.

**Rules.** Every system chooses among four configurations, by the mean reciprocal rank of validation units that are the
same for all: a fifth of the training units of each regime (whole concepts where there are any, else stimuli or runs),
declared before anything is fitted. What is trained makes {stop},
and keeps the best of its looks at these units, one every {every} steps; predictions are compared by the cosine about
the training mean. The chosen configuration is fitted with {n} seeds and judged on the test part.

Intervals of 95 %: of several subjects, subjects and seeds are both random (`stats.mixed`); of one subject, over its
stimuli with the seeds averaged. Beside each score stand chance, the mean of refits on a permuted pairing (and how
many), what a decoder of time, run and motion reaches without a brain, and what ideal observers reach who were told the
truth. `ours_crossfit` is the default as it comes (its steps chosen by cross-fitting, calibrated, fitted on the
validation units too): another rule, so it has no rank.

**What was settled in view of results.** The world's noise (1.15 to 2.0, one step, look-alikes removed: the gallery of
the demo yields no bits a trial) and the number of EEG subjects (1 to 3) and images (700 to 1,200) were set after scores
of ridge and of validation were seen. Learning rates of systems that begin at random were raised, and steps set to 400,
after validation curves that still rose at 300; those of `ours` were left as they were. Folds of the real recordings
were cut for time.

| system | what it is |
| --- | --- |
"""
PICTURE = (
    "![Bits a trial by data and known subjects, below ceilings; gains by gradient step](img/accuracy.png)\n\n"
)
AXES = ("of training data", "pretraining subjects", "target layer", "blur")


def page(record: Record) -> str:
    """docs/what-works.md."""
    steps = record["rules"]["stopping"]
    n = len(record["rules"]["seeds"])
    stop = f"{steps['n_steps']} steps of {steps['batch_size']} trials"
    head = HEAD.format(stop=stop, every=steps["validate_every"], n=n)
    head += "".join(f"| `{name}` | {row['about']} |\n" for name, row in record["rules"]["systems"].items())
    return head + "\n" + PICTURE + markdown(record) + "\n"


def markdown(record: Record) -> str:
    """All tables."""
    parts = ["## What mattered, and what did not help\n", *_in_short(record["values"])]
    parts += ["Regime by regime:\n", *_findings(record), ""]
    for axis in AXES:
        parts += _by_axis(record, axis)
    if record["values"]:
        parts += ["## What gradient steps add to the closed form\n", *_beyond(record), *_by_step(record)]
        parts += ["## Each regime\n"]
    for name, one in record["values"].items():
        parts += _regime(name, one)
    if record["not_measured"]:
        parts += ["## Not measured\n", *(f"- `{n}`: {why}" for n, why in record["not_measured"].items())]
    return "\n".join(parts)


def _in_short(values: Record) -> list[str]:
    """What holds over regimes: choices by validation, gradient steps, amount of data, known subjects, targets."""
    ranked = {name: one for name, one in values.items() if "default" in one and len(one["order"]) > 1}
    first = [name for name, one in ranked.items() if one["test_rank"] == 1]
    lost = [n for n, one in ranked.items() if one["default_minus_best_other"].get("interval", (0, 0))[1] < 0]
    out = []
    if ranked:
        out.append(
            f"- What validation took was first on the test part in {len(first)} of {len(ranked)} regimes; the interval "
            f"to the best of the others lies below 0 in {len(lost)}{_named(lost)}."
        )
    for system in dict.fromkeys(s for one in values.values() for s in one.get("beyond_closed_form", {})):
        gaps = {
            n: one["beyond_closed_form"].get(system, {})
            for n, one in values.items()
            if "beyond_closed_form" in one
        }
        ends = {n: gap["interval"] for n, gap in gaps.items() if "interval" in gap}
        above, below = [n for n, e in ends.items() if e[0] > 0], [n for n, e in ends.items() if e[1] < 0]
        out.append(
            f"- `{system}` against the closed form: better in {len(above)} of {len(ends)} regimes{_named(above)}, "
            f"worse in {len(below)}{_named(below)}, not told apart in the others."
        )
    out += [_along(values, axis) for axis in AXES if _with_ours(values, axis)]
    return [*out, ""]


def _with_ours(values: Record, axis: str) -> dict[str, Any]:
    rows = {n: o for n, o in values.items() if o["axis"] and o["axis"][0] == axis}
    return {n: o for n, o in rows.items() if {"ours", "closed_form"} <= set(o["systems"])}


def _along(values: Record, axis: str) -> str:
    """Ours and the closed form along one axis, beside the ceiling of linear decoders where there is one."""
    told = []
    for name, one in _with_ours(values, axis).items():
        ours, closed = (f"{one['systems'][s][one['metric']]['value']:.2f}" for s in ("ours", "closed_form"))
        ceiling = one.get("ceiling", {}).get("oracle_linear", {}).get(one["metric"])
        told.append(f"`{name}` {ours}, {closed}" + ("" if ceiling is None else f" of {ceiling:.2f}"))
    over = axis.removeprefix("of ")
    return f"- By {over}, `ours` and the closed form, of what a linear ideal reaches: {'; '.join(told)}."


def _named(regimes: Sequence[str]) -> str:
    return f" ({', '.join(f'`{n}`' for n in regimes)})" if regimes else ""


def _findings(record: Record) -> list[str]:
    """A sentence a regime: the default, its rank, the distance to the best other, and where ours came."""
    out = []
    for name, one in record["values"].items():
        if "default" not in one or len(one["order"]) < 2:
            continue
        gap = one["default_minus_best_other"]
        line = (
            f"- `{name}`: validation takes `{one['default']}`, rank {one['test_rank']} of {one['of']} on the test "
            f"part; {one['metric']} {_signed(gap)} against `{gap['other']}`, the best of the others"
        )
        if "ours_minus_best_other" in one and one["default"] != "ours":
            ours = one["ours_minus_best_other"]
            line += f"; `ours` has rank {one['ours_rank']}, {_signed(ours)} against `{ours['other']}`"
        missing = f" (unmeasured: {', '.join(one['unmeasured'])})" if one["unmeasured"] else ""
        out.append(f"{line}.{missing}")
    return out or ["Nothing is measured yet."]


def _by_axis(record: Record, axis: str) -> list[str]:
    rows = {n: one for n, one in record["values"].items() if one["axis"] and one["axis"][0] == axis}
    if axis in ("target layer", "blur") and rows and "fmri_100" in record["values"]:
        rows = {"fmri_100": record["values"]["fmri_100"], **rows}
    if not rows:
        return []
    found = list(dict.fromkeys(s for one in rows.values() for s in one["systems"]))
    metric = next(iter(rows.values()))["metric"]
    out = [f"## By {axis.removeprefix('of ')}\n", f"Mean {metric}, and in brackets top-1 retrieval.\n"]
    kinds = list(next(iter(rows.values())).get("ceiling", {}))
    out += ["| regime | " + " | ".join([*found, *kinds]) + " |", "| --- |" + " --- |" * len([*found, *kinds])]
    for name, one in rows.items():
        told = [_pair(one["systems"].get(s), metric) for s in found]
        told += [_ceiling_pair(one.get("ceiling", {}).get(k), metric) for k in kinds]
        out.append(f"| {name} | " + " | ".join(told) + " |")
    return [*out, ""]


def _pair(row: Mapping[str, Any] | None, metric: str) -> str:
    if row is None:
        return ""
    extra = f" ({row[TOP1]['value']:.3f})" if TOP1 in row and metric != TOP1 else ""
    return f"{row[metric]['value']:.2f}{extra}"


def _ceiling_pair(row: Mapping[str, float] | None, metric: str) -> str:
    if row is None:
        return ""
    return f"{row[metric]:.2f}" + (f" ({row[TOP1]:.3f})" if TOP1 in row and metric != TOP1 else "")


def _beyond(record: Record) -> list[str]:
    out = ["| regime | system | minus the closed form | interval | over |", "| --- | --- | --- | --- | --- |"]
    for name, one in record["values"].items():
        for system, gap in one.get("beyond_closed_form", {}).items():
            low, high = gap.get("interval", (float("nan"),) * 2)
            over = gap.get("model", "seeds of one subject")
            out.append(f"| {name} | {system} | {gap['value']:+.3f} | [{low:+.3f}, {high:+.3f}] | {over} |")
    return [*out, ""]


def _by_step(record: Record) -> list[str]:
    out = []
    for name, one in record["values"].items():
        steps = one.get("by_step", {})
        if not steps:
            continue
        known = list(next(iter(steps.values())))
        out += [f"`{name}`: {one['metric']} of the test part after so many steps, minus the closed form's:\n"]
        out += ["| system | " + " | ".join(known) + " |", "| --- |" + " --- |" * len(known)]
        for system, row in steps.items():
            gaps = [row[s].get("over_closed_form") for s in known]
            told = ["" if gap is None else _signed(gap, 2) for gap in gaps]
            out.append(f"| {system} | " + " | ".join(told) + " |")
        out.append("")
    return out


def _regime(name: str, one: Record) -> list[str]:
    metric = one["metric"]
    out = [f"### {name}\n", f"{metric}; validation: mean reciprocal rank.\n",
           "| system | value | interval | top-1 | validation | chance | null (n) | p | s a fit |",
           "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    order = [*one.get("order", []), *(s for s in one["systems"] if s not in one.get("order", []))]
    for system in order:
        row = one["systems"][system]
        told = row[metric]
        low, high = told.get("interval", (None, None))
        spread = "" if low is None else f"[{low:.3f}, {high:.3f}]"
        top1 = f"{row[TOP1]['value']:.3f}" if TOP1 in row else ""
        null = "" if told["null"] is None else f"{told['null']:.3f} ({told['null_n']})"
        p = f"{told['p_null']:.3g}" if "p_null" in told else ""
        valid = f"{row['validation']:.3f}" if "validation" in row else ""
        mark = " (default)" if one.get("default") == system else ""
        entries = [f"{told['value']:.3f}", spread, top1, valid, f"{told['chance']:.3f}", null, p]
        out.append(f"| {system}{mark} | " + " | ".join(entries) + f" | {row['seconds']:.1f} |")
    beside = {f"ceiling: {kind}": row for kind, row in one.get("ceiling", {}).items()}
    if "nuisance" in one:
        beside = {"without a brain": one["nuisance"], **beside}
    for label, row in beside.items():
        out.append(f"| {label} | {row[metric]:.3f} | | {_or_blank(row, metric)} | | | | | |")
    if one["refused"]:
        out += ["", *(f"- `{s}` refused: {why}" for s, why in one["refused"].items())]
    if one["unmeasured"]:
        out += ["", f"Not yet measured: {', '.join(one['unmeasured'])}."]
    return [*out, ""]


def _or_blank(row: Mapping[str, float], metric: str) -> str:
    return f"{row[TOP1]:.3f}" if TOP1 in row and metric != TOP1 else ""


def _signed(gap: Mapping[str, Any], digits: int = 3) -> str:
    numbers = [f"{v:+.{digits}f}" for v in (gap["value"], *gap.get("interval", ()))]
    return numbers[0] if len(numbers) == 1 else f"{numbers[0]} [{numbers[1]}, {numbers[2]}]"


def figure(record: Record, path: Path) -> None:
    """Scores by amount of data and by known subjects, with ceilings; gains over the closed form by step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(2, 2, figsize=(11, 7.5), constrained_layout=True)
    values = record["values"]
    colours = {s: f"C{i}" for i, s in enumerate([*record["rules"]["systems"], "ours_crossfit"])}
    for axis, signal in zip(axes[0], ("fmri", "eeg"), strict=True):
        rows = [o for o in values.values() if o["signal"] == signal and o["axis"] and o["axis"][0] == AXES[0]]
        _curves(axis, rows, colours, f"{signal}: share of the training data", log=True)
    rows = [o for o in values.values() if o["axis"] and o["axis"][0] == AXES[1]]
    _curves(axes[1][0], rows, colours, "a newcomer: subjects trained on before", log=False)
    _steps(axes[1][1], values, colours)
    handles = {label: h for a in axes.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    if handles:
        fig.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8, frameon=False)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def _curves(axis: Any, rows: Sequence[Record], colours: Mapping[str, str], title: str, *, log: bool) -> None:
    rows = sorted(rows, key=lambda o: o["axis"][1])
    axis.set_title(title, fontsize=10)
    if not rows:
        axis.text(0.5, 0.5, "not yet measured", ha="center", transform=axis.transAxes)
        return
    metric = rows[0]["metric"]
    for system, colour in colours.items():
        told = [(o["axis"][1], o["systems"][system][metric]["value"]) for o in rows if system in o["systems"]]
        if told:
            axis.plot(*zip(*told, strict=True), "o-", color=colour, label=system, ms=4)
    for kind, style in (("oracle_image", ":"), ("oracle_linear", "--"), ("oracle_n", "-.")):
        ceiling = [(o["axis"][1], o["ceiling"][kind][metric]) for o in rows if kind in o.get("ceiling", {})]
        if ceiling:
            axis.plot(*zip(*ceiling, strict=True), style, marker="_", color="0.4", label=kind)
    chance = next(iter(rows[0]["systems"].values()))[metric]["chance"] if rows[0]["systems"] else 0.0
    axis.axhline(chance, color="0.8", lw=1, zorder=0)
    if log:
        axis.set_xscale("log")
    ticks = [o["axis"][1] for o in rows]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_ylabel(metric.replace("_", " "))


def _stepped(values: Record) -> dict[str, Any]:
    return {n: o for n, o in values.items() if o.get("by_step")}


def _steps(axis: Any, values: Record, colours: Mapping[str, str]) -> None:
    known = [(n, o, style) for (n, o), style in zip(_stepped(values).items(), ("-", "--", ":"), strict=False)]
    told = ", ".join(f"{n} {style}" for n, _, style in known)
    axis.set_title(f"by gradient step, minus the closed form ({told})", fontsize=10)
    for _, one, style in known:
        for system, row in one["by_step"].items():
            gaps = {int(s): r["over_closed_form"] for s, r in row.items() if "over_closed_form" in r}
            curve = [(step, gap["value"]) for step, gap in gaps.items()]
            if curve:
                axis.plot(*zip(*curve, strict=True), style, color=colours[system])
    axis.axhline(0, color="0.8", lw=1, zorder=0)
    axis.set_xlabel("steps")
