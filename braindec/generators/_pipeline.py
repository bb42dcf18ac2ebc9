"""A diffusers pipeline from a folder as a maker of pictures for a score: pixels or latents, with or without texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import _compat, checks, store, weights
from braindec.generators._guidance import PictureScore, guided

UNETS = ("UNet2DModel", "UNet2DConditionModel")


@dataclass(frozen=True)
class Config:
    """Which pipeline, and how it is run.

    Parameters
    ----------
    folder : str
        As diffusers' ``save_pretrained`` writes it: ``model_index.json`` and a folder for each component. Used are
        ``unet``, ``scheduler`` and, where there are, ``vae``, ``tokenizer`` and ``text_encoder``.
    n_steps : int
        Denoising steps, deterministic (DDIM on the pipeline's noise schedule).
    prompt : str
        For a network that is told a text; empty: the text that says nothing.
    batch_size : int
        Pictures made together.
    device : str
        Where the networks run.
    """

    folder: str
    n_steps: int = 50
    prompt: str = ""
    batch_size: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        checks.at_least("n_steps", self.n_steps, 1)
        checks.at_least("batch_size", self.batch_size, 1)


def load(config: Config) -> PipelineSynthesiser:
    """The pipeline of a config; components are opened one by one, and no code of the folder is run.

    Raises
    ------
    FileNotFoundError
        If the folder or a component is not there.
    ConfigError
        If its network is of another kind than `UNETS`.
    """
    return PipelineSynthesiser(config)


class PipelineSynthesiser:
    """Pictures of a diffusion pipeline that raise a score."""

    def __init__(self, config: Config) -> None:
        _compat.ensure_torchvision()
        import diffusers

        self.config = config
        folder = checks.existing_folder(config.folder, "Write one with a pipeline's save_pretrained(folder).")
        file = checks.existing_file(folder / "model_index.json", "It is written by save_pretrained.")
        self.parts: dict[str, Any] = {
            name: value[1]
            for name, value in store.read_json(file).items()
            if isinstance(value, list) and value[1] is not None
        }
        kind = checks.one_of("unet", self.parts.get("unet"), UNETS)
        self.unet = _frozen(getattr(diffusers, kind), folder / "unet", config.device)
        self.autoencoder = (
            _frozen(diffusers.AutoencoderKL, folder / "vae", config.device) if "vae" in self.parts else None
        )
        self.scheduler = diffusers.DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
        self.told = _told(folder, config) if kind == "UNet2DConditionModel" else None

    def identity(self) -> dict[str, Any]:
        """Components and the sha256 of their weights."""
        files = sorted(Path(self.config.folder).rglob("*.safetensors"))
        sums = {f.parent.name: weights.sha256(f) for f in files if f.parent.name in self.parts}
        return {"generator": "diffusers", "weights_sha256": sums, "n_steps": self.config.n_steps,
                "prompt": self.config.prompt}  # fmt: skip

    def synthesise(
        self,
        score: PictureScore,
        n: int,
        *,
        generator: torch.Generator,
        strength: float = 1.0,
        n_steps: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Pictures that raise a score.

        Parameters
        ----------
        score : callable
            ``score(pictures) -> (n,)``, differentiable; pictures (n, 3, height, width) in [0, 1].
        n : int
            How many pictures.
        generator : torch.Generator
            The only source of randomness; equal seeds start from equal noise at any strength.
        strength : float
            Of the guidance, see `guided`; 0: the pipeline's own pictures.
        n_steps : int, optional
            None for the config's own number.
        progress : bool

        Returns
        -------
        ndarray of uint8, shape (n, height, width, 3)
        """
        checks.at_least("n", n, 1)
        steps = self.config.n_steps if n_steps is None else n_steps
        checks.in_range("n_steps", steps, 1, self.scheduler.config.num_train_timesteps)
        self.scheduler.set_timesteps(steps)
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        shape = (n, self.unet.config.in_channels, height, width)
        noise = torch.randn(shape, generator=generator, device=generator.device).to(self.config.device)
        made = []
        for part in noise.split(self.config.batch_size):
            latents = guided(self, part, score, strength, progress)
            with torch.no_grad():
                made.append(as_bytes(self.pictures(latents)))
        return np.concatenate(made)

    def output(self, latents: Tensor, level: int) -> Tensor:
        """See `Denoiser.output`."""
        if self.told is None:
            return self.unet(latents, level).sample
        told = self.told.to(latents).expand(len(latents), -1, -1)
        return self.unet(latents, level, encoder_hidden_states=told).sample

    def pictures(self, clean: Tensor) -> Tensor:
        """See `Denoiser.pictures`."""
        if self.autoencoder is not None:
            clean = self.autoencoder.decode(clean / self.autoencoder.config.scaling_factor).sample
        return (clean / 2 + 0.5).clamp(0, 1)


def as_bytes(pictures: Tensor) -> np.ndarray:
    """Pictures (n, 3, height, width) in [0, 1] as uint8 (n, height, width, 3)."""
    return pictures.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _frozen(kind: Any, folder: Path, device: str) -> Any:
    checks.existing_folder(folder, "The pipeline's model_index.json names it.")
    model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return model.requires_grad_(False).eval().to(device)


def _told(folder: Path, config: Config) -> Tensor:
    """The prompt's text embedding, (1, n_tokens, dim)."""
    try:
        import transformers
    except ImportError as error:
        raise checks.needs_package("transformers", None, "a pipeline that is told texts") from error
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    encoder = _frozen(transformers.CLIPTextModel, folder / "text_encoder", "cpu")
    ids = tokenizer(
        config.prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
        return_tensors="pt",
    ).input_ids  # fmt: skip
    with torch.no_grad():
        return encoder(ids)[0].to(config.device)
