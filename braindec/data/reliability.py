"""How repeatable the responses to one stimulus are: noise-ceiling SNR and split-half reliability of trials."""

from __future__ import annotations

import numpy as np
import torch

from braindec import checks
from braindec.data.preprocessing import Preprocessing, Standardise
from braindec.stats import ceilings
from braindec.types import UNKNOWN, Trials


def ncsnr(trials: Trials, *, per_session: bool = True) -> np.ndarray:
    """Signal SD over noise SD of a single trial, a value a feature, float32 (*signal.shape,).

    Parameters
    ----------
    trials : Trials
        With repeats of at least one stimulus.
    per_session : bool
        Standardise each session first, as NSD does: sessions then may differ in mean and scale, and the total variance
        of a trial is 1.

    Raises
    ------
    ValueError
        If no stimulus repeats.
    """
    flat, known = _flat(trials, per_session)
    total = (
        1.0 if per_session and len(trials.responses.shape) == 2 else None
    )  # epochs are standardised over their times too
    values = ceilings.estimate_ncsnr(torch.from_numpy(flat), known, total_variance=total)
    return values.numpy().astype(np.float32).reshape(trials.responses.shape[1:])


def split_half(
    trials: Trials, generator: torch.Generator, *, n_splits: int = 20, per_session: bool = True
) -> np.ndarray:
    """Reliability of the mean over repeats (Spearman-Brown corrected), float32 (*signal.shape,).

    Parameters
    ----------
    trials : Trials
        Stimuli shown less often than most are left out, and so are repeats beyond that number.
    generator : torch.Generator
        Draws the halves.
    n_splits : int
    per_session : bool
        As in `ncsnr`.
    """
    flat, known = _flat(trials, per_session)
    ids, counts = np.unique(known, return_counts=True)
    checks.at_least("most frequent number of repeats", int(counts.max()), 2)
    repeated = counts[counts > 1]
    n_repeats = int(np.bincount(repeated).argmax())
    rows = np.stack([np.flatnonzero(known == i)[:n_repeats] for i in ids[counts >= n_repeats]], axis=1)
    values = ceilings.split_half_reliability(torch.from_numpy(flat[rows]), generator, n_splits)
    return values.numpy().astype(np.float32).reshape(trials.responses.shape[1:])


def _flat(trials: Trials, per_session: bool) -> tuple[np.ndarray, np.ndarray]:
    """float64 (n_known, n_features) and the stimulus of each of these trials."""
    steps = (Standardise("session", "unit_unlabelled"),) if per_session else ()
    x = Preprocessing(steps).fit(trials).apply(trials)
    ids = trials.table["stimulus_id"].astype(str)
    known = ids != UNKNOWN
    if not known.any():
        raise ValueError(f"no trial of {trials.key} has a known stimulus, so none has repeats.")
    return x[known].reshape(int(known.sum()), -1).astype(np.float64), ids[known]
