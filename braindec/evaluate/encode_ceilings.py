"""How well a perfect encoding model could do: from signal to noise and from split halves, whichever stimuli repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec.data import repeats
from braindec.stats import ceilings
from braindec.types import UNKNOWN

NCSNR, HALVES = "ncsnr", "split_half"
KINDS = {NCSNR: "ncsnr", HALVES: "repeatability"}  # as `Score.ceiling_kind` calls them
N_SPLITS = 20
LARGEST = 1e6  # of a ratio of signal to noise: repeats without any noise would make it infinite


@dataclass(frozen=True, eq=False)
class Ceilings:
    """Largest correlation that a perfect model could have with mean responses.

    Parameters
    ----------
    kind : str
        The one that leads: ``"split_half"`` where all stimuli repeat equally often (it pools no variance over stimuli),
        ``"ncsnr"`` where they do not (halves would leave repeats out).
    test : mapping of str to float array, shape (n_voxels,)
        By kind, of the mean test responses.
    training : mapping of str to float array, shape (n_voxels,)
        By kind, of the mean training responses; empty where training stimuli do not repeat. Voxels are chosen by these.
    repeats_of : str
        ``"train"`` or ``"test"``: whose repeats these come from.
    """

    kind: str
    test: Mapping[str, np.ndarray]
    training: Mapping[str, np.ndarray]
    repeats_of: str

    @property
    def score_kind(self) -> str:
        """The leading kind as `Score.ceiling_kind`."""
        return KINDS[self.kind]


def estimate(
    train: Tensor, train_ids: np.ndarray, test: Tensor, test_ids: np.ndarray, generator: torch.Generator,
    averaged: Mapping[str, np.ndarray] | None = None,
) -> Ceilings | None:  # fmt: skip
    """Ceilings of both kinds, from repeats of training stimuli, or of test stimuli where only these repeat.

    Parameters
    ----------
    train, test : Tensor, shape (n_trials, n_voxels)
        Single trials.
    train_ids, test_ids : text array, shape (n_trials,)
    generator : torch.Generator
        Draws the halves.
    averaged : mapping of str to int array, optional
        For ``"train"`` and ``"test"`` how many trials are averaged into each response that is predicted; by default
        all repeats of a stimulus.

    Returns
    -------
    Ceilings or None
        None where nothing repeats.
    """
    counts = {part: _counts(ids) for part, ids in (("train", train_ids), ("test", test_ids))}
    part = next((name for name in ("train", "test") if len(counts[name]) and counts[name].max() > 1), None)
    if part is None:
        return None
    single, ids = (train, train_ids) if part == "train" else (test, test_ids)
    known = np.flatnonzero(ids != UNKNOWN)
    found = {
        NCSNR: ceilings.estimate_ncsnr(single[known], ids[known]).clamp_max(LARGEST),
        HALVES: _snr_of_halves(single, ids, generator),
    }
    kind = HALVES if (counts[part] == counts[part][0]).all() else NCSNR
    means = counts if averaged is None else averaged
    test_c, train_c = (
        {name: ceilings.noise_ceiling(snr, means[p].tolist()).sqrt().numpy() for name, snr in found.items()}
        for p in ("test", "train")
    )
    return Ceilings(kind, test_c, train_c if part == "train" else {}, part)


def _counts(ids: np.ndarray) -> np.ndarray:
    return np.unique(ids[ids != UNKNOWN], return_counts=True)[1]


def _snr_of_halves(single: Tensor, ids: np.ndarray, generator: torch.Generator) -> Tensor:
    """Signal SD over noise SD of a single trial that gives the split-half reliability, (n_voxels,)."""
    rows = repeats.repeated_rows(ids)
    n_repeats = len(rows)
    whole = ceilings.split_half_reliability(single[rows], generator, N_SPLITS).clamp(0.0, 1.0 - 1e-9)
    one = ceilings.spearman_brown(whole, 1 / n_repeats)
    return (one / (1 - one)).sqrt().clamp_max(LARGEST)
