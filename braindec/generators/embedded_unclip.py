"""The generator that ships with braindec: latent diffusion told the image embedding, decoded to 64x64 pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from braindec import _compat, checks, weights
from braindec.generators import NOTHING, Generator, Guides, accepted
from braindec.generators._control import BrainControl
from braindec.generators._draft import Draft
from braindec.generators._guidance import PictureScore, guided
from braindec.generators._pipeline import as_bytes
from braindec.generators._unclip import (
    N_NOISE_LEVELS,
    Residuals,
    UnclipDecoder,
    add_noise,
    cosine_alphas_cumprod,
)

FOLDED = 2  # the autoencoder sees every 2x2 block of pixels as channels


@dataclass(frozen=True)
class Config:
    """Settings of the shipped generator.

    Parameters
    ----------
    n_steps : int
        Denoising steps, 1 to 1000.
    guidance : float
        How far to go beyond what the embedding says, away from what no embedding says; 1 is without guidance, and
        then each step costs half.
    strength : float
        How far a low-level picture, or the draft, is changed, in [0, 1]: the share of the steps that are made from it.
    draft : bool
        Whether pictures start from what a network draws of the embedding in one pass (`_draft`), where no low-level
        picture is told; with a strength of 0 they are that draft, without noise.
    batch_size : int
        Pictures made together; changes speed and memory, not the pictures beyond rounding.
    """

    n_steps: int = 20
    guidance: float = 2.0
    strength: float = 0.75
    draft: bool = False
    batch_size: int = 64

    def __post_init__(self) -> None:
        checks.in_range("n_steps", self.n_steps, 1, N_NOISE_LEVELS)
        checks.at_least("guidance", self.guidance, 0)
        checks.in_range("strength", self.strength, 0, 1)
        checks.at_least("batch_size", self.batch_size, 1)


def build(config: Config) -> EmbeddedUnclip:
    """The shipped generator, after its files were found to be the recorded ones."""
    return EmbeddedUnclip(config)


class EmbeddedUnclip(Generator):
    """Pictures of the shipped OpenCLIP model's pooled embeddings."""

    name = "embedded_unclip"
    takes = frozenset({"low_level"})
    branch: BrainControl | None = None
    branch_scale = 1.0

    def __init__(self, config: Config) -> None:
        self.config = config
        self.space = _description()["space"]
        self.decoder, self.autoencoder = _load_decoder(), _load_autoencoder()
        self.draft = _load_draft() if config.draft else None

    def identity(self) -> dict[str, Any]:
        """Weights, steps and guidance."""
        names = ("unclip", "vae") if self.draft is None else ("unclip", "vae", "draft")
        sums = weights.expected_sha256()
        known = {
            "generator": self.name,
            "weights_sha256": {name: sums[f"{name}.safetensors"] for name in names},
            "n_steps": self.config.n_steps,
            "guidance": self.config.guidance,
            "strength": self.config.strength,
        }
        return known if self.draft is None else known | {"draft": True}

    @torch.inference_mode()
    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
        noise: Tensor | None = None,
    ) -> np.ndarray:
        """Pictures of embeddings; see `Generator.generate`. Embeddings need not have unit length.

        With `noise`, of the method of that name, pictures begin as it, and nothing is drawn from `generator`.
        """
        accepted(self, guides, len(image_embeddings))
        told = self._told(image_embeddings)
        noise = self.noise(len(told), generator) if noise is None else noise
        checks.same_length("stimulus", image_embeddings=told, noise=noise)
        n_steps = self.config.n_steps if n_steps is None else n_steps
        checks.in_range("n_steps", n_steps, 1, N_NOISE_LEVELS)
        pictures = [np.empty((0, 64, 64, 3), np.uint8)]
        with tqdm(total=len(told), desc="generate", disable=not progress) as bar:
            for start in range(0, len(told), self.config.batch_size):
                rows = slice(start, start + self.config.batch_size)
                given = guides.low_level
                first = self._drafted(told[rows]) if given is None else self._encode(given[rows])
                steered = self._steered(guides.rows(rows).brain)
                pictures.append(self._decode(self._denoise(noise[rows], told[rows], n_steps, first, steered)))
                bar.update(len(told[rows]))
        return np.concatenate(pictures)

    @property
    def unet(self) -> Any:
        """See `Controllable.unet`."""
        return self.decoder.unet

    def clean(self, pictures: np.ndarray) -> Tensor:
        """See `Controllable.clean`."""
        return self._encode(pictures)

    def misses(
        self, clean: Tensor, embeddings: Tensor, features: Tensor, noise: Tensor, share: Tensor
    ) -> Tensor:
        """See `Controllable.misses`: of the velocity."""
        level = (share * N_NOISE_LEVELS).long()
        noisy, velocity = add_noise(clean, noise, level, cosine_alphas_cumprod().to(clean))
        told = nn.functional.normalize(embeddings.flatten(1), dim=1)
        seen = torch.zeros(len(clean), dtype=torch.bool, device=clean.device)
        said, _ = self.decoder(noisy, level, told, seen, self._steered(features))
        return (said - velocity).square().mean((1, 2, 3))

    def moved_(self, device: torch.device) -> None:
        """See `Controllable.moved_`."""
        self.decoder.to(device)

    def _steered(self, features: np.ndarray | Tensor | None) -> Residuals | None:
        """What the branch adds, where there is one."""
        branch, scale = self.branch, self.branch_scale
        if branch is None or features is None:
            return None
        read = torch.as_tensor(features).float()
        return lambda x, level, told: branch(x, level, read, told, scale)

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """What `n` pictures begin as: (n, channel, size, size), standard normal."""
        shape = (n, self.decoder.n_channels, self.decoder.size, self.decoder.size)
        return torch.randn(shape, generator=generator, device=generator.device).cpu()

    def _told(self, image_embeddings: np.ndarray) -> Tensor:
        """Embeddings of unit length (n, dim)."""
        checks.n_axes("image_embeddings", image_embeddings, ("stimulus", "token", "dim"))
        if image_embeddings.shape[1:] != (1, self.decoder.embedding_dim):
            raise checks.SpaceMismatchError(
                f"image_embeddings have shape {tuple(image_embeddings.shape[1:])} per stimulus, but {self.name} takes "
                f"one token of {self.decoder.embedding_dim}; embed with targets.tiny_openclip."
            )
        checks.finite("image_embeddings", image_embeddings)
        return nn.functional.normalize(
            torch.as_tensor(np.asarray(image_embeddings)).float().flatten(1), dim=1
        )

    def synthesise(
        self,
        score: PictureScore,
        n: int,
        *,
        generator: torch.Generator,
        strength: float = 1.0,
        n_steps: int | None = None,
        progress: bool = False,
        image_embeddings: np.ndarray | None = None,
        noise: Tensor | None = None,
        share: float = 1.0,
        through: bool = True,
    ) -> np.ndarray:
        """Pictures that raise a score, of no embedding or of given ones.

        Parameters
        ----------
        score : callable
            ``score(pictures) -> (n,)``, differentiable; pictures (n, 3, 64, 64) in [0, 1].
        n : int
            How many pictures.
        generator : torch.Generator
            The only source of randomness; equal seeds start from equal noise at any strength.
        strength : float
            Of the guidance, see `_guidance.guided`; 0: what the model makes when it is told nothing.
        n_steps : int, optional
            None for the config's own number.
        progress : bool
        image_embeddings : ndarray of float, shape (n, 1, dim), optional
        noise : Tensor, optional
            What the drawing starts from, of `noise`; without it, it is drawn from `generator`.
        share, through : float, bool
            See `_guidance.guided`.

        Returns
        -------
        ndarray of uint8, shape (n, 64, 64, 3)
        """
        checks.at_least("n", n, 1)
        n_steps = self.config.n_steps if n_steps is None else n_steps
        checks.in_range("n_steps", n_steps, 1, N_NOISE_LEVELS)
        noise = self.noise(n, generator) if noise is None else noise
        told = torch.zeros(n, self.decoder.embedding_dim)
        if image_embeddings is not None:
            checks.same_length("picture", n=range(n), image_embeddings=image_embeddings)
            told = self._told(image_embeddings)
        made = []
        for some, about in zip(noise.split(self.config.batch_size), told.split(self.config.batch_size)):
            first = None if image_embeddings is None else self._drafted(about)
            scheduler, start = self._begun(some, n_steps, first)
            told_or_not = _Told(self, scheduler, about, image_embeddings is None)
            latents = guided(told_or_not, start, score, strength, progress, share=share, through=through)
            with torch.no_grad():
                made.append(as_bytes(told_or_not.pictures(latents)))
        return np.concatenate(made)

    def _denoise(
        self,
        noise: Tensor,
        told: Tensor,
        n_steps: int,
        first: Tensor | None = None,
        steered: Residuals | None = None,
    ) -> Tensor:
        """Clean latents; `first`: those of pictures that the last share of the steps starts from (img2img)."""
        scheduler, latents = self._begun(noise, n_steps, first)
        dropped = torch.zeros(len(noise), dtype=torch.bool)
        for level in scheduler.timesteps:
            levels = torch.full((len(latents),), int(level))
            velocity = self.decoder(latents, levels, told, dropped, steered)[0]
            if self.config.guidance != 1:
                untold = self.decoder(latents, levels, told, ~dropped, steered)[0]
                velocity = untold + self.config.guidance * (velocity - untold)
            # eta is 0: after the first noise nothing is drawn, so the result depends on the given generator alone.
            latents = scheduler.step(velocity, level, latents, eta=0.0).prev_sample
        return self.decoder.to_autoencoder(latents)

    def _begun(self, noise: Tensor, n_steps: int, first: Tensor | None) -> tuple[Any, Tensor]:
        """A scheduler with the steps that are left, and what they start from: noise, or clean latents with some."""
        scheduler, strength = _scheduler(n_steps), self.config.strength
        if first is None:
            return scheduler, noise
        n_left = int(n_steps * strength)
        if n_left < 1 and strength > 0:
            raise ValueError(
                f"n_steps {n_steps} times strength {strength} is no whole step; raise one of them."
            )
        scheduler.timesteps = scheduler.timesteps[n_steps - n_left :]
        if not n_left:
            return scheduler, first
        return scheduler, scheduler.add_noise(first, noise, scheduler.timesteps[:1].repeat(len(noise)))

    def _drafted(self, told: Tensor) -> Tensor | None:
        """Latents that the draft expects, where it is asked for."""
        return None if self.draft is None else self.draft(told)

    def _encode(self, low_level: np.ndarray) -> Tensor:
        """Latents of pictures (n, height, width, 3) as the network knows them: the mode, nothing is drawn."""
        x = torch.as_tensor(low_level).permute(0, 3, 1, 2).float()
        side = self.decoder.size * FOLDED * 2
        if tuple(x.shape[2:]) != (side, side):
            x = nn.functional.interpolate(x, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
        folded = nn.functional.pixel_unshuffle(x / 127.5 - 1, FOLDED)
        return self.decoder.from_autoencoder(self.autoencoder.encode(folded).latent_dist.mode())

    def _draw(self, latents: Tensor) -> Tensor:
        """Pictures (n, 3, 64, 64), about in [-1, 1]."""
        return nn.functional.pixel_shuffle(self.autoencoder.decode(latents).sample, FOLDED)

    def _decode(self, latents: Tensor) -> np.ndarray:
        x = self._draw(latents)
        return x.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


class _Told:
    """The model with what it is told of a batch, as `guided` runs it."""

    def __init__(self, model: EmbeddedUnclip, scheduler: Any, told: Tensor, nothing: bool) -> None:
        self.model, self.scheduler, self.told = model, scheduler, told
        self.dropped = torch.full((len(told),), nothing)

    def output(self, latents: Tensor, level: int) -> Tensor:
        """Velocity of noisy latents."""
        levels = torch.full((len(latents),), level)
        return self.model.decoder(latents, levels, self.told, self.dropped)[0]

    def pictures(self, clean: Tensor) -> Tensor:
        """Pictures (n, 3, 64, 64) in [0, 1]."""
        return self.model._draw(self.model.decoder.to_autoencoder(clean)).add(1).div(2).clamp(0, 1)


def _scheduler(n_steps: int) -> Any:
    _compat.ensure_torchvision()
    from diffusers import DDIMScheduler

    alphas_cumprod = cosine_alphas_cumprod()
    before = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    scheduler = DDIMScheduler(
        num_train_timesteps=N_NOISE_LEVELS, trained_betas=(1 - alphas_cumprod / before).numpy(),
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing",
    )  # fmt: skip
    scheduler.set_timesteps(n_steps)
    return scheduler


@cache
def _description() -> dict[str, Any]:
    return json.loads(weights.verified("unclip.json").read_text())


@cache
def _load_decoder() -> UnclipDecoder:
    decoder = UnclipDecoder(_description())
    decoder.load_state_dict(weights.tensors(weights.verified("unclip.safetensors")), strict=True)
    return _quick(decoder)


@cache
def _load_draft() -> Draft:
    draft = Draft(json.loads(weights.verified("draft.json").read_text()))
    draft.load_state_dict(weights.tensors(weights.verified("draft.safetensors")), strict=True)
    return _quick(draft)


@cache
def _load_autoencoder() -> Any:
    _compat.ensure_torchvision()
    from diffusers import AutoencoderKL

    autoencoder = AutoencoderKL(**json.loads(weights.verified("vae.json").read_text()))
    autoencoder.load_state_dict(weights.tensors(weights.verified("vae.safetensors")), strict=True)
    return _quick(autoencoder)


def _quick(model: Any) -> Any:
    """Ready to draw: convolutions of few channels take a third less with the channels last."""
    return model.requires_grad_(False).eval().to(memory_format=torch.channels_last)
