"""Captions from brains: written, not only looked up, and judged beside controls that the same captioner wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from braindec import checks, registry, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate.low_level import in_order
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.texts_and_clips import (
    caption_items,
    caption_values,
    captions_left_out,
    measure_captions,
    said,
)
from braindec.maths import nearest
from braindec.protocols import Protocol
from braindec.stats.paired import paired_difference
from braindec.types import Embeddings, Score

ROWS = {
    "braindec": "written from the brain",
    "shuffled": "written from a decoder of shuffled pairs",
    "nearest": "caption of the nearest training picture",
    "mean": "written from the mean embedding",
    "oracle": "written from the true embedding",
}
CONTROLS = ("nearest", "mean")
# Embeddings (n, n_tokens, dim) predicted for a signal key's test stimuli.
Predict = Callable[[str, Sequence[str]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Captioned:
    """Captions of test stimuli by signal key, their scores, and what is paired.

    Parameters
    ----------
    ids : mapping of str to tuple of str
        Test stimuli by signal key.
    texts : mapping of str to mapping of str to tuple of str
        By signal key and system (`ROWS`, and ``"presented"``).
    items : mapping of str to mapping of str to mapping of str to ndarray
        By signal key, system and metric: a value a caption.
    scores : tuple of Score
    comparisons : tuple of dict
        Paired differences to the controls.
    not_computed : mapping of str to str
        Why metrics of the protocol are not among them.
    """

    ids: Mapping[str, tuple[str, ...]]
    texts: Mapping[str, Mapping[str, tuple[str, ...]]]
    items: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
    scores: tuple[Score, ...]
    comparisons: tuple[dict[str, Any], ...]
    not_computed: Mapping[str, str]


def captioner_of(config: Any, dataset: NeuralDataset, embeddings: Embeddings, seed: int) -> Any:
    """The captioner of a config; one that learns, learns from true embeddings and captions of training stimuli alone.

    Parameters
    ----------
    config : captioners.<member>.Config
        Of `prefix`, which is trained here, or of a member that reads its weights from a folder.
    dataset : NeuralDataset
        With the split in use: what it learns from is the split's training stimuli, whoever saw them, as a published
        captioner knows pictures that no brain saw.
    embeddings : Embeddings
        Of all stimuli, in the captioner's space.
    """
    kind, name = registry.name_of(config)
    checks.one_of("kind of the captioner", kind, ("captioners",))
    module = registry.load(kind, name)
    if name != "prefix":
        made = module.build(config)
        checks.same_space(
            "captioner", made.space, embeddings.space, "Give the captioner the target's own folder."
        )
        return made
    ids, texts = training_captions(dataset)
    draw = seeding.torch_generator(seed, "captioner")
    return module.build(config, embeddings.of(ids), texts, embeddings.space, generator=draw)


def training_captions(dataset: NeuralDataset) -> tuple[list[str], list[str]]:
    """Training stimuli of the split that have a caption, and their captions."""
    if dataset.split is None:
        raise ValueError("the dataset has no split; give it one with with_split(...).")
    known = dataset.stimuli.captions
    ids = [i for i in dataset.split.parts["train"] if i in known]
    checks.at_least("training stimuli with a caption", len(ids), 1)
    return ids, [known[i] for i in ids]


def predictors(
    decoders: Sequence[BrainDecoder], recipe: Any, dataset: NeuralDataset, output: str | None = None
) -> list[Predict]:
    """What decoders say of test stimuli, each as `captioned` takes it; repeats as the recipe's protocol has them."""
    repeats: Any = protocol_named(recipe.protocol).repeats
    test = dataset.part("test")

    def of(decoder: BrainDecoder) -> Predict:
        def predict(key: str, ids: Sequence[str]) -> np.ndarray:
            return in_order(decoder.predict(test.trials[key], repeats=repeats, output=output), ids)

        return predict

    return [of(decoder) for decoder in decoders]


