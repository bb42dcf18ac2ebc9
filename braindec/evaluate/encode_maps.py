"""Encoding models back on the brain: files that other programs open, pictures, and bars of regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import maps
from braindec.evaluate.encoded import Encoded
from braindec.types import SensorSpace, VertexSpace, VoxelSpace

Panel = tuple[str, str, dict[str, Any]]
WHOLE = 20_000  # voxels from which slices show too little of the brain at once
N_RESAMPLES = 500
N_MOMENTS = 6
FSAVERAGE5 = 10_242  # vertices of a hemisphere; those of finer FreeSurfer meshes begin with them
NESTED = ("fsaverage5", "fsaverage6", "fsaverage")
ALL = "all that repeat"
FLAT = 1e-12  # share of a voxel's variance below which a resample of it is constant


def write_maps(found: Mapping[str, Encoded], folder: str | Path) -> list[Path]:
    """Maps of every subject as `data.maps.write` writes them for its space, and the models; paths written.

    Parameters
    ----------
    found : mapping of str to Encoded
    folder : path
        Gets ``<key>_<map>.nii.gz`` (voxels), ``<key>_hemi-L.func.gii`` and ``_hemi-R`` (fsaverage),
        ``<key>.dscalar.nii`` (the Connectome Project's meshes) or ``<key>_maps.h5``, and ``<key>_layer-<number>.h5``.
    """
    folder, written = Path(folder), []
    for key, e in found.items():
        values = brain_maps(e)
        if e.r.shape[1] != e.space.n_features:
            values = {name: one.reshape(e.shape) for name, one in values.items()}
        written += maps.write(values, e.space, folder / key)
        for number, model in enumerate(e.layers.values()):
            written.append(model.save(folder / f"{key}_layer-{number}.h5"))
    return written


def brain_maps(e: Encoded) -> dict[str, np.ndarray]:
    """What is drawn on the brain, each float32 (n_voxels,)."""
    out = {
        "correlation": e.best, "unique_r2": e.best_unique,
        "layer": np.where(e.tested.p_fdr < 0.05, e.chosen, np.nan), "p_max": e.tested.p_max,
    }  # fmt: skip
    if e.normalised is not None:
        out["share_of_ceiling"] = e.normalised.values.numpy()
    return {name: np.asarray(value, dtype=np.float32) for name, value in out.items()}


def brain_panels(e: Encoded) -> list[Panel]:
    """Correlation, what the layer adds, and which layer: slices, a glass brain, a flat map or heads, or nowhere."""
    if isinstance(e.space, SensorSpace):
        return _heads(e)
    found = _place(e)
    if found is None:
        return []
    kind, place, shown = found
    values, name = {k: v[shown] for k, v in brain_maps(e).items()}, e.key.replace("_", " ")
    panels = []
    if "share_of_ceiling" in values and np.isfinite(values["share_of_ceiling"]).any():
        panels.append((f"Share of the noise ceiling, {name}", kind, place | {
            "values": values["share_of_ceiling"], "label": "correlation / its ceiling",
            "caption": f"{e.normalised}."}))  # fmt: skip
    panels.append((f"Where {name} is predicted", kind, place | {"values": values["correlation"], "symmetric": True,
               "label": "correlation, held-out responses"}))  # fmt: skip
    panels.append((f"Beyond nuisance features, {name}", kind, place | {"values": values["unique_r2"], "symmetric": True,
                   "label": "unique R² of the chosen layer"}))  # fmt: skip
    if np.isfinite(values["layer"]).any():
        shown_layers = {
            "values": values["layer"], "label": "layer, voxels at a false discovery rate of 0.05",
            "caption": "; ".join(f"{i}: {layer}" for i, layer in enumerate(e.layers)),
        }  # fmt: skip
        panels.append((f"Layer that predicts best, {name}", kind, place | shown_layers))
    return panels


def regions_of(e: Encoded) -> dict[str, np.ndarray]:
    """Voxels of each region, and of all that count in means; int arrays."""
    chosen = e.training_ceiling is not None and e.kept.any()
    found = {ALL: np.flatnonzero(e.kept)} if chosen else {"all": np.arange(len(e.kept))}
    if e.r.shape[1] == e.space.n_features:
        found |= {name: np.flatnonzero(m) for name, m in e.space.regions.items() if m.any()}
    return found


def unique_by_region(e: Encoded) -> dict[str, tuple[float, float, float]]:
    """Mean test R^2 of the chosen layers beyond nuisance features with a 95 % interval, by region; may be negative.

    Test stimuli (pieces of a continuous run) are resampled; models and voxels stay as they are.
    """
    weights = resampled(e)
    change = weighted_r2(weights, e.predictions, e.responses) - weighted_r2(
        weights, e.nuisance_predictions, e.responses
    )
    out = {}
    for name, members in regions_of(e).items():
        low, high = np.quantile(change[:, members].mean(1), [0.025, 0.975])
        out[name] = (float(e.best_unique[members].mean()), float(low), float(high))
    return out


def resampled(e: Encoded) -> np.ndarray:
    """Weights of test rows in resamples of their blocks, (N_RESAMPLES, n_test), rows with sum 1."""
    return resamples(e.blocks, seeding.numpy_generator(e.settings.seed, "encode interval", e.key))


def resamples(blocks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Weights of rows in bootstrap resamples of their blocks, (N_RESAMPLES, n_rows), each with sum 1."""
    names, member = np.unique(blocks, return_inverse=True)
    drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_RESAMPLES)
    weights = drawn[:, member].astype(np.float64)
    return weights / weights.sum(1, keepdims=True)


