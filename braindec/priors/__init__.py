"""Priors: brain embedding -> a sample of the image embeddings that fit it.

A member `braindec/priors/<name>.py` defines a frozen dataclass `Config` and `build(shape, config) -> Prior`,
where `shape` is (n_tokens, n_dims).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from braindec import checks


class Prior(nn.Module, ABC):
    """From a predicted embedding (the condition) to the image embedding a generator understands.

    A prior is either solved at once (`closed_form`: all it learns, it learns in `start_`) or trained by gradient on
    `objective` after `start_`.
    """

    closed_form: ClassVar[bool]

    @abstractmethod
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor) -> None:
        """Takes what it needs of the whole training set: scales (all priors), the solution (closed form).

        Both (n_trials, n_tokens, n_dims).
        """

    @abstractmethod
    def objective(
        self, brain_embedding: Tensor, image_embedding: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The training loss of one batch, scalar; zero for a closed-form prior."""

    @abstractmethod
    def sample(
        self,
        brain_embedding: Tensor,
        *,
        generator: torch.Generator,
        n_steps: int | None = None,
        n_samples: int = 1,
    ) -> Tensor:
        """Image embeddings that fit; equal generators give equal samples.

        Parameters
        ----------
        brain_embedding : Tensor, shape (n_trials, n_tokens, n_dims)
        generator : torch.Generator
        n_steps : int or None
            Denoising steps; None takes the settings'. A closed-form prior has none.
        n_samples : int

        Returns
        -------
        Tensor, shape (n_samples, n_trials, n_tokens, n_dims)
        """

    @abstractmethod
    def unconditional(
        self, n_trials: int, *, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """(n_trials, n_tokens, n_dims) that the prior holds likely without any brain: the control for `sample`.

        A prior without a distribution of its own gives the mean of its training images.
        """


def check_pairs(brain_embedding: Tensor, image_embedding: Tensor, shape: tuple[int, int]) -> None:
    """Refuses embeddings that are not pairs of this shape."""
    checks.same_length("trial", brain_embedding=brain_embedding, image_embedding=image_embedding)
    for name, values in (("brain_embedding", brain_embedding), ("image_embedding", image_embedding)):
        check_shape(name, values, shape)


def check_shape(name: str, values: Tensor, shape: tuple[int, int]) -> None:
    """Refuses embeddings (n_trials, n_tokens, n_dims) of another shape than the prior was built for."""
    checks.n_axes(name, values, ("trial", "token", "dim"))
    if tuple(values.shape[1:]) != tuple(shape):
        raise ValueError(
            f"{name} has items of shape {tuple(values.shape[1:])}, this prior was built for {shape}."
        )


def check_started(n_pairs: Tensor) -> None:
    """Refuses a prior that has seen no training set; `n_pairs` is its count of training pairs."""
    if int(n_pairs) == 0:
        raise ValueError(
            "this prior knows no training set yet; call start_(brain_embedding, image_embedding) first."
        )
