"""Mean responses to stimuli, too large for memory or not, and small stand-ins that align as they would."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.data.unit_steps import BLOCK_BYTES, feature_parts
from braindec.maths.groups import group_means
from braindec.types import Table

MAX_BYTES = 384 << 20  # of what is aligned at once, float64; fitting takes four times as much
MAX_ROTATIONS = 768 << 20  # of rotations of all features of all subjects, float64
SHARED_BYTES = 128 << 20  # of what is kept for subjects that come later, float64
SMALLEST = 1e-10  # singular values below this share of the largest are rounding


class MeanResponses:
    """Centred mean responses of one subject, float64 (n_features, stimulus * time), made in parts from its rows.

    Parameters
    ----------
    x : float array, shape (n_trials, n_features, ...)
        May lie in a mapped file: only blocks of it are copied.
    table : Table
    stimuli : str array, sorted
        Each occurs in the table.
    """

    def __init__(self, x: np.ndarray, table: Table, stimuli: np.ndarray):
        ids = table["stimulus_id"].astype(str)
        self._x, self._rows = x, np.flatnonzero(np.isin(ids, stimuli))
        self._place = np.searchsorted(stimuli, ids[self._rows])
        self.n_stimuli = len(stimuli)
        self.shape = (x.shape[1], len(stimuli) * int(np.prod(x.shape[2:], dtype=np.int64)))
        self.mean = np.concatenate([flat.mean(1) for _, flat in self._parts()])

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Some features at a time, with all samples of them."""
        for part, flat in self._parts():
            flat -= self.mean[part, None]
            yield part, torch.from_numpy(flat)

    def samples(self, stimuli: np.ndarray) -> Tensor:
        """All features in the samples of some stimuli, by their places, in order."""
        chosen = np.isin(self._place, stimuli)
        place = np.searchsorted(stimuli, self._place[chosen])
        flat = _flat(group_means(self._x[self._rows[chosen]], place, len(stimuli)))
        return torch.from_numpy(flat - self.mean[:, None])

    def whole(self) -> Tensor:
        """All of them."""
        out = np.empty(self.shape)
        for part, flat in self.parts():
            out[part] = flat.numpy()
        return torch.from_numpy(out)

    def times(self, right: Tensor) -> Tensor:
        """Product with a matrix (n_samples, k): (n_features, k)."""
        return torch.cat([flat @ right for _, flat in self.parts()])

    def under(self, left: Tensor) -> Tensor:
        """Product of a matrix (n_features, k), transposed, with them: (k, n_samples)."""
        total = torch.zeros(left.shape[1], self.shape[1], dtype=torch.float64)
        for part, flat in self.parts():
            total += left[part].T @ flat
        return total

    def twice(self, right: Tensor) -> Tensor:
        """They, transposed, with their product with a matrix (n_samples, k): (n_samples, k)."""
        total = torch.zeros_like(right)
        for _, flat in self.parts():
            total += flat.T @ (flat @ right)
        return total

    def power(self) -> Tensor:
        """Their sum of squares."""
        return torch.stack([flat.square().sum() for _, flat in self.parts()]).sum()

    def triangle(self) -> Tensor:
        """R (n_samples, n_samples) of Q R = these, for more features than samples; Q is never made."""
        found = torch.zeros(0, self.shape[1], dtype=torch.float64)
        for _, flat in self.parts():
            found = torch.linalg.qr(torch.cat([found, flat]), mode="r").R
        return found

    def _parts(self) -> Iterator[tuple[slice, np.ndarray]]:
        for part in feature_parts(len(self._rows), self._x.shape):
            yield part, _flat(group_means(self._x[self._rows, part], self._place, self.n_stimuli))


