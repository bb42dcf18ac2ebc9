"""Latents of an image model and the brain: what they stand for, where and when they are read, which claims stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from braindec import checks
from braindec.plots import _style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VERDICT_COLOURS = {
    "stands": _style.COLOURS[2],
    "not above baselines": _style.COLOURS[1],
    "not read": _style.FAINT,
}
NOT_DRAWN = "not tested"
LINES = (*_style.COLOURS[3:], _style.COLOURS[0], _style.INK)
FREQUENCIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MOST_BARS = 8  # places; more are times
VERDICT_SHAPES = {"stands": "o", "not above baselines": "s", "not read": "x"}


def brain_from_above(values: np.ndarray, largest: float | None = None) -> bytes:
    """PNG of one brain seen from above, on a scale about zero; for pages that show many beside each other.

    Parameters
    ----------
    values : array, shape (height, width)
        NaN is left empty.
    largest : float, optional
        Where the colours end on both sides; the same for maps that are to be compared.
    """
    values = np.asarray(values, dtype=float)
    known = np.abs(values[np.isfinite(values)])
    end = float(largest or (known.max() if known.size else 0.0)) or 1.0
    with _style.style():
        made, axes = _style.figure(1.0, 1.0 * values.shape[0] / values.shape[1], dense=True)
        axes.imshow(values, cmap=_style.DIVERGING_MAP, vmin=-end, vmax=end, interpolation="nearest")
        axes.set_axis_off()
        return _style.png(made, background="none")


def place_bars(values: np.ndarray, names: Sequence[str], *, top: float = 1.0, kind: str = "svg") -> Any:
    """Areas of one latent by place, from chance up: a bar a region, or a line over times.

    Parameters
    ----------
    values : array, shape (n_places,)
        Areas under the ROC.
    names : sequence of str, length n_places
        Of more than eight places (times) the empty ones are not named.
    top : float
        Upper end of the axis, the same for latents that are to be compared.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    values = np.asarray(values, dtype=float)
    n = checks.same_length("place", values=values, names=names)
    with _style.style():
        made, axes = _style.figure(3.3, 1.25)
        at, blue = np.arange(n), _style.COLOURS[0]
        if n > MOST_BARS:
            axes.fill_between(at, 0.5, values, color=blue, alpha=0.25, lw=0, step="mid")
            axes.step(at, values, color=blue, lw=1.8, where="mid")
        else:
            axes.bar(at, values - 0.5, bottom=0.5, color=blue, width=0.66)
        axes.axhline(0.5, color=_style.FAINT, lw=1.1, ls="--")
        low = min(0.45, float(np.nanmin(values)) - 0.01)
        axes.set(ylim=(low, top), yticks=[0.5, round(top, 2)], xlim=(-0.6, n - 0.4))
        named = [i for i in range(n) if names[i]]
        axes.set_xticks(named, [str(names[i]) for i in named])
        axes.tick_params(length=0, labelsize=9.5)
        best = int(np.nanargmax(values))
        return _style.as_bytes(made, f"area by place, largest {values[best]:.2f}", kind)


def latent_map(
    values: np.ndarray,
    columns: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    chance: float = 0.5,
    limit: np.ndarray | None = None,
    xlabel: str = "",
    label: str = "area under the ROC",
    kind: str = "svg",
) -> Any:
    """Heat map of latents in rows and places (regions, times) in columns.

    Parameters
    ----------
    values : array, shape (n_places, n_latents)
    columns : sequence of str, length n_places
    groups : sequence of str, length n_latents, optional
        Latents of a group stand together, named and parted by lines; within one, those that peak early come first.
    chance : float
        Where the colour scale begins; 0 is its middle, for values that may be negative.
    limit : bool array, shape (n_places, n_latents), optional
        Where True a dot marks the cell: above the largest value of the null.
    xlabel, label : str
    kind : str
        ``"svg"`` or ``"png"``.
    """
    values = np.asarray(values, dtype=float)
    checks.same_length("place", values=values, columns=columns)
    order, edges, names = _ordered(values, groups)
    shown = values[:, order].T
    low, high = _scale(shown, chance)
    with _style.style():
        made, axes = _style.figure(
            min(9.4, 3.4 + 0.34 * len(columns)), min(7.5, 1.4 + 0.045 * len(order) + 1.2)
        )
        drawn = axes.imshow(
            shown, aspect="auto", cmap=_style.MAP if chance else _style.DIVERGING_MAP, vmin=low, vmax=high,
            interpolation="nearest",
        )  # fmt: skip
        for edge in edges[1:-1]:
            axes.axhline(edge - 0.5, color=_style.INK, lw=1.2)
        middle = [(a + b - 1) / 2 for a, b in pairwise(edges)]
        axes.set_yticks(middle, names if groups is not None else ["" for _ in names])
        if groups is None:
            axes.set_ylabel(f"{len(order)} latents, those that peak first on top")
        if limit is not None:
            y, x = np.nonzero(np.asarray(limit)[:, order].T)
            axes.plot(x, y, ".", color=_style.INK, ms=1.8, ls="")
        step = max(1, round(len(columns) / 12))
        turned = max(len(str(c)) for c in columns) * len(columns[::step]) > 70
        axes.set_xticks(
            range(0, len(columns), step), list(columns[::step]), rotation=40 if turned else 0,
            ha="right" if turned else "center",
        )  # fmt: skip
        axes.set_xlabel(xlabel)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = made.colorbar(drawn, ax=axes, pad=0.02, shrink=0.85, label=label)
        bar.outline.set_visible(False)
        return _style.as_bytes(made, f"{label} of {len(order)} latents by {xlabel or 'place'}", kind)


