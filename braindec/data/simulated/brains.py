"""Simulated fMRI brains: from features of what is seen to voxel responses of single trials.

Forward model of one voxel v of region r and one picture x with features f(x):

    drive     d = sum over banks b of r and their components k of  w[v, k] f[k](x)
    weights   w[v, k] ~ N(0, share[r, b] lambda[k])
    response  s = baseline + amplitude * saturate(d),   saturate(d) = a tanh(d / a) / its SD
    trial     y = seen * gain * s + noise,   seen = 0 in a lapse, gain ~ N(1, gain_sd^2)

Weights are smooth over the voxels of a region and lambda falls with the rank of a component as a power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from braindec import checks
from braindec.data.simulated.features import FeatureMap
from braindec.data.simulated.noise import (
    FmriNoise,
    NoiseConfig,
    Redraw,
    draw_attention,
    draw_noise,
    root,
    spatial_kernel,
)
from braindec.types import VoxelSpace

SILENT = "silent"
VOXEL_MM = 1.8  # as in NSD's func1pt8mm
REGION_SHARES = {
    "early": 0.30,
    "intermediate": 0.25,
    "high": 0.30,
    SILENT: 0.15,
}  # of the voxels, back to front
REGION_BANKS = {
    "early": {"pixels": 0.5, "gabor": 0.5},
    "intermediate": {"gabor": 0.3, "network_early": 0.35, "network_mid": 0.35},
    "high": {"factors": 0.6, "network_late": 0.4},
}
REGION_NCSNR = {"early": 0.65, "intermediate": 0.55, "high": 0.6}  # medians at noise level 1


@dataclass(frozen=True)
class BrainConfig:
    """How fMRI brains are drawn; one config serves all subjects of a world.

    Parameters
    ----------
    spectrum : float
        Prior variance of a weight falls as the component's rank to the minus this.
    smoothness_mm : float
        Standard deviation of the kernel over which weights are smooth.
    independent : float
        Share of a weight's variance that neighbours do not share, in [0, 1].
    saturation : float
        Drive (in SD) at which responses saturate.
    baseline : float
        Mean response to any picture over the SD of responses.
    ncsnr_spread : float
        SD of the logarithm of voxels' ncsnr around their region's median.
    gain_sd, lapse : float
        SD of the trial gain; probability that a trial has no response.
    noise_sd : float
        Median SD of the noise of one trial, percent signal change.
    noise : NoiseConfig
    """

    spectrum: float = 0.7
    smoothness_mm: float = 2.5
    independent: float = 0.3
    saturation: float = 2.0
    baseline: float = 0.5
    ncsnr_spread: float = 0.3
    gain_sd: float = 0.1
    lapse: float = 0.02
    noise_sd: float = 1.5
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __post_init__(self) -> None:
        checks.in_range("independent", self.independent, 0.0, 1.0)
        checks.in_range("lapse", self.lapse, 0.0, 0.5)
        if self.saturation <= 0 or self.noise_sd <= 0:
            raise checks.ConfigError("saturation and noise_sd must be positive.")


@dataclass(frozen=True, eq=False)
class FmriBrain:
    """One subject's brain.

    Parameters
    ----------
    space : VoxelSpace
        With the regions early, intermediate, high and silent.
    weights : ndarray, shape (n_features, n_voxels)
        Unit variance of the drive on the reference sample.
    amplitude, baseline : ndarray, shape (n_voxels,)
        SD and mean of noise-free responses, percent signal change; 0 for silent voxels.
    ncsnr : ndarray, shape (n_voxels,)
        SD over pictures of the expected response, over the SD of a trial around it.
    noise : FmriNoise
        Additive noise.
    kernel : ndarray, shape (n_voxels, n_voxels)
        Prior covariance of weights between voxels, 1 on the diagonal and 0 between regions; 0 for silent voxels.
    slope : float
        Linear part of the saturation, E[saturate(d) d] for a standard normal drive.
    config : BrainConfig
    """

    space: VoxelSpace
    weights: np.ndarray
    amplitude: np.ndarray
    baseline: np.ndarray
    ncsnr: np.ndarray
    noise: FmriNoise
    kernel: np.ndarray
    slope: float
    config: BrainConfig

    def respond(self, features: np.ndarray) -> np.ndarray:
        """Noise-free responses at gain 1: float64 (n, n_voxels) for features (n, n_features)."""
        scale, _ = saturation_moments(self.config.saturation)
        return (
            self.baseline + self.amplitude * saturate(features @ self.weights, self.config.saturation) / scale
        )

    def measure(
        self,
        noise_free: np.ndarray,
        session: np.ndarray,
        generator: np.random.Generator,
        redraw: Redraw | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Single trials.

        Parameters
        ----------
        noise_free : ndarray, shape (n_trials, n_voxels)
            `respond` of what each trial showed.
        session : ndarray of int, shape (n_trials,)
            0-based; trials in order of acquisition.
        generator : numpy.random.Generator
        redraw : Redraw, optional
            Trials whose gain, lapses and noise come from another generator.

        Returns
        -------
        responses : ndarray of float64, shape (n_trials, n_voxels)
            Percent signal change.
        seen : ndarray of bool, shape (n_trials,)
            False where attention lapsed.
        """
        n = checks.same_length("trial", noise_free=noise_free, session=session)
        seen, gain = draw_attention(n, self.config.lapse, self.config.gain_sd, generator, redraw)
        return noise_free * (seen * gain)[:, None] + self.noise.sample(session, generator, redraw), seen


