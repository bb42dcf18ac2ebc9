"""What papers did otherwise in training: fitted once more their way, and shown beside the corrected score.

These rows are no results. Each follows one departure alone, is named by the metric and the departure, and stands under
the as-published protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from braindec import seeding, store, train
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, average_groups, closed_form, group_repeats, learning
from braindec.decoder.batches import Batches, Trainee, objective
from braindec.evaluate.exam import Exam
from braindec.evaluate.measures import Measured, metric_table, protocol_named
from braindec.evaluate.published import details_of, variants
from braindec.evaluate.scoring import judge, parse_key
from braindec.evaluate.systems import Fitter, RidgeFitter, signal_features
from braindec.maths import nearest
from braindec.protocols import Protocol
from braindec.stats.intervals import wilson
from braindec.types import Embeddings, Score, Trials

Curves = dict[str, dict[str, list[float]]]  # signal key -> metric -> value at each look


def best_test_step(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, *, progress: bool = True
) -> list[Score]:
    """**Leaks by design**: the best test score of all looks at the test set while training, as papers reported it.

    The recipe's encoder is trained on the train part for all its steps, without cross-fitting, and looked at on the
    test part every ``validate_every`` steps; of each metric the best look is reported. Nothing of this fit is kept.

    Returns
    -------
    list of Score
        ``<metric>_best_test_step`` for each as-published protocol that does so; none where the recipe's protocol has no
        such variant. `details` hold the value at the last step and at every look.
    """
    found = [v for v in variants(protocol_named(recipe.protocol)) if v.follows("best_test_step")]
    if not found:
        return []
    steps, curves, n = looks_at_test(recipe, dataset, embeddings, found[0], progress=progress)
    rows = []
    for variant in found:
        for key, metrics in curves.items():
            rows += [_best(variant, key, name, values, steps, n[key]) for name, values in metrics.items()]
    return rows


def looks_at_test(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, protocol: Protocol, *, progress: bool = True
) -> tuple[list[int], Curves, dict[str, tuple[int, int]]]:
    """(steps of the looks; by signal key and metric the test value at each; numbers of queries and candidates)."""
    training, test = dataset.part("train"), dataset.part("test")
    decoder = BrainDecoder.build(recipe, training.info, embeddings.info)
    named = learning.named(decoder, embeddings)
    for name in decoder.outputs:
        decoder.scaler(name).fit_(learning.embedded(named[name], list(training.stimulus_ids)))
    sets, settings = learning.prepared_sets_(decoder, training, named), decoder.settings
    encoder = decoder.build_encoder()
    if settings.train.ridge_start:
        closed_form.start_closed_form_(encoder, sets, output=decoder.main, seed=settings.seed)
    gallery = decoder.scaler(decoder.main).centre(torch.from_numpy(embeddings.of(test.stimulus_ids)))
    queries = {key: _queries(decoder, trials, protocol) for key, trials in test.trials.items()}
    row = {name: i for i, name in enumerate(test.stimulus_ids)}
    curves: Curves = {key: {name: [] for name in protocol.metrics} for key in queries}

    def look(module: nn.Module) -> float:
        device = next(encoder.parameters()).device
        for key, (signals, ids) in queries.items():
            made = encoder({key: signals.to(device)})[key][decoder.main].cpu().flatten(1)
            similarity = nearest.similarity(made, gallery.flatten(1))
            truth = torch.tensor([row[i] for i in ids])
            for name in protocol.metrics:
                curves[key][name].append(metric_table()[name].value(similarity, truth))
        return float(np.mean([metrics[protocol.metrics[0]][-1] for metrics in curves.values()]))

    losses, weights = learning.told_losses(decoder), learning.loss_weights(decoder)
    with seeding.seeded(settings.seed, "cycle"):
        trainee = Trainee(encoder, losses, weights, settings.cycle)
    log = train.fit(
        trainee, Batches(sets, settings.train, settings.seed, "looks at test"), objective, settings.train,
        seed=settings.seed, name="looks at test", validate=look, progress=progress,
    )  # fmt: skip
    sizes = {key: (len(ids), len(row)) for key, (_, ids) in queries.items()}
    return [int(step) for step in log.column("validation")[0]], curves, sizes


def _queries(decoder: BrainDecoder, trials: Trials, protocol: Protocol) -> tuple[Tensor, tuple[str, ...]]:
    """Prepared signals of the test part and the stimulus of each, repeats averaged unless single trials are judged."""
    signals = np.asarray(decoder.preprocessing[trials.key].apply(trials), dtype=np.float32)
    ids = trials.table["stimulus_id"]
    if protocol.repeats == "none":
        return torch.from_numpy(signals), tuple(ids.tolist())
    group, first = group_repeats(ids)
    return torch.from_numpy(average_groups(signals, group, len(first))), tuple(ids[first].tolist())


def _best(
    variant: Protocol, key: str, metric: str, values: list[float], steps: list[int], n: tuple[int, int]
) -> Score:
    best = int(np.argmax(values))
    limits = wilson(values[best] * n[0], n[0])  # as if that step had been named before: it was not
    chance = float(metric_table()[metric].chance_of(n[1]) or 0.0)
    told = {
        "chosen on the test set": f"step {steps[best]} of {len(steps)} looks",
        "last step": values[-1],
        "looks": dict(zip(map(str, steps), values, strict=True)),
    }
    interval = (float(limits.low), float(limits.high))
    measured = Measured(
        f"{metric}_best_test_step", values[best], interval, chance, n[0], "higher", np.empty(0), told
    )
    return _row(variant, key, "braindec", measured, "best_test_step")


def half_range(
    recipe: Any,
    dataset: NeuralDataset,
    target: Any,
    fitters: Mapping[str, Fitter] | None = None,
    *,
    progress: bool = True,
) -> list[Score]:
    """The recipe's protocol in a space of pictures that the network was shown in [0.5, 1] instead of [0, 1].

    Parameters
    ----------
    recipe : Recipe
    dataset : NeuralDataset
        With a split and pictures.
    target : ImageTarget
        Embeds training and test pictures, all with their values halved and raised by a half.
    fitters : mapping of system to callable, optional
        What is fitted to those embeddings; closed-form ridge alone if not given.

    Returns
    -------
    list of Score
        ``<metric>_half_range`` for each as-published protocol that does so; none where the recipe's protocol has no
        such variant.
    """
    protocol = protocol_named(recipe.protocol)
    found = [v for v in variants(protocol) if v.follows("half_range")]
    split = dataset.split
    if not found or split is None:
        return []
    embeddings = embedded_as(target, dataset, in_half_range)
    exam = Exam(dataset, embeddings, [split], protocol, recipe.seed, progress=progress, only=protocol.metrics)
    systems = fitters or {"ridge": RidgeFitter(signal_features(recipe.preprocessing))}
    rows = []
    for system, fit in systems.items():
        judged = judge(system, fit, exam, 0)
        for variant in found:
            for key, metrics in judged.measured.items():
                named = {m: replace(metrics[m], name=f"{m}_half_range") for m in protocol.metrics}
                rows += [_row(variant, key, system, measured, "half_range") for measured in named.values()]
    return rows


def in_half_range(images: np.ndarray) -> np.ndarray:
    """Pictures, uint8, whose values v of [0, 1] have become (v + 1) / 2."""
    return ((images.astype(np.uint16) + 255) // 2).astype(np.uint8)


def embedded_as(
    target: Any, dataset: NeuralDataset, change: Callable[[np.ndarray], np.ndarray]
) -> Embeddings:
    """Embeddings of a dataset's pictures after a change of all of them, under a space of their own."""
    ids = tuple(dataset.stimulus_ids)
    made = [
        target.embed_images(change(dataset.stimuli.images(ids[i : i + 64]))) for i in range(0, len(ids), 64)
    ]
    values = np.concatenate(made)
    identity = {**target.identity(), "pictures": change.__name__}
    digest = store.content_hash(values=values, ids=list(ids))
    return Embeddings(ids, values, f"{target.space}/{change.__name__}", identity, digest)


def _row(variant: Protocol, key: str, system: str, m: Measured, how: str) -> Score:
    subject, modality = parse_key(key)
    samples = m.per_sample if len(m.per_sample) else None
    return Score(
        m.name, system, variant.name, subject, modality, m.value, m.interval, m.chance, m.chance, m.n, m.direction,
        per_sample=samples, details={**details_of(variant, [how]), **m.details},
    )  # fmt: skip
