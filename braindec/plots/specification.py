"""Specification curves: every way of analysing in order of its score, and below it what was chosen."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from braindec.plots import _style

MAX_INTERVALS = 200  # more would be a grey band
WIDTH = 5.2  # inches: still to be read where a telephone shrinks it
ROW, LINE = 0.2, 0.15  # inches of one option's row, and of each further line of its label
LABEL = 19  # characters of a line left of the rows


def specification_curve(
    values: np.ndarray,
    intervals: np.ndarray,
    choices: Mapping[str, Sequence[str]],
    options: Mapping[str, Sequence[str]],
    *,
    chance: float | np.ndarray,
    own: int = -1,
    between: Sequence[float] | None = None,
    between_name: str = "systems",
    ylabel: str = "score",
    kind: str = "svg",
) -> Any:
    """Scores of all universes above a matrix of their choices; beside them, at the same scale, what two systems differ.

    Parameters
    ----------
    values : array, shape (n,)
        In ascending order.
    intervals : array, shape (n, 2)
    choices : mapping of str to n texts
        Fork -> option of each universe.
    options : mapping of str to texts
        Fork -> its options, in the order drawn. Right of each stands the median score of its universes.
    chance : float or array, shape (n,)
        Of all universes, or of each: candidates change it.
    own : int
        Universe to mark; -1 for none.
    between : (difference, low, high), optional
        Of two systems at `own`.
    between_name : str
        Which systems, e.g. ``"braindec − ridge"``.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    n, rows = len(values), _rows(options)
    below = rows[-1].bottom + 0.35
    with _style.style():
        made, axes = _style.figure(
            WIDTH, 2.7 + below, nrows=2, ncols=2,
            gridspec_kw={"height_ratios": [2.7, below], "width_ratios": [1.0, 0.2]},
        )  # fmt: skip
        (top, side), (grid, medians) = axes
        _draw_scores(top, values, intervals, np.broadcast_to(np.asarray(chance, float), (n,)), own)
        top.set_ylabel(ylabel)
        _draw_spread(side, values, float(values[own]) if own >= 0 else None, between, between_name)
        side.set_ylim(top.get_ylim())
        _legend(top, side)
        _draw_choices(grid, rows, choices, own)
        _draw_medians(medians, rows, choices, values)
        for panel in (grid, medians):
            panel.set_ylim(rows[-1].bottom, -0.05)
        grid.set_xlim(top.get_xlim())
        words = f"{n} universes from {values.min():.3f} to {values.max():.3f}, chance {np.min(chance):.3f}"
        return _style.as_bytes(made, f"specification curve of {ylabel}: {words}", kind)


class _Row(NamedTuple):
    """A line of the matrix: a fork's name (no option), or one of its options; `place` and `bottom` in inches."""

    fork: str
    option: str | None
    colour: str
    place: float
    bottom: float

    @property
    def label(self) -> str:
        return textwrap.fill(self.fork if self.option is None else self.option, LABEL)


def _rows(options: Mapping[str, Sequence[str]]) -> list[_Row]:
    """All lines from the top, each as high as its label needs."""
    found: list[_Row] = []
    y = 0.0
    for number, (fork, names) in enumerate(options.items()):
        colour = _style.COLOURS[:4][number % 4]  # the fifth marks the recipe's own
        for option in (None, *names):
            row = _Row(fork, option, colour, y, y)
            height = ROW + LINE * row.label.count("\n")
            found.append(row._replace(place=y + height / 2, bottom=y + height))
            y += height
        y += 0.08
    return found


def _draw_scores(axes: Any, values: np.ndarray, intervals: np.ndarray, chance: np.ndarray, own: int) -> None:
    n = len(values)
    x = np.arange(n)
    if n <= MAX_INTERVALS:
        axes.vlines(x, intervals[:, 0], intervals[:, 1], color=_style.FAINT, lw=0.8, alpha=0.6)
    equal = bool((chance == chance[0]).all())
    look: dict[str, Any] = {"color": _style.FAINT, "label": "chance"}
    if equal:
        axes.axhline(chance[0], lw=1.3, ls=(0, (3, 2)), **look)
    else:
        axes.plot(x, chance, "_", ms=max(3.0, min(7.0, 200 / n)), mew=1.3, **look)
    axes.plot(x, values, ".", ms=4.5, color=_style.COLOURS[0])
    if own >= 0:
        axes.plot(
            own, values[own], "D", ms=6.5, color=_style.COLOURS[4], zorder=4, label="the recipe's own", ls=""
        )
    axes.set_xlim(-0.03 * n - 0.7, 1.03 * n - 0.3)
    axes.set_xticks([])
    _style.light_grid(axes, "y")


def _draw_spread(
    axes: Any, values: np.ndarray, base: float | None, between: Sequence[float] | None, name: str
) -> None:
    """The range over all choices, and beside it the difference of two systems from the recipe's own score upwards."""
    wide: dict[str, Any] = {"lw": 7, "alpha": 0.55, "solid_capstyle": "butt"}
    axes.plot([0, 0], [values.min(), values.max()], color=_style.COLOURS[0], label="all choices", **wide)
    if between is not None and base is not None:
        difference, low, high = between
        axes.plot([1, 1], [base, base + difference], color=_style.COLOURS[4], label=name, **wide)
        axes.plot([1, 1], [base + low, base + high], color=_style.COLOURS[4], lw=1.6)
        axes.plot([0.7, 1.3], [base, base], color=_style.COLOURS[4], lw=1.2)
    axes.set_xlim(-0.7, 1.7)
    axes.set_yticks([])
    _style.light_grid(axes, "y")
    _bare(axes)


def _legend(axes: Any, other: Any) -> None:
    """What marks and bars are, in two rows above the scores: beside them it would hide some."""
    found = [panel.get_legend_handles_labels() for panel in (axes, other)]
    handles, labels = ([*found[0][i], *found[1][i]] for i in (0, 1))
    axes.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderpad=0.2, handlelength=1.4,
        columnspacing=1.2,
    )  # fmt: skip


def _draw_choices(axes: Any, rows: Sequence[_Row], choices: Mapping[str, Sequence[str]], own: int) -> None:
    for row in rows:
        hits = np.flatnonzero(np.array(choices[row.fork]) == row.option)
        axes.plot(hits, np.full(len(hits), row.place), "|", ms=7, mew=1.1, color=row.colour)
        if own in hits:
            axes.plot(own, row.place, "D", ms=4.5, color=_style.COLOURS[4], zorder=4)
    axes.set_yticks([row.place for row in rows], [row.label for row in rows], fontsize=9.5, linespacing=0.95)
    for row, label in zip(rows, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if row.option is None else "normal")
    axes.set_xlabel("analyses, by score", fontsize=9.5)
    _bare(axes)


def _draw_medians(
    axes: Any, rows: Sequence[_Row], choices: Mapping[str, Sequence[str]], values: np.ndarray
) -> None:
    for row in rows:
        chosen = np.array(choices[row.fork]) == row.option
        if chosen.any():
            said = f"{np.median(values[chosen]):.3f}"
            axes.text(0.05, row.place, said, fontsize=9.5, va="center", ha="left")
    axes.text(0.05, rows[0].place, "median", fontsize=9.5, va="center", ha="left", color=_style.FAINT)
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    _bare(axes)


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
