"""A diffusion prior: samples image embeddings that fit a brain embedding, by denoising pure noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from braindec import checks
from braindec._compat import ensure_torchvision
from braindec.priors import Prior, check_pairs, check_shape, check_started
from braindec.priors._denoiser import Denoiser
from braindec.priors._noising import cosine_alphas_cumprod, q_sample, share_left


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    width : int
        Values a token inside the network; an even multiple of `heads`.
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

    Notes
    -----
    Predicting the clean embedding with a transformer is the idea of Ramesh et al. 2022, arXiv:2204.06125, and of
    MindEye2, arXiv:2403.11207; guidance: Ho & Salimans 2022, arXiv:2207.12598; DDIM: Song et al. 2021,
    arXiv:2010.02502.
    """

    width: int = 128
    depth: int = 2
    heads: int = 4
    dropout: float = 0.0
    n_train_steps: int = 100
    n_sample_steps: int = 20
    eta: float = 0.0
    guidance: float = 1.0
    condition_dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "n_train_steps"):
            checks.at_least(name, getattr(self, name), 1)
        if self.width % (2 * self.heads):
            raise checks.ConfigError(
                f"width must be an even multiple of heads, got {self.width} and {self.heads}."
            )
        check_steps("n_sample_steps", self.n_sample_steps, self.n_train_steps)
        checks.in_range("eta", self.eta, 0.0, 1.0)
        checks.at_least("guidance", self.guidance, 0.0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.in_range("condition_dropout", self.condition_dropout, 0.0, 0.99)


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
        self.network = Denoiser(shape, config.width, config.depth, config.heads, config.dropout)
        self.register_buffer(
            "alphas_cumprod", cosine_alphas_cumprod(config.n_train_steps).float(), persistent=False
        )
        for name in ("brain", "image"):
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))
        self.register_buffer("n_pairs", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def start_(self, brain_embedding: Tensor, image_embedding: Tensor) -> None:
        """Takes mean and SD of both embeddings."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        checks.at_least("number of training pairs", len(image_embedding), 2)
        for name, values in (("brain", brain_embedding), ("image", image_embedding)):
            self.get_buffer(f"{name}_mean").copy_(values.mean(0))
            self.get_buffer(f"{name}_scale").copy_(_scale(values))
        self.n_pairs.fill_(len(image_embedding))

    def objective(
        self, brain_embedding: Tensor, image_embedding: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the clean embedding (standardised) at one random noise level a trial."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        check_started(self.n_pairs)
        clean = (image_embedding - self.image_mean) / self.image_scale
        n_trials, device = len(clean), generator.device
        step = torch.randint(self.config.n_train_steps, (n_trials,), generator=generator, device=device)
        noise = torch.randn(clean.shape, generator=generator, device=device, dtype=clean.dtype)
        keep = torch.rand(n_trials, generator=generator, device=device) >= self.config.condition_dropout
        step, noise, keep = step.to(clean.device), noise.to(clean.device), keep.to(clean.device)
        noisy = q_sample(clean, step, noise, self.alphas_cumprod)
        return (self._denoise(noisy, step, self._condition(brain_embedding), keep) - clean).square().mean()

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
        check_started(self.n_pairs)
        scheduler = _scheduler(self.config.n_train_steps)
        steps = self.config.n_sample_steps if n_steps is None else n_steps
        scheduler.set_timesteps(check_steps("n_steps", steps, self.config.n_train_steps))
        x = _noise(condition, generator)
        for step in scheduler.timesteps:
            clean = self._guided(x, step.to(x.device).expand(len(x)), condition, guidance)
            x = scheduler.step(clean, step, x, eta=self.config.eta, generator=generator).prev_sample
        return self.image_mean + self.image_scale * x

    def _guided(self, noisy: Tensor, step: Tensor, condition: Tensor, guidance: float) -> Tensor:
        """The clean embedding; at guidance 1 and 0 one call of the network is enough."""
        seen = torch.ones(len(noisy), dtype=torch.bool, device=noisy.device)
        if guidance == 1.0:
            return self._denoise(noisy, step, condition, seen)
        without = self._denoise(noisy, step, condition, ~seen)
        if guidance == 0.0:
            return without
        return without + guidance * (self._denoise(noisy, step, condition, seen) - without)

    def _denoise(self, noisy: Tensor, step: Tensor, condition: Tensor, keep: Tensor) -> Tensor:
        return self.network(noisy, step, share_left(step, self.alphas_cumprod, noisy), condition, keep)

    def _condition(self, brain_embedding: Tensor) -> Tensor:
        return (brain_embedding - self.brain_mean) / self.brain_scale


def check_steps(name: str, n_steps: int, n_train_steps: int) -> int:
    """The number of denoising steps when it divides the number of noise levels.

    Otherwise diffusers' DDIM takes strides that miss the levels it tells the network, and may stop before the last.
    """
    return checks.one_of(name, n_steps, [n for n in range(1, n_train_steps + 1) if n_train_steps % n == 0])


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
