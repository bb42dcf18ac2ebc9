"""Scores beside chance, null and ceiling; regions; confusions; a value in its null distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec import checks
from braindec.plots import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CEILING_COLOURS = {"oracle_image": "#9a7414", "oracle_linear": "#b8902b", "oracle_n": "#d9b95c"}
LINE, GAP = 0.165, 0.2  # inches: a system's line, and the space between subjects
SHAPES = {
    "braindec": "o",
    "ridge": "s",
    "adapted": "D",
    "scratch": "v",
    "mean": "P",
    "nuisance": "X",
    "shuffled": "d",
    "sample": "o",
    "selected": "^",
    "prior": "X",
    "nearest": "s",
    "oracle": "*",
}


@dataclass(frozen=True)
class ScoreRow:
    """One dot: a system's score on one subject.

    Parameters
    ----------
    group : str
        Row of the figure, e.g. ``"sub-01 fmri"``.
    system : str
        Colour and shape.
    value : float
    interval : (float, float)
    chance, null : float
    ceilings : mapping of str to float
        Drawn as ticks.
    """

    group: str
    system: str
    value: float
    interval: tuple[float, float]
    chance: float
    null: float
    ceilings: Mapping[str, float] = field(default_factory=dict)


def score_dots(rows: Sequence[ScoreRow], *, xlabel: str = "", kind: str = "svg") -> Any:
    """Dots with intervals, a line of them a subject; chance dashed, the null a cross, ceilings as ticks.

    Parameters
    ----------
    rows : sequence of ScoreRow
        Of one metric.
    xlabel : str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    groups = list(dict.fromkeys(row.group for row in rows))
    systems = list(dict.fromkeys(row.system for row in rows))
    present = {
        group: [s for s in systems if any(r.group == group and r.system == s for r in rows)]
        for group in groups
    }
    heights = np.array([LINE * len(present[group]) + GAP for group in groups])  # inches
    middles = np.cumsum(heights) - heights / 2
    with _style.style():
        made, axes = _style.figure(5.0, max(1.5, 0.62 + heights.sum()))
        _style.light_grid(axes, "x")
        for row in rows:
            k, inside = groups.index(row.group), present[row.group]
            line = middles[k] + LINE * (inside.index(row.system) - (len(inside) - 1) / 2)
            _draw_row(axes, row, line, (middles[k] - heights[k] * 0.46, middles[k] + heights[k] * 0.46))
        axes.set_yticks(middles, groups)
        axes.set_ylim(heights.sum(), 0)
        axes.set_xlabel(xlabel)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.04)
        _legend_beside(axes, first=systems)
        words = "; ".join(f"{row.group} {row.system} {row.value:.3f}" for row in rows)
        return _style.as_bytes(made, f"{xlabel} by subject and system: {words}", kind)


def _draw_row(axes: Axes, row: ScoreRow, y: float, whole: tuple[float, float]) -> None:
    """One system's dot at height `y`, with the lines that run through the `whole` of its subject's row."""
    colour = _style.SYSTEM_COLOURS.get(row.system, _style.COLOURS[-1])
    axes.plot([row.chance] * 2, whole, color=_style.FAINT, lw=1.3, ls=(0, (3, 2)), label="chance")
    if row.system in ("braindec", "adapted"):
        axes.plot(
            row.null,
            y,
            marker="x",
            ms=4.5,
            mew=1.2,
            color=_style.FAINT,
            ls="",
            label="null",
            zorder=2,
        )
    for name, value in row.ceilings.items():
        colour_of_ceiling = CEILING_COLOURS.get(name, CEILING_COLOURS["oracle_linear"])
        axes.plot(
            [value] * 2, whole, color=colour_of_ceiling, lw=2.2, alpha=0.9, label=name.replace("_", " ")
        )
    axes.plot(row.interval, [y, y], color=colour, lw=2, alpha=0.55, solid_capstyle="round")
    shape = SHAPES.get(row.system, "o")
    axes.plot(row.value, y, marker=shape, ms=6.5, color=colour, ls="", label=row.system, zorder=3)


def _legend_beside(axes: Axes, first: Sequence[str] = ()) -> None:
    """One entry a label, right of the axes; the labels named `first` lead."""
    handles = dict(reversed([(label, handle) for handle, label in zip(*axes.get_legend_handles_labels())]))
    names = list(dict.fromkeys([*first, *axes.get_legend_handles_labels()[1]]))
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02), "borderaxespad": 0.2}
    axes.legend([handles[n] for n in names], names, handlelength=1.3, labelspacing=0.35, **place)


