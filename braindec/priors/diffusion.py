"""A diffusion prior: samples image embeddings that fit a brain embedding, by denoising pure noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from braindec import checks
from braindec._compat import ensure_torchvision
from braindec.priors import Prior, check_pairs, check_shape, check_started
from braindec.priors._denoiser import Denoiser
from braindec.priors._mindeye2_network import MindEye2Network
from braindec.priors._mindeye2_sampler import sample_as_published
from braindec.priors._noising import cosine_alphas_cumprod, q_sample, share_left


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    network : {"residual", "mindeye2"}
        The first is a transformer that learns what the best linear guess leaves; the second MindEye2's.
    width : int
        Values a token inside the network (inside the attention of "mindeye2", whose tokens are as wide as the
        embeddings); an even multiple of `heads`.
    depth : int
        Transformer blocks.
    heads : int
    dropout : float
        In [0, 1).
    n_train_steps : int
        Noise levels of the cosine schedule.
    n_sample_steps : int
        Denoising steps of a sample, a divisor of `n_train_steps`. Fewer steps shrink the spread of samples: without
        condition and at eta 0 its SD is at best cos(pi / 2n)^n of the images', 0.94 at n = 20.
    eta : float
        Noise added while sampling: 0 adds none after the start (DDIM), 1 as much as the forward process (DDPM).
    guidance : float
        1 takes the conditional prediction; above 1 exaggerates what the brain adds (two network calls a step).
    condition_dropout : float
        Share of training trials whose brain embedding is hidden, so that the unconditional is learned too, in [0, 1).
    image_dropout : float
        Likewise of the noisy image; "mindeye2" alone, whose published value is 0.2.
    time : {"sines", "table"}
        How "mindeye2" is told the step: by sines and cosines through layers, or by a token of its own for each.
    standardise : bool
        Whether the network works on embeddings of mean 0 and SD 1 a value; MindEye2's works on them as they are.
    guidance_hides : {"brain", "brain_and_image_as_published"}
        What the unconditional prediction is not told. Published is that it does not see the noisy image either, so
        that it is the same for every trial; it needs `image_dropout`.
    sampler : {"ddim", "as_published"}
        MindEye2's begins below the highest noise and reads the schedule one level off; see `sample_as_published`.

    Notes
    -----
    Predicting the clean embedding with a transformer is the idea of Ramesh et al. 2022, arXiv:2204.06125, and of
    MindEye2, arXiv:2403.11207; guidance: Ho & Salimans 2022, arXiv:2207.12598; DDIM: Song et al. 2021,
    arXiv:2010.02502.
    """

    network: Literal["residual", "mindeye2"] = "residual"
    width: int = 128
    depth: int = 2
    heads: int = 4
    dropout: float = 0.0
    n_train_steps: int = 100
    n_sample_steps: int = 20
    eta: float = 0.0
    guidance: float = 1.0
    condition_dropout: float = 0.1
    image_dropout: float = 0.0
    time: Literal["sines", "table"] = "sines"
    standardise: bool = True
    guidance_hides: Literal["brain", "brain_and_image_as_published"] = "brain"
    sampler: Literal["ddim", "as_published"] = "ddim"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "n_train_steps"):
            checks.at_least(name, getattr(self, name), 1)
        if self.width % (2 * self.heads):
            raise checks.ConfigError(
                f"width must be an even multiple of heads, got {self.width} and {self.heads}."
            )
        checks.one_of("network", self.network, ("residual", "mindeye2"))
        checks.one_of("guidance_hides", self.guidance_hides, ("brain", "brain_and_image_as_published"))
        check_steps("n_sample_steps", self.n_sample_steps, self.n_train_steps, self.sampler)
        checks.in_range("eta", self.eta, 0.0, 1.0)
        checks.at_least("guidance", self.guidance, 0.0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.in_range("condition_dropout", self.condition_dropout, 0.0, 0.99)
        checks.in_range("image_dropout", self.image_dropout, 0.0, 0.99)
        if self.image_dropout and self.network != "mindeye2":
            raise checks.ConfigError("image_dropout needs network 'mindeye2'; set it to 0.")
        if checks.one_of("time", self.time, ("sines", "table")) != "sines" and self.network != "mindeye2":
            raise checks.ConfigError("time='table' needs network 'mindeye2'; set it to 'sines'.")
        if self.guidance_hides != "brain" and not self.image_dropout:
            raise checks.ConfigError(
                f"guidance_hides={self.guidance_hides!r} needs an image_dropout above 0."
            )


class DiffusionPrior(Prior):
    """Denoises in standardised coordinates; mean and SD of every value come from the training set."""

    closed_form = False
    alphas_cumprod: Tensor
    brain_mean: Tensor
    brain_scale: Tensor
    image_mean: Tensor
    image_scale: Tensor
    n_pairs: Tensor

    def __init__(self, shape: tuple[int, int], config: Config):
        super().__init__()
        self.shape = shape
        self.config = config
        self.network = _network(shape, config)
        self.register_buffer(
            "alphas_cumprod", cosine_alphas_cumprod(config.n_train_steps).float(), persistent=False
        )
        for name in ("brain", "image"):
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))
        self.register_buffer("n_pairs", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor) -> None:
        """Takes mean and SD of both embeddings, where they are standardised."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        checks.at_least("number of training pairs", len(image_embedding), 2)
        known = {"brain": brain_embedding, "image": image_embedding} if self.config.standardise else {}
        for name, values in known.items():
            self.get_buffer(f"{name}_mean").copy_(values.mean(0))
            self.get_buffer(f"{name}_scale").copy_(_scale(values))
        self.n_pairs.fill_(len(image_embedding))

    def objective(
        self, brain_embedding: Tensor, image_embedding: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the clean embedding (standardised) at one random noise level a trial."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        self._check_started()
        clean = (image_embedding - self.image_mean) / self.image_scale
        n_trials, device = len(clean), generator.device
        step = torch.randint(self.config.n_train_steps, (n_trials,), generator=generator, device=device)
        noise = torch.randn(clean.shape, generator=generator, device=device, dtype=clean.dtype)
        keep = torch.rand(n_trials, generator=generator, device=device) >= self.config.condition_dropout
        step, noise, keep = step.to(clean.device), noise.to(clean.device), keep.to(clean.device)
        noisy = q_sample(clean, step, noise, self.alphas_cumprod)
        shown = None
        if self.config.image_dropout:
            shown = torch.rand(n_trials, generator=generator, device=device) >= self.config.image_dropout
            shown = shown.to(clean.device)
        found = self._denoise(noisy, step, self._condition(brain_embedding), keep, shown)
        return (found - clean).square().mean()

    def denoise(
        self, noisy: Tensor, step: Tensor, brain_embedding: Tensor, *, guidance: float | None = None
    ) -> Tensor:
        """The clean embeddings expected behind noisy ones; one look of the sampler.

        Parameters
        ----------
        noisy : Tensor, shape (n_trials, n_tokens, n_dims)
            In the coordinates that the network works in (standardised, unless the settings say otherwise).
        step : int tensor, shape (n_trials,)
            In [0, n_train_steps - 1].
        brain_embedding : Tensor, shape (n_trials, n_tokens, n_dims)
        guidance : float, optional
            Instead of the settings'.

        Returns
        -------
        Tensor, shape (n_trials, n_tokens, n_dims)
            In the coordinates of `noisy`.
        """
        check_shape("noisy", noisy, self.shape)
        check_shape("brain_embedding", brain_embedding, self.shape)
        strength = self.config.guidance if guidance is None else guidance
        return self._guided(noisy, step, self._condition(brain_embedding), strength)

    @torch.no_grad()
    def sample(
        self,
        brain_embedding: Tensor,
        *,
        generator: torch.Generator,
        n_steps: int | None = None,
        n_samples: int = 1,
    ) -> Tensor:
        """(n_samples, n_trials, n_tokens, n_dims); see `Prior.sample`."""
        checks.at_least("n_samples", n_samples, 1)
        check_shape("brain_embedding", brain_embedding, self.shape)
        condition = self._condition(brain_embedding).repeat(n_samples, 1, 1)
        out = self._sample(condition, self.config.guidance, generator, n_steps)
        return out.unflatten(0, (n_samples, -1))

    @torch.no_grad()
    def unconditional(
        self, n_trials: int, *, generator: torch.Generator, n_steps: int | None = None
    ) -> Tensor:
        """(n_trials, n_tokens, n_dims) drawn with the brain hidden from the network."""
        nothing = self.image_mean.new_zeros((n_trials, *self.shape))
        return self._sample(nothing, 0.0, generator, n_steps)

    def _sample(
        self, condition: Tensor, guidance: float, generator: torch.Generator, n_steps: int | None
    ) -> Tensor:
        self._check_started()
        config = self.config
        steps = config.n_sample_steps if n_steps is None else n_steps
        check_steps("n_steps", steps, config.n_train_steps, config.sampler)
        x = _noise(condition, generator)
        if config.sampler == "as_published":
            x = sample_as_published(
                lambda noisy, step: self._guided(noisy, step, condition, guidance), x, generator,
                alphas_cumprod=self.alphas_cumprod, n_steps=steps, eta=config.eta,
            )  # fmt: skip
            return self.image_mean + self.image_scale * x
        scheduler = _scheduler(config.n_train_steps)
        scheduler.set_timesteps(steps)
        for step in scheduler.timesteps:
            clean = self._guided(x, step.to(x.device).expand(len(x)), condition, guidance)
            x = scheduler.step(clean, step, x, eta=config.eta, generator=generator).prev_sample
        return self.image_mean + self.image_scale * x

    def _guided(self, noisy: Tensor, step: Tensor, condition: Tensor, guidance: float) -> Tensor:
        """The clean embedding; at guidance 1 and 0 one call of the network is enough."""
        seen = torch.ones(len(noisy), dtype=torch.bool, device=noisy.device)
        if guidance == 1.0:
            return self._denoise(noisy, step, condition, seen)
        # At 0 there is no brain to compare with: the sample itself has to be seen.
        hidden = ~seen if self.config.guidance_hides != "brain" and guidance != 0.0 else None
        without = self._denoise(noisy, step, condition, ~seen, hidden)
        if guidance == 0.0:
            return without
        return without + guidance * (self._denoise(noisy, step, condition, seen) - without)

    def _denoise(
        self, noisy: Tensor, step: Tensor, condition: Tensor, keep: Tensor, keep_image: Tensor | None = None
    ) -> Tensor:
        if isinstance(self.network, MindEye2Network):
            return self.network(noisy, step, condition, keep, keep_image)
        return self.network(noisy, step, share_left(step, self.alphas_cumprod, noisy), condition, keep)

    def _check_started(self) -> None:
        if self.config.standardise:
            check_started(self.n_pairs)

    def _condition(self, brain_embedding: Tensor) -> Tensor:
        return (brain_embedding - self.brain_mean) / self.brain_scale


def check_steps(name: str, n_steps: int, n_train_steps: int, sampler: str = "ddim") -> int:
    """The number of denoising steps when it divides the number of noise levels.

    Otherwise diffusers' DDIM takes strides that miss the levels it tells the network, and may stop before the last.
    The published sampler takes any number above 1, one call fewer than it says.
    """
    if checks.one_of("sampler", sampler, ("ddim", "as_published")) == "as_published":
        return int(checks.in_range(name, n_steps, 2, n_train_steps))
    return checks.one_of(name, n_steps, [n for n in range(1, n_train_steps + 1) if n_train_steps % n == 0])


def _network(shape: tuple[int, int], config: Config) -> Denoiser | MindEye2Network:
    if config.network == "residual":
        return Denoiser(shape, config.width, config.depth, config.heads, config.dropout)
    return MindEye2Network(
        shape, config.width, config.depth, config.heads, config.dropout, config.image_dropout > 0,
        config.n_train_steps if config.time == "table" else 0,
    )  # fmt: skip


def _scheduler(n_train_steps: int) -> Any:
    """diffusers' DDIM over our noise schedule, from pure noise down."""
    ensure_torchvision()
    from diffusers import DDIMScheduler  # here, so that retrieval needs no diffusion package

    left = cosine_alphas_cumprod(n_train_steps)
    noise_added = 1 - left / torch.cat([left.new_ones(1), left[:-1]])
    return DDIMScheduler(
        num_train_timesteps=n_train_steps,
        trained_betas=noise_added.tolist(),
        prediction_type="sample",
        clip_sample=False,  # embeddings have no range
        timestep_spacing="trailing",  # begins at the last level, whose input is pure noise, and ends at the first
    )


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype).to(
        like.device
    )


def _scale(values: Tensor) -> Tensor:
    """SD of every value over trials; 1 for a value that does not vary."""
    sd = values.std(0)
    return torch.where(sd > 1e-6 * sd.max(), sd, torch.ones_like(sd))


def build(shape: tuple[int, int], config: Config) -> DiffusionPrior:
    """The prior for embeddings of this shape, drawn from torch's global generator (`seeding.seeded`)."""
    return DiffusionPrior(shape, config)
