"""Representational similarity drawn: matrices of distances, models beside their ceiling, and time courses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from braindec import checks
from braindec.plots import _style

MOST_LABELS = 40  # conditions that are named one by one; more are named by group


def rdm_matrix(
    matrix: np.ndarray,
    conditions: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    label: str = "distance",
    kind: str = "svg",
) -> Any:
    """One dissimilarity matrix, its conditions in groups where they have some.

    Parameters
    ----------
    matrix : array, shape (condition, condition)
        Symmetric.
    conditions : sequence of str
    groups : sequence of str, optional
        Of each condition: they are brought together in the order in which groups first occur, with lines between.
    label : str
        What the colours show.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    matrix = np.asarray(matrix, dtype=float)
    checks.same_length("condition", matrix=matrix, conditions=conditions)
    order, edges, names = _grouped(groups, len(conditions))
    shown = matrix[np.ix_(order, order)].copy()
    off = ~np.eye(len(shown), dtype=bool)
    # The diagonal is zero by definition; a colour scale that spans it would flatten everything else.
    low, high = (float(v) for v in np.quantile(shown[off], [0.01, 0.99]))
    shown[~off] = np.nan
    with _style.style():
        made, axes = _style.figure(6.0, 4.9)
        drawn = axes.imshow(
            shown, cmap=_style.MAP, vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest"
        )
        for edge in edges[1:-1]:
            for line in (axes.axhline, axes.axvline):
                line(edge - 0.5, color="white", lw=1.0)
        if names:
            _name_groups(axes, edges, names)
        elif len(conditions) <= MOST_LABELS:
            size = 9 if len(conditions) <= 20 else 6.5
            axes.set_xticks(range(len(conditions)), conditions, rotation=90, fontsize=size)
            axes.set_yticks(range(len(conditions)), conditions, fontsize=size)
        else:
            axes.set(xticks=[], yticks=[], xlabel=f"{len(conditions)} conditions")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        made.colorbar(drawn, ax=axes, label=label, shrink=0.85, extend="both")
        return _style.as_bytes(made, f"{label} between {len(conditions)} conditions", kind)


def model_bars(
    models: Sequence[str],
    values: np.ndarray,
    intervals: np.ndarray,
    *,
    ceiling: tuple[float, float] | None = None,
    null: np.ndarray | None = None,
    significant: np.ndarray | None = None,
    subjects: np.ndarray | None = None,
    xlabel: str = "similarity",
    kind: str = "svg",
) -> Any:
    """Models by how well they predict the geometry, inside the range that the best possible model would reach.

    Parameters
    ----------
    models : sequence of str
        Drawn from the best down.
    values : array, shape (model,)
    intervals : array, shape (model, 2)
    ceiling : (float, float), optional
        Lower and upper ceiling: a band.
    null : array, shape (model,), optional
        95 % limit of the permutation null of each.
    significant : bool array, shape (model,), optional
        Filled where True; hollow else.
    subjects : array, shape (subject, model), optional
        Small dots.
    xlabel : str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    values, intervals = np.asarray(values, dtype=float), np.asarray(intervals, dtype=float)
    checks.same_length("model", models=models, values=values, intervals=intervals)
    order = np.argsort(-values, kind="stable")
    blue = _style.COLOURS[0]
    with _style.style():
        made, axes = _style.figure(9.4, 1.35 + 0.36 * len(models))
        _style.light_grid(axes, "x")
        if ceiling is not None:
            axes.axvspan(
                *ceiling,
                color=_style.FAINT,
                alpha=0.3,
                lw=0,
                label="ceiling: what the best\nmodel would reach",
            )
        axes.axvline(0, color=_style.FAINT, lw=1.0)
        for row, model in enumerate(order):
            filled = significant is None or bool(significant[model])
            axes.barh(row, values[model], 0.62, color=blue if filled else "none", edgecolor=blue, lw=1.2,
                      alpha=0.75 if filled else 1.0)  # fmt: skip
            axes.plot(intervals[model], (row, row), color=_style.INK, lw=1.4)
            if null is not None:
                axes.plot((null[model],) * 2, (row - 0.31, row + 0.31), color=_style.COLOURS[4], lw=1.6,
                          label="95 % limit of the null" if row == 0 else None)  # fmt: skip
            if subjects is not None:
                dots = np.asarray(subjects)[:, model]
                axes.plot(dots, np.full(len(dots), row + 0.19), "o", ms=3, color=_style.INK, alpha=0.45, mew=0,
                          label="one subject" if row == 0 else None)  # fmt: skip
        axes.set_yticks(range(len(models)), [models[i] for i in order])
        axes.invert_yaxis()
        axes.set(xlabel=xlabel)
        axes.spines["left"].set_visible(False)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.2, handlelength=1.2)
        return _style.as_bytes(made, f"{xlabel} of {len(models)} models", kind)


def rsa_time_course(
    time_s: np.ndarray,
    series: Mapping[str, np.ndarray],
    *,
    intervals: Mapping[str, np.ndarray] | None = None,
    significant: Mapping[str, np.ndarray] | None = None,
    ceiling: np.ndarray | None = None,
    null_limit: float | None = None,
    planted: Mapping[str, float] | None = None,
    ylabel: str = "similarity",
    xlabel: str = "time from onset (s)",
    kind: str = "svg",
) -> Any:
    """Models over time: lines with intervals inside the ceiling, and bars at the foot where they are significant.

    Parameters
    ----------
    time_s : array, shape (n_times,)
        Seconds from onset.
    series : mapping of str to array, shape (n_times,)
    intervals : mapping of str to array, shape (n_times, 2), optional
    significant : mapping of str to bool array, shape (n_times,), optional
    ceiling : array, shape (n_times, 2), optional
        Lower and upper.
    null_limit : float, optional
        What 95 % of the largest values of the null stay below.
    planted : mapping of str to float, optional
        When a model truly comes, seconds: a mark in its colour above the lines.
    ylabel, xlabel : str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    with _style.style():
        made, axes = _style.figure(9.4, 3.4 if planted is None else 3.8)
        _style.light_grid(axes, "y")
        if ceiling is not None:
            axes.fill_between(time_s, *np.asarray(ceiling, dtype=float).T, color=_style.FAINT, alpha=0.28, lw=0,
                              label="ceiling")  # fmt: skip
        axes.axhline(0, color=_style.FAINT, lw=1.0)
        axes.axvline(0, color=_style.FAINT, lw=0.8)
        coloured = [(_style.COLOURS[i % len(_style.COLOURS)], one) for i, one in enumerate(series.items())]
        for number, (colour, (name, values)) in enumerate(coloured):
            checks.same_length("time", time_s=time_s, **{name: values})
            if intervals is not None and name in intervals:
                axes.fill_between(time_s, *np.asarray(intervals[name]).T, color=colour, alpha=0.16, lw=0)
            axes.plot(
                time_s,
                values,
                color=colour,
                lw=2,
                label=name,
                ls="-" if number < len(_style.COLOURS) else "--",
            )
        if null_limit is not None:
            axes.axhline(null_limit, color=_style.COLOURS[4], lw=1.4, ls=":", label="95 % limit of the null")
        axes.margins(x=0.01)
        _planted(axes, coloured, planted or {})
        _feet(axes, np.asarray(time_s, dtype=float), coloured, significant)
        axes.set(xlabel=xlabel, ylabel=_style.upright(ylabel, 2.6))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.2, handlelength=1.6)
        return _style.as_bytes(made, f"{ylabel} over time: {', '.join(series)}", kind)