def region_panels(e: Encoded) -> list[Panel]:
    """Bars: correlation of every layer by region, and what the chosen layers add to nuisance features."""
    inside, name = regions_of(e), e.key.replace("_", " ")
    panels: list[Panel] = []
    if len(inside) > 1:
        series = {
            layer: np.array([e.r[i, m].mean() for m in inside.values()]) for i, layer in enumerate(e.layers)
        }
        if e.nuisance_r.any():
            series["nuisance features"] = np.array([e.nuisance_r[m].mean() for m in inside.values()])
        none = {layer: np.full((len(inside), 2), np.nan) for layer in series}
        panels.append((f"Layers by region, {name}", "regions", {
            "regions": list(inside), "series": series, "intervals": none, "chance": 0.0,
            "xlabel": "correlation with held-out responses, mean over voxels"}))  # fmt: skip
    if e.nuisance_r.any():
        found = unique_by_region(e)
        value, low, high = (np.array(column) for column in zip(*found.values()))
        panels.append((f"Beyond nuisance features by region, {name}", "regions", {
            "regions": list(found), "series": {"chosen layers": value}, "chance": 0.0, "chance_label": "nothing",
            "intervals": {"chosen layers": np.stack([low, high], 1)}, "xlabel": "test R² beyond nuisance features",
            "caption": "Lines: 95 % of resampled test stimuli. Below zero, the layer added noise."}))  # fmt: skip
    return panels


def weighted_r2(weights: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """R^2 of every voxel (n_resamples, n_voxels) under weights (n_resamples, n); 0 where truth is constant.

    In any unit: EEG in volts has variances of 1e-12, MEG in teslas of 1e-26.
    """
    scale = _spread(truth)
    y, left = (
        (truth - truth.mean(0, dtype=np.float64)) / scale,
        (truth.astype(np.float64) - prediction) / scale,
    )
    spread = weights @ y**2 - (weights @ y) ** 2
    return np.where(spread > FLAT, 1 - weights @ left**2 / np.maximum(spread, FLAT), 0.0)


def weighted_correlations(weights: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Correlation of every voxel (n_resamples, n_voxels) under weights (n_resamples, n); 0 where a side is constant.

    In any unit.
    """
    a, b = ((v - v.mean(0, dtype=np.float64)) / _spread(v) for v in (prediction, truth))
    mean_a, mean_b = weights @ a, weights @ b
    joint = weights @ (a * b) - mean_a * mean_b
    spread_a, spread_b = weights @ a**2 - mean_a**2, weights @ b**2 - mean_b**2
    varies = np.minimum(spread_a, spread_b) > FLAT
    return np.where(varies, joint / np.sqrt(np.where(varies, spread_a * spread_b, 1.0)), 0.0)


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column, 1 where it is constant but for rounding, (n_voxels,)."""
    spread = values.std(0, dtype=np.float64)
    varies = spread > 1e-7 * np.abs(values).max(0, initial=0.0)  # float32 knows no smaller difference
    return np.where(varies, spread, 1.0)


def _place(e: Encoded) -> tuple[str, dict[str, Any], np.ndarray] | None:
    """How a space is drawn: kind of panel, its entries, and the features that it shows."""
    everything = np.arange(e.space.n_features)
    if isinstance(e.space, VoxelSpace):
        # Two slices or fewer have no sides to be seen from.
        sides = int(e.space.mask.any((0, 1)).sum()) > 2 and e.space.n_features > WHOLE
        place = {"mask": e.space.mask, "affine": e.space.affine}
        return "glass_brain" if sides else "volume", place, everything
    if isinstance(e.space, VertexSpace) and e.space.mesh in NESTED:
        shown = np.concatenate([e.space.left, e.space.right]) < FSAVERAGE5
        if shown.any():
            left, right = (v[v < FSAVERAGE5] for v in (e.space.left, e.space.right))
            return "flat_map", {"left": left, "right": right}, np.flatnonzero(shown)
    return None


def _heads(e: Encoded) -> list[Panel]:
    """Topographies of sensors at the moments around the best one; of one kind, places that several share averaged."""
    space = e.space
    if not isinstance(space, SensorSpace) or len(e.best) % space.n_features:
        return []
    kinds = [space.kinds[i] for i in np.flatnonzero(np.isfinite(space.positions).all(1))]
    if not kinds:
        return []
    kind = max(sorted(set(kinds)), key=kinds.count)
    rows = np.flatnonzero((np.array(space.kinds) == kind) & np.isfinite(space.positions).all(1))
    places, member = np.unique(space.positions[rows].round(4), axis=0, return_inverse=True)
    member = member.ravel()
    if len(places) < 4:
        return []
    n_times = len(e.best) // space.n_features
    times = e.times_s if e.times_s is not None and len(e.times_s) == n_times else np.arange(n_times)
    moments = np.unique(np.linspace(0, n_times - 1, min(n_times, 2 * N_MOMENTS)).round().astype(int))
    titles = [f"{1000 * t:.0f} ms" if e.times_s is not None else str(t) for t in times[moments]]
    panels = []
    for title, label, values in (
        ("Where {} is predicted", f"correlation, held-out responses ({kind})", e.best),
        ("Beyond nuisance features, {}", f"unique R² of the chosen layer ({kind})", e.best_unique),
    ):
        over = values.reshape(space.n_features, n_times)[rows][:, moments]
        mean = np.stack([over[member == i].mean(0) for i in range(len(places))])
        shown = {"positions": places, "values": mean.T, "titles": titles, "symmetric": True, "label": label}
        panels.append((title.format(e.key.replace("_", " ")), "topography", shown))
    return panels
