"""Does the geometry of one time hold at another: cross-run distances between patterns of two times."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm.matrix import RDM
from braindec.rdm.noise import Noise, whitened
from braindec.rdm.pairs import distances_of_products, n_pairs

LARGEST = 2**31  # bytes of a result; more is a mistake on most machines


def cross_temporal(
    patterns: Array,
    conditions: Sequence[str],
    *,
    noise: Noise | Array | None = None,
    times: Sequence[float] | None = None,
) -> RDM:
    """Crossnobis between differences of patterns at one time and the same differences at another.

    Parameters
    ----------
    patterns : Tensor or array, shape (time, run, condition, channel)
        Every run has every condition.
    conditions : sequence of str
    noise : Noise, precision matrix or None
        One for all times, so that distances of different times share their units.
    times : sequence of float, optional
        Seconds.

    Returns
    -------
    RDM
        Axes ``("time", "other_time")``, symmetric in them; its diagonal is the time-resolved crossnobis.

    Raises
    ------
    ValueError
        If the result would not fit in memory: bin times, or take `mean_cross_temporal`.
    """
    x = _prepared(patterns, noise)
    n_times, n_runs, n, p = x.shape
    checks.same_length("condition", conditions=conditions, patterns=range(n))
    size = n_times**2 * n_pairs(n) * x.element_size()
    if size > LARGEST:
        raise ValueError(
            f"{n_times} x {n_times} times of {n_pairs(n)} distances are {size / 2**30:.1f} GiB; take fewer times, or "
            "the mean over pairs: mean_cross_temporal."
        )
    total, out = x.sum(1), x.new_empty(n_times, n_times, n_pairs(n))
    for t in range(n_times):
        products = total[t] @ total[t:].mT
        for run in range(n_runs):
            products -= x[t, run] @ x[t:, run].mT
        found = distances_of_products(products, symmetric=False) / (n_runs * (n_runs - 1) * p)
        out[t, t:] = found
        out[t:, t] = found
    known = {} if times is None else dict.fromkeys(("time", "other_time"), tuple(float(t) for t in times))
    return RDM(out, tuple(conditions), "crossnobis", ("time", "other_time"), known)


def mean_cross_temporal(patterns: Array, *, noise: Noise | Array | None = None) -> Tensor:
    """Mean over all pairs of conditions of `cross_temporal`, without ever forming them.

    Parameters
    ----------
    patterns : Tensor or array, shape (time, run, condition, channel)
    noise : as in `cross_temporal`

    Returns
    -------
    Tensor, shape (time, time)
        Symmetric; zero in the mean where the geometry of one time says nothing of the other.
    """
    x = _prepared(patterns, noise)
    _, n_runs, n, p = x.shape
    # Centred over conditions, the mean squared difference is 2 / (n - 1) times the trace of the products.
    total = x.sum(1).flatten(1)
    products = total @ total.T
    for run in range(n_runs):
        here = x[:, run].flatten(1)
        products -= here @ here.T
    return products * (2.0 / ((n - 1) * n_runs * (n_runs - 1) * p))


def _prepared(patterns: Array, noise: Noise | Array | None) -> Tensor:
    patterns = as_tensor("patterns", patterns, floating=True)
    checks.n_axes("patterns", patterns, ("time", "run", "condition", "channel"))
    checks.at_least("number of runs", patterns.shape[1], 2)
    x = patterns - patterns.mean(-2, keepdim=True)
    if noise is None:
        return x
    given = noise if isinstance(noise, Noise) else as_tensor("noise", noise).to(x)
    return whitened(x.reshape(-1, x.shape[-1]), given).reshape(x.shape)
