"""Voxels in functional clusters that all subjects share; attention within each cluster makes a token of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from braindec import checks, seeding
from braindec.adapters import Maps, SharedPart, SubjectAdapter
from braindec.adapters._basis import common_basis
from braindec.adapters._cgls import fit_linear
from braindec.adapters._clustering import spherical_k_means
from braindec.maths.folds import Folds
from braindec.types import SubjectSignal

# Length of cluster centres, so that a voxel on one belongs to it by e^16 to 1 against a cluster at a right angle.
SHARPNESS = 4.0
N_NEAR = 4  # clusters of a voxel that a start from maps reckons with
VOXELS_AT_ONCE = 512


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    n_clusters : int
        Clusters that all subjects share, a token each; the published model has 128.
    width : int
        Values that say what a voxel does (its place among the clusters), and as many that say what it contributes.
    dim : int
        Values a token: the shared shape is (n_clusters, dim).
    assignment : {"soft", "hard"}
        ``"soft"``: every voxel belongs to all clusters in shares that are learned. ``"hard"``: to the nearest one
        alone, at a cost of voxels times width instead of times clusters too; the clusters are then fitted to
        closed-form maps and not learned.

    Notes
    -----
    After Brain-IT's description, arXiv:2510.25976 (no code was read): voxels of all subjects are clustered by what they
    do, and attention over the voxels of a cluster makes its token. Clusters begin as spherical k-means of the voxels'
    weights in closed-form maps, all subjects together; without such maps, as drawn. A voxel's share times its weight is
    what the token sums up, so a token is linear in the signal.
    """

    n_clusters: int = 32
    width: int = 16
    dim: int = 32
    assignment: Literal["soft", "hard"] = "soft"

    def __post_init__(self) -> None:
        for name in ("n_clusters", "width", "dim"):
            checks.at_least(name, getattr(self, name), 1)
        checks.one_of("assignment", self.assignment, ["soft", "hard"])


class Clusters(SharedPart):
    """Centres and queries of the clusters, and how each makes a token of what its voxels contribute."""

    wants_maps = True

    def __init__(self, config: Config):
        super().__init__()
        drawn = SHARPNESS * normalize(torch.randn(config.n_clusters, config.width), dim=1)
        if config.assignment == "soft":
            self.centres = nn.Parameter(drawn)
        else:
            self.register_buffer("centres", drawn)
        self.queries = nn.Parameter(torch.randn(config.n_clusters, config.width) / math.sqrt(config.width))
        maps = torch.empty(config.n_clusters, config.width, config.dim)
        for part in maps:
            nn.init.orthogonal_(part)
        self.maps = nn.Parameter(maps)

    @torch.no_grad()
    def start_from_maps_(self, maps: Maps, adapters: Sequence[SubjectAdapter]) -> Tensor:
        """Clusters of all subjects' voxels by their columns of the maps; tokens then hold what the maps read from them.

        Of a cluster's voxels a token keeps the `width` strongest directions that their weights have in common. With
        hard clusters of no more directions the readout then gives the maps themselves, with soft ones nearly.
        """
        own = [checks.of_type("adapter", adapter, VoxelClusters) for adapter in adapters]
        columns = torch.cat([weight for weight, _ in maps], dim=1).T.to(
            self.maps
        )  # (voxel of any subject, row)
        sizes = [weight.shape[1] for weight, _ in maps]
        places = self._clustered_(columns)
        for adapter, place in zip(own, places.split(sizes), strict=True):
            adapter.places.copy_(place)
        member = (places @ self.centres.T).argmax(1)
        readouts, power = [], 0.0
        for k, part in enumerate(self.maps):
            mine = columns[member == k]
            inside = torch.linalg.qr(part).Q  # (width, direction): what the cluster's map lets through
            n = min(inside.shape[1], *mine.shape)
            basis = common_basis([mine.T], n) if n else columns.new_zeros(columns.shape[1], 0)
            readouts.append(basis @ torch.linalg.pinv(inside[:, :n].T @ part).T)
            power += float((mine @ basis).square().sum())
        # Sums over voxels of unit variance then have a variance near 1 as well, over all subjects and tokens.
        scale = math.sqrt(len(own) * len(self.maps) * self.maps.shape[1] / max(power, 1e-30))
        readout = torch.cat(readouts, dim=1) / scale
        says = torch.einsum("kwd,krd->kwr", self.maps, torch.stack(readouts) / scale)
        back = torch.linalg.pinv(readout)
        for adapter, (weight, bias) in zip(own, maps, strict=True):
            shares = normalize(adapter.shares(), dim=1)
            adapter.contributions.copy_(_contributions(weight.T.to(says), shares.T, says))
            adapter.bias.copy_((back @ bias.to(back)).view_as(adapter.bias))
        return readout

    def _clustered_(self, columns: Tensor) -> Tensor:
        """Sets the centres; where each voxel then is, (n_voxels, width)."""
        directions, n = normalize(columns, dim=1), min(self.centres.shape[1], columns.shape[1])
        places = torch.zeros(len(columns), self.centres.shape[1]).to(columns)
        places[:, :n] = normalize(directions @ common_basis([directions.T], n), dim=1)
        generator = seeding.torch_generator(0, "voxel clusters")
        centres = spherical_k_means(places.cpu(), columns.square().sum(1).cpu(), len(self.centres), generator)
        self.centres.copy_(SHARPNESS * centres)
        return SHARPNESS * places


