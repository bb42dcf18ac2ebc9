"""Latent diffusion from a folder: what all its generators share, and a place for what each tells its network."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from braindec import checks, weights
from braindec.generators import NOTHING, Generator, Guides, _folder, accepted
from braindec.generators._condition import Condition
from braindec.generators._control import BrainControl
from braindec.generators._noise import noise, own_sources

NOT_CONTENT = ("folder", "adapter", "control", "device", "batch_size")  # of a config: where, not what
KINDS = ("epsilon", "sample", "v_prediction")  # of what a network says


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every latent diffusion from a folder can be set to.

    Parameters
    ----------
    folder : str
        As diffusers' ``save_pretrained`` writes it, or the name of published weights that were pulled; all sizes are
        read from it.
    space : str
        Space of the image embeddings it was trained with, as their target names it.
    n_steps : int
        Denoising steps.
    guidance : float
        How far to go beyond what is told, away from what nothing says; 1 or less: without, at half the cost.
    strength : float
        How far a low-level picture is changed, in (0, 1]: the share of the steps that are made from it.
    control : str
        Folder of a `ControlNetModel` of this network, which then needs a control map; "": none.
    control_scale : float
        What its residuals are multiplied by.
    batch_size : int
        Pictures made together; changes speed and memory, not the pictures beyond rounding.
    device : str
        Where the networks run.
    dtype : {"float32", "float16", "bfloat16"}
        Of the networks; the autoencoder stays in float32.
    variant : str
        Of the weight files, e.g. "fp16"; "": the plain ones.
    """

    folder: str
    space: str
    n_steps: int = 50
    guidance: float = 7.5
    strength: float = 0.75
    control: str = ""
    control_scale: float = 1.0
    batch_size: int = 4
    device: str = "cpu"
    dtype: str = "float32"
    variant: str = ""

    def __post_init__(self) -> None:
        checks.at_least("n_steps", self.n_steps, 1)
        checks.at_least("guidance", self.guidance, 0)
        checks.in_range("strength", self.strength, 0, 1)
        checks.at_least("control_scale", self.control_scale, 0)
        checks.at_least("batch_size", self.batch_size, 1)
        checks.one_of("dtype", self.dtype, _folder.DTYPES)


@dataclass(frozen=True, eq=False)
class Networks:
    """What draws: all of diffusers.

    Parameters
    ----------
    unet : UNet2DConditionModel
    autoencoder : AutoencoderKL or VQModel
    scheduler : a noise schedule
    control : ControlNetModel, optional
    levels : callable, optional
        Noise levels of a number of steps, where they are others than the schedule's own.
    """

    unet: Any
    autoencoder: Any
    scheduler: Any
    control: Any = None
    levels: Callable[[int], list[int]] | None = None


def networks(folder: _folder.Folder, config: Settings, unet: str = "unet") -> Networks:
    """The networks of a folder; `unet` names its component."""
    place = {"device": config.device, "variant": config.variant}
    return Networks(
        _folder.model(folder, unet, ("UNet2DConditionModel",), dtype=config.dtype, **place),
        _folder.model(folder, "vae" if "vae" in folder.parts else "vqvae", ("AutoencoderKL", "VQModel"), **place),
        _folder.scheduler(folder),
        None if not config.control else _folder.network(
            Path(config.control), None, ("ControlNetModel",), dtype=config.dtype, **place
        ),
    )  # fmt: skip


