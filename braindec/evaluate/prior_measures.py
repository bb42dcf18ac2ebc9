"""What samples of a prior are worth beside the true embeddings: error, calibration, diversity, retrieval, rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.maths import nearest
from braindec.metrics.collapse import effective_rank

N_RANDOM, N_PRINCIPAL = 32, 8  # directions along which coverage is counted
LEVEL = 0.9  # of the interval whose coverage is a score


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples for some trials, beside what was presented.

    Parameters
    ----------
    ids : tuple of str
        Stimulus of each row.
    samples : float array, shape (n_samples, n, n_tokens, n_dims)
        At least three; 19 (39, ...) make an interval of exactly 90 % between two of them.
    truth : float array, shape (n, n_tokens, n_dims)
    known : float array, shape (n_known, n_tokens, n_dims)
        Embeddings of training stimuli: their mean, length and principal directions are the frame of all measures.
    """

    ids: tuple[str, ...]
    samples: np.ndarray
    truth: np.ndarray
    known: np.ndarray

    def __post_init__(self) -> None:
        checks.n_axes("samples", self.samples, ("sample", "trial", "token", "dim"))
        checks.at_least("number of samples", len(self.samples), 3)
        checks.same_length("trial", ids=self.ids, samples=self.samples[0], truth=self.truth)

    def flat(self) -> tuple[Tensor, Tensor, Tensor]:
        """(samples (n_samples, n, dim), truth (n, dim), known (n_known, dim)) about the training mean, float64.

        In units of the training embeddings' root mean square length.
        """
        known = torch.from_numpy(np.asarray(self.known, np.float64)).flatten(1)
        mean = known.mean(0)
        length = (known - mean).square().sum(1).mean().sqrt()
        samples, truth = (
            torch.from_numpy(np.asarray(v, np.float64)).flatten(-2) for v in (self.samples, self.truth)
        )
        return (samples - mean) / length, (truth - mean) / length, (known - mean) / length


def measures(drawn: Drawn, seed: int = 0) -> dict[str, np.ndarray]:
    """A value a row of each measure, by name.

    Parameters
    ----------
    drawn : Drawn
    seed : int
        Of the random directions.

    Returns
    -------
    dict of str to float64 array, shape (n,)
        ``embedding_error``: squared distance of the samples' mean from the truth (1: the training mean).
        ``draw_error``: that of single samples. ``energy_score``: E|x - truth| - E|x - x'| / 2, lower is better, made
        smallest by the true posterior alone. ``two_way``: share of other truths that lie further from the samples'
        mean, by angle.
        ``top1``: 1 where the own truth is the nearest. ``variance`` and ``squared_error``: of samples about their mean,
        and of the mean of endless samples about the truth. ``diversity``: variance of samples over that of training
        embeddings. ``coverage_random`` and ``coverage_principal``: share of directions along which the truth lies in
        the samples' central interval of 90 %.

    Notes
    -----
    Energy score: Gneiting & Raftery 2007, doi:10.1198/016214506000001437.
    """
    samples, truth, known = drawn.flat()
    n_samples = len(samples)
    mean, variance = samples.mean(0), samples.var(0).sum(1)
    error = (truth - mean).square().sum(1)
    apart = torch.stack([torch.pdist(row).mean() for row in samples.transpose(0, 1)])
    # Rows that repeat a stimulus are no distractors of each other.
    gallery, own = _gallery(truth, drawn.ids)
    better, tied = nearest.ranks_in(nearest.similarity(mean, gallery), own)
    found = {
        "embedding_error": error,
        "draw_error": (samples - truth).square().sum(2).mean(0),
        "energy_score": (samples - truth).norm(dim=2).mean(0) - apart / 2,
        "two_way": 1 - nearest.mid_ranks(better, tied) / max(1, len(gallery) - 1),
        "top1": nearest.hits_at(1, better, tied),
        "variance": variance,
        "squared_error": error - variance / n_samples,
        "diversity": variance / known.var(0).sum(),
    }
    for name, within in zip(("random", "principal"), ranks(drawn, seed), strict=True):
        found[f"coverage_{name}"] = inside(within, n_samples, LEVEL).mean(1)
    return {name: np.asarray(values.double()) for name, values in found.items()}


def _gallery(truth: Tensor, ids: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Distinct truths, and which of them is each row's."""
    _, first, row = np.unique(np.array(ids), return_index=True, return_inverse=True)
    return truth[torch.from_numpy(first)], torch.from_numpy(row)


def ranks(drawn: Drawn, seed: int = 0) -> tuple[Tensor, Tensor]:
    """How many samples lie below the truth, along random and along principal directions: (n, n_directions) each.

    Uniform over 0 .. n_samples where samples are draws of the true posterior (Talagrand's histogram; Hamill 2001,
    doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2).
    """
    samples, truth, known = drawn.flat()
    random = torch.randn(
        truth.shape[1], N_RANDOM, generator=seeding.torch_generator(seed, "directions"), dtype=truth.dtype
    )
    n_principal = min(N_PRINCIPAL, *known.shape)
    principal = torch.linalg.svd(known, full_matrices=False)[2][:n_principal].T

    def below(directions: Tensor) -> Tensor:
        return ((samples @ directions) < (truth @ directions)).sum(0)

    return below(random), below(principal)


def inside(rank: Tensor, n_samples: int, level: float) -> Tensor:
    """Whether a truth of this rank lies in the central interval of a level: 0, 1, or a share at its edges.

    A true posterior's draws cover exactly `level` for any number of samples: where no two of them bound the interval,
    the ranks at its edges count in part.
    """
    places = n_samples + 1
    left_out = (1 - level) / 2 * places  # ranks at either end that the interval leaves out
    whole = int(left_out + 1e-9)
    part = max(0.0, left_out - whole)  # rounding makes it no less
    distance = torch.minimum(rank, n_samples - rank)
    counted = (distance > whole).double() + (distance == whole).double() * (1 - part)
    return torch.where(distance < whole, torch.zeros_like(counted), counted)


def spread_over_error(found: dict[str, np.ndarray], rows: np.ndarray | slice = slice(None)) -> float:
    """SD of samples over the error of their mean, each summed over rows: 1 where the spread matches the error."""
    error = max(float(found["squared_error"][rows].sum()), 1e-30)
    return float(np.sqrt(found["variance"][rows].sum() / error))


def rank_of_means(drawn: Drawn) -> tuple[float, float]:
    """Effective rank of the samples' means, and of the truths: what a prior invents must not be taken for variety.

    Notes
    -----
    Shirakawa et al. 2024, arXiv:2405.10078, on spurious reconstruction.
    """
    samples, truth, _ = drawn.flat()
    return effective_rank(samples.mean(0)), effective_rank(truth)
