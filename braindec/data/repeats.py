"""Which rows repeat a stimulus, and how well each feature's responses repeat: pooled over the times of epochs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from braindec import checks, seeding
from braindec.stats import ceilings
from braindec.types import UNKNOWN

BLOCK_VALUES = 1 << 24  # in double precision at once: 128 MiB
N_SPLITS = 6  # three repeats have three ways of being halved


def repeated_rows(stimulus_ids: np.ndarray) -> np.ndarray:
    """Rows of the stimuli that were shown most often the same number of times, int (n_repeats, n_stimuli).

    Stimuli shown less often than most repeated ones are left out, and so are repeats beyond that number.

    Raises
    ------
    ValueError
        If no known stimulus repeats.
    """
    ids = stimulus_ids.astype(str)
    known = np.flatnonzero(ids != UNKNOWN)
    # Stimulus after stimulus, each in the order of its rows.
    order = known[np.argsort(ids[known], kind="stable")]
    _, first, counts = np.unique(ids[order], return_index=True, return_counts=True)
    most = int(counts.max()) if len(counts) else 0
    checks.at_least("most frequent number of repeats", most, 2)
    n_repeats = int(np.bincount(counts[counts > 1]).argmax())
    return order[first[counts >= n_repeats] + np.arange(n_repeats)[:, None]]


def snr(x: np.ndarray, stimulus_ids: np.ndarray) -> np.ndarray:
    """Signal SD over noise SD of a single trial (ncsnr) of each feature, float64 (n_features,).

    Parameters
    ----------
    x : array, shape (n_trials, n_features) or (n_trials, n_channels, n_times)
        The variances of a channel are summed over its times.
    stimulus_ids : text array, shape (n_trials,)
    """
    known = stimulus_ids.astype(str) != UNKNOWN
    checks.at_least("number of trials with a known stimulus", int(known.sum()), 2)
    out = []
    rows = np.flatnonzero(known)
    for values in _blocks(x, rows):
        flat = torch.from_numpy(values.reshape(len(values), -1))
        parts = ceilings.variance_components(flat, stimulus_ids[known].astype(str))
        signal, noise = (v.reshape(values.shape[1], -1).sum(1) for v in parts)
        out.append(ceilings.ratio_of_sds(signal, noise))
    return torch.cat(out).numpy()


def reliability(x: np.ndarray, stimulus_ids: np.ndarray) -> np.ndarray:
    """Split-half reliability of the mean over repeats of each feature, float64 (n_features,).

    Parameters
    ----------
    x, stimulus_ids
        As in `snr`; the times of a channel count as further stimuli, each after its mean over stimuli.
    """
    rows = repeated_rows(stimulus_ids)
    out = []
    for values in _blocks(x, rows.ravel()):
        halves = values.reshape(*rows.shape, *values.shape[1:])  # (repeat, stimulus, feature, ...)
        halves -= halves.mean((0, 1))
        halves = np.moveaxis(halves, 2, -1).reshape(len(rows), -1, values.shape[1])
        generator = seeding.torch_generator(0, "split halves")
        out.append(ceilings.split_half_reliability(torch.from_numpy(halves), generator, N_SPLITS))
    return torch.cat(out).numpy()


def _blocks(x: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """These rows, some features at a time, float64 copies."""
    step = max(1, BLOCK_VALUES // max(1, len(rows) * int(np.prod(x.shape[2:]))))
    for start in range(0, x.shape[1], step):
        yield x[rows, start : start + step].astype(np.float64)
