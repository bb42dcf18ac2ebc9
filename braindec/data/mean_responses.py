"""Mean responses to stimuli, too large for memory or not, and small stand-ins that align as they would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from braindec import checks
from braindec.data.unit_steps import BLOCK_BYTES, feature_parts
from braindec.maths.groups import group_means
from braindec.types import Table

MAX_BYTES = 384 << 20  # of what is aligned at once, float64; fitting takes four times as much
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

    def samples(self, stimuli: slice) -> Tensor:
        """All features in the samples of some stimuli."""
        chosen = (self._place >= stimuli.start) & (self._place < stimuli.stop)
        place = self._place[chosen] - stimuli.start
        flat = _flat(group_means(self._x[self._rows[chosen]], place, stimuli.stop - stimuli.start))
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
    have fewer features than samples, as many samples (and one) with the same mean and second moments do.

    Parameters
    ----------
    responses : mapping of str to MeanResponses
        By signal key; the same stimuli.
    fewer_features : bool
        Whether the alignment can be made in a subject's row space: its basis has at most as many columns as samples.

    Attributes
    ----------
    tensors : dict of str to Tensor, shape (at most n_features, at most n_samples) each

    Raises
    ------
    ConfigError
        If these would be too large too.
    """

    def __init__(self, responses: Mapping[str, MeanResponses], *, fewer_features: bool):
        self._responses = responses
        n_samples = next(iter(responses.values())).shape[1]
        n_features = sum(r.shape[0] for r in responses.values())
        self._moments = self._small = False
        if 8 * n_features * n_samples <= MAX_BYTES:
            self._small = True
            self.tensors = {key: r.whole() for key, r in responses.items()}
        elif n_features + 1 < n_samples:
            self._moments = True
            _refuse_large(responses, n_features * (n_features + 1))
            self.tensors = _same_moments(responses)
        else:
            sizes = [min(r.shape) if fewer_features else r.shape[0] for r in responses.values()]
            _refuse_large(responses, sum(sizes) * n_samples)
            less = {key: fewer_features and r.shape[0] > n_samples for key, r in responses.items()}
            self.tensors = {k: r.triangle() if less[k] else r.whole() for k, r in responses.items()}

    def basis(self, key: str, basis: Tensor) -> Tensor:
        """(n_features, k) of a subject, from that of its stand-in."""
        response, tensor = self._responses[key], self.tensors[key]
        if len(tensor) == response.shape[0]:
            return basis
        return response.times(torch.linalg.pinv(tensor, rtol=SMALLEST) @ basis)

    def shared(self, shared: Tensor) -> Tensor:
        """(k, n_samples) of what subjects share, from that of their stand-ins; a sum of products with them."""
        if not self._moments:
            return shared
        n_samples = next(iter(self._responses.values())).shape[1]
        if 8 * len(shared) * n_samples > MAX_BYTES:
            raise checks.ConfigError(
                f"what subjects share would be {len(shared)} features in {n_samples} samples; put Crop, Resample or "
                "AverageTime before the alignment."
            )
        stacked = torch.cat(list(self.tensors.values()))
        weights = torch.split(
            (shared @ torch.linalg.pinv(stacked, rtol=SMALLEST)).T, [len(t) for t in self.tensors.values()]
        )
        total = torch.zeros(len(shared), n_samples, dtype=torch.float64)
        for response, weight in zip(self._responses.values(), weights, strict=True):
            total += response.under(weight)
        return total


def _same_moments(responses: Mapping[str, MeanResponses]) -> dict[str, Tensor]:
    """(n_features, n) of each subject with mean 0 and the covariances within and between all, in few samples."""
    first = next(iter(responses.values()))
    n_features = [r.shape[0] for r in responses.values()]
    step = max(1, BLOCK_BYTES * first.n_stimuli // (8 * sum(n_features) * first.shape[1]))
    found = torch.zeros(0, sum(n_features), dtype=torch.float64)
    for start in range(0, first.n_stimuli, step):
        part = slice(start, min(start + step, first.n_stimuli))
        block = torch.cat([r.samples(part) for r in responses.values()])
        found = torch.linalg.qr(torch.cat([found, block.T]), mode="r").R
    few = _without_mean(found.T)
    few = few * (few.shape[1] / first.shape[1]) ** 0.5
    return dict(zip(responses, torch.split(few, n_features), strict=True))


def _without_mean(x: Tensor) -> Tensor:
    """The columns (p, n) turned into n + 1 columns of mean 0 with the same products of rows (Helmert's contrasts)."""
    n = x.shape[1]
    sizes = torch.arange(1, n + 1, dtype=x.dtype)
    contrasts = torch.ones(n, n + 1, dtype=x.dtype).tril() - torch.diag(sizes, 1)[:n]
    return x @ (contrasts / (sizes * (sizes + 1)).sqrt()[:, None])


def _flat(means: np.ndarray) -> np.ndarray:
    """(stimulus, feature, ...) as (feature, stimulus * ...)."""
    return np.moveaxis(means, 1, 0).reshape(means.shape[1], -1)


def _refuse_large(responses: Mapping[str, MeanResponses], n_values: int) -> None:
    if 8 * n_values > MAX_BYTES:
        sizes = {key: r.shape for key, r in responses.items()}
        raise checks.ConfigError(
            f"mean responses of {sizes} (features, samples) would take {8 * n_values / 1e9:.1f} GB of memory at once; "
            "put SelectReliable, SelectRegion or Pca before the alignment."
        )
