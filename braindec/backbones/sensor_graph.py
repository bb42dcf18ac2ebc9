"""A graph network over sensors: what each one measures meets that of its neighbours, and who these are is learned.

Nodes are sensors, their features log powers in learned bands, or projections of the time course. Links start from
distances between sensors, are symmetric, and are moved by what helps to tell classes apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks
from braindec.backbones import Backbone
from braindec.backbones._dropout import Dropout
from braindec.backbones._heads import Heads
from braindec.backbones._tsconv import check_shape
from braindec.types import SensorSpace, Space

MEMBER = "sensor_graph"
LINKS = "links"  # the loss that keeps links few
TINY = 1e-6  # of powers and degrees, beside standardised signals
Places = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    places : tuple of (float, float, float)
        Metres in the head frame, a sensor each in the order of the shared channels (`placed` writes them); none:
        all links start alike, and what is read of each sensor starts at random.
    features : {"power", "time", "both"}
        Of a node: the log power in `n_bands` learned bands, `n_filters` learned projections of its time course, or
        both; one set for all nodes.
    n_bands, n_filters : int
    order : int
        Order of the Chebyshev polynomial: how many links away a sensor still counts.
    width : int
        Values that a node has after the graph convolution.
    n_read : int
        Weighted sums over sensors that are read out; weights start as waves over the head.
    neighbours : float
        Links start as a Gaussian of distance, as wide as this many times the median distance to the nearest sensor at
        another place (sensors of a triplet share theirs).
    sparsity : float
        Weight of the loss that keeps links small, the mean of their absolute values, >= 0.
    dropout : float
        Share dropped of what is read out, in [0, 1).

    Notes
    -----
    DGCNN, Song et al. 2018, doi:10.1109/TAFFC.2018.2817622 (Chebyshev polynomials, learned links, band features);
    RGNN, Zhong et al. 2019, arXiv:1907.07835 (links that are symmetric, start from distances, may be negative and are
    kept small). The log power of a band is the differential entropy of a Gaussian but for a factor and a constant.
    """

    places: Places = ()
    features: Literal["power", "time", "both"] = "power"
    n_bands: int = 5
    n_filters: int = 8
    order: int = 2
    width: int = 16
    n_read: int = 16
    neighbours: float = 1.0
    sparsity: float = 0.0
    dropout: float = 0.25

    def __post_init__(self) -> None:
        checks.one_of("features", self.features, ["power", "time", "both"])
        for name in ("n_bands", "n_filters", "order", "width", "n_read"):
            checks.at_least(name, getattr(self, name), 1)
        checks.in_range("neighbours", self.neighbours, 1e-3, 100.0)
        checks.at_least("sparsity", self.sparsity, 0.0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)


