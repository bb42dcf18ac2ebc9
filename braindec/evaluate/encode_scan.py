"""Many models against the brain under one set of rules: trained, with random weights, and pixels, subject by subject.

Every model's layers are fitted beside the same coarse pixels, chosen for every voxel on training stimuli, and judged on
the same test stimuli over the same voxels. A trained network stands beside itself before training: what both predict
was not learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braindec import checks, config, encoding, seeding, store
from braindec.data import NeuralDataset
from braindec.decoder import versions
from braindec.evaluate import encode, encode_features, encode_maps
from braindec.evaluate.encoded import SETTINGS, Encoded, Settings
from braindec.evaluate.scoring import group_scores, parse_key
from braindec.stats.intervals import subject_interval
from braindec.stats.permutation import p_value
from braindec.types import Embeddings, Report, Score

PIXELS = "pixels:height=8,width=8,colour=rgb"
LOW_LEVEL = "pixels alone"
RANDOM = "!random"
METRIC = "encoding_correlation"
FORMAT = 1
N_RESAMPLES = 500
LIMITS = (
    "A model that predicts better need not work more like the brain: width, training pictures and what the stimuli "
    "happen to vary in all raise the number. The distance to the same network before training says what training "
    "bought.",
    "Few subjects: the group's interval is a t-interval over them and says little of other people.",
)


@dataclass(frozen=True, eq=False)
class Scanned:
    """One model on one subject; arrays as in `Encoded`.

    Parameters
    ----------
    layers : str array, shape (n_layers,)
    r, r2, alone : float array, shape (n_layers, n_voxels)
        Test correlation and R^2 of the layer beside pixels, and R^2 of the layer alone.
    chosen : int array, shape (n_voxels,)
    kept : bool array, shape (n_voxels,)
    ceiling : float array, shape (n_voxels,)
        NaN where nothing repeats.
    ceiling_kind : str
        Empty where nothing repeats.
    null : float array, shape (n_null, n_voxels)
    predictions, low, responses : float array, shape (n_test, n_voxels)
        Of the chosen layers, of pixels alone, and mean responses.
    blocks : int array, shape (n_test,)
    n_train : int
    """

    layers: np.ndarray
    r: np.ndarray
    r2: np.ndarray
    alone: np.ndarray
    chosen: np.ndarray
    kept: np.ndarray
    ceiling: np.ndarray
    ceiling_kind: str
    null: np.ndarray
    predictions: np.ndarray
    low: np.ndarray
    responses: np.ndarray
    blocks: np.ndarray
    n_train: int

    @property
    def counted(self) -> np.ndarray:
        """Voxels that means are over, bool (n_voxels,): all, where none repeats well enough."""
        return self.kept if self.kept.any() else np.ones_like(self.kept)


TOLD = ("ceiling_kind", "n_train")
ARRAYS = tuple(field.name for field in fields(Scanned) if field.name not in TOLD)


@dataclass(frozen=True, eq=False)
class Scan:
    """What every model predicts of every subject.

    Parameters
    ----------
    found : mapping of str to mapping of str to Scanned
        By model and subject key. The model `LOW_LEVEL` stands in none: it is the pixels that stand beside all.
    settings : Settings
    """

    found: Mapping[str, Mapping[str, Scanned]]
    settings: Settings

    @property
    def models(self) -> tuple[str, ...]:
        """Names of models, pixels last."""
        return (*self.found, LOW_LEVEL)

    @property
    def keys(self) -> tuple[str, ...]:
        """Subjects."""
        return tuple(next(iter(self.found.values())))

    def mean_r(self, model: str, key: str) -> float:
        """Mean test correlation over counted voxels."""
        return float(correlations(*self._pair(model, key)).mean())

    def resampled_r(self, model: str, key: str) -> np.ndarray:
        """The same over resampled test stimuli, (N_RESAMPLES,); resamples are the same for all models."""
        return correlations(*self._pair(model, key), self._weights(key)).mean(1)

    def difference(self, model: str, other: str, key: str) -> tuple[float, float, float]:
        """How much higher a model's mean correlation is than another's, with a 95 % interval over test stimuli."""
        low, high = np.quantile(self.resampled_r(model, key) - self.resampled_r(other, key), [0.025, 0.975])
        return self.mean_r(model, key) - self.mean_r(other, key), float(low), float(high)

    def group_difference(self, model: str, other: str) -> tuple[float, float, float]:
        """The mean of the differences with a t-interval over subjects (infinite for one)."""
        each = [self.mean_r(model, key) - self.mean_r(other, key) for key in self.keys]
        if len(each) < 2:
            return each[0], -np.inf, np.inf
        limits = subject_interval(each).interval
        return float(np.mean(each)), limits.low, limits.high

    def _pair(self, model: str, key: str) -> tuple[np.ndarray, np.ndarray]:
        one = next(iter(self.found.values()))[key] if model == LOW_LEVEL else self._one(model, key)
        made = one.low if model == LOW_LEVEL else one.predictions
        return made[:, one.counted], one.responses[:, one.counted]

    def _one(self, model: str, key: str) -> Scanned:
        return checks.known_key("subject", key, checks.known_key("model", model, self.found))

    def _weights(self, key: str) -> np.ndarray:
        names, member = np.unique(next(iter(self.found.values()))[key].blocks, return_inverse=True)
        generator = seeding.numpy_generator(self.settings.seed, "encode interval", key)
        drawn = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=N_RESAMPLES)
        weights = drawn[:, member].astype(np.float64)
        return weights / weights.sum(1, keepdims=True)


def encode_scan(
    dataset: NeuralDataset,
    targets: Sequence[str],
    *,
    n_layers: int = 4,
    settings: Settings = SETTINGS,
    preprocessing: Any = encode.PREPROCESSING,
    cache: Path | None = None,
    progress: bool = False,
) -> Scan:
    """Encoding models of every target's layers, of the same layers with random weights, and of pixels.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split.
    targets : sequence of str
        Image targets by name (`encode_features`), each up to `n_layers` layers; a name with ``@`` is that layer alone.
    n_layers : int
        Evenly spread over the network, its own embedding last.
    settings : Settings
    preprocessing : Preprocessing, or mapping of such by modality, or None
    cache : Path, optional
        Folder where embeddings and results are kept: a scan that was stopped, or gets a further target, goes on.
    progress : bool

    Returns
    -------
    Scan
        Of all models, over the same subjects, voxels and test stimuli.
    """
    checks.at_least("number of targets", len(targets), 1)
    checks.unique("targets", targets)
    low = encode_features.feature_spaces([PIXELS], dataset, cache=cache, progress=progress)
    found: dict[str, dict[str, Scanned]] = {}
    for target in targets:
        trained = [target] if "@" in target else encode_features.layers_of(target, n_layers)
        variants = {target: trained}
        if encode_features.has_network(target):
            variants[f"{target}{RANDOM}"] = [f"{spec}{RANDOM}" for spec in trained]
        for model, specs in variants.items():
            spaces = encode_features.feature_spaces(
                specs, dataset, seed=settings.seed, cache=cache, progress=progress
            )
            found[model] = scan_spaces(dataset, spaces, low, settings, preprocessing, cache)
    return Scan(found, settings)


def scan_spaces(
    dataset: NeuralDataset,
    spaces: Mapping[str, Embeddings],
    low: Mapping[str, Embeddings],
    settings: Settings,
    preprocessing: Any = encode.PREPROCESSING,
    cache: Path | None = None,
) -> dict[str, Scanned]:
    """One model's feature spaces on every subject, read from `cache` where these very fits were made before."""
    made = {name: [space.space, space.provenance] for name, space in {**spaces, **low}.items()}
    digest = store.content_hash(
        data=dataset.identity(), spaces=made, low=list(low), settings=config.to_json(settings),
        preprocessing=repr(preprocessing), format=FORMAT,
    )  # fmt: skip
    path = None if cache is None else Path(cache) / f"encoding-{digest[:16]}.h5"
    if path is not None and path.is_file():
        return _read(path, digest)
    fits = encode.encode(dataset, spaces, low, preprocessing=preprocessing, settings=settings)
    found = {key: _summary(e) for key, e in fits.items()}
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with store.writer(path) as out:
            for key, one in found.items():
                for name in ARRAYS:
                    out.array(f"{key}/{name}", getattr(one, name))
            told = {key: {name: getattr(one, name) for name in TOLD} for key, one in found.items()}
            out.attributes({"content": "encoding scan", "conditions": digest, "subjects": told})
    return found


