"""Dictionaries without a sparse autoencoder, one interface for all, so that every number can stand beside theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA, FastICA
from torch import Tensor

from braindec import checks, seeding
from braindec.sparse import codes
from braindec.sparse.codes import Code

Kind = Literal["signed", "positive", "nearest", "nonnegative"]
N_STEPS = 500  # of the non-negative fit; it stops when steps are small


@dataclass(frozen=True, eq=False)
class Baseline:
    """A linear dictionary with the interface of `dictionary.Dictionary`.

    Parameters
    ----------
    name : str
    atoms, encoder : Tensor, shape (n_latents, n_dims)
    encoder_bias : Tensor, shape (n_latents,)
    bias : Tensor, shape (n_dims,)
        Pre-activations are (x - bias) encoder.T + encoder_bias; reconstructions are code atoms + bias.
    kind : str
        What a code is: ``"signed"`` pre-activations, ``"positive"`` ones alone, 1 at the ``"nearest"`` atom, or the
        ``"nonnegative"`` weights that rebuild best.
    n_active : int
        Latents a sample that are kept, those that add most to the reconstruction; 0 for all.
    scale : float
        Times the code of ``"positive"``.
    """

    name: str
    atoms: Tensor
    encoder: Tensor
    encoder_bias: Tensor
    bias: Tensor
    kind: Kind
    n_active: int = 0
    scale: float = 1.0

    @property
    def n_latents(self) -> int:
        """Atoms of the dictionary."""
        return len(self.atoms)

    def pre_activations(self, inputs: Tensor) -> Tensor:
        """What each latent says before anything is cut off: (n_samples, n_dims) to (n_samples, n_latents)."""
        return torch.addmm(self.encoder_bias, inputs - self.bias, self.encoder.T)

    def encode(self, inputs: Tensor) -> Code:
        """The active latents of each sample: (n_samples, n_dims) to a `Code`."""
        values = self.pre_activations(inputs)
        if self.kind == "nearest":
            nearest = values.argmax(1, keepdim=True)
            values = torch.zeros_like(values).scatter(1, nearest, 1.0)
        elif self.kind == "positive":
            values = self.scale * values.relu()
        elif self.kind == "nonnegative":
            values = nonnegative(inputs - self.bias, self.atoms)
        if 0 < self.n_active < self.n_latents:
            weights = values.abs() * self.atoms.norm(dim=1)
            kept = weights.topk(self.n_active, dim=1).indices
            values = torch.zeros_like(values).scatter(1, kept, values.gather(1, kept))
        return codes.from_dense(values)

    def decode(self, code: Code) -> Tensor:
        """Inputs rebuilt from codes: (n_samples, n_dims)."""
        return codes.decode(code, self.atoms) + self.bias


def fit(name: str, inputs: Tensor, n_latents: int, *, seed: int, n_active: int = 0) -> Baseline:
    """A baseline fitted to training inputs.

    Parameters
    ----------
    name : str
        ``"pca"``, ``"ica"`` (FastICA), ``"nmf"`` (positive and negative parts of the inputs side by side, so that atoms
        are signed and codes are not), ``"kmeans"``, ``"random"`` (unit atoms drawn at random) or ``"raw"`` (the dims
        themselves, whatever `n_latents`).
    inputs : Tensor, shape (n_samples, n_dims)
    n_latents : int
        At most n_dims for PCA and ICA, at most n_samples for k-means.
    seed : int
    n_active : int
        Latents a sample to keep, so that baselines can be as sparse as what they are compared with; 0 for all, and
        always 1 for k-means.

    Returns
    -------
    Baseline
        On the device and in the dtype of `inputs`. Signs of PCA's and ICA's latents are such that activations are
        skewed to the positive, as those of a feature are that is rarely there.

    Raises
    ------
    ConfigError
        If the name is unknown or `n_latents` does not suit it.
    """
    checks.n_axes("inputs", inputs, ("sample", "dim"))
    make = checks.known_key("baseline", name, MAKERS)
    checks.at_least("n_latents", n_latents, 1)
    if name in ("pca", "ica") and n_latents > min(inputs.shape):
        raise checks.ConfigError(
            f"{name} has at most {min(inputs.shape)} latents for {len(inputs)} samples of {inputs.shape[1]} dims, "
            f"got n_latents {n_latents}."
        )
    if name == "kmeans" and n_latents > len(inputs):
        raise checks.ConfigError(
            f"kmeans needs a sample a latent: {len(inputs)} samples, {n_latents} latents."
        )
    values = checks.finite("inputs", inputs.detach()).cpu().double().numpy()
    parts = make(values, n_latents, seed)
    atoms, encoder, encoder_bias, bias = (
        torch.from_numpy(np.ascontiguousarray(part)).to(inputs)
        for part in (parts.atoms, parts.encoder, parts.encoder_bias, parts.bias)
    )
    kept = 0 if parts.kind == "nearest" else n_active
    found = Baseline(name, atoms, encoder, encoder_bias, bias, parts.kind, kept)
    return _scaled(found, inputs) if parts.kind == "positive" else found


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a maker gives, in numpy: `Baseline` without its name."""

    atoms: np.ndarray
    encoder: np.ndarray
    bias: np.ndarray
    kind: Kind
    encoder_bias: np.ndarray


