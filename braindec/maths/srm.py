"""The shared response model: subjects' responses to the same stimuli as orthonormal views of one shared response."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.principal import principal_components
from braindec.maths.procrustes import polar


class SharedResponse(NamedTuple):
    """A fitted model.

    bases: (n_features, k) for each subject, orthonormal columns; shared: (k, n_samples); noise: variance of each
    subject's residuals, (n_subjects,); covariance: of the shared response, (k, k); progress: after each iteration the
    log-likelihood (probabilistic) or the mean squared error (deterministic).
    """

    bases: tuple[Tensor, ...]
    shared: Tensor
    noise: Tensor
    covariance: Tensor
    progress: tuple[float, ...]


def deterministic_srm(
    responses: Sequence[Tensor],
    k: int,
    generator: torch.Generator,
    n_iterations: int = 20,
    n_features: Sequence[int] | None = None,
) -> SharedResponse:
    """Least squares: the bases W and shared response S with the smallest sum of ||X_i - W_i S||^2.

    Parameters
    ----------
    responses : sequence of Tensor, shape (n_features_i, n_samples) each
        Rows centred; the columns of all subjects belong to the same stimuli.
    k : int
        Size of the shared response; at most the samples and every subject's features.
    generator : torch.Generator
        Starts the search for the first shared response where it is too large for an exact one.
    n_iterations : int
        >= 1.
    n_features : sequence of int, optional
        How many each subject has, where its responses are given in an orthonormal basis of fewer rows.

    Returns
    -------
    SharedResponse
        Of the input's precision.

    Notes
    -----
    Chen et al. 2015, "A reduced-dimension fMRI shared response model", NeurIPS 28, equation 2. It starts from the first
    principal components of all subjects together; subjects of more features than samples are first reduced to their
    row space, which changes nothing.
    """
    reduced, back = _reduced(responses, k, n_iterations)
    shared = _first_shared(reduced, k, generator)
    sizes = [len(x) for x in responses] if n_features is None else n_features
    total = sum(sizes) * reduced[0].shape[1]
    progress = []
    for _ in range(n_iterations):
        bases = [polar(x @ shared.T) for x in reduced]
        shared = torch.stack([w.T @ x for w, x in zip(bases, reduced, strict=True)]).mean(0)
        error = sum(float((x - w @ shared).square().sum()) for w, x in zip(bases, reduced, strict=True))
        progress.append(error / total)
    whole = tuple(w if q is None else q @ w for w, q in zip(bases, back, strict=True))
    residual = [
        (x - w @ shared).square().sum() / (size * x.shape[1])
        for x, w, size in zip(reduced, bases, sizes, strict=True)
    ]
    return SharedResponse(
        whole, shared, torch.stack(residual), shared @ shared.T / shared.shape[1], tuple(progress)
    )


def probabilistic_srm(
    responses: Sequence[Tensor],
    k: int,
    generator: torch.Generator,
    n_iterations: int = 20,
    n_features: Sequence[int] | None = None,
) -> SharedResponse:
    """Maximum likelihood of x_i = W_i s + noise of variance rho_i^2, s ~ N(0, covariance): noisy subjects count less.

    Parameters
    ----------
    responses, k, generator, n_iterations, n_features
        As in `deterministic_srm`.

    Returns
    -------
    SharedResponse
        `shared` is the posterior mean; the likelihood never falls from one iteration to the next.

    Notes
    -----
    Chen et al. 2015, section 3: expectation maximisation, whose posterior is one (k, k) matrix for all samples because
    W_i^T W_i is the identity.
    """
    reduced, back = _reduced(responses, k, n_iterations)
    n_samples = reduced[0].shape[1]
    n_rows = [len(x) for x in responses] if n_features is None else list(n_features)
    sizes = torch.tensor(n_rows, dtype=reduced[0].dtype)
    power = torch.stack([x.square().sum() for x in reduced])
    shared = _first_shared(reduced, k, generator)
    bases = [polar(x @ shared.T) for x in reduced]
    noise = power / (sizes * n_samples)
    covariance = shared @ shared.T / n_samples
    progress = []
    for iteration in range(n_iterations + 1):
        posterior, shared, fit = _posterior(reduced, bases, noise, covariance, power, sizes)
        if iteration:
            progress.append(fit)
        if iteration == n_iterations:
            break
        outer = shared @ shared.T + n_samples * posterior
        bases = [polar(x @ shared.T) for x in reduced]
        cross = torch.stack([(w.T @ x * shared).sum() for w, x in zip(bases, reduced, strict=True)])
        noise = (power - 2 * cross + outer.trace()) / (sizes * n_samples)
        noise = noise.clamp_min(torch.finfo(noise.dtype).eps * float(power.mean()) / n_samples)
        covariance = outer / n_samples
    whole = tuple(w if q is None else q @ w for w, q in zip(bases, back, strict=True))
    return SharedResponse(whole, shared, noise, covariance, tuple(progress))


def _posterior(
    reduced: Sequence[Tensor],
    bases: Sequence[Tensor],
    noise: Tensor,
    covariance: Tensor,
    power: Tensor,
    sizes: Tensor,
) -> tuple[Tensor, Tensor, float]:
    """Covariance (k, k) and mean (k, n_samples) of the shared response given all subjects, and the log-likelihood."""
    n_samples, k = reduced[0].shape[1], len(covariance)
    precision = float((1 / noise).sum())
    evidence = torch.stack([w.T @ x / v for w, x, v in zip(bases, reduced, noise, strict=True)]).sum(0)
    identity = torch.eye(k, dtype=covariance.dtype, device=covariance.device)
    # (C^-1 + p I)^-1 = (I + p C)^-1 C, which needs no inverse of a covariance that may be near singular
    posterior = torch.linalg.solve(identity + precision * covariance, covariance)
    posterior = (posterior + posterior.T) / 2
    mean = posterior @ evidence
    spread = (sizes * noise.log()).sum() + torch.linalg.slogdet(identity + precision * covariance).logabsdet
    squares = (power / noise).sum() - (evidence * mean).sum()
    constant = float(sizes.sum()) * math.log(2 * math.pi)
    return posterior, mean, -0.5 * (n_samples * (constant + float(spread)) + float(squares))


def _reduced(
    responses: Sequence[Tensor], k: int, n_iterations: int
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Each subject in its own row space, and the orthonormal way back (None where nothing was gained)."""
    checks.at_least("number of subjects", len(responses), 1)
    checks.at_least("n_iterations", n_iterations, 1)
    n_samples = {x.shape[1] for x in responses}
    if len(n_samples) > 1:
        raise ValueError(f"subjects have {sorted(n_samples)} samples; give responses to the same stimuli.")
    smallest = min(min(x.shape) for x in responses)
    checks.in_range("size of the shared response", k, 1, smallest)
    reduced: list[Tensor] = []
    back: list[Tensor | None] = []
    for x in responses:
        if x.shape[0] > x.shape[1]:
            q, r = torch.linalg.qr(x)
            reduced, back = [*reduced, r], [*back, q]
        else:
            reduced, back = [*reduced, x], [*back, None]
    return reduced, back


def _first_shared(reduced: Sequence[Tensor], k: int, generator: torch.Generator) -> Tensor:
    """Scores (k, n_samples) on the first principal components of all subjects' features together."""
    samples = torch.cat(list(reduced)).T.contiguous()  # (sample, feature)
    found = principal_components(samples, k, generator)
    scores = (samples - found.mean.to(samples)) @ found.directions.T.to(samples)
    return scores.T / len(reduced) ** 0.5