def _scale(values: np.ndarray, chance: float) -> tuple[float, float]:
    """Colour limits: one cell does not take the whole scale."""
    if chance == 0:
        largest = float(np.nanpercentile(np.abs(values), 99)) or 0.1
        return -largest, largest
    return chance, max(chance + 0.05, float(np.nanpercentile(values, 99)))


def _ordered(values: np.ndarray, groups: Sequence[str] | None) -> tuple[np.ndarray, list[int], list[str]]:
    """Rows by group and then by the place of their peak, where each group begins and ends, and their names."""
    n = values.shape[1]
    labels = [""] * n if groups is None else list(groups)
    checks.same_length("latent", values=values.T, groups=labels)
    names = list(dict.fromkeys(labels))
    peak = np.nan_to_num(values, nan=-np.inf).argmax(0)
    order = np.lexsort((peak, [names.index(label) for label in labels]))
    counts = [labels.count(name) for name in names]
    return order, [0, *np.cumsum(counts).tolist()], names


def claim_scatter(
    rate: np.ndarray,
    auc: np.ndarray,
    verdict: Sequence[str],
    *,
    rates: np.ndarray | None = None,
    baselines: Mapping[str, np.ndarray] | None = None,
    kind: str = "svg",
) -> Any:
    """Each latent's area against how often it is active, with what baselines reach at that frequency.

    Parameters
    ----------
    rate, auc : array, shape (n_latents,)
    verdict : sequence of str
        Of `sparse.claims.Claim`; latents that were not tested are left out.
    rates : array, shape (n_rates,), optional
    baselines : mapping of str to array, shape (n_rates,), optional
        The quantile of each baseline that a claim must exceed.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    rate, auc, words = np.asarray(rate), np.asarray(auc), np.asarray(verdict)
    checks.same_length("latent", rate=rate, auc=auc, verdict=words)
    for word in dict.fromkeys(words.tolist()):  # a point of another verdict would not be drawn
        checks.one_of("verdict", word, [*VERDICT_COLOURS, NOT_DRAWN])
    with _style.style():
        made, axes = _style.figure(9.4, 4.0)
        _style.light_grid(axes, "both")
        for word, colour in VERDICT_COLOURS.items():
            at = words == word
            if at.any():
                axes.plot(rate[at], auc[at], VERDICT_SHAPES[word], color=colour, ms=5, alpha=0.85, ls="",
                          label=f"{word}: {at.sum()}")  # fmt: skip
        for k, (name, limit) in enumerate((baselines or {}).items()):
            style = ("-", "--", "-.", ":")[k % 4]
            axes.plot(rates, limit, color=LINES[k % len(LINES)], ls=style, lw=1.6,
                      label=f"95 % of {name}")  # fmt: skip
        axes.axhline(0.5, color=_style.FAINT, lw=1.3, ls="--", label="chance")
        axes.set_xscale("log")
        shown = rate[words != "not tested"]
        ticks = [
            t
            for t in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
            if shown.size and shown.min() / 1.6 <= t <= shown.max() * 1.6
        ]
        axes.set_xticks(ticks, [f"{t:.1%}".replace(".0%", "%") for t in ticks])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="share of stimuli in which the latent is active", ylabel="area under the ROC")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=1.6, labelspacing=0.35)
        return _style.as_bytes(made, f"area under the ROC of {len(shown)} latents by frequency", kind)


def latent_timing(
    times: np.ndarray,
    similarity: np.ndarray,
    regions: Sequence[str],
    latency: np.ndarray,
    planted: np.ndarray,
    null: np.ndarray,
    rho: float,
    *,
    kind: str = "svg",
) -> Any:
    """When the latents of each region are read: courses, recovered beside planted latencies, and the null.

    Parameters
    ----------
    times : array, shape (n_times,)
        Seconds.
    similarity : array, shape (n_pairs, n_regions, n_times)
    regions : sequence of str
    latency : array, shape (n_pairs, n_regions)
        Seconds; NaN where none was found.
    planted : array, shape (n_regions,)
        Seconds.
    null : array, shape (n_null,)
        `rho` where nothing is to be found.
    rho : float
        Spearman correlation of recovered and planted latencies.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    from matplotlib.transforms import blended_transform_factory

    ms = 1000 * np.asarray(times, dtype=float)
    colours = _cycled(len(regions))
    with _style.style():
        made, axes = _style.figure(10.6, 3.9, ncols=3, gridspec_kw={"width_ratios": [1.75, 1.1, 0.95]})
        left, middle, right = axes
        _style.light_grid(left, "y")
        low, high = similarity.min(), similarity.max()
        top = blended_transform_factory(left.transData, left.transAxes)
        for k, name in enumerate(regions):
            for course in similarity[:, k]:
                left.plot(ms, course, color=colours[k], lw=0.7, alpha=0.3)
            left.plot(ms, similarity[:, k].mean(0), color=colours[k], lw=2.4, label=f"{name} fMRI region")
            left.plot(
                1000 * planted[k], 0.985, marker="v", color=colours[k], ms=9, transform=top, clip_on=False
            )
        left.axhline(0, color=_style.FAINT, lw=1)
        left.axvline(0, color=_style.FAINT, lw=1, ls="--")
        left.text(0, low - 0.1 * (high - low), " picture", color=_style.FAINT, va="bottom", fontsize=9)
        left.set_ylim(low - 0.1 * (high - low), high + 0.55 * (high - low))
        left.set(
            xlabel="time of EEG, ms",
            ylabel="EEG at this time reads the latents\nthat fMRI reads in the region (r)",
        )
        left.set_title("When EEG reads each region's latents")
        left.legend(
            loc="upper right",
            bbox_to_anchor=(1.0, 0.95),
            fontsize=9,
            title="▼ planted latency",
            title_fontsize=9,
        )
        _recovered(middle, regions, latency, planted, rho)
        _null_of_rho(right, null, rho)
        words = "; ".join(f"{r}: planted {1000 * p:.0f} ms" for r, p in zip(regions, planted))
        return _style.as_bytes(made, f"latencies recovered with rho {rho:.2f}; {words}", kind)


