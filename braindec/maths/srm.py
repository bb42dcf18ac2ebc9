"""The shared response model: subjects' responses to the same stimuli as orthonormal views of one shared response."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.principal import principal_components
from braindec.maths.procrustes import polar

OVERSAMPLING, POWER_STEPS = 16, 10  # Halko et al. 2011, doi:10.1137/090771806


class Products(Protocol):
    """Responses (n_features, n_samples) that are never held: float64, known by their products alone."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_features, n_samples)."""

    def times(self, right: Tensor) -> Tensor:
        """These with (n_samples, k): (n_features, k)."""

    def under(self, left: Tensor) -> Tensor:
        """(n_features, k), transposed, with these: (k, n_samples)."""

    def twice(self, right: Tensor) -> Tensor:
        """These, transposed, with `times`: (n_samples, k)."""

    def power(self) -> Tensor:
        """Sum of squares, a number."""


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
    responses: Sequence[Tensor | Products],
    k: int,
    generator: torch.Generator,
    n_iterations: int = 20,
    n_features: Sequence[int] | None = None,
) -> SharedResponse:
    """Least squares: the bases W and shared response S with the smallest sum of ||X_i - W_i S||^2.

    Parameters
    ----------
    responses : sequence of Tensor or Products, shape (n_features_i, n_samples) each
        Rows centred; the columns of all subjects belong to the same stimuli. All are of one kind; of products only
        (n_features, k) and (k, n_samples) ever lie in memory, and each iteration passes over them twice.
    k : int
        Size of the shared response; at most the samples and every subject's features.
    generator : torch.Generator
        Starts the search for the first shared response where it is too large for an exact one, or of products.
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
    sizes = [x.shape[0] for x in responses] if n_features is None else n_features
    total = sum(sizes) * reduced[0].shape[1]
    progress = []
    for _ in range(n_iterations):
        bases = [polar(x.times(shared.T)) for x in reduced]
        views = [x.under(w) for w, x in zip(bases, reduced, strict=True)]
        shared = torch.stack(views).mean(0)
        errors = [_error(*each, shared) for each in zip(reduced, bases, views, strict=True)]
        progress.append(float(sum(errors)) / total)
    whole = tuple(w if q is None else q @ w for w, q in zip(bases, back, strict=True))
    residual = [e / (size * x.shape[1]) for e, x, size in zip(errors, reduced, sizes, strict=True)]
    return SharedResponse(
        whole, shared, torch.stack(residual), shared @ shared.T / shared.shape[1], tuple(progress)
    )


def probabilistic_srm(
    responses: Sequence[Tensor | Products],
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
    n_rows = [x.shape[0] for x in responses] if n_features is None else list(n_features)
    shared = _first_shared(reduced, k, generator)
    sizes = torch.tensor(n_rows, dtype=shared.dtype)
    power = torch.stack([x.power() for x in reduced])
    bases = [polar(x.times(shared.T)) for x in reduced]
    noise = power / (sizes * n_samples)
    covariance = shared @ shared.T / n_samples
    progress = []
    for iteration in range(n_iterations + 1):
        views = [x.under(w) for w, x in zip(bases, reduced, strict=True)]
        posterior, shared, fit = _posterior(views, noise, covariance, power, sizes)
        if iteration:
            progress.append(fit)
        if iteration == n_iterations:
            break
        outer = shared @ shared.T + n_samples * posterior
        crossed = [x.times(shared.T) for x in reduced]
        bases = [polar(c) for c in crossed]
        cross = torch.stack([(w * c).sum() for w, c in zip(bases, crossed, strict=True)])
        noise = (power - 2 * cross + outer.trace()) / (sizes * n_samples)
        noise = noise.clamp_min(torch.finfo(noise.dtype).eps * float(power.mean()) / n_samples)
        covariance = outer / n_samples
    whole = tuple(w if q is None else q @ w for w, q in zip(bases, back, strict=True))
    return SharedResponse(whole, shared, noise, covariance, tuple(progress))


def _posterior(
    views: Sequence[Tensor],
    noise: Tensor,
    covariance: Tensor,
    power: Tensor,
    sizes: Tensor,
) -> tuple[Tensor, Tensor, float]:
    """Covariance (k, k) and mean (k, n_samples) of the shared response given all subjects, and the log-likelihood.

    `views` are each subject's responses in its basis, (k, n_samples).
    """
    n_samples, k = views[0].shape[1], len(covariance)
    precision = float((1 / noise).sum())
    evidence = torch.stack([view / v for view, v in zip(views, noise, strict=True)]).sum(0)
    identity = torch.eye(k, dtype=covariance.dtype, device=covariance.device)
    # (C^-1 + p I)^-1 = (I + p C)^-1 C, which needs no inverse of a covariance that may be near singular
    posterior = torch.linalg.solve(identity + precision * covariance, covariance)
    posterior = (posterior + posterior.T) / 2
    mean = posterior @ evidence
    spread = (sizes * noise.log()).sum() + torch.linalg.slogdet(identity + precision * covariance).logabsdet
    squares = (power / noise).sum() - (evidence * mean).sum()
    constant = float(sizes.sum()) * math.log(2 * math.pi)
    return posterior, mean, -0.5 * (n_samples * (constant + float(spread)) + float(squares))


class _Held:
    """Responses that lie in memory."""

    def __init__(self, x: Tensor):
        self.x = x

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    def times(self, right: Tensor) -> Tensor:
        return self.x @ right

    def under(self, left: Tensor) -> Tensor:
        return left.T @ self.x

    def twice(self, right: Tensor) -> Tensor:
        return self.x.T @ (self.x @ right)

    def power(self) -> Tensor:
        return self.x.square().sum()


def _error(x: Products, basis: Tensor, view: Tensor, shared: Tensor) -> Tensor:
    """Sum of squares of x - basis shared; `view` is what `under` gives of the basis."""
    if isinstance(x, _Held):
        return (x.x - basis @ shared).square().sum()
    return x.power() - 2 * (view * shared).sum() + shared.square().sum()


def _reduced(
    responses: Sequence[Tensor | Products], k: int, n_iterations: int
) -> tuple[list[Products], list[Tensor | None]]:
    """Each subject in its own row space, and the orthonormal way back (None where nothing was gained)."""
    checks.at_least("number of subjects", len(responses), 1)
    checks.at_least("n_iterations", n_iterations, 1)
    n_samples = {x.shape[1] for x in responses}
    if len(n_samples) > 1:
        raise ValueError(f"subjects have {sorted(n_samples)} samples; give responses to the same stimuli.")
    smallest = min(min(x.shape) for x in responses)
    checks.in_range("size of the shared response", k, 1, smallest)
    reduced: list[Products] = []
    back: list[Tensor | None] = []
    for x in responses:
        if isinstance(x, Tensor) and x.shape[0] > x.shape[1]:
            q, r = torch.linalg.qr(x)
            reduced, back = [*reduced, _Held(r)], [*back, q]
        else:
            reduced, back = [*reduced, _Held(x) if isinstance(x, Tensor) else x], [*back, None]
    return reduced, back


def _first_shared(reduced: Sequence[Products], k: int, generator: torch.Generator) -> Tensor:
    """Scores (k, n_samples) on the first principal components of all subjects' features together."""
    held = [x.x for x in reduced if isinstance(x, _Held)]
    if len(held) < len(reduced):
        return _iterated(reduced, k, generator) / len(reduced) ** 0.5
    samples = torch.cat(held).T.contiguous()  # (sample, feature)
    found = principal_components(samples, k, generator)
    scores = (samples - found.mean.to(samples)) @ found.directions.T.to(samples)
    return scores.T / len(reduced) ** 0.5


def _iterated(responses: Sequence[Products], k: int, generator: torch.Generator) -> Tensor:
    """The same by subspace iteration, without the root of the number of subjects."""
    n_samples = responses[0].shape[1]
    width = min(k + OVERSAMPLING, n_samples)
    basis = torch.randn(n_samples, width, generator=generator, dtype=torch.float64)
    for _ in range(POWER_STEPS):
        basis = torch.linalg.qr(torch.stack([x.twice(basis) for x in responses]).sum(0)).Q
    small = basis.T @ torch.stack([x.twice(basis) for x in responses]).sum(0)
    variance, rotation = torch.linalg.eigh((small + small.T) / 2)
    chosen = rotation.flip(1)[:, :k] * variance.flip(0)[:k].clamp_min(0.0).sqrt()
    return (basis @ chosen).T
