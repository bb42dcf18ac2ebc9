"""A diffusion prior: samples image embeddings that fit a brain embedding, by denoising pure noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from braindec import checks
from braindec.priors import Shapes, Told, check_pairs, check_shape
from braindec.priors._denoiser import Denoiser
from braindec.priors._mindeye2_network import MindEye2Network
from braindec.priors._mindeye2_sampler import sample_as_published
from braindec.priors._noising import cosine_alphas_cumprod, linear_alphas_cumprod, q_sample, share_left
from braindec.priors._sampled import Sampled, kept, noise_like
from braindec.priors._sampling import SAMPLERS, check_steps, sample
from braindec.priors._unet import UNet

NETWORKS = ("residual", "mindeye2", "unet")


@dataclass(frozen=True)
class Config:
    """Settings.

    Parameters
    ----------
    network : {"residual", "mindeye2", "unet"}
        The first is a transformer that learns what the best linear guess leaves; the second MindEye2's; the third the
        fully connected U of ATM.
    width : int
        Values a token inside a transformer (inside the attention of "mindeye2", whose tokens are as wide as the
        embeddings); an even multiple of `heads`.
    depth : int
        Transformer blocks.
    heads : int
    widths : tuple of int
        Of the layers of "unet" on the way down, ATM's by default; at least two.
    time_width : int
        Values that tell "unet" the step, even; ATM's 512 by default.
    dropout : float
        In [0, 1).
    n_train_steps : int
        Noise levels of the schedule.
    n_sample_steps : int
        Denoising steps of a sample, a divisor of `n_train_steps` ("dpm" takes any number). Fewer steps shrink the
        spread of samples: without condition and at eta 0 its SD is at best cos(pi / 2n)^n of the images', 0.94 at
        n = 20; `calibrate_` makes up for it.
    eta : float
        Noise added while sampling by DDIM: 0 adds none after the start, 1 as much as the forward process.
    guidance : float
        1 takes the conditional prediction; above 1 exaggerates what the brain adds (two network calls a step).
    condition_dropout : float
        Share of training trials whose brain embedding is hidden, so that the unconditional is learned too, in [0, 1).
    image_dropout : float
        Likewise of the noisy image; "mindeye2" alone, whose published value is 0.2.
    time : {"sines", "table"}
        How "mindeye2" is told the step: by sines and cosines through layers, or by a token of its own for each.
    standardise : bool
        Whether the network works on embeddings of mean 0 and SD 1 a value; MindEye2's and ATM's work on them as they
        are.
    guidance_hides : {"brain", "brain_and_image_as_published"}
        What the unconditional prediction is not told. Published is that it does not see the noisy image either, so
        that it is the same for every trial; it needs `image_dropout`.
    sampler : {"ddim", "ddpm", "dpm", "as_published"}
        "dpm" is DPM-solver++. MindEye2's begins below the highest noise and reads the schedule one level off; see
        `sample_as_published`.
    predicts : {"image", "noise"}
        What the network puts out: the clean embedding, or the noise in it as ATM's (not "residual", which is built
        around the clean one).
    schedule : {"cosine", "linear"}
        How noise grows. "noise" needs "linear": under the cosine the last level holds so little of the image that a
        small error of the noise would be an endless one of the image.

    Notes
    -----
    Predicting the clean embedding with a transformer is the idea of Ramesh et al. 2022, arXiv:2204.06125, and of
    MindEye2, arXiv:2403.11207; guidance: Ho & Salimans 2022, arXiv:2207.12598; the U: Li et al. 2024, arXiv:2403.07721.
    """

    network: Literal["residual", "mindeye2", "unet"] = "residual"
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
    sampler: Literal["ddim", "ddpm", "dpm", "as_published"] = "ddim"
    predicts: Literal["image", "noise"] = "image"
    schedule: Literal["cosine", "linear"] = "cosine"
    widths: tuple[int, ...] = (1024, 512, 256, 128, 64)
    time_width: int = 512

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "n_train_steps", "time_width"):
            checks.at_least(name, getattr(self, name), 1)
        if self.width % (2 * self.heads):
            raise checks.ConfigError(
                f"width must be an even multiple of heads, got {self.width} and {self.heads}."
            )
        checks.one_of("network", self.network, NETWORKS)
        checks.one_of("guidance_hides", self.guidance_hides, ("brain", "brain_and_image_as_published"))
        checks.one_of("sampler", self.sampler, SAMPLERS)
        check_steps("n_sample_steps", self.n_sample_steps, self.n_train_steps, self.sampler)
        checks.in_range("eta", self.eta, 0.0, 1.0)
        checks.at_least("guidance", self.guidance, 0.0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        checks.in_range("condition_dropout", self.condition_dropout, 0.0, 0.99)
        checks.in_range("image_dropout", self.image_dropout, 0.0, 0.99)
        self._check_published()
        self._check_prediction()

    def _check_published(self) -> None:
        if self.image_dropout and self.network != "mindeye2":
            raise checks.ConfigError("image_dropout needs network 'mindeye2'; set it to 0.")
        if checks.one_of("time", self.time, ("sines", "table")) != "sines" and self.network != "mindeye2":
            raise checks.ConfigError("time='table' needs network 'mindeye2'; set it to 'sines'.")
        if self.guidance_hides != "brain" and not self.image_dropout:
            raise checks.ConfigError(
                f"guidance_hides={self.guidance_hides!r} needs an image_dropout above 0."
            )

    def _check_prediction(self) -> None:
        checks.one_of("schedule", self.schedule, ("cosine", "linear"))
        if self.schedule == "linear" and self.sampler == "as_published":
            raise checks.ConfigError(
                "sampler='as_published' reads the cosine schedule; set schedule='cosine'."
            )
        if checks.one_of("predicts", self.predicts, ("image", "noise")) == "noise":
            if self.network == "residual":
                raise checks.ConfigError("predicts='noise' needs network 'unet' or 'mindeye2'.")
            if self.schedule != "linear":
                raise checks.ConfigError("predicts='noise' needs schedule='linear'.")
        checks.at_least("number of widths", len(self.widths), 2)
        for width in self.widths:
            checks.at_least("widths", width, 1)
        if self.time_width % 2:
            raise checks.ConfigError(f"time_width must be even, got {self.time_width}.")


# As ATM samples: guidance w is added to the conditional prediction there, so that its 5 is 6 here.
ATM = Config(
    network="unet", predicts="noise", schedule="linear", sampler="ddpm", n_train_steps=1000, n_sample_steps=50,
    guidance=6.0, dropout=0.1, condition_dropout=0.1, standardise=False,
)  # fmt: skip


class DiffusionPrior(Sampled):
    """Denoises in standardised coordinates; mean and SD of every value come from the training set."""

    alphas_cumprod: Tensor

    def __init__(self, shape: tuple[int, int], config: Config, told: Shapes | None = None):
        super().__init__(
            shape, told, config.guidance, standardise=config.standardise, forgets=_why_forgetful(config)
        )
        self.config = config
        self.network = _network(shape, config, told)
        schedule = cosine_alphas_cumprod if config.schedule == "cosine" else linear_alphas_cumprod
        self.register_buffer("alphas_cumprod", schedule(config.n_train_steps).float(), persistent=False)

    def objective(
        self,
        brain_embedding: Tensor,
        image_embedding: Tensor,
        generator: torch.Generator,
        told: Told | None = None,
    ) -> Tensor:
        """Mean squared error of what is predicted (standardised) at one random noise level a trial."""
        check_pairs(brain_embedding, image_embedding, self.shape)
        self.check_started()
        config, clean = self.config, self.clean(image_embedding)
        n_trials, device = len(clean), generator.device
        step = torch.randint(config.n_train_steps, (n_trials,), generator=generator, device=device)
        step, noise = step.to(clean.device), noise_like(clean, generator)
        keep = kept(n_trials, config.condition_dropout, generator, clean)
        shown = kept(n_trials, config.image_dropout, generator, clean) if config.image_dropout else None
        noisy = q_sample(clean, step, noise, self.alphas_cumprod)
        known = self.told(told, n_trials)
        found = self._look(noisy, step, self.condition(brain_embedding), known, keep, shown)
        return (found - (noise if config.predicts == "noise" else clean)).square().mean()

    def denoise(
        self,
        noisy: Tensor,
        step: Tensor,
        brain_embedding: Tensor,
        *,
        guidance: float | None = None,
        told: Told | None = None,
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
        told : mapping of str to Tensor, shapes (n_trials, n_tokens, n_dims)

        Returns
        -------
        Tensor, shape (n_trials, n_tokens, n_dims)
            In the coordinates of `noisy`.
        """
        check_shape("noisy", noisy, self.shape)
        check_shape("brain_embedding", brain_embedding, self.shape)
        strength = self.guidance if guidance is None else guidance
        known = self.told(told, len(brain_embedding))
        return self._guided(noisy, step, self.condition(brain_embedding), known, strength)

    def draw(
        self,
        condition: Tensor,
        known: Mapping[str, Tensor],
        guidance: float,
        generator: torch.Generator,
        n_steps: int | None,
        spread: Tensor,
    ) -> Tensor:
        """One sample a row; see `Sampled.draw`."""
        config = self.config
        steps = config.n_sample_steps if n_steps is None else n_steps
        check_steps("n_steps", steps, config.n_train_steps, config.sampler)

        def look(noisy: Tensor, step: Tensor) -> Tensor:
            return self._guided(noisy, step, condition, known, guidance)

        noise, levels = spread * noise_like(condition, generator), self.alphas_cumprod
        if config.sampler == "as_published":
            return sample_as_published(
                look, noise, generator, alphas_cumprod=levels, n_steps=steps, eta=config.eta
            )
        return sample(
            look,
            noise,
            generator,
            sampler=config.sampler,
            alphas_cumprod=levels,
            n_steps=steps,
            eta=config.eta,
        )

    def _guided(
        self, noisy: Tensor, step: Tensor, condition: Tensor, known: Mapping[str, Tensor], guidance: float
    ) -> Tensor:
        """The clean embedding; at guidance 1 and 0 one call of the network is enough."""
        seen = torch.ones(len(noisy), dtype=torch.bool, device=noisy.device)
        if guidance == 1.0:
            return self._denoise(noisy, step, condition, known, seen)
        # At 0 there is no brain to compare with: the sample itself has to be seen.
        hidden = ~seen if self.config.guidance_hides != "brain" and guidance != 0.0 else None
        without = self._denoise(noisy, step, condition, known, ~seen, hidden)
        if guidance == 0.0:
            return without
        return without + guidance * (self._denoise(noisy, step, condition, known, seen) - without)

    def _denoise(
        self, noisy: Tensor, step: Tensor, condition: Tensor, known: Mapping[str, Tensor], keep: Tensor,
        keep_image: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        found = self._look(noisy, step, condition, known, keep, keep_image)
        if self.config.predicts == "image":
            return found
        left = share_left(step, self.alphas_cumprod, noisy)
        return (noisy - (1 - left).sqrt() * found) / left.sqrt()

    def _look(
        self, noisy: Tensor, step: Tensor, condition: Tensor, known: Mapping[str, Tensor], keep: Tensor,
        keep_image: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """What the network puts out."""
        if isinstance(self.network, MindEye2Network):
            return self.network(noisy, step, condition, keep, keep_image, known)
        if isinstance(self.network, UNet):
            return self.network(noisy, step, condition, keep, known)
        left = share_left(step, self.alphas_cumprod, noisy)
        return self.network(noisy, step, left, condition, keep, known)


def _network(
    shape: tuple[int, int], config: Config, told: Shapes | None
) -> Denoiser | MindEye2Network | UNet:
    if config.network == "residual":
        return Denoiser(shape, config.width, config.depth, config.heads, config.dropout, told)
    if config.network == "unet":
        return UNet(shape, config.widths, config.time_width, config.dropout, told)
    return MindEye2Network(
        shape, config.width, config.depth, config.heads, config.dropout, config.image_dropout > 0,
        config.n_train_steps if config.time == "table" else 0, told,
    )  # fmt: skip


def _why_forgetful(config: Config) -> str:
    """Why samples forget the noise that they begin with; empty where they do not."""
    drawn = config.sampler == "ddpm" or (config.sampler != "dpm" and config.eta > 0)
    return "this sampler draws noise at every step; take 'ddim' with eta 0, or 'dpm'." if drawn else ""


def build(shape: tuple[int, int], config: Config, told: Shapes | None = None) -> DiffusionPrior:
    """The prior for embeddings of this shape, drawn from torch's global generator (`seeding.seeded`)."""
    return DiffusionPrior(shape, config, told)
