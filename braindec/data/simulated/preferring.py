"""A simulated region with a known preference, that answers to any picture whatever: also to pictures of no scene.

Regions of `brains` are driven by the true factors of scenes, which a synthesised picture does not have. This one is
driven by how many objects of each kind the scene network sees, and likes one kind:

    count     c[k](x) = sum over places of the probability of kind k there
    response  s = saturate(preference z[liked] + individual sum over k of w[v, k] z[k]),   z = standardised counts
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from braindec import checks
from braindec.data.simulated.brains import saturate
from braindec.data.simulated.network import CELL_CLASSES, N_CELLS, load_scene_network, to_input
from braindec.data.simulated.scenes import FACTORS

KINDS = tuple(word for name in CELL_CLASSES for word in FACTORS[name])


@dataclass(frozen=True, eq=False)
class PreferringRegion:
    """Voxels that like objects of one kind.

    Parameters
    ----------
    likes : str
        One of `KINDS`.
    mean, sd : ndarray, shape (n_kinds,)
        Of counts over the reference pictures.
    weights : ndarray, shape (n_kinds, n_voxels)
        Unit variance of the drive over the reference pictures.
    saturation : float
        Largest response, in standard deviations of a linear one.
    """

    likes: str
    mean: np.ndarray
    sd: np.ndarray
    weights: np.ndarray
    saturation: float

    def respond(self, images: np.ndarray) -> np.ndarray:
        """Responses without noise, float64 (n, n_voxels), to uint8 pictures (n, 64, 64, 3)."""
        z = (counts_of(images) - self.mean) / self.sd
        return saturate(z @ self.weights, self.saturation)


def draw_region(
    likes: str,
    reference: np.ndarray,
    n_voxels: int,
    generator: np.random.Generator,
    *,
    individual: float = 0.3,
    saturation: float = 6.0,
) -> PreferringRegion:
    """A region that likes one kind of object.

    Parameters
    ----------
    likes : str
        A shape, colour, texture or size.
    reference : ndarray of uint8, shape (n, 64, 64, 3)
        Pictures of scenes: what a response of one standard deviation means.
    n_voxels : int
    generator : numpy.random.Generator
    individual : float
        Length of each voxel's own random weights beside the preference's 1, >= 0.
    saturation : float
    """
    checks.one_of("likes", likes, KINDS)
    checks.at_least("individual", individual, 0.0)
    counts = counts_of(reference)
    mean, sd = counts.mean(0), counts.std(0)
    own = generator.standard_normal((len(KINDS), n_voxels))
    weights = individual * own / np.linalg.norm(own, axis=0)
    weights[KINDS.index(likes)] += 1.0
    weights /= ((counts - mean) / sd @ weights).std(0)
    return PreferringRegion(likes, mean, sd, weights, saturation)


def counts_of(images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """How many objects of each of `KINDS` the network expects in pictures: float64 (n, n_kinds), >= 0."""
    checks.n_axes("images", images, ("stimulus", "height", "width", "rgb"))
    network, parts = load_scene_network(), []
    sizes = [N_CELLS * n for n in CELL_CLASSES.values()]
    for start in range(0, len(images), batch_size):
        with torch.inference_mode():
            said = network(to_input(images[start : start + batch_size]))[:, : sum(sizes)]
        chances = [
            x.double().unflatten(1, (N_CELLS, -1)).softmax(2)[:, :, 1:].sum(1) for x in said.split(sizes, 1)
        ]
        parts.append(torch.cat(chances, 1).numpy())
    return np.concatenate(parts)