def _planted(axes: Any, coloured: Sequence[Any], planted: Mapping[str, float]) -> None:
    """Marks above the lines where models truly come."""
    if not planted:
        return
    low, high = axes.get_ylim()
    for colour, (name, _) in coloured:
        if name in planted:
            axes.plot(planted[name], high + 0.06 * (high - low), marker="v", color=colour, ms=10, ls="")
            axes.plot([planted[name]] * 2, [low, high], color=colour, lw=1.0, ls="--", alpha=0.6)
    axes.plot([], [], marker="v", color=_style.FAINT, ls="", label="planted latency")
    axes.set_ylim(low, high + 0.14 * (high - low))


def _feet(
    axes: Any, time_s: np.ndarray, coloured: Sequence[Any], significant: Mapping[str, np.ndarray] | None
) -> None:
    """A bar for each model below the lines, as long as it is significant."""
    if significant is None or not any(np.any(v) for v in significant.values()):
        return
    low, high = axes.get_ylim()
    half = float(np.diff(time_s).mean()) / 2 if len(time_s) > 1 else 0.5
    for row, (colour, (name, _)) in enumerate(coloured):
        at = low - (0.04 + 0.045 * row) * (high - low)
        for t in time_s[np.asarray(significant.get(name, np.zeros(len(time_s))), dtype=bool)]:
            axes.plot((t - half, t + half), (at, at), color=colour, lw=3.5, solid_capstyle="butt")
    axes.set_ylim(low - (0.07 + 0.045 * len(coloured)) * (high - low), high)
    axes.plot([], [], color=_style.INK, lw=3.5, label="p < 0.05, corrected\nover time and models")


def _grouped(groups: Sequence[str] | None, n: int) -> tuple[np.ndarray, list[int], list[str]]:
    """Order of the conditions, where groups begin and end, and their names."""
    if groups is None:
        return np.arange(n), [0, n], []
    checks.same_length("condition", conditions=range(n), groups=groups)
    names = list(dict.fromkeys(groups))
    order = np.array([i for name in names for i in range(n) if groups[i] == name])
    sizes = [sum(g == name for g in groups) for name in names]
    return order, [0, *np.cumsum(sizes).tolist()], [str(name) for name in names]


def _name_groups(axes: Any, edges: Sequence[int], names: Sequence[str]) -> None:
    middle = [(a + b - 1) / 2 for a, b in pairwise(edges)]
    size = 9 if len(names) <= 12 else 6.5
    axes.set_xticks(middle, names, rotation=45, ha="right", fontsize=size)
    axes.set_yticks(middle, names, fontsize=size)
