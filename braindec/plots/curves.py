"""Lines over steps and over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from braindec import checks
from braindec.plots import _style


def training_curve(
    step: np.ndarray,
    series: Mapping[str, np.ndarray],
    *,
    xlabel: str = "step",
    ylabel: str = "loss",
    log: bool = False,
    kind: str = "svg",
) -> Any:
    """Losses and scores over training steps.

    Parameters
    ----------
    step : array, shape (n,)
    series : mapping of str to array, shape (n,)
        A line each; NaN where it was not measured.
    xlabel, ylabel : str
    log : bool
        Logarithmic value axis.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    with _style.style():
        made, axes = _style.figure(9.4, 2.9)
        _style.light_grid(axes, "y")
        for number, (label, values) in enumerate(series.items()):
            colour = _style.COLOURS[number % len(_style.COLOURS)]
            checks.same_length("step", step=step, **{label: values})
            values = np.asarray(values, dtype=float)
            known = np.isfinite(values)
            marker = "o" if known.sum() < 40 else ""
            axes.plot(
                np.asarray(step)[known],
                values[known],
                color=colour,
                lw=1.8,
                ls="-" if number < len(_style.COLOURS) else "--",
                marker=marker,
                ms=3.5,
                label=label,
            )
        axes.set(xlabel=xlabel, ylabel=_style.upright(ylabel, 2.2))
        if log:
            axes.set_yscale("log")
        if len(series) > 1:
            axes.legend(loc="best", ncols=min(3, len(series)))
        return _style.as_bytes(made, f"{ylabel} over {xlabel}: {', '.join(series)}", kind)


def time_course(
    time_s: np.ndarray,
    values: np.ndarray,
    *,
    chance: float,
    interval: np.ndarray | None = None,
    null_limit: float | None = None,
    significant: np.ndarray | None = None,
    baseline: tuple[float, float] | None = None,
    ylabel: str = "score",
    kind: str = "svg",
) -> Any:
    """A score at each time after onset, with what is significant against the maximum of the null over time.

    Parameters
    ----------
    time_s : array, shape (n_times,)
        Seconds from onset.
    values : array, shape (n_times,)
    chance : float
    interval : array, shape (n_times, 2), optional
        95 % interval at each time.
    null_limit : float, optional
        95 % limit of the maximum over all times of the permutation null.
    significant : bool array, shape (n_times,), optional
        Marked by a bar at the foot.
    baseline : (float, float), optional
        Seconds of the period before onset, where nothing can be decoded; shaded.
    ylabel : str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    checks.same_length("time", time_s=time_s, values=values)
    blue = _style.COLOURS[0]
    with _style.style():
        made, axes = _style.figure(9.4, 3.0)
        _style.light_grid(axes, "y")
        if baseline is not None:
            axes.axvspan(*baseline, color=_style.FAINT, alpha=0.16, lw=0)
            middle, above = float(np.mean(baseline)), axes.get_xaxis_transform()
            axes.text(middle, 0.97, "baseline", transform=above, ha="center", va="top", fontsize=9)
        axes.axhline(chance, color=_style.FAINT, lw=1.2, ls="--", label="chance")
        if null_limit is not None:
            axes.axhline(
                null_limit, color=_style.COLOURS[4], lw=1.2, ls=":", label="95 % limit of\nthe null's maximum"
            )
        axes.axvline(0, color=_style.FAINT, lw=0.8)
        if interval is not None:
            axes.fill_between(
                time_s, *np.asarray(interval).T, color=blue, alpha=0.2, lw=0, label="95 % interval"
            )
        axes.plot(time_s, values, color=blue, lw=2)
        axes.margins(x=0.01, y=0.12)
        if significant is not None and np.any(significant):
            low, high = axes.get_ylim()
            foot = np.where(significant, low + 0.03 * (high - low), np.nan)
            axes.plot(
                time_s, foot, color=blue, lw=4, solid_capstyle="butt", label="p < 0.05, corrected\nover time"
            )
            axes.set_ylim(low, high)
        axes.set(xlabel="time from onset (s)", ylabel=_style.upright(ylabel, 2.3))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), borderaxespad=0.2, handlelength=1.6)
        return _style.as_bytes(made, f"{ylabel} over time from onset", kind)


def time_by_time(
    time_s: np.ndarray,
    values: np.ndarray,
    *,
    chance: float,
    significant: np.ndarray | None = None,
    ylabel: str = "score",
    kind: str = "svg",
) -> Any:
    """A score for each time of training (upwards) and time of testing (to the right).

    Parameters
    ----------
    time_s : array, shape (n_times,)
        Seconds from onset, evenly spaced.
    values : array, shape (n_times, n_times)
        Training times in rows.
    chance : float
        The middle of the colours.
    significant : bool array, shape (n_times, n_times), optional
        Inside a line.
    ylabel : str
        What the colours show.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    values = np.asarray(values, dtype=float)
    checks.same_length("time", time_s=time_s, values=values)
    reach = max(float(np.abs(values - chance).max()), 1e-6)
    half = float(np.diff(time_s).mean()) / 2 if len(time_s) > 1 else 0.5
    low, high = float(np.min(time_s)) - half, float(np.max(time_s)) + half
    with _style.style():
        made, axes = _style.figure(5.4, 4.2)
        shown = axes.imshow(
            values, origin="lower", extent=(low, high, low, high), cmap=_style.DIVERGING_MAP, vmin=chance - reach,
            vmax=chance + reach, interpolation="nearest",
        )  # fmt: skip
        if significant is not None and np.any(significant) and not np.all(significant):
            inside = np.kron(np.asarray(significant, dtype=float), np.ones((8, 8)))  # the line follows cells
            fine = low + (np.arange(len(inside)) + 0.5) * (high - low) / len(inside)
            axes.contour(fine, fine, inside, [0.5], colors="black", linewidths=1.2)
        axes.plot((low, high), (low, high), color=_style.FAINT, lw=0.8, ls=":")
        for line in (axes.axhline, axes.axvline):
            line(0, color=_style.FAINT, lw=0.8)
        axes.set(xlabel="tested at (s)", ylabel="trained at (s)", xlim=(low, high), ylim=(low, high))
        made.colorbar(shown, ax=axes, label=ylabel)
        return _style.as_bytes(made, f"{ylabel} for each time of training and testing", kind)
