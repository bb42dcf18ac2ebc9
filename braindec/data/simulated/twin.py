"""Copies of a recording: what its stimuli explain of its responses, and noise like the noise that it has.

A twin answers which score a dataset allows, so it must know the signal no better than the data do. Trials that are not
independent evidence (one block of a design, repeats of one stimulus) count as one cell. Each feature's signal variance
comes from how well cells predict cells: its share is a distribution over features that all features of the recording
fit together (empirical Bayes), and every copy draws its signal from the posterior. The posterior mean would be too
weak, the fit to the recording too strong; draws have the variance that the recording supports. Noise is made of what
the signal leaves: residuals change places, so that a copy's noise has the recording's covariance, tails and drift
within a run, and none that training and test trials share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braindec import checks

MAX_VALUES = 2**26  # responses: 512 MiB of float64, of which a few copies are held
LIMIT_SD = 4.0  # robust SDs beyond which a response does not inform the signal; it stays in the noise
GRID = np.concatenate([[0.0], np.logspace(-3, 1.5, 22)])  # signal over noise variance of a cell
N_STEPS = 60  # of the distribution over the grid
SLOPES = (
    0.0,
    0.5,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
)  # how signal falls along the axes, as a power of their energy; 1: even weights
BLOCKED = 2.0  # a design has blocks where equal stimuli follow each other this much more often than by chance


@dataclass(frozen=True, eq=False)
class Design:
    """What happened in each trial.

    Parameters
    ----------
    features : float array, shape (n_trials, n_dims)
        What the stimulus is to an encoding model: an embedding, or the class as one-hot.
    run : array, shape (n_trials,)
    order : array, shape (n_trials,)
        Place in the recording; equal everywhere where it is unknown.
    by_stimulus : bool
        True where stimuli are held out: repeats of a stimulus are one cell. False where runs or sessions are: trials of
        a block are.
    """

    features: np.ndarray
    run: np.ndarray
    order: np.ndarray
    by_stimulus: bool


@dataclass(frozen=True, eq=False)
class Twin:
    """An encoding model of one recording with its uncertainty, and its noise; made by `fit`.

    Parameters
    ----------
    baseline : float array, shape (n_trials, n_features)
        Run means and trends, which every copy keeps.
    scores, directions : float arrays, shapes (n_trials, rank), (rank, n_features)
        Stimuli in the encoding model's own axes, and the responses along them.
    energy : float array, shape (rank,)
        Squared length of each axis over cells.
    chances : float array, shape (n_models,)
        Posterior of how signal falls along the axes.
    relative : float array, shape (n_models, rank)
        Signal along each axis over its mean.
    weights : float array, shape (n_models, n_features, len(GRID))
        Posterior of each feature's signal-to-noise ratio.
    free : int
        Degrees of freedom of cells.
    noise : float array, shape (n_cells, n_features)
        Noise of cells, in the order of acquisition, as large as noise is.
    within : float array, shape (n_trials, n_features)
        Deviation of each trial from its cell.
    cell, run : int arrays, shape (n_trials,)
    by_stimulus : bool
    """

    baseline: np.ndarray
    scores: np.ndarray
    directions: np.ndarray
    energy: np.ndarray
    chances: np.ndarray
    relative: np.ndarray
    weights: np.ndarray
    free: int
    noise: np.ndarray
    within: np.ndarray
    cell: np.ndarray
    run: np.ndarray
    by_stimulus: bool

    @property
    def explained(self) -> np.ndarray:
        """Share of a cell's variance that stimuli explain in each feature, (n_features,), expected in [0, 1)."""
        best = int(self.chances.argmax())
        signal = GRID * self.relative[best].sum() / self.free
        return self.weights[best] @ (signal / (1 + signal))


