"""Nulls: everything refitted with the training pairing permuted within exchangeability blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate.exam import Exam, in_memory
from braindec.evaluate.jobs import refits
from braindec.evaluate.measures import protocol_named, values
from braindec.evaluate.systems import Fitter, System
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
        return {key: values(d, exam.protocol, labels[key], exam.only) for key, d in decoded.items()}

    found = refits(refit, n_null, n_jobs=exam.n_jobs, said=f"null of {system}", progress=exam.progress)
    keys = found[0] if found else {}
    return {key: {name: np.array([f[key][name] for f in found]) for name in keys[key]} for key in keys}


def fit_nulls(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Embeddings | Mapping[str, Embeddings],
    n: int,
    *,
    n_jobs: int = 1,
    progress: bool = True,
) -> list[BrainDecoder]:
    """The whole recipe, prior included, fitted on `n` permuted pairings: what pictures are compared with.

    They are the first `n` refits of `null_values` on this part, so that none is fitted twice. `embeddings` are those of
    the main output, or of every output by name.
    """
    protocol, part = protocol_named(recipe.protocol), in_memory(part)
    named = {"main": embeddings} if isinstance(embeddings, Embeddings) else dict(embeddings)
    info = {name: e.info for name, e in named.items()}

    def refit(number: int) -> BrainDecoder:
        wrong = permuted(part, _draw(recipe.seed, number), protocol)
        return BrainDecoder.build(recipe, wrong.info, info).fit(wrong, named, progress=False)

    return refits(refit, n, n_jobs=n_jobs, said="shuffled decoders", progress=progress)


def fit_with_nulls(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Embeddings | Mapping[str, Embeddings],
    n: int,
    folder: str | Path | None = None,
    *,
    n_jobs: int = 1,
    progress: bool = True,
) -> tuple[BrainDecoder, list[BrainDecoder]]:
    """The recipe's decoder and its `fit_nulls`, fitted side by side: alone, the first would leave cores idle.

    Parameters
    ----------
    folder : path, optional
        Where the decoder's logs and checkpoints go.
    """
    protocol, kept = protocol_named(recipe.protocol), in_memory(part)
    named = {"main": embeddings} if isinstance(embeddings, Embeddings) else dict(embeddings)
    info = {name: e.info for name, e in named.items()}

    def one(number: int) -> BrainDecoder:
        seen = permuted(kept, _draw(recipe.seed, number - 1), protocol) if number else part
        decoder = BrainDecoder.build(recipe, seen.info, info)
        return decoder.fit(seen, named, None if number else folder, progress=False)

    decoder, *nulls = refits(one, 1 + n, n_jobs=n_jobs, said="decoders, true and shuffled", progress=progress)
    return decoder, nulls


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
