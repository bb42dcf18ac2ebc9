"""Stimuli that tell encoding models, or clusters of voxels, apart: chosen from a pool by what models predict of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor

N_STARTS = 10  # of clustering: it ends in the nearest of many optima


class Clusters(NamedTuple):
    """Clusters of voxels and the stimuli that tell them apart.

    labels (n_voxels,): cluster of each; stimuli (n_clusters, n_each): positions in the pool, those that drive each
    cluster beyond all others; profiles (n_clusters * n_each, n_clusters): mean standardised prediction of each cluster
    for these stimuli, one cluster's after the other; objective: mean log share of the drive that goes to the cluster
    which a stimulus is for (0 at best, -log(n_clusters) where they are all driven alike).
    """

    labels: Tensor
    stimuli: Tensor
    profiles: Tensor
    objective: float


def disagreement(predictions: Array, noise: Array | None = None) -> Tensor:
    """How much each stimulus is worth in telling each pair of models apart.

    Parameters
    ----------
    predictions : Tensor or array, shape (n_models, n_stimuli, n_voxels)
        Of the same voxels by rival models.
    noise : Tensor or array, shape (n_voxels,), optional
        Variance of a response around a right model's prediction; 1 by default. Noise of voxels is taken as independent.

    Returns
    -------
    Tensor of float64, shape (n_pairs, n_stimuli)
        Squared distance of the two predictions in units of the noise. Half of it is the evidence (log Bayes factor, in
        nats) that one response is expected to give for the model of the two that is right; evidence of several
        stimuli adds.
    """
    predictions = as_tensor("predictions", predictions, floating=True)
    checks.n_axes("predictions", predictions, ("model", "stimulus", "voxel"))
    n = len(predictions)
    checks.at_least("number of models", n, 2)
    spread = predictions.new_ones(predictions.shape[2]) if noise is None else as_tensor("noise", noise)
    wide = predictions.double() / spread.double().sqrt()
    pairs = torch.triu_indices(n, n, 1).T.tolist()
    return torch.stack([(wide[i] - wide[j]).square().sum(1) for i, j in pairs])


def most_telling(predictions: Array, n: int, noise: Array | None = None) -> Tensor:
    """Stimuli of a pool on which rival models disagree most ("controversial" stimuli), the best one first.

    Parameters
    ----------
    predictions, noise
        As of `disagreement`.
    n : int
        How many of the pool, [1, n_stimuli].

    Returns
    -------
    int64 Tensor, shape (n,)
        Positions in the pool. Of two models: those that no other choice of n stimuli beats in expected evidence. Of
        more: one after the other, whichever helps the pair of models that is told apart worst so far.

    Notes
    -----
    Golan, Raju and Kriegeskorte 2020, doi:10.1073/pnas.1912334117, synthesise such stimuli; here they are chosen.
    """
    worth = disagreement(predictions, noise)
    checks.in_range("n", n, 1, worth.shape[1])
    total = worth.new_zeros(len(worth))
    free = torch.ones(worth.shape[1], dtype=torch.bool, device=worth.device)
    chosen = []
    for _ in range(n):
        # Of two models the worst pair is the only pair; a tie of further pairs is broken by what helps all of them.
        reached = (total[:, None] + worth).amin(0) + 1e-9 * worth.sum(0)
        best = int(torch.where(free, reached, -torch.inf).argmax())
        free[best] = False
        total = total + worth[:, best]
        chosen.append(best)
    return torch.tensor(chosen)


def evidence(predictions: Array, responses: Array, noise: Array) -> Tensor:
    """Log likelihood of each model up to a constant that they share, float64 (n_models,).

    Parameters
    ----------
    predictions : Tensor or array, shape (n_models, n_stimuli, n_voxels)
    responses : Tensor or array, shape (n_stimuli, n_voxels)
        Measured.
    noise : Tensor or array, shape (n_voxels,)
        As of `disagreement`.
    """
    predictions, responses = as_tensor("predictions", predictions), as_tensor("responses", responses)
    noise = as_tensor("noise", noise)
    return -0.5 * ((responses - predictions).double().square() / noise.double()).sum((1, 2))


def discriminative_clusters(
    predictions: Array,
    n_clusters: int,
    generator: torch.Generator,
    *,
    n_each: int = 1,
    temperature: float = 0.5,
    n_iterations: int = 50,
) -> Clusters:
    """Clusters of voxels, each with stimuli that drive it and no other; stimuli and clusters are found in turn.

    Parameters
    ----------
    predictions : Tensor or array, shape (n_stimuli, n_voxels)
        Of a pool of stimuli by a model of the voxels.
    n_clusters : int
        >= 2.
    generator : torch.Generator
        Draws the clusters that each of `N_STARTS` runs begins with; the run with the best objective is kept.
    n_each : int
        Stimuli a cluster.
    temperature : float
        Of the share of drive, in standard deviations of a voxel's predictions.
    n_iterations : int
        At most; it ends where no voxel moves.

    Returns
    -------
    Clusters

    Notes
    -----
    Burg et al. 2024, arXiv:2401.05342, optimise pictures by gradient; here stimuli are chosen from the pool. Voxels are
    standardised over the pool, so that none leads by its gain.
    """
    predictions = as_tensor("predictions", predictions)
    n, n_voxels = checks.n_axes("predictions", predictions, ("stimulus", "voxel")).shape
    checks.in_range("n_clusters", n_clusters, 2, n_voxels)
    checks.in_range("n_each", n_each, 1, n // n_clusters)
    wide = predictions.double()
    z = (wide - wide.mean(0)) / wide.std(0).clamp_min(1e-12)
    runs = [_run(z, n_clusters, generator, n_each, temperature, n_iterations) for _ in range(N_STARTS)]
    return max(runs, key=lambda run: run.objective)


def assigned(responses: Array, profiles: Array) -> Tensor:
    """The cluster whose mean responses to a few stimuli are nearest to each voxel's, int64 (n_voxels,).

    Parameters
    ----------
    responses : Tensor or array, shape (n_stimuli, n_voxels)
        Measured responses to the stimuli, standardised as those of the profiles are.
    profiles : Tensor or array, shape (n_stimuli, n_clusters)
    """
    responses, profiles = as_tensor("responses", responses), as_tensor("profiles", profiles)
    checks.same_length("stimulus", responses=responses, profiles=profiles)
    return (responses.double()[:, :, None] - profiles.double()[:, None]).square().sum(0).argmin(1)


def profiles_of(predictions: Array, labels: Array, n_clusters: int) -> Tensor:
    """Mean prediction of each cluster's voxels, (n_stimuli, n_clusters); 0 of a cluster without voxels."""
    predictions, labels = as_tensor("predictions", predictions), as_tensor("labels", labels)
    member = torch.nn.functional.one_hot(labels.long(), n_clusters).to(predictions)
    return predictions @ (member / member.sum(0).clamp_min(1))