def _pca(values: np.ndarray, n_latents: int, seed: int) -> _Parts:
    made = PCA(n_latents, svd_solver="full").fit(values)
    return _skewed(values, made.components_, made.components_, made.mean_)


def _ica(values: np.ndarray, n_latents: int, seed: int) -> _Parts:
    made = FastICA(n_latents, whiten="unit-variance", max_iter=1000, tol=1e-3, random_state=_state(seed)).fit(
        values
    )
    return _skewed(values, made.mixing_.T, made.components_, made.mean_)


def _skewed(values: np.ndarray, atoms: np.ndarray, encoder: np.ndarray, mean: np.ndarray) -> _Parts:
    third = (((values - mean) @ encoder.T) ** 3).mean(0)
    sign = np.where(third < 0, -1.0, 1.0)[:, None]
    return _Parts(sign * atoms, sign * encoder, mean, "signed", np.zeros(len(atoms)))


def _nmf(values: np.ndarray, n_latents: int, seed: int) -> _Parts:
    centre = np.median(values, 0)
    halves = np.hstack([np.maximum(values - centre, 0), np.maximum(centre - values, 0)])
    init = "nndsvda" if n_latents <= min(halves.shape) else "random"  # the first has no more than it has dims
    made = NMF(n_latents, init=init, max_iter=300, tol=1e-3, random_state=_state(seed)).fit(halves)
    positive, negative = np.hsplit(made.components_, 2)
    atoms = positive - negative
    # It has no linear encoder; pre-activations are the unconstrained weights that rebuild best.
    return _Parts(atoms, np.linalg.pinv(atoms).T, centre, "nonnegative", np.zeros(n_latents))


def _kmeans(values: np.ndarray, n_latents: int, seed: int) -> _Parts:
    mean = values.mean(0)
    centres = KMeans(n_latents, n_init=4, random_state=_state(seed)).fit(values - mean).cluster_centers_
    return _Parts(centres, centres, mean, "nearest", -0.5 * (centres**2).sum(1))  # largest where nearest


def _random(values: np.ndarray, n_latents: int, seed: int) -> _Parts:
    atoms = seeding.numpy_generator(seed, "sparse", "random").standard_normal((n_latents, values.shape[1]))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return _Parts(atoms, atoms, values.mean(0), "positive", np.zeros(n_latents))


def _raw(values: np.ndarray, n_latents: int, seed: int) -> _Parts:
    n_dims = values.shape[1]
    return _Parts(np.eye(n_dims), np.eye(n_dims), values.mean(0), "signed", np.zeros(n_dims))


MAKERS: Mapping[str, Callable[[np.ndarray, int, int], _Parts]] = {
    "pca": _pca,
    "ica": _ica,
    "nmf": _nmf,
    "kmeans": _kmeans,
    "random": _random,
    "raw": _raw,
}
NAMES = tuple(MAKERS)


def _state(seed: int) -> int:
    return seeding.derive(seed, "sparse", "baseline") % 2**32


def _scaled(model: Baseline, inputs: Tensor) -> Baseline:
    """With the one factor of its codes that rebuilds the inputs best."""
    centred = inputs - model.bias
    rebuilt = codes.decode(model.encode(inputs), model.atoms)
    scale = float((centred * rebuilt).sum() / rebuilt.square().sum())
    return replace(model, scale=scale)


def nonnegative(inputs: Tensor, atoms: Tensor, *, n_steps: int = N_STEPS, tolerance: float = 1e-6) -> Tensor:
    """Weights >= 0 of atoms (n_latents, n_dims) whose sum is nearest to each input: (n_samples, n_latents).

    Accelerated projected gradients (Beck and Teboulle 2009, doi:10.1137/080716542), all samples at once.
    """
    gram, wanted = atoms @ atoms.T, inputs @ atoms.T
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(torch.finfo(atoms.dtype).tiny)
    found = ahead = torch.zeros_like(wanted)
    momentum = 1.0
    for _ in range(n_steps):
        moved = torch.relu(ahead - step * (ahead @ gram - wanted))
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        change = moved - found
        ahead = moved + (momentum - 1) / following * change
        found, momentum = moved, following
        if float(change.abs().max()) <= tolerance * float(found.abs().max()):
            break
    return found
