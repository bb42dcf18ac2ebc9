"""Feature banks that drive the simulated brains: pixels, Gabor energy, true factors, layers of the scene network.

Every bank is reduced to the leading principal components of a fixed reference sample of scenes and given unit variance
there, so that a brain's weights mean the same for every set of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from braindec import checks
from braindec.data.simulated import scenes as world

PIXEL_GRID = 8
GABOR_GRID = 4
N_ORIENTATIONS = 4
WAVELENGTHS_PX = (4.0, 8.0, 14.0)
KERNEL_PX, STRIDE_PX = 21, 4
FACTOR_WORDS = (
    *world.SHAPES, *world.COLOURS, *world.TEXTURES, *world.SIZES, *world.PLACES,
    *range(1, world.MAX_OBJECTS + 1), *world.BACKGROUNDS, *world.PATTERNS,
)  # fmt: skip
NETWORK_BANKS = {"network_early": ("conv2",), "network_mid": ("conv4",), "network_late": ("conv5", "hidden")}
BANK_DIMS = {
    "pixels": 24,
    "gabor": 10,
    "factors": 32,
    "network_early": 10,
    "network_mid": 24,
    "network_late": 40,
}
MIN_VARIANCE = 1e-6  # components with less than this share of the first one's variance hold nothing


def pixel_features(images: np.ndarray) -> np.ndarray:
    """Mean colour of the cells of an 8x8 grid.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 64, 64, 3)
        RGB, 0-255.

    Returns
    -------
    ndarray of float32, shape (n, 192)
        In [0, 1].
    """
    checks.n_axes("images", images, ("stimulus", "height", "width", "rgb"))
    n, height, width, _ = images.shape
    cells = images.reshape(n, PIXEL_GRID, height // PIXEL_GRID, PIXEL_GRID, width // PIXEL_GRID, 3)
    return (cells.mean((2, 4), dtype=np.float32) / 255).reshape(n, -1)


def gabor_features(images: np.ndarray, batch_size: int = 512) -> np.ndarray:
    """Root energy of quadrature pairs of Gabor filters on the luminance, averaged over a 4x4 grid.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 64, 64, 3)
        RGB, 0-255.
    batch_size : int
        Pictures filtered at once.

    Returns
    -------
    ndarray of float32, shape (n, 192)
        Four orientations at three wavelengths (4, 8 and 14 pixels) in sixteen cells; >= 0.

    Notes
    -----
    Complex-cell energy model, Adelson & Bergen 1985, doi:10.1364/JOSAA.2.000284.
    """
    checks.n_axes("images", images, ("stimulus", "height", "width", "rgb"))
    kernels = torch.from_numpy(_gabor_kernels())
    parts = []
    for start in range(0, len(images), batch_size):
        luminance = images[start : start + batch_size].astype(np.float32) @ LUMINANCE / 255
        x = torch.from_numpy(luminance)[:, None] - 0.5
        x = torch.nn.functional.pad(x, (KERNEL_PX // 2,) * 4, mode="reflect")
        even, odd = torch.nn.functional.conv2d(x, kernels, stride=STRIDE_PX).chunk(2, dim=1)
        energy = (even.square() + odd.square()).sqrt()
        parts.append(torch.nn.functional.adaptive_avg_pool2d(energy, GABOR_GRID).flatten(1).numpy())
    return np.concatenate(parts) if parts else np.empty((0, len(kernels) // 2 * GABOR_GRID**2), np.float32)


LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709


def _gabor_kernels() -> np.ndarray:
    """Even kernels, then odd ones: float32 (24, 1, 21, 21), zero mean, unit norm."""
    axis = np.arange(KERNEL_PX) - KERNEL_PX // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    even, odd = [], []
    for wavelength in WAVELENGTHS_PX:
        envelope = np.exp(-(x**2 + y**2) / (2 * (0.4 * wavelength) ** 2))
        for k in range(N_ORIENTATIONS):
            angle = np.pi * k / N_ORIENTATIONS
            phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
            cosine = envelope * np.cos(phase)
            cosine -= envelope * cosine.sum() / envelope.sum()
            sine = envelope * np.sin(phase)
            even.append(cosine / np.linalg.norm(cosine))
            odd.append(sine / np.linalg.norm(sine))
    return np.stack(even + odd)[:, None].astype(np.float32)


def factor_features(scenes: Sequence[world.Scene]) -> np.ndarray:
    """The true factors of scenes, wherever in the picture they occur.

    Parameters
    ----------
    scenes : sequence of Scene

    Returns
    -------
    ndarray of float32, shape (n, 44)
        How many objects have each shape, colour, texture and size (23); whether an object is at each place (9), and the
        number of objects (3), background (6) and pattern (3), one-hot.
    """
    factors = np.zeros((len(scenes), len(FACTOR_WORDS)), np.float32)
    column = {word: i for i, word in enumerate(FACTOR_WORDS)}
    for i, scene in enumerate(scenes):
        for o in scene.objects:
            for word in (o.shape, o.colour, o.texture, o.size, o.place):
                factors[i, column[word]] += 1
        for key in (len(scene.objects), scene.background, scene.pattern):
            factors[i, column[key]] = 1
    return factors


def raw_banks(
    scenes: Sequence[world.Scene], images: np.ndarray, network: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """All banks before reduction.

    Parameters
    ----------
    scenes : sequence of Scene, length n
    images : ndarray of uint8, shape (n, 64, 64, 3)
    network : mapping of str to ndarray, shape (n, dim)
        Features that stand for the late and middle stages of vision: `network_banks(layer_features(images))`, or the
        decoding target's own embedding under each of these names in an inverse-crime world.
    """
    checks.same_length("stimulus", scenes=scenes, images=images, **network)
    return {
        "pixels": pixel_features(images),
        "gabor": gabor_features(images),
        "factors": factor_features(scenes),
        **network,
    }


def network_banks(
    layers: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Layers of the scene network grouped into an early, a middle and a late bank, each layer at unit mean variance.

    Parameters
    ----------
    layers : mapping of str to ndarray, shape (n, dim)
        From `network.layer_features`. Maps of the middle and late banks are averaged onto a 2x2 grid, as receptive
        fields grow along the visual hierarchy.
    like : mapping of str to ndarray, shape (m, dim), optional
        The same layers for other pictures, over which variance is taken; None takes it over `layers`.
    """
    banks = {}
    for bank, names in NETWORK_BANKS.items():
        parts = [_pooled(bank, name, layers) for name in names]
        measured = parts if like is None else [_pooled(bank, name, like) for name in names]
        scales = [np.sqrt(x.var(0).mean() + 1e-12) for x in measured]
        banks[bank] = np.concatenate([x / s for x, s in zip(parts, scales, strict=True)], 1)
    return banks


