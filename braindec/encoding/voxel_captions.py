"""Words for what a voxel prefers: its weights moved to where pictures lie, and named by embeddings of texts.

A voxel's weight vector is no embedding of any picture, so nothing that was trained on embeddings can read it. A convex
sum of natural pictures' embeddings, those that drive the voxel most, is one; the texts nearest to it are its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks
from braindec.maths.correlation import unit_rows
from braindec.maths.gemm import mm
from braindec.maths.tensors import Array, as_tensor
from braindec.stats import intervals
from braindec.stats.permutation import p_value

TEMPERATURE = 100.0  # of the softmax over pictures: BrainSCUBA's published code
AT_ONCE = 1 << 24  # similarities of pictures and voxels held together


@dataclass(frozen=True, eq=False)
class VoxelCaptions:
    """Names of voxels.

    Parameters
    ----------
    names : tuple of str
        Candidates.
    similarity : Tensor, shape (n_voxels, n_names)
        Cosine of each voxel's projected weights and each text, both without their mean; in [-1, 1].
    projected : Tensor, shape (n_voxels, n_features)
        Weights on the manifold of pictures, for a captioner that reads image embeddings.
    p : Tensor, shape (n_voxels,), or None
        Share of null voxels with a best name at least as similar, (count + 1) / (n_null + 1); None without null voxels.
        One-sided, and over all names at once.
    n_pictures : int
        Pictures projected onto.
    """

    names: tuple[str, ...]
    similarity: Tensor
    projected: Tensor
    p: Tensor | None
    n_pictures: int

    def nearest(self, n: int = 1) -> list[list[str]]:
        """The `n` names most alike of every voxel, best first."""
        checks.in_range("n", n, 1, len(self.names))
        return [[self.names[i] for i in row] for row in self.similarity.topk(n, 1).indices.tolist()]


@dataclass(frozen=True)
class Naming:
    """How often names are right.

    Parameters
    ----------
    accuracy : float
        Share of voxels whose nearest name is the true one.
    interval : tuple of float
        95 %, Wilson; voxels count as independent, so with neighbours that share their tuning it is too narrow.
    null : float
        Mean accuracy with voxels' names permuted: what a favourite name alone reaches.
    p : float
        Share of permutations at least as accurate, (count + 1) / (n + 1).
    n : int
        Voxels.
    """

    accuracy: float
    interval: tuple[float, float]
    null: float
    p: float
    n: int


def project(weights: Array, pictures: Array, temperature: float = TEMPERATURE) -> Tensor:
    """Voxel weights as convex sums of pictures' embeddings.

    Parameters
    ----------
    weights : Tensor or array, shape (n_features, n_voxels)
        Response per unit of feature. Weights of standardised features are divided by the features' standard deviations
        first; their length does not matter.
    pictures : Tensor or array, shape (n_pictures, n_features)
        Embeddings of natural pictures, many and varied.
    temperature : float
        Above 0: the higher, the fewer pictures count. The published 100 belongs to two million pictures; with some
        thousands 10 to 30 averages over as many neighbours.

    Returns
    -------
    Tensor, shape (n_voxels, n_features)
        sum_i s_i x_i / |x_i|, brought to the length sum_i s_i |x_i|, with s = softmax(temperature * cos(w, x)). Zero
        for a voxel with no weights.

    Notes
    -----
    Luo et al. 2024, "BrainSCUBA", arXiv:2310.04420.
    """
    weights, pictures = as_tensor("weights", weights), as_tensor("pictures", pictures)
    checks.n_axes("weights", weights, ("feature", "voxel"))
    checks.n_axes("pictures", pictures, ("picture", "feature"))
    checks.same_length("feature", weights=weights, pictures=pictures.T)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}.")
    checks.finite("weights", weights)
    checks.finite("pictures", pictures)
    x = pictures.to(weights)
    lengths = x.norm(dim=1)
    units = x / lengths.clamp_min(torch.finfo(x.dtype).tiny)[:, None]
    directions = unit_rows(weights, dim=0)
    parts = []
    for some in directions.split(max(1, AT_ONCE // max(1, len(x))), dim=1):
        share = (temperature * mm(units, some)).softmax(0).T.contiguous()  # (voxel, picture)
        parts.append(functional.normalize(mm(share, units), dim=1) * (share @ lengths)[:, None])
    return torch.where(
        (weights != 0).any(0)[:, None], torch.cat(parts), torch.zeros((), dtype=x.dtype, device=x.device)
    )


def caption_voxels(
    weights: Array,
    pictures: Array,
    texts: Array,
    names: Sequence[str],
    *,
    null_weights: Array | None = None,
    temperature: float = TEMPERATURE,
) -> VoxelCaptions:
    """The texts nearest to what every voxel prefers.

    Parameters
    ----------
    weights, pictures, temperature
        As in `project`.
    texts : Tensor or array, shape (n_names, n_features)
        Embeddings of nouns or captions in the space of the pictures (text tower of the same model).
    names : sequence of str
        Of the texts.
    null_weights : Tensor or array, shape (n_features, n_null), optional
        Weights of voxels that prefer nothing: models refitted to permuted responses, or `random_directions`.

    Returns
    -------
    VoxelCaptions

    Notes
    -----
    Pictures and texts lie in two cones of one space (Liang et al. 2022, arXiv:2203.02053): the mean over pictures is
    removed from projections, the mean over texts from texts, without which the text nearest to all pictures names
    every voxel.
    """
    weights, pictures = as_tensor("weights", weights), as_tensor("pictures", pictures)
    texts = as_tensor("texts", texts)
    checks.same_length("name", names=names, texts=texts)
    checks.at_least("number of names", len(names), 2)
    checks.unique("names", names)
    found, similarity = _named(weights, pictures, texts, temperature)
    p = None
    if null_weights is not None:
        null = (
            _named(as_tensor("null_weights", null_weights), pictures, texts, temperature)[1]
            .amax(1)
            .sort()
            .values
        )
        tie = similarity.amax(1) - 16 * torch.finfo(null.dtype).eps  # but for rounding
        below = torch.searchsorted(null, tie)
        p = (len(null) - below + 1) / (len(null) + 1)
    return VoxelCaptions(tuple(names), similarity, found, p, len(pictures))


def random_directions(pictures: Array, n: int, generator: torch.Generator) -> Tensor:
    """Weights (n_features, n) that prefer nothing: random mixtures of centred pictures.

    They have the pictures' covariance, as weights of a ridge model of noise have under a strong penalty; directions
    that are uniform in the whole space would be easier to tell from a voxel's.
    """
    checks.at_least("n", n, 1)
    pictures = as_tensor("pictures", pictures)
    centred = pictures - pictures.mean(0)
    mix = torch.randn(len(pictures), n, generator=generator, dtype=torch.float64, device=generator.device)
    return mm(centred.T.contiguous(), mix.to(centred))


def score_names(
    found: VoxelCaptions, true_names: Sequence[str], n_permutations: int, rng: np.random.Generator
) -> Naming:
    """How often the nearest name is the true one, beside the same names dealt to other voxels.

    Parameters
    ----------
    found : VoxelCaptions
    true_names : sequence of str, length n_voxels
        Each one of `found.names`.
    n_permutations : int
        At least 1.
    rng : numpy.random.Generator

    Returns
    -------
    Naming
    """
    checks.at_least("n_permutations", n_permutations, 1)
    checks.same_length("voxel", true_names=true_names, similarity=found.similarity)
    column = {name: i for i, name in enumerate(found.names)}
    truth = np.array([checks.known_key("true name", name, column) for name in true_names])
    named = found.similarity.argmax(1).cpu().numpy()
    n, hits = len(truth), int((named == truth).sum())
    orders = rng.permuted(np.tile(np.arange(n), (n_permutations, 1)), axis=1)
    null = (named[orders] == truth).mean(1)
    limits = intervals.wilson(hits, n)
    return Naming(hits / n, (limits.low, limits.high), float(null.mean()), p_value(hits / n, null), n)


def _named(weights: Tensor, pictures: Tensor, texts: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Projections (voxel, feature), and their cosines with the texts (voxel, name), both about their means."""
    checks.same_length("feature", weights=weights, texts=checks.n_axes("texts", texts, ("name", "feature")).T)
    found = project(weights, pictures, temperature)
    about = functional.normalize(found - pictures.to(found).mean(0), dim=1)
    words = texts.to(found)
    said = functional.normalize(words - words.mean(0), dim=1)
    unseen = (found == 0).all(1)[:, None]
    return found, mm(about, said.T.contiguous()).masked_fill(unseen, 0.0)