def captioned(
    predict: Predict,
    nulls: Sequence[Predict],
    captioner: Any,
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    *,
    n_most: int | None = None,
) -> Captioned:
    """Captions of every subject's test stimuli, judged by the protocol's metrics.

    Parameters
    ----------
    predict : callable
        ``predict(signal key, ids)``: what the decoder says of these test stimuli, in the captioner's space.
    nulls : sequence of callable
        The same of decoders fitted to permuted pairs: the first is shown, all are the null.
    captioner : Captioner
    recipe : Recipe
        Its protocol and seed.
    dataset : NeuralDataset
        Whole, with the split in use; stimuli with captions.
    embeddings : Embeddings
        True ones of all stimuli, of the captioner's space.
    n_most : int, optional
        Test stimuli of a subject at most, the first ones by name.
    """
    checks.at_least("number of nulls", len(nulls), 1)
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    texts: dict[str, dict[str, tuple[str, ...]]] = {}
    ids: dict[str, tuple[str, ...]] = {}
    measured: dict[str, dict[str, dict[str, Measured]]] = {}
    items: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    null: dict[str, dict[str, np.ndarray]] = {}
    for key in test.keys:
        shown = sorted(set(test.trials[key].table["stimulus_id"].tolist()))[:n_most]
        ids[key] = tuple(i for i in shown if i in test.stimuli.captions)
        told = _Told(captioner, recipe.seed, dataset, embeddings, key, ids[key])
        texts[key] = told.all(predict, nulls[0])
        references = [[text] for text in texts[key]["presented"]]
        draw = seeding.numpy_generator(recipe.seed, "captions", key)
        measured[key] = {
            name: measure_captions(references, texts[key][name], protocol, draw)[0]
            for name in ("braindec", "shuffled")
        }
        items[key] = {name: caption_items(references, texts[key][name], protocol) for name in ROWS}
        rest = [told.written(one(key, ids[key])) for one in nulls[1:]]
        drawn = [caption_values(references, made, protocol) for made in (texts[key]["shuffled"], *rest)]
        null[key] = {name: np.array([d[name] for d in drawn]) for name in measured[key]["braindec"]}
    return Captioned(
        ids, texts, items, tuple(_scores(measured, items, null, protocol, ids)),
        tuple(_comparisons(items, recipe.seed)), said(captions_left_out(protocol, blind=True)),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Told:
    """How captions of one subject's test stimuli are written, the same for a decoder, its nulls and the controls."""

    captioner: Any
    seed: int
    dataset: NeuralDataset
    embeddings: Embeddings
    key: str
    ids: tuple[str, ...]

    def written(self, values: np.ndarray) -> tuple[str, ...]:
        return self.captioner.caption(values, generator=seeding.torch_generator(self.seed, "caption"))

    def all(self, predict: Predict, null: Predict) -> dict[str, tuple[str, ...]]:
        known, values = self.dataset.stimuli.captions, predict(self.key, self.ids)
        own = sorted(i for i in self._training() if i in known)
        mean = self.embeddings.of(own).mean(0)
        rows = self._nearest(values, own, mean)
        return {
            "presented": tuple(known[i] for i in self.ids),
            "braindec": self.written(values),
            "shuffled": self.written(null(self.key, self.ids)),
            "nearest": tuple(known[own[i]] for i in rows),
            "mean": self.written(mean[None]) * len(self.ids),
            "oracle": self.written(self.embeddings.of(self.ids)),
        }

    def _training(self) -> set[str]:
        return set(self.dataset.part("train").trials[self.key].table["stimulus_id"].tolist())

    def _nearest(self, values: np.ndarray, own: list[str], mean: np.ndarray) -> list[int]:
        query, gallery = (torch.from_numpy(v - mean).flatten(1) for v in (values, self.embeddings.of(own)))
        return nearest.similarity(query, gallery).argmax(1).tolist()


def _scores(
    measured: Mapping[str, Any], items: Mapping[str, Any], null: Mapping[str, Any], protocol: Protocol,
    ids: Mapping[str, tuple[str, ...]],
) -> list[Score]:  # fmt: skip
    """Of decoder and shuffled twin, longest common subsequence first: it needs no four words in a row."""
    rows: list[Score] = []
    for system in ("braindec", "shuffled"):
        one = {key: _subsequence_first(m[system]) for key, m in measured.items()}
        rows += scores_of(Judged(system, {}, one, null, sample_names=ids), protocol)
    return [_with_controls(row, items) for row in rows]


def _subsequence_first(found: Mapping[str, Measured]) -> dict[str, Measured]:
    return dict(sorted(found.items(), key=lambda item: item[0] != "rouge_l"))


def _with_controls(row: Score, items: Mapping[str, Any]) -> Score:
    key = f"sub-{row.subject:02d}_{row.modality}" if isinstance(row.subject, int) else ""
    if key not in items or row.system != "braindec":
        return row
    others = {name: float(items[key][name][row.name].mean()) for name in ("oracle", *CONTROLS)}
    return replace(row, details={**row.details, **others})


def _comparisons(items: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    rows = []
    for key, systems in items.items():
        for other in ("shuffled", *CONTROLS):
            for metric, ours in systems["braindec"].items():
                draw = seeding.numpy_generator(seed, "paired captions", key, other, metric)
                d = paired_difference(ours, systems[other][metric], draw)
                interval = [float(d.interval.low), float(d.interval.high)]
                rows.append({"a": ROWS["braindec"], "b": ROWS[other], "metric": metric, "key": key,
                             "difference": d.value, "interval": interval, "p": d.p, "n": d.n})  # fmt: skip
    return rows


def panels(found: Captioned, n: int = 12) -> list[tuple[str, str, dict[str, Any]]]:
    """A table of every system's scores, and the first captions by row for each subject, not chosen."""
    metrics = list(next(iter(found.items.values()))["braindec"])
    cells = [
        [key.replace("_", " "), ROWS[name], *(f"{systems[name][m].mean():.3f}" for m in metrics)]
        for key, systems in found.items.items()
        for name in ROWS
    ]
    columns = ["subject", "captions", *(m.replace("_", " ") for m in metrics)]
    tables: list[tuple[str, str, dict[str, Any]]] = [
        ("Captions beside their controls", "table", {"columns": columns, "rows": cells})
    ]
    for key, texts in found.texts.items():
        kinds = ("presented", *ROWS)
        rows = [
            [found.ids[key][i], *(texts[kind][i] for kind in kinds)]
            for i in range(min(n, len(found.ids[key])))
        ]
        heads = ["stimulus", "presented", *ROWS.values()]
        tables.append((f"{key.replace('_', ' ')}: captions", "table", {"columns": heads, "rows": rows}))
    return tables
