"""Functional networks: filters are smooth functions of time, read at the recording's own samples, then one number each.

The functional convolution has as many weights whatever the sampling rate, and makes the same of a signal sampled at
another one, but for the error of a sum that stands for an integral.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._dropout import Dropout
from braindec.backbones._heads import Heads
from braindec.backbones._tsconv import check_shape

MEMBER = "functional"
REACH = 2.0  # of a cubic B-spline, in knots from its centre
SCALE = (
    3.0  # of filters of unit width: what fresh ones make of EEG of unit variance then has about that variance
)
SHARPNESS = 2.0  # of the soft maximum, in SDs of a function


@dataclass(frozen=True)
class Config:
    """Settings; times are shares of the epoch, so that they mean the same at every sampling rate.

    Parameters
    ----------
    n_filters : int
        Functions that a layer makes of those it is given.
    n_layers : int
        Functional convolutions, each followed by batch norm; an ELU stands between them.
    width : float
        Length of a filter, share of the epoch in (0, 1].
    n_basis : int
        Functions of time that a filter is a sum of.
    basis : {"bspline", "fourier"}
        Cubic B-splines on even knots, or cosines and sines under a raised cosine; all are zero at a filter's ends.
    separable : bool
        A filter is one function of time for all functions that it is given, times a weight for each; else it has a
        function of time for each of them, as published.
    readout : {"peak", "mean", "dense"}
        ``"peak"``: the logarithm of the mean over time of exp(2 f), a soft maximum; ``"mean"``: the mean of ELU(f), as
        published. Both are the same whatever the latency. ``"dense"``: integrals of ELU(f) with `n_dense` smooth
        functions of the time in the epoch, a functional dense layer, which is not.
    n_dense : int
        B-splines that span the epoch, of ``"dense"``, at least 4.
    dropout : float
        Share dropped of what is read out, in [0, 1).

    Notes
    -----
    Heinrichs, Heim & Weber 2023, arXiv:2301.05869. Filters vanish at their ends, so that a shorter step of time changes
    nothing else; batch norms, separable filters and the soft maximum are ours.
    """

    n_filters: int = 16
    n_layers: int = 1
    width: float = 0.25
    n_basis: int = 8
    basis: Literal["bspline", "fourier"] = "bspline"
    separable: bool = True
    readout: Literal["peak", "mean", "dense"] = "peak"
    n_dense: int = 8
    dropout: float = 0.25

    def __post_init__(self) -> None:
        for name in ("n_filters", "n_layers", "n_basis"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("n_dense", self.n_dense, 4)
        checks.in_range("width", self.width, 1e-3, 1.0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.one_of("basis", self.basis, ["bspline", "fourier"])
        checks.one_of("readout", self.readout, ["peak", "mean", "dense"])


class FunctionalConvolution(nn.Module):
    """y_k(t) = sum_j of the integral of w_jk(s) x_j(t + s) ds; w_jk is a sum of basis functions, s in epochs.

    Parameters
    ----------
    n_in, n_out : int
    config : Config
    """

    def __init__(self, n_in: int, n_out: int, config: Config):
        super().__init__()
        self.width, self.basis = config.width, config.basis
        self.pattern = nn.Parameter(torch.randn(n_out, n_in) / n_in**0.5) if config.separable else None
        drawn = torch.randn(n_out, 1 if config.separable else n_in, config.n_basis)
        self.coefficients = nn.Parameter(drawn / drawn.shape[1] ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_in, n_times) to (n_trials, n_out, n_times); there is nothing beyond the epoch's ends."""
        kernels = self.kernels(x.shape[2]).to(x.dtype)
        if self.pattern is None:
            return nn.functional.conv1d(x, kernels, padding=kernels.shape[2] // 2)
        return nn.functional.conv1d(
            self.pattern @ x, kernels, padding=kernels.shape[2] // 2, groups=len(kernels)
        )

    def kernels(self, n_times: int) -> Tensor:
        """The functions of time as weights of an epoch's samples: (n_out, n_in or 1, n_lags), an odd number of lags."""
        reach = max(int(self.width / 2 * n_times), 1)  # samples on either side
        like = self.coefficients
        lags = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype) / n_times
        functions = basis_functions(lags / (self.width / 2), like.shape[2], self.basis)  # (basis, lag)
        return SCALE / self.width * like @ functions / n_times  # the integral's ds is one sample