def correlations(made: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Correlation over rows of each voxel, (n_voxels,), or under each of the rows of weights, (n, n_voxels)."""
    w = np.full((1, len(made)), 1 / len(made)) if weights is None else weights
    r = encode_maps.weighted_correlations(w, made, truth)
    return r[0] if weights is None else r


def scores(scan: Scan, protocol: str) -> list[Score]:
    """Mean test correlations of every model, beside its refits to permuted stimuli; the first target's leads."""
    rows = []
    for number, model in enumerate(scan.found):
        name = METRIC if number == 0 else f"{METRIC}:{model}"
        for key, one in scan.found[model].items():
            subject, modality = parse_key(key)
            value, null = scan.mean_r(model, key), one.null[:, one.counted].mean(1)
            limits = np.quantile(scan.resampled_r(model, key), [0.025, 0.975])
            p = p_value(value, null) if len(null) else None
            mean = float(null.mean()) if len(null) else 0.0
            repeats = bool(np.isfinite(one.ceiling).all())
            details = {"model": model, "n_voxels": int(one.counted.sum()), "n_train": one.n_train,
                       "interval": "bootstrap over test stimuli"}  # fmt: skip
            rows.append(
                Score(
                    name, "braindec", protocol, subject, modality, value, (float(limits[0]), float(limits[1])), 0.0,
                    mean, len(one.responses), ceiling=float(one.ceiling[one.counted].mean()) if repeats else None,
                    ceiling_kind=one.ceiling_kind if repeats else None, p=p, null_n=len(null), details=details,
                )
            )  # fmt: skip
            others = {"shuffled": float(null[0]) if len(null) else 0.0}
            if number == 0:
                others["nuisance"] = scan.mean_r(LOW_LEVEL, key)
            rows += [
                Score(name, system, protocol, subject, modality, v, (v, v), 0.0, mean, len(one.responses))
                for system, v in others.items()
            ]
    return [*rows, *group_scores(rows)]


def report(
    scan: Scan,
    dataset: NeuralDataset,
    *,
    protocol: str = "heldout_stimuli",
    panels: Sequence[tuple[str, str, Mapping[str, Any]]] = (),
) -> Report:
    """Models beside each other, for each subject before the group; layers; what training bought; further panels."""
    said = sentences(scan)
    pages: list[tuple[str, str, Mapping[str, Any]]] = [
        ("What the models predict", "text", {"text": [f"- {line}" for line in said]}),
        ("Models", "table", models_table(scan)),
        ("Layers", "table", layers_table(scan)),
        *panels,
        ("What this does not show", "text", {"text": [f"- {line}" for line in LIMITS], "section": "limits"}),
    ]
    run = {
        "title": f"Models of {dataset.name}", "summary": said[0], "said": said, "protocol": protocol,
        "dataset": dataset.identity(), "models": list(scan.models), "settings": config.to_json(scan.settings),
        "versions": versions(), "seed": scan.settings.seed,
    }  # fmt: skip
    return Report(tuple(scores(scan, protocol)), run, tuple(pages))


def sentences(scan: Scan) -> list[str]:
    """What training bought and what is beyond pixels, with intervals."""
    out = []
    for model in scan.found:
        rivals = [LOW_LEVEL] if model.endswith(RANDOM) else [f"{model}{RANDOM}", LOW_LEVEL]
        for rival in (r for r in rivals if r in scan.models):
            for key in scan.keys:
                value, low, high = scan.difference(model, rival, key)
                out.append(
                    f"{key.replace('_', ' ')}: {model} - {rival}: mean correlation {value:+.3f} "
                    f"({low:+.3f} to {high:+.3f} over resampled test stimuli)."
                )
            if len(scan.keys) > 1:
                value, low, high = scan.group_difference(model, rival)
                out.append(
                    f"{len(scan.keys)} subjects: {model} - {rival}: {value:+.3f} ({low:+.3f} to {high:+.3f}, t over "
                    "subjects)."
                )
    return out


def models_table(scan: Scan) -> dict[str, Any]:
    """A row a model, a column a subject, the group last."""
    rows = []
    for model in scan.models:
        values = [scan.mean_r(model, key) for key in scan.keys]
        cells = []
        for key, value in zip(scan.keys, values):
            low, high = np.quantile(scan.resampled_r(model, key), [0.025, 0.975])
            cells.append(f"{value:.3f} [{low:.3f}, {high:.3f}]")
        group = f"{np.mean(values):.3f}" if len(values) > 1 else ""
        null = (
            ""
            if model == LOW_LEVEL
            else f"{np.mean([o.null[:, o.counted].mean() for o in scan.found[model].values()]):.3f}"
        )
        rows.append([model, *cells, group, null])
    ceiling = [float(o.ceiling[o.counted].mean()) for o in next(iter(scan.found.values())).values()]
    if np.isfinite(ceiling).all():
        rows.append(
            [
                "ceiling",
                *(f"{c:.3f}" for c in ceiling),
                f"{np.mean(ceiling):.3f}" if len(ceiling) > 1 else "",
                "",
            ]
        )
    columns = ["model", *(key.replace("_", " ") for key in scan.keys), "mean", "shuffled stimuli"]
    caption = (
        "Mean test correlation over voxels whose training responses repeat, with 95 % over resampled test stimuli. "
        "All models have the same pixels beside them."
    )
    return {"columns": columns, "rows": rows, "caption": caption}


def layers_table(scan: Scan) -> dict[str, Any]:
    """A row a model, subject and layer."""
    rows = []
    for model, found in scan.found.items():
        for key, one in found.items():
            kept = one.counted
            base = encoding.r2(torch.from_numpy(one.low), torch.from_numpy(one.responses)).numpy()
            for number, layer in enumerate(one.layers.tolist()):
                cells = (one.r[number], one.alone[number], one.r2[number] - base)
                chosen = int((one.chosen[kept] == number).sum())
                rows.append([key.replace("_", " "), model, layer, *(f"{c[kept].mean():.3f}" for c in cells),
                             f"{chosen} of {kept.sum()}"])  # fmt: skip
    columns = [
        "subject",
        "model",
        "layer",
        "test r",
        "test R² alone",
        "test R² beyond pixels",
        "voxels that chose it",
    ]
    return {
        "columns": columns,
        "rows": rows,
        "caption": "Unique variance is never clipped: below 0 a layer added noise.",
    }


def _summary(e: Encoded) -> Scanned:
    nothing = np.full(len(e.chosen), np.nan, dtype=np.float32)
    kind = "" if e.ceilings is None else e.ceilings.score_kind
    return Scanned(
        np.array(list(e.layers)), e.r, e.r2, e.alone, e.chosen, e.kept, nothing if e.ceiling is None else e.ceiling,
        kind, e.null, e.predictions, e.nuisance_predictions, e.responses, e.blocks, e.n_train,
    )  # fmt: skip


def _read(path: Path, digest: str) -> dict[str, Scanned]:
    stored = store.Stored(path)
    if stored.attributes.get("conditions") != digest:
        raise checks.DataFileError(path, "holds encoding models of other conditions", "Delete this file.")
    found = {}
    for key, told in stored.attributes["subjects"].items():
        values: dict[str, Any] = {name: stored.array(f"{key}/{name}") for name in ARRAYS}
        found[key] = Scanned(**values, **told)
    return found
