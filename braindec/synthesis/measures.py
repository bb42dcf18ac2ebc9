"""How near made epochs come to recorded ones: their ERPs, peaks, spectra, trial-to-trial spread, whole distribution.

All take epochs (n, n_channels, n_times) as recorded and as made, in the same units, of one subject.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.covariance import ledoit_wolf
from braindec.synthesis.conditions import Epochs, cell_means

N_SLICES = 128  # directions that distributions are looked at along
QUANTILES = 100  # of each, so that sets may differ in size
FLAT = 1e-12  # share of the largest power below which a spectrum is noise of the arithmetic


@dataclass(frozen=True)
class Component:
    """A peak of an event-related potential.

    Parameters
    ----------
    name : str
    window_s : (float, float)
        First and last second from onset.
    sign : int
        1 or -1, or 0 for whichever is larger.
    difference : bool
        Whether it is looked for in the difference of the two classes, or in their mean.
    """

    name: str
    window_s: tuple[float, float]
    sign: int = 0
    difference: bool = False

    def __post_init__(self) -> None:
        checks.one_of("sign", self.sign, (-1, 0, 1))
        checks.at_least("end of window_s", self.window_s[1], self.window_s[0], unit="s")


def erp_correlation(recorded: Epochs, made: Epochs) -> Tensor:
    """Correlation over time of made and recorded ERPs, (n_cells, n_channels), of cells that both have, in [-1, 1]."""
    a, b = common_means(recorded, made)
    a, b = (x.double() - x.double().mean(2, keepdim=True) for x in (a, b))  # powers of teslas leave float32
    size = (a.square().sum(2) * b.square().sum(2)).sqrt()
    return torch.where(size > 0, (a * b).sum(2) / size, torch.zeros_like(size)).to(recorded.values)


def erp_error(recorded: Epochs, made: Epochs) -> Tensor:
    """Root mean square difference of made and recorded ERPs, (n_cells, n_channels), in the epochs' units."""
    a, b = common_means(recorded, made)
    return (a - b).square().mean(2).sqrt()


