"""Values back on the brain and on the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from braindec import checks
from braindec.plots import _style

N_SLICES = 10
MAPS_A_ROW = 6


def montage(
    mask: np.ndarray,
    values: np.ndarray,
    *,
    label: str = "",
    symmetric: bool = False,
    n_slices: int = N_SLICES,
    kind: str = "svg",
) -> Any:
    """Slices of a volume, bottom to top, with the values of its masked voxels.

    Parameters
    ----------
    mask : bool array, shape (x, y, z)
        Voxels in C order of `np.nonzero(mask)` are those of `values`.
    values : array, shape (n_voxels,)
        NaN is left empty.
    label : str
        Of the colour bar, unit included.
    symmetric : bool
        Colours centred on zero.
    n_slices : int
        At most this many of the slices that hold voxels, evenly spread.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    checks.n_axes("mask", mask, ("x", "y", "z"))
    checks.same_length("voxel", mask=np.flatnonzero(mask), values=values)
    volume = np.full(mask.shape, np.nan)
    volume[mask] = values
    filled = np.flatnonzero(mask.any((0, 1)))
    slices = filled[np.linspace(0, len(filled) - 1, min(n_slices, len(filled))).round().astype(int)]
    box = tuple(
        slice(max(0, k.min() - 1), k.max() + 2) for k in np.nonzero(mask)[:2]
    )  # nothing lies outside it
    low, high = _limits(np.asarray(values, dtype=float), symmetric)
    with _style.style():
        n_rows = -(-len(slices) // 5)
        made, axes = _style.figure(
            7.4, 1.85 * n_rows + 0.1, nrows=n_rows, ncols=min(5, len(slices)), squeeze=False
        )
        for panel, z in zip(axes.flat, slices):
            picture = panel.imshow(volume[:, :, z][box].T, vmin=low, vmax=high, origin="lower", interpolation="nearest",
                                   cmap=_style.DIVERGING_MAP if symmetric else _style.MAP)  # fmt: skip
            panel.set_title(f"z = {z}", fontsize=8.5, fontweight="normal", pad=2)
        for panel in axes.flat:
            panel.set_axis_off()
        upright = _style.upright(label, 1.4 * n_rows)
        bar = made.colorbar(picture, ax=axes, shrink=0.85, pad=0.015, label=upright)
        bar.outline.set_visible(False)
        return _style.as_bytes(made, f"{label} on {len(slices)} slices of the volume", kind)


def sensor_map(
    positions: np.ndarray,
    values: np.ndarray,
    *,
    titles: Sequence[str] = (),
    label: str = "",
    symmetric: bool = False,
    kind: str = "svg",
) -> Any:
    """Values of sensors on the head seen from above, nose up, with colours between them interpolated.

    Parameters
    ----------
    positions : array, shape (n_channels, 3)
        Metres in the head frame (x right, y front, z up); rows with NaN are left out.
    values : array, shape (n_channels,) or (n_maps, n_channels)
        Several maps (moments) are drawn beside each other with the same colours.
    titles : sequence of str
        Over each of several maps.
    label : str
        Of the colour bar, unit included.
    symmetric : bool
        Colours centred on zero.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    import mne

    shown = np.atleast_2d(np.asarray(values, dtype=float))
    checks.same_length("channel", positions=positions, values=shown.T)
    known = np.isfinite(positions).all(1)
    flat, shown = _flattened(np.asarray(positions, dtype=float)[known]), shown[:, known]
    across = min(len(shown), MAPS_A_ROW)
    down = -(-len(shown) // across)
    dots, contours = ("k.", 4) if len(shown) == 1 else ("k,", 0)  # small heads have room for colours alone
    width, height = (4.2, 3.4) if len(shown) == 1 else (7.4, 0.35 + 1.5 * down * 5 / across)
    with _style.style():
        made, axes = _style.figure(width, height, nrows=down, ncols=across, squeeze=False)
        for panel, row in zip(axes.flat, shown):
            picture, _ = mne.viz.plot_topomap(
                row, flat, axes=panel, show=False, contours=contours, sensors=dots, sphere=(0.0, 0.0, 0.0, 0.1),
                vlim=_limits(shown, symmetric), cmap=_style.DIVERGING_MAP if symmetric else _style.MAP,
            )  # fmt: skip
        for panel, title in zip(axes.flat, titles):
            panel.set_title(title, fontsize=8.5, fontweight="normal", pad=2)
        for panel in axes.flat[len(shown) :]:
            panel.set_axis_off()
        upright = _style.upright(label, 2.4 if len(shown) == 1 else 0.8 * height)
        bar = made.colorbar(picture, ax=axes, shrink=0.75, pad=0.02, label=upright)
        bar.outline.set_visible(False)
        return _style.as_bytes(made, f"{label} on the head", kind)


def _flattened(positions: np.ndarray) -> np.ndarray:
    """Azimuthal equidistant projection (n, 2): angles from the top of the head become radii; ears lie at 0.1."""
    radius = np.maximum(np.linalg.norm(positions, axis=1), 1e-9)
    from_top = np.arccos(np.clip(positions[:, 2] / radius, -1, 1))
    azimuth = np.arctan2(positions[:, 1], positions[:, 0])
    return (0.1 * from_top / (np.pi / 2))[:, None] * np.stack([np.cos(azimuth), np.sin(azimuth)], 1)


def _limits(values: np.ndarray, symmetric: bool) -> tuple[float, float]:
    """Colour limits: the central 98 % of the values, so that one voxel does not take the whole scale."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [1, 99]) if len(finite) else (0.0, 1.0)
    if symmetric:
        high = max(abs(low), abs(high))
        low = -high
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)
