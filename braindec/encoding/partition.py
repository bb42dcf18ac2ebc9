"""Variance partitioning: what each feature space explains alone, and what it shares with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from braindec import checks
from braindec.encoding import judging
from braindec.encoding.voxelwise import ALPHAS, fit
from braindec.maths import ridge
from braindec.maths.folds import Folds
from braindec.maths.tensors import Array, as_tensors

MOST_SPACES = 4  # 15 models and 15 parts; more cannot be told apart by a reader, nor by most data

Subset = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class VariancePartition:
    """R^2 of held-out responses, divided among feature spaces.

    Parameters
    ----------
    names : tuple of str
    r2 : mapping of tuple of str to Tensor, shape (n_voxels,)
        Of the model with these spaces, for every non-empty set.
    n : int
        Test rows.
    """

    names: tuple[str, ...]
    r2: Mapping[Subset, Tensor]
    n: int

    def part(self, *names: str) -> Tensor:
        """What exactly these spaces share, and no other explains (n_voxels,); never clipped.

        It is negative where a space only adds noise, or where spaces predict better together than the sum of their
        parts (suppression): both are findings.
        """
        chosen = self._ordered(names)
        rest = [n for n in self.names if n not in chosen]
        total = torch.zeros_like(self.r2[self.names])
        for size in range(len(chosen) + 1):
            for some in combinations(chosen, size):
                with_rest = self._ordered([*rest, *some])
                if with_rest:
                    total = total + (-1) ** (size + 1) * self.r2[with_rest]
        return total

    def unique(self, name: str) -> Tensor:
        """R^2 of all spaces minus R^2 without this one (n_voxels,)."""
        return self.part(name)

    def parts(self) -> dict[Subset, Tensor]:
        """Every part; they sum to the R^2 of all spaces together."""
        return {key: self.part(*key) for key in subsets(self.names)}

    def _ordered(self, names: Sequence[str]) -> Subset:
        for name in names:
            checks.one_of("feature space", name, self.names)
        return tuple(n for n in self.names if n in names)


def subsets(names: Sequence[str]) -> list[Subset]:
    """All non-empty subsets, small ones first."""
    return [some for size in range(1, len(names) + 1) for some in combinations(names, size)]


def partition_variance(
    train: Mapping[str, Array],
    responses: Array,
    test: Mapping[str, Array],
    test_responses: Array,
    *,
    alphas: ridge.Alphas = ALPHAS,
    folds: Folds | int = 5,
    score: str = "r2",
) -> VariancePartition:
    """Fits a ridge for every set of feature spaces and scores it on held-out rows.

    Parameters
    ----------
    train, test : mapping of str to Tensor or array, shape (n_samples, n_features of the space)
        The same 2 to 4 spaces, standardised with the training rows' statistics.
    responses, test_responses : Tensor or array, shape (n_samples, n_voxels)
    alphas, folds, score
        As in `encoding.fit`.

    Notes
    -----
    Borcard et al. 1992, doi:10.2307/1940179; de Heer et al. 2017, doi:10.1523/JNEUROSCI.3267-16.2017.
    """
    names = tuple(train)
    fitted, tested = as_tensors("train", train), as_tensors("test", test)
    checks.in_range("number of feature spaces", len(names), 2, MOST_SPACES)
    found: dict[Subset, Tensor] = {}
    for key in subsets(names):
        model = fit(
            torch.cat([fitted[n] for n in key], 1), responses, alphas=alphas, folds=folds, score=score
        )
        made = model.predict(torch.cat([checks.known_key("feature space", n, tested) for n in key], 1))
        found[key] = judging.r2(made, test_responses)
    return VariancePartition(names, found, len(test_responses))