def common_means(recorded: Epochs, made: Epochs) -> tuple[Tensor, Tensor]:
    """ERPs of the cells that both sets hold, (n_cells, n_channels, n_times) each.

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    (a, code_a, _), (b, code_b, _) = cell_means(recorded), cell_means(made)
    same = (code_a[:, None] == code_b[None]).all(2)
    rows, columns = same.nonzero(as_tuple=True)
    checks.at_least("cells that both sets of epochs hold", len(rows), 1)
    return a[rows], b[columns]


def peak(erp: Tensor, times_s: Tensor, component: Component) -> tuple[Tensor, Tensor]:
    """Height and latency (s) of a peak in each row, between samples by the parabola through three.

    Parameters
    ----------
    erp : Tensor, shape (n, n_times)
    times_s : Tensor, shape (n_times,)
        Evenly spaced seconds from onset.
    component : Component

    Returns
    -------
    height, latency_s : Tensor, shape (n,)

    Raises
    ------
    ValueError
        If no sample lies in its window.
    """
    step = times_s[1] - times_s[0] if len(times_s) > 1 else times_s.new_zeros(())
    first, last = component.window_s
    slack = 0.01 * step  # against rounding
    inside = ((times_s >= first - slack) & (times_s <= last + slack)).nonzero()[:, 0]
    checks.at_least(f"samples in the window of {component.name!r}", len(inside), 1)
    turned = component.sign * erp if component.sign else erp.abs()
    at = inside[turned[:, inside].argmax(1)]
    rows = torch.arange(len(erp))
    centre = at.clamp(1, erp.shape[1] - 2)
    before, here, after = erp[rows, centre - 1], erp[rows, centre], erp[rows, centre + 1]
    bend = before - 2 * here + after
    shift = torch.where(bend != 0, 0.5 * (before - after) / bend, torch.zeros_like(bend)).clamp(-0.5, 0.5)
    # At the end of the window or of the epoch there is no peak to look between.
    edge = (at == inside[0]) | (at == inside[-1]) | (at != centre)
    shift = torch.where(edge, torch.zeros_like(shift), shift)
    height = torch.where(edge, erp[rows, at], here - 0.25 * (before - after) * shift)
    return height, times_s[at] + shift * step


def spectra(values: Tensor, sfreq: float) -> tuple[Tensor, Tensor]:
    """Mean power of single trials after a Hann window, (n_channels, n_frequencies), and the frequencies in Hz."""
    window = torch.hann_window(values.shape[2], periodic=False, dtype=values.dtype)
    power = torch.fft.rfft((values - values.mean(2, keepdim=True)) * window).abs().square().mean(0)
    power = power / (sfreq * window.square().sum())
    return power, torch.fft.rfftfreq(values.shape[2], 1 / sfreq)


def spectrum_distance(recorded: Tensor, made: Tensor, sfreq: float, band_hz: tuple[float, float]) -> float:
    """Root mean square difference of log spectra over channels and a band, dB."""
    (a, hz), (b, _) = spectra(recorded, sfreq), spectra(made, sfreq)
    kept = (hz >= band_hz[0]) & (hz <= band_hz[1])
    checks.at_least(f"frequencies in {list(band_hz)} Hz", int(kept.sum()), 1)
    floor = FLAT * a.max()
    decibel = 10 * (a[:, kept].clamp_min(floor).log10() - b[:, kept].clamp_min(floor).log10())
    return float(decibel.square().mean().sqrt())


def covariance_distance(recorded: Epochs, made: Epochs) -> float:
    """How far trial-to-trial covariances of channels, and of times, lie apart, relative to the recorded ones.

    Frobenius norm of the difference over that of the recorded; mean of both. 0: equal; 1: made trials do not vary at
    all, however right their mean is.
    """
    parts = []
    for mixed in ("nct,ndt->cd", "nct,ncs->ts"):
        a, b = (_covariance(epochs, mixed) for epochs in (recorded, made))
        parts.append(float((a - b).norm() / a.norm()))
    return sum(parts) / 2


def _covariance(epochs: Epochs, mixed: str) -> Tensor:
    """Of trials about the means of their cells, which take a degree of freedom each."""
    means, _, cell = cell_means(epochs)
    left = (epochs.values - means[cell]).double()
    free = len(left) - len(means)
    checks.at_least("epochs beyond one a cell", free, 1)
    return torch.einsum(mixed, left, left) / free


def sliced_wasserstein(
    recorded: Tensor, made: Tensor, generator: torch.Generator, n_slices: int = N_SLICES
) -> float:
    """Root mean square distance of the two distributions' quantiles along random directions.

    Parameters
    ----------
    recorded, made : Tensor, shape (n, ...) and (m, ...)
        Standardised, so that no channel decides alone.
    generator : torch.Generator
        Draws directions: equal generators look along the same ones.
    n_slices : int

    Notes
    -----
    The 2-Wasserstein distance of Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3, by quantiles, so that sets may
    differ in size. Sets of one distribution keep a distance that falls with their sizes.
    """
    a, b = recorded.flatten(1), made.flatten(1)
    checks.same_length("value", recorded=a.T, made=b.T)
    along = torch.randn(a.shape[1], n_slices, generator=generator, dtype=a.dtype)
    along = along / along.norm(dim=0)
    at = (torch.arange(QUANTILES, dtype=a.dtype) + 0.5) / QUANTILES
    apart = torch.quantile(a @ along, at, dim=0) - torch.quantile(b @ along, at, dim=0)
    return float(apart.square().mean().sqrt())


def nearest(values: Tensor, training: Tensor) -> Tensor:
    """Distance of each of n epochs to the nearest training epoch, (n,): near 0 for one that was copied."""
    # Squares of large sets are multiplied out, where what all epochs share would drown what they differ by.
    middle = training.double().mean(0)
    a, b = ((x.double() - middle).flatten(1) for x in (values, training))
    return torch.cdist(a, b).min(1).values.to(values)


def discriminant(values: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (n_values,) and threshold of a shrunken linear discriminant of features (n, n_values).

    Raises
    ------
    ValueError
        If a class has no trial.

    Notes
    -----
    Blankertz et al. 2011, doi:10.1016/j.neuroimage.2010.06.048: mean amplitudes in intervals, covariance shrunken by
    Ledoit and Wolf.
    """
    for name, rows in (("positive", positive), ("negative", ~positive)):
        checks.at_least(f"{name} trials", int(rows.sum()), 1)
    x = values.double()
    above, below = x[positive].mean(0), x[~positive].mean(0)
    left = x - torch.where(positive[:, None], above, below)
    weights = torch.linalg.solve(ledoit_wolf(left, centred=True).matrix, above - below)
    return weights.to(values), ((above + below) @ weights / 2).to(values)
