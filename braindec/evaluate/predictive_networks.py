"""Small networks that learn what places of a maze are worth, with and without an auxiliary aim of foretelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from braindec import checks, seeding

STEPS = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])  # up, down, left, right


@dataclass(frozen=True, eq=False)
class Maze:
    """Places and what joins them.

    Parameters
    ----------
    places : int array, shape (n_states, 2)
        Row and column.
    following : int array, shape (n_states, 4)
        The state after each action; itself where a wall is in the way.
    goal : int
        The state that is rewarded, where everything ends.
    """

    places: np.ndarray
    following: np.ndarray
    goal: int

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.places)

    def distances(self) -> np.ndarray:
        """Steps of the shortest way between states, (n_states, n_states)."""
        from scipy.sparse.csgraph import shortest_path

        joined = np.zeros((self.n_states, self.n_states))
        joined[np.arange(self.n_states)[:, None], self.following] = 1
        np.fill_diagonal(joined, 0)
        return shortest_path(joined, unweighted=True, directed=False)

    def successors(self, discount: float) -> np.ndarray:
        """Share of what is met later by who walks at random, (n_states, n_states); rows sum to 1.

        Notes
        -----
        The successor representation without the present: (1 - g) P (1 - g P)^-1; Dayan 1993,
        doi:10.1162/neco.1993.5.4.613.
        """
        walk = np.zeros((self.n_states, self.n_states))
        for action in range(4):
            walk[np.arange(self.n_states), self.following[:, action]] += 0.25
        return (1 - discount) * walk @ np.linalg.inv(np.eye(self.n_states) - discount * walk)

    def values(self, discount: float) -> np.ndarray:
        """What each action is worth to who then takes the best ones, (n_states, 4); reaching the goal is worth 1."""
        found = np.zeros((self.n_states, 4))
        reached = self.following == self.goal
        for _ in range(4 * self.n_states):
            later = np.where(reached, 0.0, found.max(1)[self.following])
            found = reached + discount * later
        return found


def two_rooms(side: int = 6) -> Maze:
    """A square of two rooms joined by a door at one end of the wall between them; the goal is far behind the wall.

    Parameters
    ----------
    side : int
        Even, >= 4: states next to each other across the wall are near in space and far in steps.
    """
    checks.at_least("side", side, 4)
    if side % 2:
        raise ValueError(f"side must be even, for two equal rooms; got {side}.")
    places = np.stack(np.divmod(np.arange(side * side), side), 1)
    moved = places[:, None] + STEPS
    inside = ((moved >= 0) & (moved < side)).all(-1)
    wall = {side // 2 - 1, side // 2}
    columns = np.stack([np.repeat(places[:, None, 1], 4, 1), moved[..., 1]], -1)
    crosses = (np.sort(columns, -1) == sorted(wall)).all(-1) & (places[:, None, 0] != side - 1)
    following = np.where(inside & ~crosses, moved[..., 0] * side + moved[..., 1], np.arange(side**2)[:, None])
    return Maze(places, following, side - 1)


@dataclass(frozen=True)
class Settings:
    """The networks and how they learn.

    Parameters
    ----------
    n_inputs, n_hidden, n_latents : int
        What a state looks like (drawn at random), and units of both layers; the second is the representation.
    gain : float
        Of the first weights, over one by the square root of inputs: small ones leave more to be learned.
    strength : float
        Weight of the auxiliary aim.
    discount : float
        Of values; `horizon` of what is foretold, both in [0, 1).
    horizon : float
    noise : float
        SD of what comes to each unit of input at each step.
    checkpoints : tuple of int
        Steps of Adam after which states are looked at, ascending; the first is usually 0.
    lr : float
    """

    n_inputs: int = 40
    n_hidden: int = 48
    n_latents: int = 24
    gain: float = 0.5
    strength: float = 1.0
    discount: float = 0.9
    horizon: float = 0.7
    noise: float = 0.3
    checkpoints: tuple[int, ...] = (0, 10, 30, 100, 400)
    lr: float = 3e-3

    def __post_init__(self) -> None:
        checks.in_range("discount", self.discount, 0.0, 0.999)
        checks.in_range("horizon", self.horizon, 0.0, 0.999)
        checks.at_least("number of checkpoints", len(self.checkpoints), 2)
        if list(self.checkpoints) != sorted(set(self.checkpoints)):
            raise ValueError(f"checkpoints must ascend, got {self.checkpoints}.")


SETTINGS = Settings()


class Learners(nn.Module):
    """Many networks of one shape side by side: two layers, values of actions, and what each state foretells.

    Parameters
    ----------
    seeds : sequence of int
        Of each network's first weights.
    settings : Settings
    """

    def __init__(self, seeds: Sequence[int], settings: Settings = SETTINGS) -> None:
        super().__init__()
        sizes = {
            "first": (settings.n_inputs, settings.n_hidden),
            "second": (settings.n_hidden, settings.n_latents),
            "worth": (settings.n_latents, 4),
            "foretold": (settings.n_latents, settings.n_latents),
        }
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for name, (a, b) in sizes.items():
            drawn = [
                torch.randn(a, b, generator=seeding.torch_generator(seed, "learner", name)) for seed in seeds
            ]
            self.weights[name] = nn.Parameter(settings.gain * torch.stack(drawn) / a**0.5)
            self.biases[name] = nn.Parameter(torch.zeros(len(seeds), 1, b))

    def latents(self, looks: Tensor) -> Tensor:
        """Representation (network, state, latent) of what states look like, (network, state, input)."""
        return torch.tanh(self._layer("second", torch.tanh(self._layer("first", looks))))

    def worths(self, latents: Tensor) -> Tensor:
        """Value of each action, (network, state, 4)."""
        return self._layer("worth", latents)

    def later(self, latents: Tensor) -> Tensor:
        """Logits of which state is met later, (network, state, state)."""
        return self._layer("foretold", latents) @ latents.mT

    def _layer(self, name: str, x: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[name], x, self.weights[name])


@dataclass(frozen=True, eq=False)
class Learned:
    """Networks as they learned.

    Parameters
    ----------
    latents : float array, shape (n_networks, n_checkpoints, n_states, n_latents)
    greedy : float array, shape (n_networks, n_checkpoints)
        Share of states in which the action of highest value is a best one.
    """

    latents: np.ndarray
    greedy: np.ndarray


def learn(maze: Maze, seeds: Sequence[int], predictive: Sequence[bool], settings: Settings = SETTINGS, *,
          looks_seed: int = 0) -> Learned:  # fmt: skip
    """Networks that learn values of actions in a maze, some of them with the auxiliary aim.

    Parameters
    ----------
    maze : Maze
    seeds : sequence of int
        Of each network.
    predictive : sequence of bool
        Which networks also foretell: the states met later in a random walk, told from all others by the
        representation itself.
    settings : Settings
    looks_seed : int
        Of what states look like, the same to all networks: no state looks like its neighbours.

    Notes
    -----
    After Fang & Stachenfeld 2023, arXiv:2310.06089: their agents see pictures and learn by trial and error; here values
    are told. Their negative samples, which keep predicted latents from collapsing, are all other states here.
    """
    n = checks.same_length("network", seeds=seeds, predictive=predictive)
    draw = seeding.torch_generator(looks_seed, "looks")
    looks = torch.randn(maze.n_states, settings.n_inputs, generator=draw)
    worth = torch.from_numpy(maze.values(settings.discount)).float()
    best = worth >= worth.max(1, keepdim=True).values - 1e-6
    later = torch.from_numpy(maze.successors(settings.horizon)).float()
    weight = settings.strength * torch.tensor(list(predictive)).float()
    model = Learners(seeds, settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    noise = seeding.torch_generator(looks_seed, "noise of looks")
    latents, greedy = [], []
    for step in range(settings.checkpoints[-1] + 1):
        if step in settings.checkpoints:
            with torch.no_grad():
                now = model.latents(looks.expand(n, -1, -1))
                chosen = model.worths(now).argmax(-1)
                right = best.expand(n, -1, -1).gather(-1, chosen[..., None])[..., 0]
                kept = torch.arange(maze.n_states) != maze.goal
            latents.append(now.numpy())
            greedy.append(right[:, kept].float().mean(1).numpy())
        seen = looks + settings.noise * torch.randn(n, *looks.shape, generator=noise)
        found = model.latents(seen)
        task = (model.worths(found) - worth).square().mean((1, 2)) / worth.var()
        aside = -(later * model.later(found).log_softmax(-1)).sum(-1).mean(1)
        loss = (task + weight * aside).sum()  # networks share nothing: the sum trains each by its own loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return Learned(np.stack(latents, 1), np.stack(greedy, 1))
