"""An autoencoder of a given sparsity: the weight of the penalty that makes so many latents active."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor

from braindec import checks
from braindec.sparse.autoencoder import COUNTED
from braindec.sparse.autoencoder import Config as ModelConfig
from braindec.sparse.dictionary import frequencies
from braindec.sparse.fitting import fit
from braindec.sparse.steps import Config, Fitted

FIRST = 0.1  # weight that is tried where none is given
FACTOR = 4.0  # between weights, until one is too large and another too small


def fit_to_l0(
    inputs: Tensor, model: ModelConfig, settings: Config, l0: float, *, seed: int, n_tries: int = 6,
    tolerance: float = 0.1, **told: Any,
) -> tuple[Fitted, float]:  # fmt: skip
    """The autoencoder whose mean number of active latents in its training inputs is nearest to the one asked.

    Parameters
    ----------
    inputs : Tensor, shape (n_samples, n_dims)
    model : autoencoder.Config
        Of a kind that is kept sparse by a penalty; the others are told `n_active`.
    settings : Config
        Its `loss.sparsity_weight` is tried first, where it is above 0.
    l0 : float
        Above 0.
    seed : int
    n_tries : int
        Trainings, at most.
    tolerance : float
        Relative difference of L0 that is near enough.
    **told
        See `fitting.fit`.

    Returns
    -------
    Fitted, float
        And its weight. Kinds compared at one weight are compared at different sparsities, and the less sparse one
        always rebuilds better.
    """
    if model.activation in COUNTED:
        raise checks.ConfigError(
            f"activation {model.activation!r} is told how many latents are active; give n_active and use fit."
        )
    checks.at_least("n_tries", n_tries, 1)
    if not l0 > 0:
        raise ValueError(f"l0 must be above 0, got {l0}.")
    weight = settings.loss.sparsity_weight or FIRST
    low, high = 0.0, math.inf  # weights known to be too small and too large
    tried = []
    for _ in range(n_tries):
        loss = replace(settings.loss, sparsity_weight=weight)
        fitted = fit(inputs, model, replace(settings, loss=loss), seed=seed, **told)
        found = float(frequencies(fitted.model, inputs).sum())
        tried.append((abs(math.log(max(found, 1e-6) / l0)), fitted, weight))
        if tried[-1][0] <= math.log1p(tolerance):
            break
        low, high = (weight, high) if found > l0 else (low, weight)
        if low > 0 and high < math.inf:
            weight = math.sqrt(low * high)
        else:
            weight = weight * FACTOR if found > l0 else weight / FACTOR
    _, best, of_best = min(tried, key=lambda one: one[0])
    return best, of_best