def _run(
    z: Tensor, n_clusters: int, generator: torch.Generator, n_each: int, temperature: float, n_iterations: int
) -> Clusters:
    labels = _seeded(z, n_clusters, generator)
    for _ in range(n_iterations):
        stimuli, objective = _stimuli(z, labels, n_clusters, n_each, temperature)
        moved = torch.stack([z[own].mean(0) for own in stimuli]).argmax(0)
        if torch.equal(moved, labels):
            break
        labels = _filled(z, moved, stimuli)
    stimuli, objective = _stimuli(z, labels, n_clusters, n_each, temperature)
    return Clusters(labels, stimuli, profiles_of(z, labels, n_clusters)[stimuli.flatten()], objective)


def _seeded(z: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Every voxel to the nearest of a few voxels drawn at random."""
    centres = z[:, torch.randperm(z.shape[1], generator=generator)[:n_clusters]]
    return assigned(z, centres)


def _stimuli(
    z: Tensor, labels: Tensor, n_clusters: int, n_each: int, temperature: float
) -> tuple[Tensor, float]:
    """For each cluster the stimuli with the largest share of drive, (n_clusters, n_each), and the mean log share."""
    share = (profiles_of(z, labels, n_clusters) / temperature).log_softmax(1)
    best = share.topk(n_each, dim=0)
    return best.indices.T.contiguous(), float(best.values.mean())


def _filled(z: Tensor, labels: Tensor, stimuli: Tensor) -> Tensor:
    """No cluster is left without a voxel: an empty one takes the voxel that its stimuli drive most."""
    out = labels.clone()
    for cluster in range(len(stimuli)):
        if not (out == cluster).any():
            out[int(z[stimuli[cluster]].mean(0).argmax())] = cluster
    return out