def fit(responses: np.ndarray, design: Design) -> Twin:
    """The twin of a recording.

    Parameters
    ----------
    responses : array, shape (n_trials, n_features)
        Any unit; not preprocessed, because copies pass through the recipe's own preprocessing.
    design : Design

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the recording is too large to be held.
    """
    checks.same_length(
        "trial", responses=responses, features=design.features, run=design.run, order=design.order
    )
    if responses.size > MAX_VALUES:
        raise ValueError(
            f"responses holds {responses.size} values, a twin holds at most {MAX_VALUES}. Choose a region or a subject."
        )
    y = checks.finite("responses", np.asarray(responses, dtype=np.float64))
    run, cell = _numbered(design.run), cells(design)
    nuisance = _nuisance(run, design.order)
    calm = _clipped(y)
    baseline = nuisance @ (nuisance.T @ calm)
    counts = np.bincount(cell)

    def by_cell(values: np.ndarray) -> np.ndarray:
        summed = np.zeros((len(counts), values.shape[1]))
        np.add.at(summed, cell, values)
        return summed / counts[:, None]

    features = design.features - design.features.mean(0)
    x = by_cell(features - nuisance @ (nuisance.T @ features))
    free = max(len(counts) - _n_lost(nuisance, len(counts), len(cell)), 1)
    left, lengths, axes = np.linalg.svd(x, full_matrices=False)
    kept = (lengths > 1e-6 * max(lengths.max(), 1e-300)) & (np.arange(len(lengths)) < free)
    left, lengths, axes = left[:, kept], lengths[kept], axes[kept]
    target = by_cell(calm - baseline)
    along = left.T @ target
    rest = target - left @ along
    energy = lengths**2
    found, relative, weights = _signal_to_noise(along, (rest**2).sum(0), energy, free)
    best = int(found.argmax())
    # Residuals along fitted axes are smaller than noise by the share that the signal took.
    taken = _posterior_share(weights[best], relative[best])
    noise = rest + left @ (np.sqrt(1 - taken) * along)
    noise *= np.sqrt(len(counts) / free)
    raw = by_cell(y - baseline)
    chances = _chances(found, noise)
    noise += raw - target  # what was clipped informs no signal, but it was there
    within = (y - baseline) - raw[cell]
    return Twin(
        baseline, features @ axes.T, along / lengths[:, None], energy, chances, relative, weights, free, noise, within,
        cell, run,
        design.by_stimulus,
    )  # fmt: skip


def cells(design: Design) -> np.ndarray:
    """Which trials are one piece of evidence: a number for each, (n_trials,), in the order of acquisition.

    Repeats of a stimulus where stimuli are held out (also under another name: equal features). Else trials of a block:
    neighbours in time with equal features, in whatever run they are filed, where a design has blocks.
    """
    shown = np.unique(design.features, axis=0, return_inverse=True)[1].reshape(-1)
    if design.by_stimulus:
        return shown
    in_time = np.lexsort((np.arange(len(shown)), design.order))
    sequence = shown[in_time]
    changes = np.r_[True, sequence[1:] != sequence[:-1]]
    repeats = 1 - changes[1:].mean() if len(changes) > 1 else 0.0
    share = np.bincount(shown) / len(shown)
    expected = float((share**2).sum())
    mean_length, by_chance = 1 / max(1 - repeats, 1e-9), 1 / max(1 - expected, 1e-9)
    out = np.empty(len(shown), dtype=np.int64)
    blocked = len(np.unique(design.order)) > 1 and mean_length > BLOCKED * by_chance
    out[in_time] = np.cumsum(changes) - 1 if blocked else np.arange(len(shown))
    return out