def _pooled(bank: str, name: str, layers: Mapping[str, np.ndarray]) -> np.ndarray:
    x = checks.known_key("layer", name, layers)
    return x if bank == "network_early" or name == "hidden" else _coarser(x)


def _coarser(maps: np.ndarray) -> np.ndarray:
    """Maps flattened from (channel, 4, 4), averaged onto (channel, 2, 2)."""
    return maps.reshape(len(maps), -1, 2, 2, 2, 2).mean((3, 5)).reshape(len(maps), -1)


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """What turns raw banks into features of unit variance.

    Parameters
    ----------
    mean, components : mapping of str to ndarray, shape (dim,) and (dim, n_components)
        By bank; ``(x - mean) @ components`` has unit variance and no correlations on the reference sample.
    """

    mean: Mapping[str, np.ndarray]
    components: Mapping[str, np.ndarray]

    @property
    def banks(self) -> np.ndarray:
        """Name of the bank of each feature, unicode (n_features,)."""
        return np.concatenate([np.full(c.shape[1], name) for name, c in self.components.items()])

    @property
    def ranks(self) -> np.ndarray:
        """Position of each feature in its bank, 1 for the leading component, int (n_features,)."""
        return np.concatenate([np.arange(1, c.shape[1] + 1) for c in self.components.values()])

    def __call__(self, banks: Mapping[str, np.ndarray]) -> np.ndarray:
        """float32 (n, n_features): the banks side by side."""
        parts = [(checks.known_key("bank", k, banks) - self.mean[k]) @ c for k, c in self.components.items()]
        return np.concatenate(parts, 1).astype(np.float32)


def fit_feature_map(reference: Mapping[str, np.ndarray], dims: Mapping[str, int] = BANK_DIMS) -> FeatureMap:
    """Principal components of each bank of a reference sample, at unit variance.

    Parameters
    ----------
    reference : mapping of str to ndarray, shape (n, dim)
        Raw banks of the reference scenes.
    dims : mapping of str to int
        Components kept of each bank, at most; banks that are not named are left out.

    Returns
    -------
    FeatureMap
    """
    mean, components = {}, {}
    for name in (n for n in dims if n in reference):
        x = reference[name].astype(np.float64)
        mean[name] = x.mean(0)
        x = x - mean[name]
        values, vectors = np.linalg.eigh(x.T @ x / len(x))
        kept = np.flatnonzero(values > MIN_VARIANCE * values[-1])[::-1][: dims[name]]
        # The sign of an eigenvector is arbitrary and may differ between machines; the largest entry decides it.
        signs = np.sign(vectors[np.abs(vectors[:, kept]).argmax(0), kept])
        components[name] = vectors[:, kept] * signs / np.sqrt(values[kept])
    return FeatureMap(mean, components)