def saturate(drive: np.ndarray, limit: float) -> np.ndarray:
    """limit * tanh(drive / limit): linear for small drives, never beyond the limit."""
    return limit * np.tanh(drive / limit)


def saturation_moments(limit: float) -> tuple[float, float]:
    """SD of `saturate(d)` and E[saturate(d) d] / SD for a standard normal d (Gauss-Hermite quadrature)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    values = saturate(nodes, limit)
    sd = float(np.sqrt((weights * values**2).sum()))
    return sd, float((weights * values * nodes).sum() / sd)


def trial_variance(lapse: float, gain_sd: float) -> float:
    """Variance of seen * gain: what multiplies a response's square in the variance of a trial around its mean."""
    return (1 - lapse) * (1 + gain_sd**2) - (1 - lapse) ** 2


def prior_variance(banks: np.ndarray, ranks: np.ndarray, region: str, spectrum: float) -> np.ndarray:
    """Prior variance of the weights of a region's voxels on each feature, summing to 1.

    Parameters
    ----------
    banks, ranks : ndarray, shape (n_features,)
        Bank and rank (1 = leading) of each feature.
    region : str
        Key of `REGION_BANKS`.
    spectrum : float
        Exponent of the fall with rank.

    Returns
    -------
    ndarray of float64, shape (n_features,)
    """
    variance = np.zeros(len(banks))
    for bank, share in checks.known_key("region", region, REGION_BANKS).items():
        rows = banks == bank
        fall = ranks[rows] ** -float(spectrum)
        variance[rows] = share * fall / fall.sum()
    return variance


