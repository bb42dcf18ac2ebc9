"""Several autoencoders of the same inputs, drawn towards what they have in common while they are trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.maths.assignment import assign
from braindec.ranks import Ranks
from braindec.sparse import starting
from braindec.sparse.autoencoder import Config as ModelConfig
from braindec.sparse.autoencoder import SparseAutoencoder
from braindec.sparse.fitting import identity, train
from braindec.sparse.matching import cosines
from braindec.sparse.rows import Rows
from braindec.sparse.steps import Config as FitConfig
from braindec.sparse.steps import Fitted, State, Term


@dataclass(frozen=True)
class Config:
    """How autoencoders are drawn together.

    Parameters
    ----------
    weight : float
        Of 1 - (mean cosine of matched atoms), averaged over pairs of autoencoders; 0 trains them apart.
    rise : int
        Steps over which the weight rises along half a cosine.
    match_every : int
        Steps between two pairings. A pairing costs a second at 4,096 latents.
    """

    weight: float = 0.005
    rise: int = 100
    match_every: int = 10

    def __post_init__(self) -> None:
        checks.at_least("weight", self.weight, 0.0)
        checks.at_least("rise", self.rise, 0)
        checks.at_least("match_every", self.match_every, 1)

    def at(self, step: int) -> float:
        """The weight at a step."""
        if step >= self.rise:
            return self.weight
        return self.weight * (1 - math.cos(math.pi * step / self.rise)) / 2


def fit(
    inputs: Any,
    models: Sequence[ModelConfig],
    settings: FitConfig,
    mutual: Config,
    *,
    seed: int,
    folder: Path | None = None,
    progress: bool = True,
    about: str = "",
    stop_at: int | None = None,
) -> list[Fitted]:
    """Autoencoders with mutual feature regularisation: what several find is likelier to be there.

    Parameters
    ----------
    inputs, settings, folder, progress, about, stop_at
        See `fitting.fit`.
    models : sequence of autoencoder.Config
        At least two, of any widths; the authors give the i-th TopK model i times the first one's `n_active`.
    mutual : Config
    seed : int
        Each model begins elsewhere; all see the same samples in the same order.

    Returns
    -------
    list of Fitted
        As many as models. Their logs hold what the term was under ``further``. They were drawn together, so that what
        they share is no evidence of stability: compare with models of another call.

    Notes
    -----
    Marks et al. 2024, arXiv:2411.01220. The pairing is the one-to-one one of largest total cosine and is not
    differentiated.
    """
    checks.at_least("number of models", len(models), 2)
    rows, ranks = Rows(inputs), Ranks.here()
    start = starting.measure(rows, seed)
    device = ranks.device(settings.device)
    states = [
        State(model, settings, rows.n_dims, start, seeding.derive(seed, "mutual", i), device)
        for i, model in enumerate(models)
    ]
    pull = _Pull([state.model for state in states], mutual)
    run = identity(models, settings, rows, seed, f"{about} {mutual} with pairs")
    train(
        states, rows, settings, ranks, seed=seed, run=run, folder=folder, progress=progress, stop_at=stop_at,
        further=pull, remembered=pull.remembered(),
    )  # fmt: skip
    return [state.fitted() for state in states]


class _Pull:
    """A term for each model: how far its atoms are from their partners in all others, as these began the step."""

    def __init__(self, models: Sequence[SparseAutoencoder], config: Config):
        self._models, self._config = models, config
        self._pairs = {  # rows of either, (2, n_pairs)
            (i, j): torch.zeros(2, min(a.n_latents, b.n_latents), dtype=torch.int64, device=a.atoms.device)
            for i, a in enumerate(models)
            for j, b in enumerate(models[:i])
        }

    def remembered(self) -> dict[str, Tensor]:
        """The pairs, by name: between two pairings a run that goes on has those it would have had."""
        return {f"pairs.{i}.{j}": pair for (i, j), pair in self._pairs.items()}

    def __call__(self, step: int) -> list[Term]:
        atoms = [model.atoms.detach().clone() for model in self._models]
        if step % self._config.match_every == 0:
            for (i, j), pair in self._pairs.items():
                pair.copy_(torch.stack(assign(cosines(atoms[i], atoms[j]))))
        weight = self._config.at(step) / (len(atoms) * (len(atoms) - 1) / 2)

        def term(i: int) -> Term:
            return lambda model: weight * self._distance(i, model.atoms, atoms)

        return [term(i) for i in range(len(atoms))]

    def _distance(self, i: int, own: Tensor, atoms: Sequence[Tensor]) -> Tensor:
        parts = []
        for j, other in enumerate(atoms):
            if j != i:
                mine, theirs = self._pairs[i, j] if j < i else self._pairs[j, i].flip(0)
                parts.append(1 - torch.cosine_similarity(own[mine], other[theirs], dim=1).mean())
        return torch.stack(parts).sum()
