"""What priors that draw samples share: scales of all embeddings, the spread of samples, and how they are asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from braindec import checks
from braindec.priors import Conditions, Prior, Shapes, Told, check_pairs, check_shape, check_started
from braindec.priors._conditions import repeated, scale_of
from braindec.priors._spread import N_SAMPLES, matched_spread


class Sampled(Prior):
    """Draws in standardised coordinates; mean and SD of every value come from the training set.

    Parameters
    ----------
    shape : (n_tokens, n_dims)
    told : mapping of str to (n_tokens, n_dims), optional
    guidance : float
        See `draw`.
    standardise : bool
        False: embeddings stay as they are.
    forgets : str
        Why samples do not depend on the spread of the noise that they begin with; empty where they do.
    """

    closed_form = False
    brain_mean: Tensor
    brain_scale: Tensor
    image_mean: Tensor
    image_scale: Tensor
    n_pairs: Tensor
    spread: Tensor

    def __init__(
        self,
        shape: tuple[int, int],
        told: Shapes | None,
        guidance: float,
        *,
        standardise: bool = True,
        forgets: str = "",
    ):
        super().__init__()
        self.shape, self.guidance = shape, guidance
        self.standardise, self.forgets = standardise, forgets
        self.told = Conditions(told)
        for name in ("brain", "image"):
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))
        self.register_buffer("n_pairs", torch.zeros((), dtype=torch.int64))
        self.register_buffer("spread", torch.ones(()))

    @abstractmethod
    def draw(
        self,
        condition: Tensor,
        known: Mapping[str, Tensor],
        guidance: float,
        generator: torch.Generator,
        n_steps: int | None,
        spread: Tensor,
    ) -> Tensor:
        """One sample a row, standardised.

        Parameters
        ----------
        condition : Tensor, shape (n_trials, n_tokens, n_dims)
            Standardised brain embeddings; not looked at where `guidance` is 0.
        known : mapping of str to Tensor, shapes (n_trials, n_tokens, n_dims)
            What else is told, standardised.
        guidance : float
            0: without a brain; 1: as learnt; above: what the brain adds is exaggerated.
        generator : torch.Generator
        n_steps : int or None
        spread : Tensor, shape () or (n_trials, 1, 1)
            Multiplies the noise that samples begin with.
        """

    def learn_(self, condition: Tensor, clean: Tensor, known: Mapping[str, Tensor]) -> None:
        """What is solved before training, from all standardised pairs; nothing by default."""

    @torch.no_grad()
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor, told: Told | None = None) -> None:
        """Takes mean and SD of all embeddings, where they are standardised."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        n_trials = len(image_embedding)
        checks.at_least("number of training pairs", n_trials, 2)
        known = {"brain": brain_embedding, "image": image_embedding} if self.standardise else {}
        for name, values in known.items():
            self.get_buffer(f"{name}_mean").copy_(values.mean(0))
            self.get_buffer(f"{name}_scale").copy_(scale_of(values))
        self.told.start_(told, n_trials, standardise=self.standardise)
        self.n_pairs.fill_(n_trials)
        self.spread.fill_(1.0)
        self.learn_(self.condition(brain_embedding), self.clean(image_embedding), self.told(told, n_trials))

    @torch.no_grad()
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
        """(n_samples, n_trials, n_tokens, n_dims); see `Prior.sample`."""
        checks.at_least("n_samples", n_samples, 1)
        check_shape("brain_embedding", brain_embedding, self.shape)
        self.check_started()
        if spread is not None and self.forgets:
            raise ValueError(f"spread cannot be set: {self.forgets}")
        known = repeated(self.told(told, len(brain_embedding)), n_samples)
        condition = self.condition(brain_embedding).repeat(n_samples, 1, 1)
        scale = self.spread if spread is None else self.spread * spread.repeat(n_samples)[:, None, None]
        out = self.draw(condition, known, self.guidance, generator, n_steps, scale.to(condition))
        return (self.image_mean + self.image_scale * out).unflatten(0, (n_samples, -1))

    @torch.no_grad()
    def unconditional(
        self, n_trials: int, *, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """(n_trials, n_tokens, n_dims) drawn with the brain hidden."""
        self.check_started()
        nothing = self.image_mean.new_zeros((n_trials, *self.shape))
        none = {name: nothing.new_zeros((n_trials, *shape)) for name, shape in self.told.shapes.items()}
        out = self.draw(nothing, none, 0.0, generator, n_steps, torch.ones_like(self.spread))
        return self.image_mean + self.image_scale * out

    @torch.no_grad()
    def calibrate_(
        self,
        brain_embedding: Tensor,
        image_embedding: Tensor,
        generator: torch.Generator,
        told: Told | None = None,
    ) -> None:
        """Sets `spread`, which multiplies the noise that samples begin with; see `Prior.calibrate_`.

        Exact where a sample is linear in its noise. A sampler that draws noise at every step is left as it is.
        """
        check_pairs(brain_embedding, image_embedding, self.shape)
        if self.forgets:
            return

        def draw(rows: Tensor, factor: float) -> Tensor:
            self.spread.fill_(factor)
            some = {name: values[rows] for name, values in (told or {}).items()}
            found = self.sample(brain_embedding[rows], generator=generator, n_samples=N_SAMPLES, told=some)
            return found / self.image_scale

        self.spread.fill_(matched_spread(draw, image_embedding / self.image_scale, float(self.spread)))

    def check_started(self) -> None:
        """Refuses a prior without scales."""
        if self.standardise:
            check_started(self.n_pairs)

    def condition(self, brain_embedding: Tensor) -> Tensor:
        """Brain embeddings, standardised."""
        return (brain_embedding - self.brain_mean) / self.brain_scale

    def clean(self, image_embedding: Tensor) -> Tensor:
        """Image embeddings, standardised."""
        return (image_embedding - self.image_mean) / self.image_scale


def noise_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, drawn where the generator lives and moved to where `like` is."""
    drawn = torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype)
    return drawn.to(like.device)


def kept(n_trials: int, dropout: float, generator: torch.Generator, like: Tensor) -> Tensor:
    """bool (n_trials,): False for a share of trials that is hidden."""
    return (torch.rand(n_trials, generator=generator, device=generator.device) >= dropout).to(like.device)
