"""Specification curves: every way of analysing in order of its score, and below it what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braindec.plots import _style

MAX_INTERVALS = 200  # more would be a grey band
ROW = 0.19  # inches of one option's line


def specification_curve(
    values: np.ndarray,
    intervals: np.ndarray,
    choices: Mapping[str, Sequence[str]],
    options: Mapping[str, Sequence[str]],
    *,
    chance: float,
    own: int = -1,
    between: Sequence[float] | None = None,
    ylabel: str = "score",
    kind: str = "svg",
) -> Any:
    """Scores of all universes above a matrix of their choices.

    Parameters
    ----------
    values : array, shape (n,)
        In ascending order.
    intervals : array, shape (n, 2)
    choices : mapping of str to n texts
        Fork -> option of each universe.
    options : mapping of str to texts
        Fork -> its options, in the order drawn.
    chance : float
    own : int
        Universe to mark; -1 for none.
    between : (difference, low, high), optional
        Of two systems at `own`, drawn beside it at the same scale.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    n, rows = len(values), [(fork, option) for fork in options for option in options[fork]]
    below = ROW * (len(rows) + 0.6 * len(options))
    with _style.style():
        made, (top, grid) = _style.figure(
            6.6, 2.4 + below, nrows=2, ncols=1, sharex=True, gridspec_kw={"height_ratios": [2.0, below]}
        )
        x = np.arange(n)
        if n <= MAX_INTERVALS:
            top.vlines(x, intervals[:, 0], intervals[:, 1], color=_style.FAINT, lw=0.8, alpha=0.6)
        top.axhline(chance, color=_style.FAINT, lw=1.3, ls=(0, (3, 2)))
        top.annotate(
            "chance", (0, chance), xytext=(0, 3), textcoords="offset points", fontsize=9, color=_style.FAINT
        )
        top.plot(x, values, ".", ms=4.5, color=_style.COLOURS[0])
        if own >= 0:
            top.plot(own, values[own], "D", ms=7, color=_style.COLOURS[4], zorder=4)
            top.annotate(
                "the recipe's own", (own, values[own]), xytext=(0, -18), textcoords="offset points", fontsize=9,
                ha="right" if own > n / 2 else "left", color=_style.COLOURS[4],
            )  # fmt: skip
        if between is not None and own >= 0:
            _draw_between(top, n, float(values[own]), between)
        top.set_ylabel(ylabel)
        _style.light_grid(top, "y")
        _draw_choices(grid, choices, options, own)
        words = f"{n} universes from {values.min():.3f} to {values.max():.3f}, chance {chance:.3f}"
        return _style.as_bytes(made, f"specification curve of {ylabel}: {words}", kind)


def _draw_between(axes: Any, n: int, base: float, between: Sequence[float]) -> None:
    """The difference of two systems as a bar at the right edge, from the marked score upwards or downwards."""
    place, (difference, low, high) = n + max(1.0, 0.03 * n), between
    axes.plot([place] * 2, [base + low, base + high], color=_style.COLOURS[2], lw=1.6)
    axes.plot([place] * 2, [base, base + difference], color=_style.COLOURS[2], lw=5, solid_capstyle="butt")
    axes.annotate(
        "between\nsystems", (place, base + high), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=8.5,
        color=_style.COLOURS[2],
    )  # fmt: skip


def _draw_choices(
    axes: Any, choices: Mapping[str, Sequence[str]], options: Mapping[str, Sequence[str]], own: int
) -> None:
    places, labels, y = [], [], 0.0
    for k, (fork, names) in enumerate(options.items()):
        chosen = np.array(choices[fork])
        for name in names:
            hits = np.flatnonzero(chosen == name)
            axes.plot(hits, np.full(len(hits), y), "|", ms=6, color=_style.COLOURS[k % len(_style.COLOURS)])
            if own in hits:
                axes.plot(own, y, "D", ms=4.5, color=_style.COLOURS[4], zorder=4)
            places.append(y)
            labels.append(f"{fork}: {name}" if name == names[0] else str(name))
            y += 1
        y += 0.6
    axes.set_yticks(places, labels, fontsize=9)
    axes.set_ylim(y - 0.3, -0.7)
    axes.set_xticks([])
    axes.set_xlabel("universes, by score")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
