"""What pictures and words each explain of the brain, and what they share: variance partitioning on prepared data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.encoding.partition import MOST_SPACES, VariancePartition, subsets
from braindec.evaluate import encode, encode_maps, encode_text
from braindec.evaluate.encoded import SETTINGS, Encoded, Settings
from braindec.stats.intervals import subject_interval
from braindec.types import Embeddings

N_RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class Partitioned:
    """How feature spaces divide what is explained of one subject.

    Parameters
    ----------
    partition : VariancePartition
        By voxel.
    kept : bool array, shape (n_voxels,)
        Voxels that means are over.
    resampled : mapping of tuple of str to float array, shape (N_RESAMPLES,)
        Mean over these voxels of every part, test stimuli resampled.
    null : mapping of str to float array, shape (n_null,)
        Mean unique R^2 of a space whose rows were dealt to other stimuli, beside the others as they are.
    """

    partition: VariancePartition
    kept: np.ndarray
    resampled: Mapping[tuple[str, ...], np.ndarray]
    null: Mapping[str, np.ndarray]

    def mean(self, *names: str) -> tuple[float, float, float]:
        """Mean of a part over voxels, with a 95 % interval over test stimuli."""
        key = tuple(n for n in self.partition.names if n in names)
        low, high = np.quantile(self.resampled[key], [0.025, 0.975])
        return float(self.partition.part(*key)[torch.from_numpy(self.kept)].mean()), float(low), float(high)


def caption_space(dataset: NeuralDataset, target: str) -> Embeddings:
    """What a text target makes of each stimulus' caption, (n, 1, dim).

    Raises
    ------
    ValueError
        If stimuli have no caption.
    """
    captions = dataset.stimuli.captions
    missing = [i for i in dataset.stimulus_ids if i not in captions]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(dataset.stimulus_ids)} stimuli have no caption, first {missing[0]!r}."
        )
    return encode_text.meaning({i: captions[i] for i in dataset.stimulus_ids}, target, context=0)


def encode_partition(
    dataset: NeuralDataset,
    spaces: Mapping[str, Embeddings],
    *,
    settings: Settings = SETTINGS,
    preprocessing: Any = encode.PREPROCESSING,
    n_null: int = 5,
) -> dict[str, Partitioned]:
    """Divides the test R^2 of every subject among feature spaces.

    Parameters
    ----------
    dataset : NeuralDataset
        With a split.
    spaces : mapping of str to Embeddings
        Two to four. Each set of them is one ridge over their standardised features side by side.
    settings : Settings
        `n_null` and `n_permutations` of it are not used.
    preprocessing : Preprocessing, or mapping of such by modality, or None
    n_null : int
        Deals of a space's rows to other stimuli: what a space of this width and these statistics explains by chance.

    Returns
    -------
    dict of str to Partitioned
        By subject.
    """
    checks.in_range("number of feature spaces", len(spaces), 2, MOST_SPACES)
    names = tuple(spaces)
    quiet = replace(settings, n_null=0, n_permutations=1)

    def fitted(given: Mapping[str, Embeddings]) -> dict[str, Encoded]:
        layer = {"+".join(given): side_by_side(list(given.values()))}
        return encode.encode(dataset, layer, preprocessing=preprocessing, settings=quiet)

    models = {key: fitted({n: spaces[n] for n in key}) for key in subsets(names)}
    null: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in names}
    for name in names:
        for number in range(n_null):
            generator = seeding.numpy_generator(settings.seed, "partition null", name, number)
            dealt = fitted({**spaces, name: _dealt(spaces[name], generator)})
            null[name].append({key: e.r2[0] for key, e in dealt.items()})
    return {key: _one(key, names, models, null) for key in models[names]}


def side_by_side(spaces: list[Embeddings]) -> Embeddings:
    """Feature spaces as one, over the stimuli of the first."""
    if len(spaces) == 1:
        return spaces[0]
    ids = spaces[0].ids
    values = np.concatenate([s.of(ids).reshape(len(ids), -1) for s in spaces], 1)[:, None]
    return Embeddings(
        ids, values, "+".join(s.space for s in spaces), {"spaces": [dict(s.identity) for s in spaces]},
        "+".join(s.provenance for s in spaces),
    )  # fmt: skip


def table(found: Mapping[str, Partitioned]) -> dict[str, Any]:
    """Payload of a report's table: every part, subject by subject, then the group."""
    first = next(iter(found.values())).partition
    rows = []
    for part in subsets(first.names):
        label = f"{part[0]} alone" if len(part) == 1 else "shared by " + " and ".join(part)
        each = {key: one.mean(*part) for key, one in found.items()}
        cells = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*v) for v in each.values()]
        group = ""
        if len(found) > 1:
            summary = subject_interval([v[0] for v in each.values()]).interval
            mean = float(np.mean([v[0] for v in each.values()]))
            group = f"{mean:+.3f} [{summary.low:+.3f}, {summary.high:+.3f}]"
        null = ""
        if len(part) == 1 and all(len(one.null[part[0]]) for one in found.values()):
            null = f"{np.mean([one.null[part[0]].mean() for one in found.values()]):+.3f}"
        rows.append([label, *cells, group, null])
    columns = [
        "part of the test R²",
        *(k.replace("_", " ") for k in found),
        "group",
        "dealt to other stimuli",
    ]
    caption = (
        "Mean over voxels whose training responses repeat; 95 % over resampled test stimuli, for the group over "
        "subjects. Never clipped: a part is negative where a space adds noise, or where spaces do better together."
    )
    return {"columns": columns, "rows": rows, "caption": caption}


def _dealt(space: Embeddings, generator: np.random.Generator) -> Embeddings:
    order = generator.permutation(len(space.ids))
    return replace(space, values=space.of(space.ids)[order], provenance=f"{space.provenance}, dealt")


def _one(
    key: str, names: tuple[str, ...], models: Mapping[tuple[str, ...], Mapping[str, Encoded]],
    null: Mapping[str, list[dict[str, np.ndarray]]],
) -> Partitioned:  # fmt: skip
    whole = models[names][key]
    kept = whole.kept if whole.kept.any() else np.ones_like(whole.kept)
    r2 = {part: torch.from_numpy(np.asarray(m[key].r2[0])) for part, m in models.items()}
    weights = seeding.numpy_generator(whole.settings.seed, "partition interval", key).multinomial(
        len(whole.responses), np.full(len(whole.responses), 1 / len(whole.responses)), size=N_RESAMPLES
    )
    drawn = {part: torch.from_numpy(_resampled(m[key], kept, weights)) for part, m in models.items()}
    over = VariancePartition(names, drawn, len(whole.responses))
    resampled = {part: over.part(*part).numpy() for part in subsets(names)}
    others = {name: r2[tuple(n for n in names if n != name)].numpy() for name in names}
    chance = {n: np.array([(one[key] - others[n])[kept].mean() for one in null[n]]) for n in names}
    return Partitioned(VariancePartition(names, r2, len(whole.responses)), kept, resampled, chance)


def _resampled(e: Encoded, kept: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean R^2 over voxels under counts of test rows, (n_resamples,)."""
    w = weights / weights.sum(1, keepdims=True)
    return encode_maps.weighted_r2(w, e.predictions[:, kept], e.responses[:, kept]).mean(1)
