"""Priors: brain embedding -> a sample of the image embeddings that fit it.

A member `braindec/priors/<name>.py` defines a frozen dataclass `Config` and `build(shape, config, told=None) -> Prior`,
where `shape` is (n_tokens, n_dims) and `told` the shapes of further outputs that it is told, by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from braindec.priors._conditions import Conditions, Shapes, Told, check_pairs, check_shape, check_started

__all__ = ["Conditions", "Prior", "Shapes", "Told", "check_pairs", "check_shape", "check_started"]


class Prior(nn.Module, ABC):
    """From a predicted embedding (the condition) to the image embedding a generator understands.

    A prior is either solved at once (`closed_form`: all it learns, it learns in `start_`) or trained by gradient on
    `objective` after `start_`, and may then have its `spread` set by `calibrate_`. What it is told beside the brain
    embedding (`told`) is named when it is built, and from then on neither more nor less is taken.
    """

    closed_form: ClassVar[bool]
    forgets: str = (
        ""  # why samples do not depend on the spread of the noise that they begin with; empty: they do
    )

    @abstractmethod
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor, told: Told | None = None) -> None:
        """Takes what it needs of the whole training set: scales (all priors), the solution (closed form).

        All (n_trials, n_tokens, n_dims); `told` has tokens and dims of its own for each output.
        """

    @abstractmethod
    def objective(
        self,
        brain_embedding: Tensor,
        image_embedding: Tensor,
        generator: torch.Generator,
        told: Told | None = None,
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
        told: Told | None = None,
        spread: Tensor | None = None,
    ) -> Tensor:
        """Image embeddings that fit; equal generators give equal samples.

        Parameters
        ----------
        brain_embedding : Tensor, shape (n_trials, n_tokens, n_dims)
        generator : torch.Generator
            On any device: numbers are drawn there and moved, so that a generator on the CPU gives every device the
            same noise.
        n_steps : int or None
            Denoising steps; None takes the settings'. A closed-form prior has none.
        n_samples : int
        told : mapping of str to Tensor, shapes (n_trials, n_tokens, n_dims)
            The further outputs that the prior was built for.
        spread : Tensor, shape (n_trials,), optional
            Multiplies how far each trial's samples lie apart, beside the prior's own `spread`; 1 by default. Refused
            by a sampler that draws noise at every step: its samples forget the noise they began with. A closed-form
            prior has none.

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

    def calibrate_(
        self,
        brain_embedding: Tensor,
        image_embedding: Tensor,
        generator: torch.Generator,
        told: Told | None = None,
    ) -> None:
        """Makes samples lie as far apart as they lie from the truth, from pairs that the prior was not trained on.

        Does nothing where samples have no spread that could be set.
        """