class LatentDiffusion(Generator):
    """Pictures from a UNet in latents that is told about an image embedding.

    A member says what its embeddings look like (`item`) and what the network is told of them (`conditions`).
    Every row has a source of noise of its own, seeded for all rows at once.

    Attributes
    ----------
    shown : tuple of float
        Gain and lift that bring what the autoencoder draws to [0, 1].
    offset_noise : float
        Noise that a row's first latents have in common, beside one's own of each of them.
    branch : BrainControl, optional
        Steers the UNet by `Guides.brain`, scaled by `branch_scale`; see `brain_control`.
    beside : tuple of Path
        Files of weights outside the folder.
    """

    shown: tuple[float, float] = (0.5, 0.5)
    offset_noise: float = 0.0
    branch: BrainControl | None = None
    branch_scale: float = 1.0
    beside: tuple[Path, ...] = ()

    def __init__(self, config: Settings, folder: _folder.Folder, made: Networks) -> None:
        self.config, self.folder, self.networks = config, folder, made
        self.space = config.space
        self.needs = frozenset({"control"} if config.control else ())
        self.takes = frozenset({"low_level"}) | self.needs

    @property
    @abstractmethod
    def item(self) -> tuple[int, int]:
        """Tokens and dims of an image embedding."""

    @abstractmethod
    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """What the network is told of these rows, and what says nothing.

        Parameters
        ----------
        embeddings : Tensor, shape (n, n_tokens, dim)
        texts : tuple of str
            A caption a row; empty ones where none was told.
        sources : list of torch.Generator
            A row's own source of noise.
        """

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        height, width = _pair(self.networks.unet.config.sample_size)
        fold = 2 ** (len(self.networks.autoencoder.config.block_out_channels) - 1)
        return height * fold, width * fold

    @cached_property
    def sums(self) -> dict[str, str]:
        """sha256 of all weights."""
        folders = [self.folder.path / name for name in self.folder.parts]
        of_control = [_folder.place(self.config.control)] if self.config.control else []
        beside = {file.name: weights.sha256(file) for file in self.beside}
        return _folder.sha256_of([*folders, *of_control]) | beside

    def identity(self) -> dict[str, Any]:
        """Weights and settings."""
        settings = {k: v for k, v in asdict(self.config).items() if k not in NOT_CONTENT}
        return {
            "generator": self.name,
            "pipeline": self.folder.pipeline,
            "weights_sha256": self.sums,
            **settings,
        }

    @torch.no_grad()
    def generate(
        self,
        image_embeddings: np.ndarray,
        *,
        generator: torch.Generator,
        guides: Guides = NOTHING,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures of embeddings; see `Generator.generate`."""
        embeddings = self._checked(image_embeddings)
        guides = accepted(self, guides, len(embeddings), self.needs)
        n_steps = self.config.n_steps if n_steps is None else n_steps
        checks.in_range("n_steps", n_steps, 1, self.networks.scheduler.config.num_train_timesteps)
        sources = own_sources(len(embeddings), generator)
        pictures = [np.empty((0, *self.size, 3), np.uint8)]
        with tqdm(total=len(embeddings), desc="generate", disable=not progress) as bar:
            for start in range(0, len(embeddings), self.config.batch_size):
                rows = slice(start, start + self.config.batch_size)
                pictures.append(self._draw(embeddings[rows], sources[rows], guides.rows(rows), n_steps))
                bar.update(len(pictures[-1]))
        return np.concatenate(pictures)

    def _checked(self, image_embeddings: np.ndarray) -> Tensor:
        checks.n_axes("image_embeddings", image_embeddings, ("stimulus", "token", "dim"))
        if tuple(image_embeddings.shape[1:]) != self.item:
            raise checks.SpaceMismatchError(
                f"image_embeddings have shape {tuple(image_embeddings.shape[1:])} per stimulus, but {self.name} takes "
                f"{self.item}; embed with the target of {self.space}."
            )
        checks.finite("image_embeddings", image_embeddings)
        return torch.as_tensor(np.asarray(image_embeddings, np.float32)).to(self.networks.unet.device)

    def _draw(
        self, embeddings: Tensor, sources: list[torch.Generator], guides: Guides, n_steps: int
    ) -> np.ndarray:
        texts = guides.texts if guides.texts is not None else ("",) * len(embeddings)
        dtype = self.networks.unet.dtype
        told, untold = (c.typed(dtype) for c in self.conditions(embeddings, texts, sources))
        if self.config.guidance > 1:
            told = told.after(untold)
        latents, levels = self._start(sources, guides.low_level, n_steps)
        control = None if guides.control is None else self._control_map(guides.control, len(told.tokens))
        brain = None if guides.brain is None else torch.as_tensor(guides.brain).float().to(latents.device)
        takes = inspect.signature(self.networks.scheduler.step).parameters
        drawn_by = {"generator": sources} if "generator" in takes else {}
        for level in levels:
            said = self._said(latents, level, told, control, brain)
            latents = self.networks.scheduler.step(said, level, latents, **drawn_by).prev_sample
        return self._decode(latents)

    def _said(
        self, latents: Tensor, level: Tensor, told: Condition, control: Tensor | None, brain: Tensor | None
    ) -> Tensor:
        """What the network says of noisy latents, after guidance."""
        twice = 2 if self.config.guidance > 1 else 1
        x = self.networks.scheduler.scale_model_input(torch.cat([latents] * twice), level)
        brain = None if brain is None else brain.repeat(twice, 1)
        said = self._output(x, level, told, control, brain)
        if twice == 1:
            return said
        untold, said = said.chunk(2)
        return untold + self.config.guidance * (said - untold)

    def _output(
        self, x: Tensor, level: Tensor, told: Condition, control: Tensor | None, brain: Tensor | None
    ) -> Tensor:
        """The network's output in float32, with what a ControlNet and a brain's branch add to it."""
        keywords, added = told.keywords(), []
        if control is not None:
            down, middle = self.networks.control(
                x.to(self.networks.unet.dtype), level, controlnet_cond=control,
                conditioning_scale=self.config.control_scale, return_dict=False, **keywords,
            )  # fmt: skip
            added.append((down, middle))
        if brain is not None and self.branch is not None:
            found = self.branch(
                x.float(), level, brain, told.typed(torch.float32).keywords(), self.branch_scale
            )
            added.append((found["down_block_additional_residuals"], found["mid_block_additional_residual"]))
        if added:
            dtype = self.networks.unet.dtype
            keywords["down_block_additional_residuals"] = [
                sum(parts).to(dtype) for parts in zip(*(down for down, _ in added))
            ]
            keywords["mid_block_additional_residual"] = sum(middle for _, middle in added).to(dtype)
        return self.networks.unet(x.to(self.networks.unet.dtype), level, **keywords).sample.float()

    @property
    def unet(self) -> Any:
        """See `Controllable.unet`."""
        return self.networks.unet

    def clean(self, pictures: np.ndarray) -> Tensor:
        """See `Controllable.clean`."""
        return self._encode(pictures)

    def misses(
        self, clean: Tensor, embeddings: Tensor, features: Tensor, noise: Tensor, share: Tensor
    ) -> Tensor:
        """See `Controllable.misses`: of noise, clean latents or velocity, as the schedule says."""
        scheduler = self.networks.scheduler
        level = (share * scheduler.config.num_train_timesteps).long()
        kept = scheduler.alphas_cumprod.to(clean)[level][:, None, None, None]
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        wanted = {
            "epsilon": noise, "sample": clean, "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * clean
        }[checks.one_of("prediction_type", scheduler.config.prediction_type, KINDS)]  # fmt: skip
        sources = [torch.Generator().manual_seed(i) for i in range(len(clean))]
        # The UNet alone was moved to where training runs.
        told, _ = self.conditions(embeddings.to(self.config.device), ("",) * len(clean), sources)
        said = self._output(noisy, level, told.typed(self.networks.unet.dtype, clean.device), None, features)
        return (said - wanted).square().mean((1, 2, 3))

    def moved_(self, device: torch.device) -> None:
        """See `Controllable.moved_`."""
        self.networks.unet.to(device)

    def _start(
        self, sources: list[torch.Generator], low_level: np.ndarray | None, n_steps: int
    ) -> tuple[Tensor, Tensor]:
        """First latents, and the noise levels that are left to do."""
        scheduler = self.networks.scheduler
        device = self.networks.unet.device
        if self.networks.levels is None:
            scheduler.set_timesteps(n_steps, device=device)
        else:
            scheduler.set_timesteps(timesteps=self.networks.levels(n_steps), device=device)
        n_channels = self.networks.autoencoder.config.latent_channels
        latents = noise(sources, (n_channels, *_pair(self.networks.unet.config.sample_size)))
        if self.offset_noise:
            latents = latents + self.offset_noise * noise(sources, (1, 1, 1))
        latents = latents.to(device)
        if low_level is None:
            return latents * scheduler.init_noise_sigma, scheduler.timesteps
        n_left = min(int(n_steps * self.config.strength), n_steps)
        if n_left < 1:
            raise ValueError(
                f"n_steps {n_steps} times strength {self.config.strength} is no whole step; raise one of them."
            )
        first = (n_steps - n_left) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):  # DDIM counts by levels and needs none
            scheduler.set_begin_index(first)
        levels = scheduler.timesteps[first:]
        return scheduler.add_noise(self._encode(low_level), latents, levels[:1].repeat(len(latents))), levels

    def _encode(self, pictures: np.ndarray) -> Tensor:
        """Latents of pictures, brought to the size that is drawn; the autoencoder's mode, nothing is drawn."""
        x = torch.as_tensor(pictures).permute(0, 3, 1, 2).float().to(self.networks.autoencoder.device)
        if tuple(x.shape[2:]) != self.size:
            x = nn.functional.interpolate(x, self.size, mode="bicubic", antialias=True).clamp(0, 255)
        found = self.networks.autoencoder.encode(x / 127.5 - 1)
        latents = found.latent_dist.mode() if hasattr(found, "latent_dist") else found.latents
        return latents * self.networks.autoencoder.config.scaling_factor

    def _decode(self, latents: Tensor) -> np.ndarray:
        drawn = self.networks.autoencoder.decode(
            latents / self.networks.autoencoder.config.scaling_factor
        ).sample
        gain, lift = self.shown
        bytes_ = (gain * drawn + lift).clamp(0, 1).mul(255).round().to(torch.uint8)
        return bytes_.permute(0, 2, 3, 1).cpu().numpy()

    def _control_map(self, control: np.ndarray, n: int) -> Tensor:
        """Control maps (n, channel, height, width), twice where guidance asks twice."""
        x = torch.as_tensor(np.asarray(control, np.float32))[:, None].to(self.networks.unet.device)
        x = nn.functional.interpolate(x, self.size, mode="bilinear", align_corners=False, antialias=True)
        x = x.expand(-1, self.networks.control.config.conditioning_channels, -1, -1)
        return x.repeat(n // len(x), 1, 1, 1).to(self.networks.unet.dtype)


def _pair(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
