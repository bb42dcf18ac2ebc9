"""ERPs of people with known factors: each factor changes one component, some its height, one its latency.

A P100 grows with attention, an N170 with faces, a P300 with targets, and the P300 comes later with age: the last no sum
of ERPs can say. People differ beside that in how large their ERPs are, and in noise that an average still has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks

FACTORS = {
    "attention": ("low", "middle", "high"), "picture": ("house", "face"), "event": ("standard", "target"),
    "age": ("young", "middle-aged", "old"),
}  # fmt: skip
# Height at each level (µV); seconds at each level; width (s).
P100, N170, P300 = (2.0, 5.0, 8.0), (-2.0, -8.0), (3.0, 8.0)
P300_AT_S, WIDTHS_S = (0.30, 0.37, 0.44), (0.025, 0.03, 0.06)
TMIN, TMAX = -0.1, 0.6
SLOW_S = 0.05  # noise of an average is alike over this time


@dataclass(frozen=True, eq=False)
class FactorErps:
    """ERPs and what is known of them.

    Parameters
    ----------
    values : Tensor, shape (n, n_channels, n_times)
        µV.
    factors : int Tensor, shape (n, n_factors)
        Level of each factor.
    names : tuple of str
    levels : tuple of tuples of str
    times_s : ndarray, shape (n_times,)
    truth : Tensor, shape (n_combinations, n_channels, n_times)
        Noise-free ERP of each combination of levels, the last factor's fastest (`row_of`).
    """

    values: Tensor
    factors: Tensor
    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    times_s: np.ndarray
    truth: Tensor


def row_of(factors: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Number of each combination of levels, int (n,); the last factor's levels follow each other."""
    number = torch.zeros(len(factors), dtype=torch.int64)
    for column, size in zip(factors.T, sizes, strict=True):
        number = number * size + column
    return number


def factor_erps(
    n: int, generator: np.random.Generator, *, n_channels: int = 8, sfreq: float = 64.0, noise: float = 1.0,
    spread: float = 0.15,
) -> FactorErps:  # fmt: skip
    """ERPs of people whose levels are drawn at random, all combinations about equally often.

    Parameters
    ----------
    n : int
    generator : numpy.random.Generator
    n_channels : int
        Topographies overlap; >= 3.
    sfreq : float
        Hz.
    noise : float
        SD that is left in an average, µV.
    spread : float
        SD of the logarithm of people's gain.
    """
    checks.at_least("n_channels", n_channels, 3)
    checks.at_least("noise", noise, 0.0)
    sizes = tuple(len(levels) for levels in FACTORS.values())
    every = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, len(sizes))
    factors = every[generator.permutation(np.arange(n) % len(every))]
    times = TMIN + np.arange(round((TMAX - TMIN) * sfreq) + 1) / sfreq
    place = np.linspace(0, 1, n_channels)  # from the back of the head to its front
    maps = [np.exp(-0.5 * ((place - centre) / 0.3) ** 2) for centre in (0.0, 0.2, 0.6)]
    truth = np.sum([_component(i, every, times)[:, None] * maps[i][:, None] for i in range(3)], 0)
    white = generator.standard_normal((n, n_channels, len(times) + 200))
    kept = np.exp(-1 / (SLOW_S * sfreq))
    slow = np.zeros_like(white)
    for t in range(1, white.shape[2]):
        slow[:, :, t] = kept * slow[:, :, t - 1] + np.sqrt(1 - kept**2) * white[:, :, t]
    mixed = np.eye(n_channels) + 0.5 * np.exp(-np.abs(place[:, None] - place) / 0.3)
    left = np.einsum("cd,ndt->nct", mixed / np.linalg.norm(mixed, axis=1, keepdims=True), slow[:, :, 200:])
    gain = np.exp(spread * generator.standard_normal(n))[:, None, None]
    numbers = row_of(torch.from_numpy(factors), sizes).numpy()
    return FactorErps(
        torch.from_numpy(gain * truth[numbers] + noise * left).float(), torch.from_numpy(factors), tuple(FACTORS),
        tuple(FACTORS.values()), times, torch.from_numpy(truth).float(),
    )  # fmt: skip


def _component(which: int, factors: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Course of P100, N170 or P300 at these levels, (n, n_times)."""
    attention, picture, event, age = factors.T
    at = (np.full(len(factors), 0.1), np.full(len(factors), 0.17), np.array(P300_AT_S)[age])[which]
    height = (np.array(P100)[attention], np.array(N170)[picture], np.array(P300)[event])[which]
    return np.asarray(height[:, None] * np.exp(-0.5 * ((times - at[:, None]) / WIDTHS_S[which]) ** 2))
