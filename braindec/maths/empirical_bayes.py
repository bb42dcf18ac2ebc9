"""What other brains say of a new one: a Gaussian prior on the weights of its channels, and Bayes' rule to read it.

Channels (voxels, sensors at times) of two people do not correspond, but the distribution of their weights over an
embedding does. Responses R (n, v) to stimuli with embeddings Z (n, d), both centred, are modelled as

    R = Z W + E,    rows of E ~ N(0, noise),    W - m 1' ~ N(0, S (x) signal)

with the population's mean m (d,) and covariance S (d, d) from other subjects' channels, and the new subject's own
covariances between channels, `noise` and `signal` (v, v), by expectation and maximisation. In a frame of the channels
in which both are diagonal the posterior of W is a shrinkage of each channel alone, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from braindec import checks

ITERATIONS = (
    8  # more fit the covariances to the residuals they were estimated from: intervals then cover too little
)
MISFIT = (
    0.5  # share of the noise of one trial that averaging over repeats leaves: what no linear map explains
)
NOISE_ROWS = 3.0  # the prior of `noise` (its diagonal) counts as so many rows a channel
# The prior of `signal` likewise, in dimensions: a population is sought in what channels do alone, a subject's own
# tuning in what its channels do together too. Settled on the gallery of development of the simulated brains.
POPULATION_DIMS, SUBJECT_DIMS = 2.0, 0.5
START = 0.1  # share of a channel's variance that is taken for signal at first


class Population(NamedTuple):
    """Weights of a channel over the embedding: mean (d,), covariance (d, d); covariance of the embeddings (d, d).

    The scale of the weights' covariance is free (a subject's `signal` takes it up): trace(covariance stimuli) is 1.
    """

    mean: Tensor
    covariance: Tensor
    stimuli: Tensor


class Pairs(NamedTuple):
    """Centred responses (n, v) and embeddings (n, d), rows times the root of their weight; the means that were removed.

    response (v,), embedding (d,).
    """

    responses: Tensor
    embeddings: Tensor
    response: Tensor
    embedding: Tensor


class ChannelFit(NamedTuple):
    """Posterior of a subject's weights, in a frame of its channels in which noise is white.

    frame (v, v): responses times it have noise of covariance one; weights (d, v) there; doubt (v,): variance that not
    knowing the weights adds to a response there, for an average stimulus; response (v,), embedding (d,): training
    means; n_rows.
    """

    frame: Tensor
    weights: Tensor
    doubt: Tensor
    response: Tensor
    embedding: Tensor
    n_rows: int


class Reader(NamedTuple):
    """Posterior of the embedding of a response r: mean weight r + bias, weight (d, v); covariance `error` (d, d)."""

    weight: Tensor
    bias: Tensor
    error: Tensor


class _Step(NamedTuple):
    """One expectation: channels' frame and its inverse, posterior means and variances (d, v) in the population's axes.

    power (v,): prior variance; axes (d, d): weights = axes means; design (n, d) embeddings along them; values (d,).
    """

    frame: Tensor
    back: Tensor
    means: Tensor
    variances: Tensor
    power: Tensor
    axes: Tensor
    design: Tensor
    values: Tensor


def pairs_of(responses: Tensor, embeddings: Tensor, counts: Tensor | None = None) -> Pairs:
    """Centred pairs, each stimulus weighted by how little noise its mean response has.

    Parameters
    ----------
    responses : Tensor, shape (n, v)
        Mean response to each stimulus.
    embeddings : Tensor, shape (n, d)
    counts : Tensor, shape (n,), optional
        Trials behind each mean; one by default.
    """
    n = checks.same_length("stimulus", responses=responses, embeddings=embeddings)
    checks.at_least("number of stimuli", n, 3)
    trials = torch.ones(n) if counts is None else counts
    weight = 1 / (MISFIT + (1 - MISFIT) / trials.double())
    weight = (weight / weight.mean())[:, None]
    r, z = responses.double(), embeddings.double()
    response, embedding = (weight * r).mean(0), (weight * z).mean(0)
    return Pairs(weight.sqrt() * (r - response), weight.sqrt() * (z - embedding), response, embedding)


def fit_population(subjects: Sequence[Pairs], stimuli: Tensor, n_iterations: int = ITERATIONS) -> Population:
    """Mean and covariance of channels' weights over all subjects, by marginal likelihood.

    Parameters
    ----------
    subjects : sequence of Pairs
        The other subjects; their noise and the uncertainty of their weights are taken out.
    stimuli : Tensor, shape (d, d)
        Covariance of the embeddings.
    n_iterations : int
        Of expectation and maximisation.
    """
    checks.at_least("number of subjects", len(subjects), 1)
    stimuli = stimuli.double()
    n_dims = len(stimuli)
    mean = stimuli.new_zeros(n_dims)
    population = Population(mean, _unit(torch.eye(n_dims, dtype=torch.float64), stimuli), stimuli)
    spreads = [_first_spread(s, population) for s in subjects]
    weights: list[Tensor] = []
    for _ in range(n_iterations):
        total, n_channels, weights = torch.zeros_like(stimuli), 0, []
        for i, pairs in enumerate(subjects):
            step = _expect(pairs, spreads[i], population.covariance)
            spreads[i] = _maximise(pairs, step, POPULATION_DIMS)
            second = (step.means / step.power) @ step.means.T + (step.variances / step.power).sum(1).diag()
            total += step.axes @ second @ step.axes.T
            n_channels += len(step.power)
            weights.append((step.axes @ step.means @ step.back).mean(1))
        population = population._replace(covariance=_unit(total / n_channels, stimuli))
    return population._replace(mean=torch.stack(weights).mean(0))


def fit_channels(pairs: Pairs, population: Population, n_iterations: int = ITERATIONS) -> ChannelFit:
    """Posterior of a new subject's weights under the population's prior; its own covariances by marginal likelihood.

    Parameters
    ----------
    pairs : Pairs
        Of the new subject; none of its stimuli need be known to the others.
    population : Population
    """
    checks.at_least("n_iterations", n_iterations, 1)
    mean = population.mean
    beyond = pairs._replace(responses=pairs.responses - (pairs.embeddings @ mean)[:, None])
    spread = _first_spread(beyond, population)
    for _ in range(n_iterations):
        step = _expect(beyond, spread, population.covariance)
        spread = _maximise(beyond, step, SUBJECT_DIMS)
    along = ((step.axes.T @ population.stimuli) * step.axes.T).sum(1)  # variance of stimuli along each axis
    doubt = (step.variances * along[:, None]).sum(0)
    weights = step.axes @ step.means + torch.outer(mean, step.frame.sum(0))
    return ChannelFit(step.frame, weights, doubt, pairs.response, pairs.embedding, len(pairs.responses))


def invert(fit: ChannelFit, population: Population) -> Reader:
    """Posterior of the embedding given a response: Bayes' rule with the fitted noise and the stimuli's covariance."""
    # A mean response over n stimuli is known up to a share 1 / n of the noise of one.
    noise = (1 + fit.doubt) * (1 + 1 / fit.n_rows)
    informed = fit.weights / noise  # (d, channel)
    precision = informed @ fit.weights.T
    error = torch.linalg.inv(torch.linalg.inv(_well_posed(population.stimuli)) + precision)
    error = (error + error.T) / 2
    weight = error @ informed @ fit.frame.T
    bias = error @ precision @ fit.embedding - weight @ fit.response
    return Reader(weight, bias, error)


def most_telling(pairs: Pairs, population: Population, n_channels: int) -> Tensor:
    """Sorted channels with the greatest evidence of carrying the embedding: (n_channels,), all where there are fewer.

    The evidence is the log Bayes factor of a channel of which the share `START` is signal against noise alone.
    """
    if pairs.responses.shape[1] <= n_channels:
        return torch.arange(pairs.responses.shape[1])
    unit = pairs.responses / pairs.responses.square().mean(0).sqrt().clamp_min(1e-12)
    gram, axes = _axes(pairs.embeddings, population.covariance)
    ratio = gram * START / (1 - START)
    seen = (pairs.embeddings @ axes).T @ unit  # (d, channel)
    factor = (seen.square() * (START / (1 - START) ** 2 / (1 + ratio))[:, None]).sum(0) - ratio.log1p().sum()
    return factor.topk(n_channels).indices.sort().values


def _expect(pairs: Pairs, spread: tuple[Tensor, Tensor], covariance: Tensor) -> _Step:
    """Posterior of the weights given the covariances between channels (noise, signal)."""
    noise, signal = spread
    values, axes = _axes(pairs.embeddings, covariance)
    root = torch.linalg.cholesky(noise)
    white = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=root.dtype), upper=False)
    power, turn = torch.linalg.eigh(white @ signal @ white.T)
    power = power.clamp_min(1e-10)
    frame, back = white.T @ turn, turn.T @ root.T
    design = pairs.embeddings @ axes
    variances = 1 / (1 / power + values[:, None])
    means = variances * (design.T @ (pairs.responses @ frame))
    return _Step(frame, back, means, variances, power, axes, design, values)


def _maximise(pairs: Pairs, step: _Step, signal_dims: float) -> tuple[Tensor, Tensor]:
    """Covariances (noise, signal) between channels, drawn towards their diagonals."""
    n, n_channels = pairs.responses.shape
    n_dims = len(step.values)
    left = pairs.responses @ step.frame - step.design @ step.means
    noise = left.T @ left + (step.variances * step.values[:, None]).sum(0).diag()
    signal = step.means.T @ step.means + step.variances.sum(0).diag()
    noise, signal = (step.back.T @ m @ step.back for m in (noise, signal))
    rows, dims = NOISE_ROWS * n_channels, signal_dims * n_channels
    return (
        (noise + rows * _towards_equal(noise.diagonal() / n, 0.1).diag()) / (n + rows),
        (signal + dims * _towards_equal(signal.diagonal() / n_dims, 0.5).diag()) / (n_dims + dims),
    )


def _first_spread(pairs: Pairs, population: Population) -> tuple[Tensor, Tensor]:
    variance = _towards_equal(pairs.responses.square().mean(0), 0.01)
    return ((1 - START) * variance).diag(), (START * variance).diag()


def _axes(embeddings: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """values (d,) and axes (d, d) along which prior weights are N(0, 1) and embeddings uncorrelated."""
    root = torch.linalg.cholesky(_well_posed(covariance))
    seen = embeddings @ root
    values, turn = torch.linalg.eigh(seen.T @ seen)
    return values.clamp_min(0), root @ turn


def _well_posed(covariance: Tensor) -> Tensor:
    """With a floor under its eigenvalues: embeddings of unit length, say, do not vary in every direction."""
    size = len(covariance)
    floor = 1e-8 * covariance.diagonal().mean()
    return covariance + floor * torch.eye(size, dtype=covariance.dtype, device=covariance.device)


def _towards_equal(values: Tensor, share: float) -> Tensor:
    return (1 - share) * values + share * values.mean()


def _unit(covariance: Tensor, stimuli: Tensor) -> Tensor:
    return covariance / (covariance * stimuli).sum()
