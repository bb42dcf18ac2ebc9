"""Encoding models as scores, panels and maps on the brain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import config, encoding, seeding, store
from braindec.data import NeuralDataset, maps
from braindec.decoder import versions
from braindec.evaluate.encode import Encoded
from braindec.evaluate.scoring import group_scores, parse_key
from braindec.types import Report, Score, SensorSpace, VertexSpace, VoxelSpace

METRIC = "encoding_correlation"
N_RESAMPLES = 500
WHOLE = 20_000  # voxels from which slices show too little of the brain at once
LIMITS = (
    "That a layer predicts a voxel does not say that the voxel computes what the layer does: layers share most of what "
    "they predict. Look at what a layer adds to pixels and to the same network with random weights.",
    "The layer of a voxel is chosen on training stimuli; neighbouring layers are often equally good, and the map of "
    "choices is noisier than the map of correlations.",
    "Each subject is fitted and judged alone; means over few subjects say little of other people.",
)


def scores(found: Mapping[str, Encoded], protocol: str) -> list[Score]:
    """Mean test correlation over kept voxels: of their chosen layers, of nuisance features alone, of shuffled pairs."""
    rows = []
    for key, e in found.items():
        subject, modality = parse_key(key)
        kept = counted(e)
        null = e.null[:, kept].mean(1) if len(e.null) else np.zeros(1)
        value = float(e.best[kept].mean())
        ceiling = None if e.ceiling is None else float(e.ceiling[kept].mean())
        details = {
            "n_voxels": int(kept.sum()), "of_voxels": len(kept), "interval": "bootstrap over test stimuli",
            "chosen_by": "training ceiling" if e.training_ceiling is not None else "all voxels",
            "significant_max": int((e.tested.p_max < 0.05).sum()),
            "significant_fdr": int((e.tested.p_fdr < 0.05).sum()),
        }  # fmt: skip
        p = float((np.sum(null >= value) + 1) / (len(null) + 1)) if len(e.null) else None
        n, chance, mean = len(e.test_ids), 0.0, float(null.mean())
        rows.append(
            Score(
                METRIC, "braindec", protocol, subject, modality, value, interval(e, kept), chance, mean, n,
                ceiling=ceiling, ceiling_kind=None if ceiling is None else "ncsnr", p=p, null_n=len(e.null),
                per_sample=e.best[kept], details=details,
            )
        )  # fmt: skip
        for system, one in (("nuisance", float(e.nuisance_r[kept].mean())), ("shuffled", float(null[0]))):
            rows.append(Score(METRIC, system, protocol, subject, modality, one, (one, one), chance, mean, n))
    return [*rows, *group_scores(rows)]


def counted(e: Encoded) -> np.ndarray:
    """Voxels that means are over, bool (n_voxels,): all, where none repeats well enough."""
    return e.kept if e.kept.any() else np.ones_like(e.kept)


def interval(e: Encoded, kept: np.ndarray) -> tuple[float, float]:
    """95 % of the mean correlation over these voxels, test stimuli resampled; models and voxels stay as they are."""
    generator = seeding.numpy_generator(e.settings.seed, "encode interval", e.key)
    n = len(e.test_ids)
    weights = generator.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES) / n
    a, b = (v[:, kept].astype(np.float64) for v in (e.predictions, e.responses))
    mean_a, mean_b = weights @ a, weights @ b
    joint = weights @ (a * b) - mean_a * mean_b
    spread = (weights @ a**2 - mean_a**2) * (weights @ b**2 - mean_b**2)
    values = (joint / np.sqrt(np.maximum(spread, 1e-24))).mean(1)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def report(
    found: Mapping[str, Encoded], dataset: NeuralDataset, *, protocol: str = "heldout_stimuli"
) -> Report:
    """Scores, a table a subject, regions, maps, nulls and limits.

    Parameters
    ----------
    found : mapping of str to Encoded
        From `encode`.
    dataset : NeuralDataset
    protocol : str
        Name that the scores carry.
    """
    rows = scores(found, protocol)
    first = next(iter(found.values()))
    said = [line for e in found.values() for line in sentences(e)]
    panels: list[tuple[str, str, dict[str, Any]]] = [
        ("What encoding models predict", "text", {"text": [f"- {line}" for line in said]}),
        ("Layers", "table", _table(found)),
    ]
    for e in found.values():
        panels += [*_regions(e), *_brain(e), *_null(e)]
    panels.append(
        ("What this does not show", "text", {"text": [f"- {line}" for line in LIMITS], "section": "limits"})
    )
    run = {
        "title": f"Encoding models of {dataset.name}", "summary": said[0], "said": said, "protocol": protocol,
        "dataset": dataset.identity(), "layers": list(first.layers), "settings": config.to_json(first.settings),
        "versions": versions(), "seed": first.settings.seed,
    }  # fmt: skip
    return Report(tuple(rows), run, tuple(panels))


def sentences(e: Encoded) -> list[str]:
    """What was found of one subject, counts and all."""
    unit = "voxels" if len(e.shape) == 1 else "channels at a time"
    name, total = e.key.replace("_", " "), len(e.kept)
    kept = counted(e)
    names = list(e.layers)
    favourite = names[int(np.bincount(e.chosen[kept], minlength=len(names)).argmax())]
    null = f", refitted to shuffled stimuli {e.null[:, kept].mean():.3f}" if len(e.null) else ""
    n_max, n_fdr = (int((p < 0.05).sum()) for p in (e.tested.p_max, e.tested.p_fdr))
    lines = [
        f"{name}: held-out responses to {len(e.test_ids)} stimuli are predicted with a mean correlation of "
        f"{e.best[kept].mean():.3f} over {int(kept.sum())} of {total} {unit} (nuisance features alone "
        f"{e.nuisance_r[kept].mean():.3f}{null}).",
        f"{name}: {n_max} of {total} {unit} are predicted better than any under permutation (p < 0.05), {n_fdr} "
        f"with a false discovery rate of 0.05; the layer chosen most often is {favourite}.",
    ]
    share = e.normalised
    return lines if share is None else [*lines, f"{name}: {share}."]


def write_maps(found: Mapping[str, Encoded], folder: str | Path) -> list[Path]:
    """Maps of every subject: NIfTI images for voxels, .h5 arrays for anything else; paths written.

    Parameters
    ----------
    found : mapping of str to Encoded
    folder : path
        Gets ``<key>_<map>.nii.gz``, and the models of the layers as ``<key>_<number>.h5``.
    """
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for key, e in found.items():
        values = brain_maps(e)
        if isinstance(e.space, VoxelSpace):
            for name, one in values.items():
                path = folder / f"{key}_{name}.nii.gz"
                maps.to_nifti(one, e.space, fill=float("nan")).to_filename(path)
                written.append(path)
        else:
            path = folder / f"{key}_maps.h5"
            with store.writer(path) as out:
                for name, one in values.items():
                    out.array(name, one.reshape(e.shape))
                out.attributes({"content": "encoding maps", "subject": key})
            written.append(path)
        for number, model in enumerate(e.layers.values()):
            written.append(model.save(folder / f"{key}_layer-{number}.h5"))
    return written


def brain_maps(e: Encoded) -> dict[str, np.ndarray]:
    """What is drawn on the brain, each float32 (n_voxels,)."""
    best = np.arange(e.r.shape[1])
    out = {
        "correlation": e.best, "unique_r2": e.unique[e.chosen, best],
        "layer": np.where(e.tested.p_fdr < 0.05, e.chosen, np.nan), "p_max": e.tested.p_max,
    }  # fmt: skip
    if e.normalised is not None:
        out["share_of_ceiling"] = e.normalised.values.numpy()
    return {name: np.asarray(value, dtype=np.float32) for name, value in out.items()}


def _table(found: Mapping[str, Encoded]) -> dict[str, Any]:
    rows = []
    for key, e in found.items():
        kept = counted(e)
        for number, name in enumerate(e.layers):
            chosen = int((e.chosen[kept] == number).sum())
            cells = (e.cv[number], e.r[number], e.alone[number], e.unique[number])
            rows.append(
                [
                    key.replace("_", " "),
                    name,
                    *(f"{c[kept].mean():.3f}" for c in cells),
                    f"{chosen} of {kept.sum()}",
                ]
            )
        low = (e.nuisance_cv, e.nuisance_r, e.nuisance_r2)
        rows.append(
            [
                key.replace("_", " "),
                "nuisance features alone",
                *(f"{c[kept].mean():.3f}" for c in low),
                "",
                "",
            ]
        )
    columns = ["subject", "layer", "training R², cross-validated", "test r", "test R² alone",
               "test R² beyond nuisance", "voxels that chose it"]  # fmt: skip
    caption = (
        "Means over voxels whose responses repeat. Each layer stands beside the nuisance features; unique variance is "
        "not clipped, so noise and overfitting show as negative numbers."
    )
    return {"columns": columns, "rows": rows, "caption": caption}


def _regions(e: Encoded) -> list[tuple[str, str, dict[str, Any]]]:
    inside = {name: np.flatnonzero(members) for name, members in e.space.regions.items() if members.any()}
    if not inside or e.r.shape[1] != e.space.n_features:
        return []
    series = {name: np.array([e.r[i, m].mean() for m in inside.values()]) for i, name in enumerate(e.layers)}
    if e.nuisance_r.any():
        series["nuisance features"] = np.array([e.nuisance_r[m].mean() for m in inside.values()])
    none = {name: np.full((len(inside), 2), np.nan) for name in series}
    payload = {"regions": list(inside), "series": series, "intervals": none, "chance": 0.0,
               "xlabel": "correlation with held-out responses, mean over voxels"}  # fmt: skip
    return [(f"Layers by region, {e.key.replace('_', ' ')}", "regions", payload)]


def _brain(e: Encoded) -> list[tuple[str, str, dict[str, Any]]]:
    values, name = brain_maps(e), e.key.replace("_", " ")
    if isinstance(e.space, VoxelSpace):
        # Two slices or fewer have no sides to be seen from.
        kind = (
            "glass_brain"
            if int(e.space.mask.any((0, 1)).sum()) > 2 and e.space.n_features > WHOLE
            else "volume"
        )
        place = {"mask": e.space.mask, "affine": e.space.affine}
    elif isinstance(e.space, VertexSpace) and e.space.mesh == "fsaverage5":
        kind, place = "flat_map", {"left": e.space.left, "right": e.space.right}
    elif isinstance(e.space, SensorSpace) and np.isfinite(e.space.positions).all(1).any():
        values = {
            k: _over_time(v, e.shape, e.space) for k, v in values.items() if k in ("correlation", "unique_r2")
        }
        place, kind = {"positions": e.space.positions}, "topography"
    else:
        return []
    panels = [(f"Where {name} is predicted", kind, place | {"values": values["correlation"], "symmetric": True,
               "label": "correlation, held-out responses"})]  # fmt: skip
    panels.append((f"Beyond nuisance features, {name}", kind, place | {"values": values["unique_r2"], "symmetric": True,
                   "label": "unique R² of the chosen layer"}))  # fmt: skip
    if "layer" in values and np.isfinite(values["layer"]).any():
        shown = {
            "values": values["layer"], "label": "layer, voxels at a false discovery rate of 0.05",
            "caption": "; ".join(f"{i}: {layer}" for i, layer in enumerate(e.layers)),
        }  # fmt: skip
        panels.append((f"Layer that predicts best, {name}", kind, place | shown))
    return panels


def _over_time(values: np.ndarray, shape: Sequence[int], space: SensorSpace) -> np.ndarray:
    """The largest value over time of each channel."""
    return values.reshape(shape).max(1) if len(shape) == 2 else values.reshape(space.n_features, -1).max(1)


def _null(e: Encoded) -> list[tuple[str, str, dict[str, Any]]]:
    if not len(e.null):
        return []
    kept = counted(e)
    payload = {
        "null": e.null[:, kept].mean(1), "value": float(e.best[kept].mean()),
        "xlabel": "mean correlation over voxels", "caption": "Bars: models refitted to permuted training stimuli.",
    }  # fmt: skip
    return [(f"Beside shuffled stimuli, {e.key.replace('_', ' ')}", "histogram", payload)]


def product_shares(
    model: encoding.BandedEncoding, features: Mapping[str, Any], truth: Any
) -> dict[str, np.ndarray]:
    """R² of a banded model divided among its feature spaces by the product measure, each float32 (n_voxels,)."""
    parts = encoding.product_measure(model.predict_split(features), truth)
    return {name: part.cpu().numpy() for name, part in zip(model.names, parts)}
