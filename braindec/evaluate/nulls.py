"""Nulls: everything refitted with the training pairing permuted within exchangeability blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.jobs import refits
from braindec.evaluate.measures import protocol_named, values
from braindec.evaluate.systems import Fitter, System, decoder_fitter
from braindec.protocols import Protocol
from braindec.stats.permutation import permute_within_blocks
from braindec.types import Embeddings


def null_values(
    system: str, fit: Fitter, exam: Exam, n_null: int, ready: Sequence[System] = ()
) -> dict[str, dict[str, np.ndarray]]:
    """Metric values of `n_null` refits, each with its own permutation of the training pairing within blocks.

    Parameters
    ----------
    ready : sequence of System
        The first refits, where they were already made on this exam's only fold (`fit_nulls`).
    """

    def refit(number: int) -> dict[str, dict[str, float]]:
        known = ready[number] if number < len(ready) else None
        decoded = exam.decode(_permuted_fit(fit, exam, number) if known is None else lambda *_: known)
        labels = exam.labels(decoded)
        return {key: values(d, exam.protocol, labels[key]) for key, d in decoded.items()}

    found = refits(refit, n_null, n_jobs=exam.n_jobs, said=f"null of {system}", progress=exam.progress)
    keys = found[0] if found else {}
    return {key: {name: np.array([f[key][name] for f in found]) for name in keys[key]} for key in keys}


def fit_nulls(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Embeddings,
    n: int,
    *,
    n_jobs: int = 1,
    progress: bool = True,
) -> list[BrainDecoder]:
    """The whole recipe, prior included, fitted on `n` permuted pairings: what pictures are compared with.

    They are the first `n` refits of `null_values` on this part, so that none is fitted twice.
    """
    protocol, fit = protocol_named(recipe.protocol), decoder_fitter(recipe, prior=True)
    part = in_memory(part)

    def refit(number: int) -> Any:
        return fit(permuted(part, _draw(recipe.seed, number), protocol), embeddings, recipe.seed)

    return refits(refit, n, n_jobs=n_jobs, said="shuffled decoders", progress=progress)


def permuted(part: NeuralDataset, generator: np.random.Generator, protocol: Protocol) -> NeuralDataset:
    """The part with its brain-stimulus pairing permuted within exchangeability blocks.

    Where stimuli are held out, all repeats of a stimulus take the same other one; where runs or sessions are, trials
    trade places one by one. Repeats that span blocks (NSD shows a picture in several sessions, in an order drawn at
    random) are exchanged over the whole recording: within equal patterns of blocks a tenth of the stimuli and more
    would keep their own responses, and the null would know them.
    """
    trials = {}
    for key, t in part.trials.items():
        ids = t.table["stimulus_id"]
        repeat = protocol.unit in ("stimulus", "concept") and len(np.unique(ids)) < len(ids)
        blocks = t.table["exchangeability_block"].astype(str)
        if repeat and len(set(zip(ids.tolist(), blocks.tolist(), strict=True))) > len(set(ids.tolist())):
            blocks = np.zeros(len(ids), dtype=int)
        order = permute_within_blocks(blocks, generator, units=ids if repeat else None)
        trials[key] = replace(t, table=t.table.replace(stimulus_id=ids[order]))
    return replace(part, trials=trials)


def _permuted_fit(fit: Fitter, exam: Exam, number: int) -> Fitter:
    """The fitter on permuted parts: every fold takes its own permutation from one generator."""
    draw = _draw(exam.seed, number)
    return lambda part, embeddings, seed: fit(permuted(part, draw, exam.protocol), embeddings, seed)


def _draw(seed: int, number: int) -> np.random.Generator:
    return seeding.numpy_generator(seed, "null", number)