def draw_signal(twin: Twin, generator: np.random.Generator) -> np.ndarray:
    """Responses to the stimuli without noise, from the posterior of the encoding model, (n_trials, n_features)."""
    model = int(generator.choice(len(twin.chances), p=twin.chances))
    weights = twin.weights[model]
    u = generator.random((len(weights), 1))
    ratio = GRID[np.minimum((np.cumsum(weights, axis=1) < u).sum(1), len(GRID) - 1)]
    share = _share(ratio, twin.relative[model])
    mix = generator.standard_normal((len(twin.energy), len(twin.noise))) / np.sqrt(len(twin.noise))
    doubt = (mix @ twin.noise) / np.sqrt(twin.energy)[:, None]
    return twin.scores @ (share * twin.directions + np.sqrt(share) * doubt)


def draw_noise(twin: Twin, generator: np.random.Generator) -> np.ndarray:
    """Noise of every trial, (n_trials, n_features): residuals of the recording in other places.

    Where stimuli are held out, cells trade places at random. Where runs are, each run takes a stretch of consecutive
    cells of the recording that no other run takes (as far as there are enough), with a random sign.
    """
    n_cells = len(twin.noise)
    if twin.by_stimulus:
        place = generator.permutation(n_cells)
        sign = generator.choice([-1.0, 1.0], n_cells)
        return (sign[:, None] * twin.noise[place])[twin.cell] + _drawn_within(twin, generator)
    noise = np.empty_like(twin.within)
    start = int(generator.integers(n_cells))
    for r in generator.permutation(twin.run.max() + 1):
        rows = np.flatnonzero(twin.run == r)
        own, position = np.unique(twin.cell[rows], return_inverse=True)
        sign = generator.choice([-1.0, 1.0])
        noise[rows] = sign * twin.noise[(start + position.reshape(-1)) % n_cells]
        start += len(own)
        if start >= n_cells and len(own) < n_cells:  # cells in several runs: another stretch each
            start += int(generator.integers(n_cells)) if _spans_runs(twin) else 0
    return noise + _drawn_within(twin, generator)


def draw_more_noise(twin: Twin, generator: np.random.Generator) -> np.ndarray:
    """Noise of trials that were never recorded, (n_trials, n_features): Gaussian, of the residuals' covariance.

    Residuals in other places would come back in training and test; mixtures of all of them, with as much noise of
    single features as the covariance of so few cells is uncertain, do not.
    """
    n_cells, n_features = twin.noise.shape
    scale = twin.noise.std(0)  # in whatever unit: 1e-13 in teslas
    share = min(1.0, n_features / (n_features + n_cells))  # of independent noise: what few cells cannot know
    mix = generator.standard_normal((n_cells, n_cells)) / np.sqrt(n_cells)
    fresh = np.sqrt(1 - share) * (mix @ twin.noise)
    fresh += np.sqrt(share) * scale * generator.standard_normal((n_cells, n_features))
    return fresh[twin.cell] + _drawn_within(twin, generator)


def _drawn_within(twin: Twin, generator: np.random.Generator) -> np.ndarray:
    """Deviations from the cell, trading places among the trials of cells with several."""
    out = np.zeros_like(twin.within)
    rows = np.flatnonzero(np.bincount(twin.cell)[twin.cell] > 1)
    out[rows] = twin.within[generator.permutation(rows)]
    return out


def _spans_runs(twin: Twin) -> bool:
    pairs = np.unique(np.stack([twin.cell, twin.run]), axis=1).shape[1]
    return pairs > len(twin.noise)


def _numbered(values: np.ndarray) -> np.ndarray:
    return np.unique(np.asarray(values), return_inverse=True)[1].reshape(-1)