class FunctionalNetwork(Backbone):
    """Functional convolutions, the readout over time, and a linear head an output."""

    first_layers = ("convolutions.0.", "norms.0.")

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        widths = [shared_shape[0], *[config.n_filters] * config.n_layers]
        self.config = config
        self.convolutions = nn.ModuleList(
            FunctionalConvolution(n_in, n_out, config) for n_in, n_out in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in widths[1:])
        if (
            config.readout == "peak"
        ):  # a shift of all times shifts the soft maximum, which the norm behind takes back
            self.norms[-1].register_parameter("bias", None)
        n_read = config.n_filters * (config.n_dense if config.readout == "dense" else 1)
        self.read_norm = nn.BatchNorm1d(n_read)
        self.dropout = Dropout(config.dropout)
        self.heads = Heads(n_read, outputs)

    def functions(self, shared: Tensor) -> Tensor:
        """What the last layer makes: (n_trials, n_channels, n_times) to (n_trials, n_filters, n_times)."""
        x = shared
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(nn.functional.elu(x) if i else x))
        return x

    def read(self, functions: Tensor) -> Tensor:
        """(n_trials, n_filters, n_times) to (n_trials, n_read)."""
        n_times = functions.shape[2]
        if self.config.readout == "peak":
            return ((SHARPNESS * functions).logsumexp(2) - math.log(n_times)) / SHARPNESS
        bent = nn.functional.elu(functions)
        if self.config.readout == "mean":
            return bent.mean(2)
        spans = epoch_functions(n_times, self.config.n_dense).to(bent)  # (basis, time)
        return (bent @ spans.T / n_times).flatten(1)

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}; any number of times.

        The epoch is as long as the one that it was built for, sampled as finely as `shared` is.
        """
        read = self.read_norm(self.read(self.functions(shared)))
        made: dict[str, Tensor] = self.heads(self.dropout(read))
        return made

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def bspline(u: Tensor) -> Tensor:
    """The cubic B-spline of even knots, at `u` knots from its centre; its values at whole knots sum to 1.

    Notes
    -----
    2/3 - u^2 + |u|^3 / 2 within a knot, (2 - |u|)^3 / 6 within two, 0 beyond; de Boor 1978, A practical guide to
    splines, chapter X.
    """
    near = u.abs()
    return torch.where(near < 1, 2 / 3 - near**2 + near**3 / 2, (2 - near).clamp_min(0) ** 3 / 6)


def basis_functions(place: Tensor, n_basis: int, basis: str) -> Tensor:
    """Basis functions of a filter at places from -1 (its start) to 1 (its end): (n_basis, n_places), zero beyond."""
    if basis == "bspline":
        knot = 2 / (n_basis + 3)  # supports of n functions side by side fill the filter
        centres = -1 + knot * torch.arange(REACH, n_basis + REACH, device=place.device, dtype=place.dtype)
        return bspline((place - centres[:, None]) / knot)
    taper = torch.where(place.abs() < 1, (1 + (math.pi * place).cos()) / 2, torch.zeros_like(place))
    waves = [
        (math.pi * ((k + 1) // 2) * place).cos() if k % 2 == 0 else (math.pi * ((k + 1) // 2) * place).sin()
        for k in range(n_basis)
    ]
    return torch.stack(waves) * taper


def epoch_functions(n_times: int, n_basis: int) -> Tensor:
    """B-splines over the epoch that sum to 1 at every time: (n_basis, n_times), float64, a sample mid of its step."""
    place = (torch.arange(n_times, dtype=torch.float64) + 0.5) / n_times * (n_basis - 3)  # in knots
    centres = torch.arange(-1, n_basis - 1, dtype=torch.float64)
    return bspline(place - centres[:, None])


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> FunctionalNetwork:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis, or a filter has fewer samples than basis functions.
    """
    n_channels, n_times = check_shape(MEMBER, shared_shape)
    if config.width * n_times < config.n_basis:
        raise ValueError(
            f"{MEMBER} with width {config.width} and n_basis {config.n_basis} needs at least "
            f"{math.ceil(config.n_basis / config.width)} time samples, got {n_times}; widen filters or lower n_basis."
        )
    return FunctionalNetwork((n_channels, n_times), outputs, config)
