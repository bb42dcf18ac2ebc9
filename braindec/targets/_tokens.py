"""Tokens of a layer, pooled or not: one way of saying it for every kind of network."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from braindec import checks

Pooling = Literal["model", "class", "mean", "patches", "all"]
POOLINGS = get_args(Pooling)


def as_tokens(layer: Tensor) -> Tensor:
    """A feature map (n, channel, row, column) as tokens (n, row * column, channel); tokens as they are."""
    if layer.ndim == 4:
        return layer.flatten(2).transpose(1, 2)
    return checks.n_axes("layer", layer, ("picture", "token", "dim"))


def pooled(tokens: Tensor, n_prefix: int, pooling: str) -> Tensor:
    """Tokens as a target gives them.

    Parameters
    ----------
    tokens : Tensor, shape (n, n_prefix + n_patches, dim)
        The class token first, where there is one.
    n_prefix : int
        Tokens before the patches: the class token, registers.
    pooling : {"class", "mean", "patches", "all"}

    Returns
    -------
    Tensor, shape (n, n_tokens, dim)

    Raises
    ------
    ConfigError
        If the class token is asked of a network that has none.
    """
    checks.one_of("pooling", pooling, ("class", "mean", "patches", "all"))
    if pooling == "class":
        if n_prefix == 0:
            raise checks.ConfigError("pooling='class' needs a network with a class token; use 'mean'.")
        return tokens[:, :1]
    if pooling == "mean":
        return tokens[:, n_prefix:].mean(1, keepdim=True)
    return tokens if pooling == "all" else tokens[:, n_prefix:]


def unit(tokens: Tensor) -> Tensor:
    """Every token divided by its length; a token of zeros stays."""
    return torch.nn.functional.normalize(tokens, dim=-1)