class NodeFeatures(nn.Module):
    """Features of every node from its own signal, by weights that all nodes share.

    Parameters
    ----------
    n_times : int
    config : Config
    """

    taper: Tensor

    def __init__(self, n_times: int, config: Config):
        super().__init__()
        self.register_buffer("taper", torch.hann_window(n_times, periodic=False))
        powers, times = config.features != "time", config.features != "power"
        self.bands = nn.Parameter(_first_bands(config.n_bands, n_times // 2)) if powers else None
        self.filters = nn.Parameter(torch.randn(config.n_filters, n_times) / n_times**0.5) if times else None
        self.n_features = config.n_bands * powers + config.n_filters * times

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_nodes, n_times) to (n_trials, n_nodes, n_features)."""
        made = []
        if self.bands is not None:
            spectrum = torch.fft.rfft(x * self.taper, dim=2)[..., 1:]
            power = spectrum.real.square() + spectrum.imag.square()  # (trial, node, frequency)
            made.append((power / x.shape[2] @ self.bands.softmax(1).T + TINY).log())
        if self.filters is not None:
            made.append(x @ self.filters.T)
        return torch.cat(made, 2)


class Links(nn.Module):
    """A symmetric matrix of links between nodes: where it started, and what was learned.

    Parameters
    ----------
    start : Tensor, shape (n_nodes, n_nodes)
        Symmetric, zero on the diagonal.
    """

    start: Tensor
    upper: Tensor

    def __init__(self, start: Tensor):
        super().__init__()
        self.register_buffer("start", start)
        self.register_buffer("upper", torch.triu_indices(len(start), len(start), 1), persistent=False)
        self.change = nn.Parameter(torch.zeros(self.upper.shape[1]))  # a value a pair

    def forward(self) -> Tensor:
        """The links, (n_nodes, n_nodes)."""
        change = torch.zeros_like(self.start).index_put(tuple(self.upper), self.change)
        return self.start + change + change.T


class SensorGraph(Backbone):
    """Features of nodes, a Chebyshev convolution over their links, sums over the head, a linear head an output."""

    first_layers = ("features.", "norm.", "links.")

    def __init__(self, shared_shape: tuple[int, int], outputs: Mapping[str, tuple[int, int]], config: Config):
        super().__init__()
        n_nodes, n_times = shared_shape
        self.features = NodeFeatures(n_times, config)
        self.norm = nn.BatchNorm1d(self.features.n_features)
        self.links = Links(first_links(config.places, n_nodes, config.neighbours))
        n_in = self.features.n_features
        self.filters = nn.Parameter(
            torch.randn(config.order + 1, n_in, config.width) / (n_in * (config.order + 1)) ** 0.5
        )
        self.bias = nn.Parameter(torch.zeros(config.width))
        self.read = nn.Parameter(_first_read(config.places, n_nodes, config.n_read))
        self.dropout = Dropout(config.dropout)
        self.heads = Heads(config.n_read * config.width, outputs)
        self.is_sparse = config.sparsity > 0
        if self.is_sparse:
            self.auxiliary = {LINKS: partial(_weighted_mean, config.sparsity)}

    def forward(self, shared: Tensor) -> dict[str, Tensor]:
        """(n_trials, n_channels, n_times) to {output name: (n_trials, n_tokens, n_dims)}."""
        x = self.features(shared)
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)  # (trial, node, feature)
        links = self.links()
        x = nn.functional.elu(chebyshev(x, normalised(links), self.filters) + self.bias)
        made: dict[str, Tensor] = self.heads(self.dropout((self.read @ x).flatten(1)))
        if self.is_sparse and self.training:
            return made | {LINKS: links.abs().mean().expand(len(shared))}
        return made

    def linear_path(self, output: str) -> None:
        """None: nothing leads straight from signal to output."""
        checks.known_key("output", output, self.heads.outputs)


def chebyshev(x: Tensor, operator: Tensor, filters: Tensor) -> Tensor:
    """Sum over k of T_k(operator) x filters_k: a convolution on the graph.

    Parameters
    ----------
    x : Tensor, shape (n_trials, n_nodes, n_in)
    operator : Tensor, shape (n_nodes, n_nodes)
        With eigenvalues in [-1, 1].
    filters : Tensor, shape (order + 1, n_in, n_out)

    Returns
    -------
    Tensor, shape (n_trials, n_nodes, n_out)
    """
    before, now = x, operator @ x
    total = before @ filters[0] + now @ filters[1]
    for weight in filters[2:]:
        before, now = now, 2 * operator @ now - before
        total = total + now @ weight
    return total


def normalised(links: Tensor) -> Tensor:
    """Links over the square roots of both nodes' degrees: symmetric, eigenvalues in [-1, 1], (n_nodes, n_nodes).

    It is the Laplacian of the graph less the identity with its sign turned; degrees are sums of absolute links.
    """
    root = (links.abs().sum(1) + TINY).rsqrt()
    return root[:, None] * links * root


def first_links(places: Places, n_nodes: int, neighbours: float) -> Tensor:
    """Links before anything is learned, (n_nodes, n_nodes): a Gaussian of distance, or all alike without places."""
    if not places:
        return (1 - torch.eye(n_nodes)) / n_nodes
    where = torch.tensor(places, dtype=torch.float64)
    apart = torch.cdist(where, where)
    nearest = apart.masked_fill(apart == 0, math.inf).min(1).values.median()
    links = (-(apart**2) / (2 * (neighbours * nearest) ** 2)).exp()
    return (links * (1 - torch.eye(n_nodes))).float()


def placed(config: Config, space: Space) -> Config:
    """The settings with the places of a space of sensors.

    Raises
    ------
    TypeError
        If it is a space of something else.
    ValueError
        If a sensor has no place.
    """
    positions = np.asarray(checks.of_type("space", space, SensorSpace).positions, dtype=float)
    if not np.isfinite(positions).all():
        raise ValueError(f"{MEMBER} needs the place of every sensor; set a montage, or leave places empty.")
    return replace(config, places=tuple((float(x), float(y), float(z)) for x, y, z in positions))


def _first_bands(n_bands: int, n_frequencies: int) -> Tensor:
    """Logits of each band's weights over frequencies: bells of equal width on a logarithmic axis."""
    place = torch.arange(1, n_frequencies + 1).log()
    centres = torch.linspace(0, float(place[-1]), n_bands + 2)[1:-1]
    step = max(float(place[-1]) / (n_bands + 1), TINY)
    return -((place - centres[:, None]) ** 2) / (2 * (step / 2) ** 2)


def _first_read(places: Places, n_nodes: int, n_read: int) -> Tensor:
    """Weights over sensors (n_read, n_nodes): waves over the head in random directions, or random numbers."""
    if not places:
        return torch.randn(n_read, n_nodes) / n_nodes
    where = torch.tensor(places, dtype=torch.float64)
    where = (where - where.mean(0)) / (where - where.mean(0)).norm(dim=1).max()
    direction, phase = torch.randn(n_read, 3), 2 * math.pi * torch.rand(n_read)
    wave = (math.pi / 2 * direction.double() @ where.T + phase[:, None]).cos()
    return (2**0.5 * wave / n_nodes).float()


def _weighted_mean(weight: float, values: Tensor) -> Tensor:
    return weight * values.mean()


def build(
    shared_shape: tuple[int, ...], outputs: Mapping[str, tuple[int, int]], config: Config
) -> SensorGraph:
    """The backbone for these shapes, drawn from torch's global generator (`seeding.seeded`).

    Raises
    ------
    ValueError
        If the shared shape has no time axis, less than two channels, or other channels than there are places.
    """
    n_nodes, n_times = check_shape(MEMBER, shared_shape)
    if n_nodes < 2 or n_times < 4:
        raise ValueError(f"{MEMBER} needs two channels and four times at least, got {n_nodes} and {n_times}.")
    if config.places and len(config.places) != n_nodes:
        raise ValueError(
            f"{MEMBER} has {len(config.places)} places but {n_nodes} shared channels; take an adapter that keeps the "
            "sensors (gain_bias), and their places (sensor_graph.placed)."
        )
    return SensorGraph((n_nodes, n_times), outputs, config)