def region_bars(
    regions: Sequence[str],
    series: Mapping[str, np.ndarray],
    *,
    intervals: Mapping[str, np.ndarray] | None = None,
    chance: float | None = None,
    chance_label: str = "chance",
    xlabel: str = "",
    kind: str = "svg",
) -> Any:
    """A bar a region and series, with intervals and chance.

    Parameters
    ----------
    regions : sequence of str
    series : mapping of str to array, shape (n_regions,)
        E.g. a subject each.
    intervals : mapping of str to array, shape (n_regions, 2), optional
    chance : float, optional
        Where the dashed line stands, `chance_label` its name.
    chance_label : str
    xlabel : str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    intervals = intervals or {}
    height = 0.78 / len(series)
    with _style.style():
        made, axes = _style.figure(9.4, 0.8 + len(regions) * (0.18 + 0.17 * len(series)))
        _style.light_grid(axes, "x")
        for k, (label, values) in enumerate(series.items()):
            checks.same_length("region", regions=regions, **{label: values})
            y = np.arange(len(regions)) + height * (k - (len(series) - 1) / 2)
            colour = _style.COLOURS[k % len(_style.COLOURS)]
            axes.barh(y, values, height=height * 0.86, color=colour, alpha=0.85, lw=0, label=label)
            if label in intervals:
                axes.hlines(y, *np.asarray(intervals[label], dtype=float).T, color=_style.INK, lw=1.3)
        if chance is not None:
            axes.axvline(chance, color=_style.FAINT, lw=1.3, ls="--", label=chance_label)
        axes.set_yticks(range(len(regions)), regions)
        axes.invert_yaxis()
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(xlabel)
        if len(series) > 1 or chance is not None:
            _legend_beside(axes)
        return _style.as_bytes(made, f"{xlabel} by region: {', '.join(regions)}", kind)


def confusion(matrix: np.ndarray, labels: Sequence[str], *, kind: str = "svg") -> Any:
    """Which category was decoded as which, as shares of the true one.

    Parameters
    ----------
    matrix : array, shape (n_classes, n_classes)
        Counts; rows are true, columns decoded.
    labels : sequence of str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    matrix = np.asarray(matrix, dtype=float)
    n = checks.same_length("class", matrix=matrix, labels=labels)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    with _style.style():
        made, axes = _style.figure(2.2 + 0.52 * n, 1.5 + 0.46 * n)
        picture = axes.imshow(share, vmin=0, vmax=1, cmap=_style.MAP, aspect="auto")
        for i, j in np.ndindex(n, n):
            if matrix[i, j]:
                ink = "#ffffff" if share[i, j] < 0.55 else "#000000"
                axes.text(j, i, f"{matrix[i, j]:g}", ha="center", va="center", color=ink, fontsize=9)
        axes.set_xticks(range(n), labels, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), labels)
        axes.set(xlabel="decoded", ylabel="presented")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = made.colorbar(picture, ax=axes, shrink=0.8, pad=0.02, label="share of presented")
        bar.outline.set_visible(False)
        return _style.as_bytes(made, "presented against decoded category", kind)


def null_histogram(null: np.ndarray, value: float, *, xlabel: str = "score", kind: str = "svg") -> Any:
    """The refitted null's scores, and where the real one lies.

    Parameters
    ----------
    null : array, shape (n_refits,)
    value : float
    xlabel : str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    null = np.asarray(null, dtype=float)
    with _style.style():
        made, axes = _style.figure(9.4, 2.3)
        _style.light_grid(axes, "y")
        shown = max(value, null.max()) - min(value, null.min())
        width = max(
            (null.max() - null.min()) / 20, shown / 60, 1e-6
        )  # a bar that can be seen, and not all in one
        edges = np.arange(null.min() - width / 2, null.max() + width, width)
        axes.hist(null, bins=edges, color=_style.FAINT, alpha=0.65, label=f"null, {len(null)} refits")
        axes.axvline(value, color=_style.COLOURS[0], lw=2.4, label=f"decoder, {value:.3f}")
        axes.set(xlabel=xlabel, ylabel="refits")
        _legend_beside(axes)
        return _style.as_bytes(
            made, f"{xlabel}: {value:.3f} against {len(null)} refits with shuffled pairing", kind
        )
