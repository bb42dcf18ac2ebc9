"""Voxels in context: a small transformer reads examples of a voxel's responses and gives its encoding weights at once.

It is trained on voxels of other people, each step with other examples of another voxel, and met with a new person's
voxels as it is: nothing is fitted to them. Every block compares the weights so far with the examples, so that one block
can be a step of preconditioned gradient descent, and several can be ridge with a prior that other people taught.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindec import checks, seeding
from braindec.encoding.model import VoxelwiseEncoding
from braindec.maths.correlation import is_constant
from braindec.maths.tensors import Array, as_tensor

AT_ONCE = 2**22  # values of tokens that are held together when many voxels are read


@dataclass(frozen=True)
class Config:
    """The transformer, and how it is trained.

    Parameters
    ----------
    width : int
        Of a token; a multiple of `n_heads`.
    n_blocks, n_heads : int
    n_steps : int
    batch_size : int
        Voxels a step, all of one subject.
    examples : tuple of int
        Fewest and most examples that a voxel is shown in training.
    n_queries : int
        Further stimuli whose responses are then to be predicted.
    lr : float
        Of AdamW at the start; falls to 0 as a cosine.
    weight_decay : float
    """

    width: int = 32
    n_blocks: int = 3
    n_heads: int = 4
    n_steps: int = 600
    batch_size: int = 64
    examples: tuple[int, int] = (5, 100)
    n_queries: int = 30
    lr: float = 3e-3
    weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        checks.at_least("n_blocks", self.n_blocks, 1)
        checks.at_least("n_steps", self.n_steps, 1)
        checks.at_least("fewest examples", self.examples[0], 2)
        checks.at_least("most examples", self.examples[1], self.examples[0])
        if self.width % self.n_heads:
            raise checks.ConfigError(f"width {self.width} must be a multiple of n_heads {self.n_heads}.")


CONFIG = Config()


class Voxels(NamedTuple):
    """Stimuli's features (n, n_features) and the responses of one subject's voxels to them (n, n_voxels)."""

    features: Tensor
    responses: Tensor


class InContext(nn.Module):
    """From examples of voxels to their weights.

    Parameters
    ----------
    n_features : int
    config : Config
    seed : int
        Draws the weights that it starts from.

    Notes
    -----
    After Yu et al. 2025 (BraInCoRL), arXiv:2505.15813: tokens of (embedding, response), attention whose temperature
    follows the logarithm of their number, weights of a linear model as output. That every block sees its error, and
    that weights are sums over examples, is ours: a transformer this small does not find them in few steps.
    """

    unit: Tensor  # of each feature: its spread over the teachers' stimuli

    def __init__(self, n_features: int, config: Config = CONFIG, seed: int = 0) -> None:
        super().__init__()
        self.config, self.n_features = config, n_features
        with seeding.seeded(seed, "in context"):
            self.read = nn.Linear(2 * n_features + 1, config.width)
            self.blocks = nn.ModuleList(
                _Block(config.width, config.n_heads, n_features) for _ in range(config.n_blocks)
            )
        self.mean = nn.Parameter(torch.zeros(n_features))  # weights of a voxel of which nothing is known
        self.register_buffer("unit", torch.ones(n_features))

    def forward(self, features: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and intercepts of voxels from examples.

        Parameters
        ----------
        features : Tensor, shape (n_voxels, n_examples, n_features)
            Of the stimuli that each voxel was shown, at best uncorrelated.
        responses : Tensor, shape (n_voxels, n_examples)

        Returns
        -------
        weights : Tensor, shape (n_voxels, n_features)
        intercept : Tensor, shape (n_voxels,)
            They follow the scale and the mean of a voxel's responses exactly, and no order of the examples.
        """
        checks.n_axes("features", features, ("voxel", "example", "feature"))
        middle, level = features.mean(1, keepdim=True), responses.mean(1, keepdim=True)
        x, y = (features - middle) / self.unit, responses - level
        norm = y.norm(dim=1, keepdim=True)
        flat = is_constant(responses, norm, 1)
        scale = (norm / y.shape[1] ** 0.5).masked_fill(flat, 0.0)
        y = torch.where(flat, torch.zeros_like(y), y / scale.masked_fill(flat, 1.0))
        tokens = self.read(torch.cat([x, x * y[..., None], y[..., None]], -1))
        weights = self.mean.expand(len(x), -1)
        for block in self.blocks:
            tokens, weights = block(tokens, x, y, weights)
        weights = weights / self.unit * scale
        return weights, level[:, 0] - (weights * middle[:, 0]).sum(1)