class Attention(NamedTuple):
    """Shares (n_clusters, n_voxels) of all voxels, or (n_clusters, place) of those that `table` names for a cluster."""

    shares: Tensor
    table: Tensor | None


class VoxelClusters(SubjectAdapter):
    """What each voxel does and contributes, and a bias of every token."""

    takes_map = False

    def __init__(self, signal_shape: tuple[int, ...], config: Config):
        super().__init__()
        n_values = math.prod(signal_shape)
        self.signal_shape = tuple(signal_shape)
        self.shared_shape = (config.n_clusters, config.dim)
        self.hard = config.assignment == "hard"
        self.places = nn.Parameter(torch.randn(n_values, config.width))
        self.contributions = nn.Parameter(torch.randn(n_values, config.width))
        self.bias = nn.Parameter(torch.zeros(config.n_clusters, config.dim))

    def forward(self, signal: Tensor) -> Tensor:
        """(n_trials, *signal_shape) to (n_trials, n_clusters, dim)."""
        return self._tokens(self.contributions, signal.flatten(1), self._attention()) + self.bias

    def shares(self) -> Tensor:
        """Attention of each cluster over voxels, rows summing to 1: (n_clusters, n_voxels).

        In a hard assignment a cluster attends to its own voxels alone, and one without a voxel to none.
        """
        scores = self.shared.queries @ self.places.T / math.sqrt(self.places.shape[1])
        belongs = self.shared.centres @ self.places.T  # (cluster, voxel)
        if not self.hard:
            return (scores + belongs.log_softmax(0)).softmax(1)
        mine = torch.zeros_like(belongs, dtype=torch.bool).scatter_(0, belongs.argmax(0, keepdim=True), True)
        return scores.masked_fill(~mine, -math.inf).softmax(1).masked_fill(~mine, 0.0)

    def start_from_(self, weight: Tensor, bias: Tensor) -> bool:
        """False: tokens see what their clusters let through; `Clusters` starts all subjects together."""
        return False

    @torch.no_grad()
    def start_from_pairs_(self, signal: Tensor, shared: Tensor, folds: Folds) -> bool:
        """Voxels go to the cluster whose wanted token they go along with; contributions follow by least squares."""
        x, mean = signal.flatten(1), signal.flatten(1).mean(0)
        wanted = shared - shared.mean(0)
        self.places.copy_(self.shared.centres[_goes_along_with(x - mean, wanted)])
        attention = self._attention()
        found = fit_linear(
            lambda values, some: self._tokens(values, some, attention),
            self.contributions.shape,
            x - mean,
            wanted,
            folds,
        )
        self.contributions.copy_(found)
        self.bias.copy_(shared.mean(0) - self._tokens(found, mean[None], attention)[0])
        return True

    def _attention(self) -> Attention:
        """Shares of length 1, so that the token of a cluster of many voxels is as large as that of one with few."""
        shares = normalize(self.shares(), dim=1)
        if not self.hard:
            return Attention(shares, None)
        member = (self.shared.centres @ self.places.T).argmax(0)
        table, is_there = blocks_of(member, len(shares))  # (cluster, place)
        return Attention(shares.gather(1, table) * is_there, table)

    def _tokens(self, contributions: Tensor, flat: Tensor, attention: Attention) -> Tensor:
        """Tokens without their bias: linear in what voxels contribute (n_voxels, width), and in the signal."""
        shares, table = attention
        if table is None:
            weights = torch.einsum("kv,vw->vkw", shares, contributions).flatten(1)
            summed = (flat @ weights).unflatten(1, (len(shares), -1)).transpose(0, 1)
        else:  # each cluster's own voxels alone, in one product of padded blocks
            summed = torch.bmm(flat.T[table].transpose(1, 2), shares.unsqueeze(2) * contributions[table])
        return torch.bmm(summed, self.shared.maps).transpose(0, 1)  # (trial, cluster, dim)


