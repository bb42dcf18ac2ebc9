"""Encoding models as scores, sentences and panels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from braindec import config, encoding
from braindec.data import NeuralDataset
from braindec.decoder import versions
from braindec.evaluate import encode_maps
from braindec.evaluate.encoded import Encoded
from braindec.evaluate.scoring import group_scores, parse_key
from braindec.stats.permutation import p_value
from braindec.types import Report, Score

METRIC = "encoding_correlation"
WORDS = {"ncsnr": "signal to noise of single trials (ncsnr)", "split_half": "split halves"}
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
        ceiling_kind = None if e.ceilings is None else e.ceilings.score_kind
        details = {
            "n_voxels": int(kept.sum()), "of_voxels": len(kept), "interval": "bootstrap over test stimuli",
            "chosen_by": "training ceiling" if e.training_ceiling is not None else "all voxels",
            **_ceiling_details(e, kept),
            "n_test_rows": len(e.test_ids),
            "significant_max": int((e.tested.p_max < 0.05).sum()),
            "significant_fdr": int((e.tested.p_fdr < 0.05).sum()),
        }  # fmt: skip
        p = p_value(value, null) if len(e.null) else None
        n, chance, mean = len(np.unique(e.blocks)), 0.0, float(null.mean())
        rows.append(
            Score(
                METRIC, "braindec", protocol, subject, modality, value, interval(e, kept), chance, mean, n,
                ceiling=ceiling, ceiling_kind=ceiling_kind, p=p, null_n=len(e.null),
                per_sample=e.best[kept], details=details,
            )
        )  # fmt: skip
        for system, one in (("nuisance", float(e.nuisance_r[kept].mean())), ("shuffled", float(null[0]))):
            rows.append(Score(METRIC, system, protocol, subject, modality, one, (one, one), chance, mean, n))
    return [*rows, *group_scores(rows)]


def _ceiling_details(e: Encoded, kept: np.ndarray) -> dict[str, Any]:
    """Both kinds of ceiling, and how many voxels each would have kept."""
    if e.ceilings is None:
        return {}
    means = {kind: float(values[kept].mean()) for kind, values in e.ceilings.test.items()}
    return {
        "ceilings": means,
        "ceilings_from": f"repeats of {e.ceilings.repeats_of} stimuli",
        "kept_by": _kept_by(e),
    }


def _kept_by(e: Encoded) -> dict[str, int]:
    if e.ceilings is None:
        return {}
    return {kind: int((v >= e.settings.ceiling).sum()) for kind, v in e.ceilings.training.items()}


def counted(e: Encoded) -> np.ndarray:
    """Voxels that means are over, bool (n_voxels,): all, where none repeats well enough."""
    return e.kept if e.kept.any() else np.ones_like(e.kept)


def interval(e: Encoded, kept: np.ndarray) -> tuple[float, float]:
    """95 % of the mean correlation over these voxels, test stimuli resampled; models and voxels stay as they are."""
    values = correlations(encode_maps.resampled(e), e.predictions[:, kept], e.responses[:, kept])
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def correlations(weights: np.ndarray, predictions: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Mean correlation over voxels under each weighting of the rows (`encode_maps.resamples`), (n_weightings,)."""
    return encode_maps.weighted_correlations(weights, predictions, responses).mean(1)


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
        panels += [*encode_maps.region_panels(e), *encode_maps.brain_panels(e), *_null(e)]
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
    n, n_blocks = len(e.test_ids), len(np.unique(e.blocks))
    test = f"to {n} stimuli" if n == n_blocks else f"in {n} volumes ({n_blocks} pieces of runs)"
    lines = [
        f"{name}: held-out responses {test} are predicted with a mean correlation of "
        f"{e.best[kept].mean():.3f} over {int(kept.sum())} of {total} {unit} (nuisance features alone "
        f"{e.nuisance_r[kept].mean():.3f}{null}).",
        f"{name}: {n_max} of {total} {unit} are predicted better than any under permutation (p < 0.05), {n_fdr} "
        f"with a false discovery rate of 0.05; the layer chosen most often is {favourite}.",
    ]
    if e.nuisance_r.any():
        value, low, high = next(iter(encode_maps.unique_by_region(e).values()))
        lines.append(
            f"{name}: beyond nuisance features the chosen layers explain R² {value:.3f} ({low:.3f} to {high:.3f} over "
            "resampled test stimuli), mean of these voxels."
        )
    by = _kept_by(e)
    if e.normalised is not None and e.ceilings is not None:
        lines.append(f"{name}: {e.normalised} by {WORDS[e.ceilings.kind]}.")
        lines.append(
            f"{name}: voxels with a training ceiling of {e.settings.ceiling:g} or more: "
            + ", ".join(f"{n} of {total} by {WORDS[kind]}" for kind, n in by.items()) + "."
        )  # fmt: skip
    elif e.ceilings is not None:
        mean = ", ".join(f"{v.mean():.3f} by {WORDS[kind]}" for kind, v in e.ceilings.test.items())
        lines.append(
            f"{name}: training stimuli do not repeat, so no voxel is chosen and none given a share of its ceiling; "
            f"test stimuli repeat, and a perfect model would reach a mean correlation of {mean}."
        )
    return lines


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
