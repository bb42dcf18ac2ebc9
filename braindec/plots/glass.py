"""Values of a whole brain in one look: through the brain from three sides, and on the cortex laid flat."""

from __future__ import annotations

from typing import Any

import numpy as np

from braindec import checks
from braindec.plots import _style
from braindec.plots.brains import _limits

VIEWS = (("from the right", 0, "front"), ("from behind", 1, "right"), ("from above", 2, "right"))


def glass_brain(
    mask: np.ndarray,
    values: np.ndarray,
    affine: np.ndarray,
    *,
    label: str = "",
    symmetric: bool = False,
    kind: str = "svg",
) -> Any:
    """Three projections of a volume: of the voxels in a line of sight the one farthest from zero is seen.

    Parameters
    ----------
    mask : bool array, shape (x, y, z)
        Voxels in C order are those of `values`; their outline is drawn in grey.
    values : array, shape (n_voxels,)
        NaN is left empty.
    affine : float array, shape (4, 4)
        Voxel indices to millimetres (x right, y front, z up): axes are turned and flipped to it.
    label : str
        Of the colour bar, unit included.
    symmetric : bool
        Colours centred on zero.
    kind : str
        ``"svg"`` or ``"png"``.
    """
    checks.n_axes("mask", mask, ("x", "y", "z"))
    checks.same_length("voxel", mask=np.flatnonzero(mask), values=values)
    volume = np.full(mask.shape, np.nan)
    volume[mask] = values
    volume, inside = (_to_ras(v, affine) for v in (volume, mask))
    low, high = _limits(np.asarray(values, dtype=float), symmetric)
    colours = _style.DIVERGING_MAP if symmetric else _style.MAP
    with _style.style():
        made, axes = _style.figure(7.4, 2.5, ncols=3, squeeze=False)
        for panel, (view, axis, right) in zip(axes.flat, VIEWS):
            panel.contour(inside.any(axis).T.astype(float), levels=[0.5], colors=_style.FAINT, linewidths=0.8)
            picture = panel.imshow(
                _farthest(volume, axis).T,
                vmin=low,
                vmax=high,
                origin="lower",
                interpolation="nearest",
                cmap=colours,
                aspect=_tall(affine, axis),
            )
            panel.set_title(f"{view}, {right} is right", fontsize=8.5, fontweight="normal", pad=2)
            panel.set_axis_off()
        bar = made.colorbar(picture, ax=axes, shrink=0.85, pad=0.015, label=_style.upright(label, 1.8))
        bar.outline.set_visible(False)
        return _style.as_bytes(made, f"{label} through the brain from three sides", kind)


def flat_map(
    left: np.ndarray,
    right: np.ndarray,
    values: np.ndarray,
    *,
    label: str = "",
    symmetric: bool = False,
    kind: str = "png",
) -> Any:
    """Values of vertices on fsaverage5's cortex, cut open and laid flat, left hemisphere left.

    Parameters
    ----------
    left, right : int array
        Numbers of fsaverage5's vertices (0 to 10241) on each hemisphere, as in `VertexSpace`.
    values : array, shape (len(left) + len(right),)
        NaN is left empty.
    label, symmetric, kind
        As in `glass_brain`.

    Notes
    -----
    The mesh comes with nilearn; nothing is downloaded.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.tri import Triangulation
    from nilearn import datasets, surface

    checks.same_length("vertex", vertices=np.concatenate([left, right]), values=values)
    shown = np.asarray(values, dtype=float)
    low, high = _limits(shown, symmetric)
    colours = _style.DIVERGING_MAP if symmetric else _style.MAP
    scale: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": colours}
    mesh = datasets.fetch_surf_fsaverage("fsaverage5")
    parts = (("flat_left", left, shown[: len(left)]), ("flat_right", right, shown[len(left) :]))
    with _style.style():
        made, axes = _style.figure(7.4, 3.6, ncols=2, squeeze=False)
        for panel, (name, vertices, part) in zip(axes.flat, parts):
            loaded = surface.load_surf_mesh(mesh[name])
            corners, faces = loaded.coordinates, loaded.faces
            whole = np.full(len(corners), np.nan)
            whole[vertices] = part
            x, y = corners[:, 0], corners[:, 1]
            grey = {"cmap": "Greys", "vmin": -0.2, "vmax": 1.0, "shading": "flat", "rasterized": True}
            panel.tripcolor(Triangulation(x, y, faces), np.zeros(len(x)), **grey)
            known = faces[np.isfinite(whole[faces]).all(1)]
            if len(known):
                panel.tripcolor(
                    Triangulation(x, y, known),
                    np.nan_to_num(whole),
                    shading="gouraud",
                    rasterized=True,
                    **scale,
                )
            panel.set_aspect("equal")
            panel.set_axis_off()
        bar = made.colorbar(
            ScalarMappable(Normalize(low, high), colours),
            ax=axes,
            shrink=0.8,
            pad=0.015,
            label=_style.upright(label, 2.4),
        )
        bar.outline.set_visible(False)
        return _style.as_bytes(made, f"{label} on the flattened cortex", kind)


def _to_ras(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The volume with axes turned to right, front, up, as nearly as voxels allow."""
    linear, order = np.asarray(affine, dtype=float)[:3, :3], _order(affine)
    turned = volume.transpose(order)
    flips = [axis for axis, source in enumerate(order) if linear[axis, source] < 0]
    return np.flip(turned, tuple(flips))


def _order(affine: np.ndarray) -> list[int]:
    """Which axes of the volume run to right, front and up, as nearly as voxels allow."""
    linear = np.asarray(affine, dtype=float)[:3, :3]
    order, left_over = [], [0, 1, 2]
    for world in range(3):
        axis = max(left_over, key=lambda a: abs(linear[world, a]))
        order.append(axis)
        left_over.remove(axis)
    return order


def _tall(affine: np.ndarray, axis: int) -> float:
    """Height of a voxel over its width, seen along an axis of right, front, up."""
    sizes = np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)[_order(affine)]
    wide, high = np.delete(sizes, axis)
    return float(high / wide)


def _farthest(volume: np.ndarray, axis: int) -> np.ndarray:
    """Along an axis the value farthest from zero; NaN where there is none."""
    size = np.where(np.isnan(volume), -1.0, np.abs(volume))
    place = np.expand_dims(size.argmax(axis), axis)
    return np.take_along_axis(volume, place, axis).squeeze(axis)