def draw_space(n_voxels: int) -> VoxelSpace:
    """A compact brain of exactly `n_voxels` voxels whose regions follow each other from back to front.

    Returns
    -------
    VoxelSpace
        1.8 mm voxels; regions early, intermediate, high and silent share the voxels as `REGION_SHARES` says.
    """
    checks.at_least("n_voxels", n_voxels, 20)
    half = np.array([0.8, 1.25, 0.7])  # longer from back to front than wide or high
    radius = (n_voxels / (4 / 3 * np.pi * half.prod())) ** (1 / 3)
    shape = tuple(int(2 * np.ceil(radius * h) + 1) for h in half)
    grid = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij"), -1)
    distance = ((grid / half) ** 2).sum(-1) + 1e-6 * np.arange(grid[..., 0].size).reshape(shape)
    mask = distance <= np.sort(distance, axis=None)[n_voxels - 1]
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = -VOXEL_MM * (np.array(shape) // 2)
    along = np.argsort(np.argsort(grid[mask][:, 1], kind="stable"), kind="stable") / n_voxels
    edges = np.cumsum([0.0, *REGION_SHARES.values()])
    regions = {
        name: (along >= low) & (along < high)
        for name, low, high in zip(REGION_SHARES, edges[:-1], [*edges[1:-1], np.inf], strict=True)
    }
    return VoxelSpace(mask, affine, regions)


def positions_mm(space: VoxelSpace) -> np.ndarray:
    """Where each voxel is, float64 (n_voxels, 3)."""
    return np.argwhere(space.mask) @ space.affine[:3, :3].T + space.affine[:3, 3]


def draw_brain(
    features: FeatureMap,
    reference: np.ndarray,
    *,
    n_voxels: int,
    n_sessions: int,
    noise_level: float,
    config: BrainConfig,
    generator: np.random.Generator,
) -> FmriBrain:
    """A random brain.

    Parameters
    ----------
    features : FeatureMap
        Names the bank of each feature.
    reference : ndarray, shape (n, n_features)
        Features of the reference scenes, over which SD and ncsnr are defined.
    n_voxels, n_sessions : int
    noise_level : float
        Divides every voxel's ncsnr, > 0.
    config : BrainConfig
    generator : numpy.random.Generator

    Returns
    -------
    FmriBrain

    Raises
    ------
    ValueError
        If a voxel's ncsnr is higher than lapses and gain allow.
    """
    space = draw_space(n_voxels)
    where = positions_mm(space)
    kernel = np.zeros((n_voxels, n_voxels))
    weights = np.zeros((len(features.banks), n_voxels))
    ncsnr = np.zeros(n_voxels)
    for region in REGION_BANKS:
        rows = np.flatnonzero(space.regions[region])
        block = (1 - config.independent) * spatial_kernel(where[rows], config.smoothness_mm)
        block[np.diag_indices_from(block)] += config.independent
        kernel[np.ix_(rows, rows)] = block
        variance = prior_variance(features.banks, features.ranks, region, config.spectrum)
        drawn = generator.standard_normal((len(variance), len(rows))) @ root(block)
        weights[:, rows] = np.sqrt(variance)[:, None] * drawn
        spread = np.exp(config.ncsnr_spread * generator.standard_normal(len(rows)))
        ncsnr[rows] = REGION_NCSNR[region] * spread / noise_level
    awake = ncsnr > 0
    weights[:, awake] /= (reference @ weights[:, awake]).std(0)
    noise_sd = config.noise_sd * np.exp(0.2 * generator.standard_normal(n_voxels))
    noise = draw_noise(where, weights.T, n_sessions, config.noise, generator)
    _, slope = saturation_moments(config.saturation)
    brain = FmriBrain(
        space,
        weights,
        noise_sd * ncsnr,
        config.baseline * noise_sd * ncsnr,
        ncsnr,
        noise,
        kernel,
        slope,
        config,
    )
    return replace(brain, noise=replace(noise, sd=_additive_sd(brain, reference, noise_sd)))


def _additive_sd(brain: FmriBrain, reference: np.ndarray, silent_sd: np.ndarray) -> np.ndarray:
    """SD of the additive noise that, beside gain and lapses, brings each voxel to its ncsnr."""
    c = brain.config
    responses = brain.respond(reference)
    signal = (1 - c.lapse) ** 2 * responses.var(0)
    multiplicative = trial_variance(c.lapse, c.gain_sd) * (responses**2).mean(0)
    awake = brain.ncsnr > 0
    variance = silent_sd**2
    variance[awake] = signal[awake] / brain.ncsnr[awake] ** 2 - multiplicative[awake]
    if (variance <= 0).any():
        limit = float(np.sqrt(signal[awake] / multiplicative[awake]).min())
        raise ValueError(
            f"ncsnr reaches {brain.ncsnr.max():.2f}, but gain and lapses alone allow at most {limit:.2f}; "
            "raise the noise level."
        )
    return np.sqrt(variance)


def prior_variances(features: FeatureMap, spectrum: float) -> Mapping[str, np.ndarray]:
    """`prior_variance` of every region that sees something."""
    return {
        region: prior_variance(features.banks, features.ranks, region, spectrum) for region in REGION_BANKS
    }
