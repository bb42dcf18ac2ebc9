"""A saved decoder meets data: which trials it was fitted on, and its scores on those it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks, config, seeding
from braindec.data import NeuralDataset
from braindec.data.rows import row_digests, rows_hash
from braindec.decoder import BrainDecoder, versions
from braindec.decoder.scaling import TargetScaler
from braindec.evaluate import rules
from braindec.evaluate.decoded import decode
from braindec.evaluate.exam import row_labels
from braindec.evaluate.measures import measure, protocol_named
from braindec.evaluate.scoring import Judged, scores_of
from braindec.protocols import Protocol
from braindec.types import Embeddings, Score


@dataclass(frozen=True)
class Seen:
    """How many trials of one recording a decoder was fitted on, of how many."""

    n_seen: int
    n_trials: int


def seen_trials(decoder: BrainDecoder, dataset: NeuralDataset) -> dict[str, Seen]:
    """Which trials of each recording the decoder was fitted on, by signal key.

    Raises
    ------
    LeakageError
        If the decoder, saved by an early braindec, does not hold its rows one by one: nothing can be ruled out then.
    """
    found = {}
    for key, trials in dataset.trials.items():
        fitted = checks.known_key("subject", key, decoder.preprocessing)
        if not len(fitted.fit_rows) and fitted.fit_rows_hash != rows_hash(trials):
            raise checks.LeakageError(
                f"this decoder does not record which trials of {key} it was fitted on; fit and save it again."
            )
        n = trials.n_trials
        known = fitted.fit_rows_hash == rows_hash(trials)
        found[key] = Seen(n if known else int(np.isin(row_digests(trials), fitted.fit_rows).sum()), n)
    return found


def fitted_on(decoder: BrainDecoder, part: NeuralDataset) -> bool:
    """Whether the decoder was fitted on exactly these trials of every recording."""
    fitted = {k: checks.known_key("subject", k, decoder.preprocessing) for k in part.trials}
    return all(fitted[k].fit_rows_hash == rows_hash(t) for k, t in part.trials.items())


def unseen(
    decoder: BrainDecoder,
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    *,
    label_column: str | None = None,
) -> tuple[tuple[Score, ...], dict[str, Any]]:
    """Scores on trials that the decoder never saw, all of them, and what the record should say.

    Nothing is refitted: a score stands beside its chance, and has neither null nor p.

    Parameters
    ----------
    decoder : BrainDecoder
    recipe : Recipe
        Its protocol is judged by.
    dataset : NeuralDataset
        Whole; no split is used.
    embeddings : Embeddings

    Raises
    ------
    LeakageError
        If the decoder was fitted on some of the trials, or a class would be described by the trials that are scored.
    SpaceMismatchError
        If the decoder was fitted on embeddings of another space or shape.
    """
    told = decoder.outputs[decoder.main]
    checks.same_target("embeddings", embeddings.info, told, "Give those that the decoder was fitted on.")
    shared = {k: s for k, s in seen_trials(decoder, dataset).items() if s.n_seen}
    if shared:
        said = ", ".join(f"{s.n_seen} of {s.n_trials} trials of {k}" for k, s in shared.items())
        raise checks.LeakageError(
            f"the decoder was fitted on {said}: a score on them says nothing. Give trials that it never saw."
        )
    protocol = protocol_named(recipe.protocol)
    candidates = _candidates(protocol, dataset, embeddings, label_column)
    scaler = checks.of_type("scaler", decoder.scalers[decoder.main], TargetScaler)
    decoded = decode(decoder, dataset, embeddings, scaler.mean.cpu().numpy(), protocol, candidates)
    labels = row_labels(decoded, dataset, label_column)
    draw = seeding.numpy_generator(recipe.seed, "intervals", "unseen")
    measured = {key: measure(d, protocol, labels[key], draw) for key, d in decoded.items()}
    record = {"protocol": config.to_json(protocol), "dataset": dataset.identity(), "versions": versions(),
              "rules": {"braindec": decoder.provenance.get("rules")},
              **rules.training_record([rules.steps_of(decoder)])}  # fmt: skip
    rules.tell(record)
    return tuple(scores_of(Judged("braindec", decoded, measured), protocol)), record


def _candidates(
    protocol: Protocol, dataset: NeuralDataset, embeddings: Embeddings, label_column: str | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """What a trial is identified among; a class by the one embedding that all its stimuli have."""
    if protocol.candidates == "test_stimuli":
        return dataset.stimulus_ids, embeddings.of(dataset.stimulus_ids)
    if protocol.candidates != "classes":
        return (), np.empty((0, 1, 1), np.float32)
    if label_column is None:
        raise ValueError("this protocol compares classes; name the column that holds them (label_column).")
    members: dict[str, list[str]] = {}
    for stimulus, label in dataset.unit_labels("stimulus", label_column).items():
        members.setdefault(label, []).append(stimulus)
    names = tuple(sorted(members))
    values = [embeddings.of(members[name]) for name in names]
    if any((v != v[:1]).any() for v in values):
        raise checks.LeakageError(
            "the stimuli of a class differ in their embeddings, so classes would be described by the very trials that "
            "are scored. Use a target with one embedding a class (category_prototypes), or another protocol."
        )
    return names, np.stack([v[0] for v in values])
