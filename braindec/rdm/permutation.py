"""What models score when their conditions are exchanged: the null of no relation between geometry and model."""

from __future__ import annotations

import torch
from torch import Tensor

from braindec import checks
from braindec.maths.tensors import Array, as_tensor
from braindec.rdm import pairs
from braindec.rdm.comparators import compare, named


def permutation_null(
    data: Array, models: Array, comparator: str, n_permutations: int, generator: torch.Generator
) -> Tensor:
    """Mean scores over the given sets of distances with the conditions of the data in random order.

    Parameters
    ----------
    data : Tensor or array, shape (..., subject, pair)
        All subjects of a permutation are reordered alike; leading axes (time) too.
    models : Tensor or array, shape (model, pair)
    comparator : str
    n_permutations : int
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (permutation, ..., model)
        float64.

    Notes
    -----
    Comparisons that are inner products, ranks among them (reordering changes no rank), are permuted after averaging
    over subjects, so that their number costs nothing.
    """
    chosen = named(comparator)
    data, models = as_tensor("data", data), as_tensor("models", models)
    checks.at_least("n_permutations", n_permutations, 1)
    n = pairs.n_conditions(data.shape[-1])
    orders = [
        torch.randperm(n, generator=generator, device=generator.device).to(data.device)
        for _ in range(n_permutations)
    ]
    if chosen.prepare is None:
        squares = pairs.square(data)
        return torch.stack(
            [
                compare(pairs.condensed(squares[..., o, :][..., o]), models, comparator).mean(-2)
                for o in orders
            ]
        )
    left = _as_squares(chosen.prepare(data.double()).mean(-2), data.shape[-1])
    right = _as_squares(chosen.prepare(models.double()), data.shape[-1]).flatten(1)
    # Off the diagonal of a square every pair stands twice; whitened vectors are whole squares already.
    factor = 0.5 if chosen.name not in ("whitened_cosine", "whitened_correlation") else 1.0
    return (
        torch.stack([left.index_select(-2, o).index_select(-1, o).flatten(-2) @ right.T for o in orders])
        * factor
    )


def _as_squares(prepared: Tensor, n_pairs: int) -> Tensor:
    if prepared.shape[-1] == n_pairs:
        return pairs.square(prepared)
    n = pairs.n_conditions(n_pairs)
    return prepared.reshape(*prepared.shape[:-1], n, n)
