"""How repeatable the responses to one stimulus are: noise-ceiling SNR and split-half reliability of trials."""

from __future__ import annotations

import numpy as np
import torch

from braindec.data import repeats
from braindec.data.preprocessing import Preprocessing, Standardise
from braindec.data.unit_steps import ROUNDING
from braindec.stats import ceilings
from braindec.types import UNKNOWN, Table, Trials


def ncsnr(trials: Trials, *, per_session: bool = True) -> np.ndarray:
    """Signal SD over noise SD of a single trial, a value a feature, float32 (*signal.shape,); 0 of a constant feature.

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
    values = ceilings.estimate_ncsnr(torch.from_numpy(flat), known, total_variance=total).numpy()
    if total is not None:  # a constant feature has not the variance that is taken for granted
        values[np.ptp(flat, axis=0) < ROUNDING] = 0.0
    return values.astype(np.float32).reshape(trials.responses.shape[1:])


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
    rows = repeats.repeated_rows(known)
    values = ceilings.split_half_reliability(torch.from_numpy(flat[rows]), generator, n_splits)
    return values.numpy().astype(np.float32).reshape(trials.responses.shape[1:])


def noise_ceiling(trials: Trials, n_repeats: int | None = None, *, per_session: bool = True) -> np.ndarray:
    """Share of the variance of responses averaged over repeats that a perfect model explains, float32 (*signal.shape,).

    Parameters
    ----------
    trials : Trials
        With repeats of at least one stimulus.
    n_repeats : int, optional
        Trials averaged into each response; by default as many as each stimulus of these trials has.
    per_session : bool
        As in `ncsnr`.

    Notes
    -----
    ncsnr^2 / (ncsnr^2 + mean(1 / n_repeats)), in [0, 1): the variance (R^2) of Allen et al. 2022,
    doi:10.1038/s41593-021-00962-x; its square root bounds a correlation.
    """
    ids = trials.table["stimulus_id"].astype(str)
    counts = np.unique(ids[ids != UNKNOWN], return_counts=True)[1]
    averaged = counts.tolist() if n_repeats is None else n_repeats
    values = torch.from_numpy(ncsnr(trials, per_session=per_session).astype(np.float64))
    return ceilings.noise_ceiling(values, averaged).numpy().astype(np.float32)


def by_region(
    trials: Trials, generator: torch.Generator, *, n_repeats: int | None = None, per_session: bool = True
) -> Table:
    """How repeatable each region is: a row a region of the space, and one of all features, named ``all``.

    Parameters
    ----------
    trials : Trials
    generator : torch.Generator
        As in `split_half`.
    n_repeats : int, optional
        As in `noise_ceiling`.
    per_session : bool
        As in `ncsnr`.

    Returns
    -------
    Table
        region, n_features, and medians over features (for epochs, over channels and times): ncsnr, noise_ceiling (R^2),
        split_half (a correlation). Empty regions are left out.
    """
    maps = {
        "ncsnr": ncsnr(trials, per_session=per_session),
        "noise_ceiling": noise_ceiling(trials, n_repeats, per_session=per_session),
        "split_half": split_half(trials, generator, per_session=per_session),
    }
    members = {n: np.asarray(m) for n, m in trials.space.regions.items() if np.any(m)}
    members["all"] = np.ones(trials.space.n_features, dtype=bool)
    medians = {what: [float(np.median(values[m])) for m in members.values()] for what, values in maps.items()}
    sizes = [int(m.sum()) for m in members.values()]
    return Table({"region": list(members), "n_features": sizes, **medians})


def _flat(trials: Trials, per_session: bool) -> tuple[np.ndarray, np.ndarray]:
    """float64 (n_known, n_features) and the stimulus of each of these trials."""
    steps = (Standardise("session", "unit_unlabelled"),) if per_session else ()
    x = Preprocessing(steps).fit(trials).apply(trials)
    ids = trials.table["stimulus_id"].astype(str)
    known = ids != UNKNOWN
    if not known.any():
        raise ValueError(f"no trial of {trials.key} has a known stimulus, so none has repeats.")
    return x[known].reshape(int(known.sum()), -1).astype(np.float64), ids[known]