def _contributions(columns: Tensor, shares: Tensor, says: Tensor) -> Tensor:
    """What each voxel contributes so that the clusters that it has most part in say its column of the map.

    Parameters
    ----------
    columns : Tensor, shape (n_voxels, n_rows)
    shares : Tensor, shape (n_voxels, n_clusters)
    says : Tensor, shape (n_clusters, width, n_rows)
        What a contribution to each cluster adds to the rows.

    Returns
    -------
    Tensor, shape (n_voxels, width)
        Least squares, a voxel at a time.
    """
    out = []
    for column, share in zip(columns.split(VOXELS_AT_ONCE), shares.split(VOXELS_AT_ONCE), strict=True):
        most, clusters = share.topk(min(N_NEAR, share.shape[1]), dim=1)
        adds = torch.zeros(len(column), *says.shape[1:]).to(says)  # (voxel, width, row)
        for part, cluster in zip(most.T, clusters.T, strict=True):
            adds += part[:, None, None] * says[cluster]
        gram = adds @ adds.transpose(1, 2)
        trace = gram.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(gram.dtype).tiny)
        penalty = 1e-6 * trace[:, None, None] * torch.eye(gram.shape[1]).to(gram)
        out.append(torch.linalg.solve(gram + penalty, adds @ column.unsqueeze(2)).squeeze(2))
    return torch.cat(out)


def blocks_of(member: Tensor, n_clusters: int) -> tuple[Tensor, Tensor]:
    """Voxels of each cluster, in rows of equal length.

    Parameters
    ----------
    member : int Tensor, shape (n_voxels,)
        Cluster of each voxel.
    n_clusters : int

    Returns
    -------
    int Tensor, shape (n_clusters, largest cluster)
        Voxels, and 0 where a cluster has no more.
    bool Tensor, of that shape
        Where there is a voxel.
    """
    counts = torch.bincount(member, minlength=n_clusters)
    order = member.argsort(stable=True)
    within = torch.arange(len(member), device=member.device) - (counts.cumsum(0) - counts)[member[order]]
    table = member.new_zeros(n_clusters, int(counts.max()))
    table[member[order], within] = order
    return table, torch.arange(table.shape[1], device=member.device) < counts[:, None]


def _goes_along_with(x: Tensor, wanted: Tensor) -> Tensor:
    """The token (of n_tokens, by the mean over dims of its squared correlation) for each voxel: int64 (n_voxels,)."""
    y = normalize(wanted, dim=0).flatten(1)  # (trial, token * dim)
    alike = (normalize(x, dim=0).T @ y).square().unflatten(1, wanted.shape[1:]).mean(2)
    return alike.argmax(1)


def build_shared(signals: Sequence[SubjectSignal], config: Config) -> Clusters:
    """The clusters of all subjects, drawn from torch's global generator (`seeding.seeded`)."""
    return Clusters(config)


def build(signal: SubjectSignal, config: Config) -> VoxelClusters:
    """The adapter of one subject, drawn from torch's global generator (`seeding.seeded`)."""
    return VoxelClusters(signal.shape, config)
