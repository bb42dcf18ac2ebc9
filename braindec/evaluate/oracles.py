"""Ceilings of a simulated dataset: ideal observers that were told the truth, beside every score they bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braindec.data import NeuralDataset
from braindec.data.simulated import truth
from braindec.evaluate import jobs
from braindec.evaluate.scoring import Ceilings
from braindec.types import Embeddings


def simulated_ceilings(
    folder: str | Path, dataset: NeuralDataset, embeddings: Embeddings, *, n_jobs: int = 0
) -> Ceilings:
    """Ceilings by signal key, kind and metric.

    Parameters
    ----------
    folder : path
        Of the prepared simulated dataset; its truth files lie there.
    dataset : NeuralDataset
        Whole, with the split in use.
    embeddings : Embeddings
    n_jobs : int
        Subjects at once, a process each; 0 for as many as there are processor cores.
    """
    training, test = dataset.part("train"), dataset.part("test")
    keys = list(test.keys)

    def of_subject(number: int) -> dict[str, dict[str, float]]:
        key = keys[number]
        found = truth.ceilings(folder, test.trials[key], training.trials[key], embeddings)
        return {kind: _metrics(ceiling) for kind, ceiling in found.items()}

    found = jobs.refits(of_subject, len(keys), n_jobs=n_jobs, said="ceilings", progress=False)
    return dict(zip(keys, found, strict=True))


def _metrics(ceiling: truth.Ceiling) -> dict[str, float]:
    return {
        "image_retrieval_top1": float(np.mean(ceiling.image_retrieval(1))),
        "image_retrieval_top5": float(np.mean(ceiling.image_retrieval(5))),
        "brain_retrieval_top1": float(np.mean(ceiling.brain_retrieval(1))),
    }