def _cycled(n: int) -> list[str]:
    return [_style.COLOURS[k % len(_style.COLOURS)] for k in range(n)]


def _recovered(
    axes: Axes, regions: Sequence[str], latency: np.ndarray, planted: np.ndarray, rho: float
) -> None:
    _style.light_grid(axes, "both")
    found = 1000 * np.asarray(latency, dtype=float)
    goal = 1000 * np.asarray(planted, dtype=float)
    shown = np.concatenate([found[np.isfinite(found)], goal])  # what was not found has no place
    ends = [shown.min() - 20, shown.max() + 20]
    axes.plot(ends, ends, color=_style.FAINT, lw=1.2, ls="--")
    colours = _cycled(len(regions))
    jitter = np.linspace(-6, 6, len(found)) if len(found) > 1 else np.zeros(1)
    for k in range(len(regions)):
        axes.plot(goal[k] + jitter, found[:, k], "o", color=colours[k], ms=6.5, alpha=0.8, ls="")
    axes.set(xlim=(goal.min() - 30, goal.max() + 30), ylim=ends, xticks=goal)
    axes.set_xticklabels([f"{g:.0f}\n{r}" for g, r in zip(goal, regions)], fontsize=8.5)
    axes.set(xlabel="planted latency, ms", ylabel="recovered latency, ms")
    axes.set_title(f"Recovered: rho {rho:.2f}")


def _null_of_rho(axes: Axes, null: np.ndarray, rho: float) -> None:
    _style.light_grid(axes, "y")
    null = np.asarray(null, dtype=float)
    axes.hist(null, bins=[-1 + k / 8 for k in range(17)], color=_style.FAINT, alpha=0.65)
    mean = float(null.mean())
    axes.axvline(mean, color=_style.INK, lw=1.4, ls=":")
    axes.axvline(rho, color=_style.COLOURS[0], lw=2.4)
    height = axes.get_ylim()[1] * 1.3
    axes.set_ylim(0, height)
    told: dict[str, Any] = {"va": "top", "fontsize": 9}
    axes.text(rho - 0.04, height * 0.98, f"found\n{rho:.2f}", color=_style.COLOURS[0], ha="right", **told)
    axes.text(mean - 0.04, height * 0.98, f"mean\n{mean:+.2f}", ha="right", **told)
    axes.set(xlim=(-1.05, 1.1), xlabel="rho, planted and recovered", ylabel=f"of {len(null)} refits")
    axes.locator_params(axis="y", integer=True)
    axes.set_title("Stimuli permuted")