class StandIns:
    """What is aligned instead of the mean responses, and the way back from what was found.

    Small responses stand for themselves. Else, of more features than samples, R of Q R = X does: Q's columns are
    orthonormal, and every product of responses that an alignment is made of is the same. Where all subjects together
    have fewer features than samples, as many samples (and one) with the same mean and second moments do. Where these
    are large too, the responses are not held at all but passed over, if the alignment can do with products.

    Parameters
    ----------
    responses : mapping of str to MeanResponses
        By signal key; the same stimuli.
    products : bool
        Whether the alignment can be made of products with few columns: its bases are then fewer than features, lie in
        a subject's row space, and nothing is refused.

    Attributes
    ----------
    given : dict of str to Tensor or MeanResponses, shape (at most n_features, at most n_samples) each

    Raises
    ------
    ConfigError
        If these would be too large too.
    """

    def __init__(self, responses: Mapping[str, MeanResponses], *, products: bool):
        self._responses = responses
        n_samples = next(iter(responses.values())).shape[1]
        n_features = sum(r.shape[0] for r in responses.values())
        self._moments: dict[str, Tensor] = {}
        self.given: dict[str, Tensor | MeanResponses]
        sizes = [min(r.shape) if products else r.shape[0] for r in responses.values()]
        if not products and 8 * sum(size**2 for size in sizes) > MAX_ROTATIONS:
            raise _too_large(responses)
        if 8 * n_features * n_samples <= MAX_BYTES:
            self.given = {key: r.whole() for key, r in responses.items()}
        elif n_features + 1 < n_samples and 8 * n_features * (n_features + 1) <= MAX_BYTES:
            self._moments = _same_moments(responses)
            self.given = dict(self._moments)
        elif 8 * sum(sizes) * n_samples <= MAX_BYTES:
            less = {key: products and r.shape[0] > n_samples for key, r in responses.items()}
            self.given = {k: r.triangle() if less[k] else r.whole() for k, r in responses.items()}
        elif products:
            self.given = dict(responses)
        else:
            raise _too_large(responses)

    def basis(self, key: str, basis: Tensor) -> Tensor:
        """(n_features, k) of a subject, from that of its stand-in."""
        response, given = self._responses[key], self.given[key]
        if given.shape[0] == response.shape[0] or not isinstance(given, Tensor):
            return basis
        return response.times(torch.linalg.pinv(given, rtol=SMALLEST) @ basis)

    def shared(self, shared: Tensor) -> tuple[np.ndarray, Tensor]:
        """What subjects share, (k, stimulus * time), from that of their stand-ins: a sum of products with them.

        Returns
        -------
        stimuli : int array, sorted
            Places of those stimuli that it is of: all, or where that were more than 128 MiB, evenly spaced ones.
        shared : Tensor
        """
        response = next(iter(self._responses.values()))
        n_times = response.shape[1] // response.n_stimuli
        most = max(1, SHARED_BYTES // (8 * len(shared) * n_times))
        kept = np.unique(
            np.linspace(0, response.n_stimuli - 1, min(most, response.n_stimuli)).astype(np.int64)
        )
        if not self._moments:
            return kept, shared.reshape(len(shared), -1, n_times)[:, kept].flatten(1)
        stacked = torch.cat(list(self._moments.values()))
        weights = (shared @ torch.linalg.pinv(stacked, rtol=SMALLEST)).T  # (features of all, k)
        n_features = len(weights)
        parts = [
            _all_of(self._responses, part).T @ weights for part in _pieces(kept, 8 * n_features * n_times)
        ]
        return kept, torch.cat(parts).T


def _same_moments(responses: Mapping[str, MeanResponses]) -> dict[str, Tensor]:
    """(n_features, n) of each subject with mean 0 and the covariances within and between all, in few samples."""
    first = next(iter(responses.values()))
    n_features = [r.shape[0] for r in responses.values()]
    found = torch.zeros(0, sum(n_features), dtype=torch.float64)
    row_bytes = 8 * sum(n_features) * first.shape[1] // first.n_stimuli
    for part in _pieces(np.arange(first.n_stimuli), row_bytes):
        found = torch.linalg.qr(torch.cat([found, _all_of(responses, part).T]), mode="r").R
    few = _without_mean(found.T)
    few = few * (few.shape[1] / first.shape[1]) ** 0.5
    return dict(zip(responses, torch.split(few, n_features), strict=True))


def _all_of(responses: Mapping[str, MeanResponses], stimuli: np.ndarray) -> Tensor:
    """Features of all subjects in the samples of some stimuli."""
    return torch.cat([r.samples(stimuli) for r in responses.values()])


def _pieces(stimuli: np.ndarray, row_bytes: int) -> list[np.ndarray]:
    """Some stimuli at a time, of which each takes `row_bytes`."""
    step = max(1, BLOCK_BYTES // row_bytes)
    return [stimuli[start : start + step] for start in range(0, len(stimuli), step)]


def _without_mean(x: Tensor) -> Tensor:
    """The columns (p, n) turned into n + 1 columns of mean 0 with the same products of rows (Helmert's contrasts)."""
    n = x.shape[1]
    sizes = torch.arange(1, n + 1, dtype=x.dtype)
    contrasts = torch.ones(n, n + 1, dtype=x.dtype).tril() - torch.diag(sizes, 1)[:n]
    return x @ (contrasts / (sizes * (sizes + 1)).sqrt()[:, None])


def _flat(means: np.ndarray) -> np.ndarray:
    """(stimulus, feature, ...) as (feature, stimulus * ...)."""
    return np.moveaxis(means, 1, 0).reshape(means.shape[1], -1)


def _too_large(responses: Mapping[str, MeanResponses]) -> checks.ConfigError:
    """Rotations of all features: their own size tells that fewer are wanted."""
    sizes = {key: r.shape for key, r in responses.items()}
    n_bytes = 8 * sum(p * n for p, n in sizes.values())
    rotations = 8 * sum(p * p for p, _ in sizes.values())
    return checks.ConfigError(
        f"mean responses of {sizes} (features, samples) would take {n_bytes / 1e9:.2g} GB of memory at once, "
        f"and rotations of all features {rotations / 1e9:.2g} GB; put SelectReliable, SelectRegion or Pca before the "
        f"alignment ({_fitting(sizes)} features each fit), or take AlignShared, which needs neither."
    )


def _fitting(sizes: Mapping[str, tuple[int, int]]) -> int:
    """How many features of each subject could be rotated."""
    n_samples = next(iter(sizes.values()))[1]
    by_samples = MAX_BYTES // (8 * n_samples * len(sizes))
    by_moments = min(math.isqrt(MAX_BYTES // 8) - 1, n_samples - 2) // len(sizes)
    return min(max(by_samples, by_moments), math.isqrt(MAX_ROTATIONS // (8 * len(sizes))))
