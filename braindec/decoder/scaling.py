"""The affine map between a target's own space and the centred, unit-scale space that models are trained in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braindec import checks
from braindec.decoder.rows import Rows, parts
from braindec.losses import Loss, Mix


class TargetScaler(nn.Module):
    """Mean and scale of the training stimuli's embeddings.

    Attributes
    ----------
    mean : Tensor, shape (n_tokens, n_dims)
    scale : Tensor, shape ()
        Root mean square of the centred embeddings, so that centred values have variance about one.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, int]):
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(()))

    def fit_(self, embeddings: Rows) -> None:
        """Takes mean and scale of (n_stimuli, n_tokens, n_dims), read in parts; every stimulus counts once.

        Raises
        ------
        ValueError
            If all stimuli have the same embedding.
        """
        checks.n_axes("embeddings", torch.empty((0,) * len(embeddings.shape)), ("stimulus", "token", "dim"))
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        for rows in parts(embeddings):
            total += embeddings[rows].sum(0)
        self.mean.copy_(total / len(embeddings))
        squares = torch.zeros((), dtype=torch.float64)
        first, alike = embeddings[:1], True
        for rows in parts(embeddings):
            alike = alike and bool((embeddings[rows] == first).all())
            squares += (embeddings[rows] - self.mean).square().sum()
        if alike and len(embeddings) > 1:
            raise ValueError(
                f"embeddings of all {len(embeddings)} training stimuli are equal, expected one that differs from "
                "stimulus to stimulus: nothing could be told apart. Look at what was embedded, and at the order of ids."
            )
        squares /= len(embeddings) * self.mean.numel()
        self.scale.copy_(squares.float().sqrt().clamp_min(1e-8))

    def centre(self, embeddings: Tensor) -> Tensor:
        """Own space to centred space."""
        return (embeddings - self.mean) / self.scale

    def restore(self, centred: Tensor) -> Tensor:
        """Centred space to own space."""
        return centred * self.scale + self.mean


class InOwnSpace(Loss):
    """A loss that is told centred targets and hands them on as they were before centring."""

    own_space = False

    def __init__(self, loss: Loss, scaler: TargetScaler):
        super().__init__()
        self.loss = loss
        self.scaler = scaler

    def draw_mix(self, n_trials: int, progress: float, generator: torch.Generator) -> Mix | None:
        """The loss' own."""
        return self.loss.draw_mix(n_trials, progress, generator)

    def forward(
        self, prediction: Tensor, target: Tensor, ids: Tensor, progress: float, mix: Mix | None
    ) -> Tensor:
        """The scalar loss; see `Loss.forward`."""
        return self.loss(prediction, self.scaler.restore(target), ids, progress, mix)