def _nuisance(run: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Orthonormal columns (n_trials, n): a level for each run, and a trend where trials are ordered and enough."""
    columns = []
    for r in range(run.max() + 1):
        here = run == r
        columns.append(here.astype(np.float64))
        if here.sum() >= 8 and len(np.unique(order[here])) > 2:
            place = np.zeros(len(run))
            place[here] = order[here] - order[here].mean()
            columns.append(place / np.abs(place).max())
    q, _ = np.linalg.qr(np.stack(columns, axis=1))
    return q


def _n_lost(nuisance: np.ndarray, n_cells: int, n_trials: int) -> int:
    """Degrees of freedom of cells that levels and trends took; repeats spread over runs lose hardly more than one."""
    return nuisance.shape[1] if n_cells == n_trials else max(1, round(nuisance.shape[1] * n_cells / n_trials))


def _clipped(y: np.ndarray) -> np.ndarray:
    centre = np.median(y, axis=0)
    robust = 1.4826 * np.median(np.abs(y - centre), axis=0)
    limit = np.where(robust > 0, LIMIT_SD * robust, np.inf)
    return np.clip(y, centre - limit, centre + limit)


def _share(ratio: np.ndarray, relative: np.ndarray) -> np.ndarray:
    """Share of an axis' response that is signal, (rank, n_features), where signal has `ratio` times the noise."""
    strength = relative[:, None] * ratio
    return strength / (1 + strength)


def _posterior_share(weights: np.ndarray, relative: np.ndarray) -> np.ndarray:
    return sum(
        (weights[:, g] * _share(np.full(len(weights), ratio), relative) for g, ratio in enumerate(GRID)),
        start=np.zeros((len(relative), len(weights))),
    )


def _signal_to_noise(
    along: np.ndarray, rest: np.ndarray, energy: np.ndarray, free: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Models of how signal falls along the axes: log likelihood (n,), signal over its mean (n, rank), and the posterior
    of each feature's ratio (n, n_features, len(GRID)).

    The likelihood is the marginal one of responses along the axes (noise variance profiled out); its prior is the
    distribution over features under which all responses are most likely (Laird 1978,
    doi:10.1080/01621459.1978.10480103). Where nothing but the stimuli varies between cells, signal and noise cannot be
    told apart, and all is noise.
    """
    even = bool(np.ptp(energy) < 1e-6 * energy.mean()) if len(energy) else True
    if not len(energy) or (free <= len(energy) and even):
        nothing = np.tile(GRID == 0, (1, along.shape[1], 1)).astype(np.float64)
        return np.zeros(1), np.ones((1, len(energy))), nothing
    models = []
    for slope in (1.0,) if even else SLOPES:
        relative = (energy / energy.max()) ** slope
        relative /= relative.mean()
        models.append((*_mixture(_log_likelihood(along, rest, relative, free)), relative))
    found, weights, relatives = zip(*models, strict=True)
    return np.array(found), np.stack(relatives), np.stack(weights)


def _chances(found: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Posterior of the models, as sure as the number of independent features allows: neighbours repeat each other."""
    z = noise / np.maximum(noise.std(0), 1e-300)
    power = np.linalg.eigvalsh(z @ z.T if len(z) < z.shape[1] else z.T @ z)
    independent = power.sum() ** 2 / max(float((power**2).sum()), 1e-300)
    scaled = found * independent / noise.shape[1]
    chances = np.exp(scaled - scaled.max())
    return chances / chances.sum()


def _log_likelihood(along: np.ndarray, rest: np.ndarray, relative: np.ndarray, free: int) -> np.ndarray:
    out = np.empty((along.shape[1], len(GRID)))
    for g, ratio in enumerate(GRID):
        spread = 1 + ratio * relative
        power = (along**2 / spread[:, None]).sum(0) + rest
        out[:, g] = -0.5 * np.log(spread).sum() - 0.5 * free * np.log(np.maximum(power, 1e-300))
    return out


def _mixture(log_likelihood: np.ndarray) -> tuple[float, np.ndarray]:
    """Log likelihood of all features under the best distribution over the grid, and each feature's posterior."""
    top = log_likelihood.max(1, keepdims=True)
    likelihood = np.exp(log_likelihood - top)
    prior = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(N_STEPS):
        weights = likelihood * prior
        total = weights.sum(1, keepdims=True)
        weights /= total
        prior = weights.mean(0)
    return float((np.log(total) + top).sum()), weights