class _Block(nn.Module):
    """Tokens attend to each other; their sum, with the error of the weights so far, moves the weights."""

    def __init__(self, width: int, n_heads: int, n_features: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.error = nn.Linear(1, width, bias=False)
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.sharpness = nn.Parameter(torch.tensor(0.2))  # of attention, times the logarithm of the examples
        self.part = nn.Linear(width, 1)
        self.rate = nn.Parameter(torch.tensor(0.5))
        self.prior = nn.Parameter(torch.eye(n_features))
        nn.init.zeros_(self.part.weight)
        nn.init.zeros_(self.part.bias)

    def forward(self, tokens: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        n = x.shape[1]
        error = y - (x @ weights[..., None])[..., 0]
        tokens = tokens + self.error(error[..., None])
        tokens = tokens + self._attended(self.before(tokens), n)
        tokens = tokens + self.think(self.after(tokens))
        part = self.rate * error + self.part(tokens)[..., 0]
        # Divided by examples and features: a step that is small enough however few examples there are.
        step = (part[..., None] * x).sum(1) / (n + x.shape[2])
        return tokens, weights + step @ self.prior

    def _attended(self, tokens: Tensor, n: int) -> Tensor:
        b, _, width = tokens.shape
        q, k, v = self.attend(tokens).reshape(b, n, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q * (self.sharpness * math.log(n)), k, v)
        return self.join(found.transpose(1, 2).reshape(b, n, width))


def meta_train(subjects: Sequence[Voxels], config: Config = CONFIG, seed: int = 0) -> InContext:
    """A transformer that has met voxels of these subjects, some examples of each at a time.

    Parameters
    ----------
    subjects : sequence of Voxels
        Features of all in one space. Stimuli need not be shared.
    config : Config
        Where a subject has fewer stimuli than examples and queries, as many examples are shown as leave the queries.
    seed : int

    Returns
    -------
    InContext
        In evaluation mode.

    Raises
    ------
    ValueError
        If a subject has too few stimuli for the fewest examples and the queries.
    """
    checks.at_least("number of subjects", len(subjects), 1)
    for one in subjects:
        n = checks.same_length("stimulus", features=one.features, responses=one.responses)
        checks.at_least("stimuli of a subject", n, config.examples[0] + config.n_queries)
    model = InContext(subjects[0].features.shape[1], config, seed).train()
    model.unit.copy_(_spread(torch.cat([one.features for one in subjects])))
    generator = seeding.torch_generator(seed, "voxels in context")
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.n_steps)
    spread = [_spread(one.responses) for one in subjects]
    for _ in range(config.n_steps):
        number = int(torch.randint(len(subjects), (), generator=generator))
        x, y, queries, truth = _episode(subjects[number], spread[number], config, generator)
        weights, intercept = model(x, y)
        loss = (_predicted(queries, weights, intercept) - truth).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.inference_mode()
def in_context(model: InContext, features: Array, responses: Array) -> VoxelwiseEncoding:
    """Encoding models of a new subject's voxels from few examples; nothing is fitted.

    Parameters
    ----------
    model : InContext
    features : Tensor or array, shape (n_examples, n_features)
    responses : Tensor or array, shape (n_examples, n_voxels)

    Returns
    -------
    VoxelwiseEncoding
        Without penalty and cross-validated score (NaN): neither was chosen.
    """
    features, responses = as_tensor("features", features), as_tensor("responses", responses)
    n = checks.same_length("stimulus", features=features, responses=responses)
    checks.at_least("number of examples", n, 2)
    checks.finite("responses", responses)
    at_once, features = max(1, AT_ONCE // (n * model.config.width)), features.float()
    parts = [
        model(features.expand(part.shape[1], -1, -1), part.T) for part in responses.float().split(at_once, 1)
    ]
    weights, intercept = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    none, about = torch.full_like(intercept, torch.nan), {"fit": "in_context"}
    return VoxelwiseEncoding(weights.T.contiguous(), intercept, none, none.clone(), "r2", n, about=about)


def _spread(values: Tensor) -> Tensor:
    """Standard deviation of each column, in whatever unit; 1 for one that does not vary."""
    centred = values - values.mean(0)
    norm = centred.norm(dim=0, keepdim=True)
    return (norm / (len(values) - 1) ** 0.5).masked_fill(is_constant(values, norm, 0), 1.0)[0]


def _episode(
    subject: Voxels, spread: Tensor, config: Config, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Examples and queries of some voxels, each voxel with stimuli of its own."""
    n, n_voxels = subject.responses.shape
    low, high = config.examples[0], min(config.examples[1], n - config.n_queries)
    size = int(torch.randint(low, high + 1, (), generator=generator))
    voxels = torch.randint(n_voxels, (config.batch_size,), generator=generator)
    order = torch.rand(config.batch_size, n, generator=generator).argsort(1)[:, : size + config.n_queries]
    x = subject.features[order]
    y = subject.responses[order, voxels[:, None]] / spread[voxels][:, None]
    return x[:, :size], y[:, :size], x[:, size:], y[:, size:]


def _predicted(queries: Tensor, weights: Tensor, intercept: Tensor) -> Tensor:
    return (queries @ weights[..., None])[..., 0] + intercept[:, None]
