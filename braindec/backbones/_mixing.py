"""MLP mixers: what a trial's tokens tell each other, as MindEye2 wrote it and as it was meant."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.maths.dense import Dense

WIDEN = 2  # hidden values of a block over its input; MLP-Mixer's lie between 0.5 and 4 (arXiv:2105.01601, table 1)


class Block(nn.Module):
    """Norm, a hidden layer with GELU and dropout, and a way back, over the last axis; it begins as zero.

    From zero, a stack of residual blocks begins as the identity, and a closed-form solution behind it holds exactly.
    """

    def __init__(self, n: int, hidden: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(n)
        self.inner = Dense(n, hidden)
        self.dropout = nn.Dropout(dropout)
        self.outer = Dense(hidden, n)
        for parameter in self.outer.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., n)."""
        return self.after_norm(self.norm(x))

    def after_norm(self, x: Tensor) -> Tensor:
        """What the block makes of values that are normed already, (..., n) to (..., n)."""
        return self.outer(self.dropout(nn.functional.gelu(self.inner(x))))


class PublishedMixing(nn.Module):
    """MindEye2's blocks, with a residual stream for each kind: one over dims, the other over tokens.

    The stream over tokens begins as the input and skips the blocks over dims, so that these reach the result only
    through the norm of the blocks over tokens. With one token that norm returns its bias whatever it is given: the
    blocks over dims are dead, and the result is the input plus a constant. They are kept, and not computed.

    Parameters
    ----------
    n_tokens, n_dims : int
    n_blocks : int
        Pairs of blocks.
    dropout : float
    """

    def __init__(self, n_tokens: int, n_dims: int, n_blocks: int, dropout: float):
        super().__init__()
        self.n_tokens = n_tokens
        self.dims = nn.ModuleList([Block(n_dims, n_dims, dropout) for _ in range(n_blocks)])
        self.tokens = nn.ModuleList([Block(n_tokens, n_tokens, dropout) for _ in range(n_blocks)])

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_tokens, n_dims), the same shape out."""
        if self.n_tokens == 1:
            return x + self._constant(x)
        over_dims, over_tokens = x, x.transpose(1, 2)
        for dims, tokens in zip(self.dims, self.tokens, strict=True):
            over_dims = dims(over_tokens.transpose(1, 2)) + over_dims
            over_tokens = tokens(over_dims.transpose(1, 2)) + over_tokens
            # The next block over dims reads what the block over tokens made, and adds what was before it.
        return over_tokens.transpose(1, 2)

    def shift(self) -> Tensor:
        """What a single token gains on its way through, whatever it holds, without dropout; (1,), () without blocks."""
        gains = (block.after_norm(block.norm.bias) for block in map(_as_block, self.tokens))
        return sum(gains, torch.zeros(()))  # a scalar of the CPU goes with any device

    def inert(self) -> set[str]:
        """Names of the parameters that reach nothing."""
        if self.n_tokens > 1:
            return set()
        gains = {f"tokens.{i}.norm.weight" for i in range(len(self.tokens))}
        return gains | {f"dims.{name}" for name, _ in self.dims.named_parameters()}

    def _constant(self, x: Tensor) -> Tensor:
        """Broadcasts to x; in training a hidden value is dropped for each dim of each trial, as published."""
        if not self.training:
            return self.shift()
        total = torch.zeros_like(x)
        for block in map(_as_block, self.tokens):
            normed = block.norm.bias.expand(len(x), x.shape[2], 1)
            total = total + block.after_norm(normed).transpose(1, 2)
        return total


class FixedMixing(nn.Module):
    """One residual stream through blocks over tokens and blocks over dims: Tolstikhin et al. 2021, arXiv:2105.01601.

    Every norm is over a token's dims, also before tokens are mixed.
    """

    def __init__(self, n_tokens: int, n_dims: int, n_blocks: int, dropout: float):
        super().__init__()
        self.tokens = nn.ModuleList([TokenBlock(n_tokens, n_dims, dropout) for _ in range(n_blocks)])
        self.dims = nn.ModuleList([Block(n_dims, WIDEN * n_dims, dropout) for _ in range(n_blocks)])

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_tokens, n_dims), the same shape out."""
        for tokens, dims in zip(self.tokens, self.dims, strict=True):
            x = x + tokens(x)
            x = x + dims(x)
        return x


class TokenBlock(nn.Module):
    """A norm over dims, then a hidden layer over tokens that every dim shares; it begins as zero."""

    def __init__(self, n_tokens: int, n_dims: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(n_dims)
        self.inner = Dense(n_tokens, WIDEN * n_tokens)
        self.dropout = nn.Dropout(dropout)
        self.outer = Dense(WIDEN * n_tokens, n_tokens)
        for parameter in self.outer.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(n_trials, n_tokens, n_dims), the same shape out."""
        hidden = nn.functional.gelu(self.inner(self.norm(x).transpose(1, 2)))  # (trial, dim, hidden)
        return self.outer(self.dropout(hidden)).transpose(1, 2)


def _as_block(module: nn.Module) -> Block:
    return checks.of_type("block", module, Block)
