"""IP-Adapter: Stable Diffusion, SDXL or SDXL-Turbo with a second cross-attention over an image embedding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import _compat, checks, store
from braindec.generators import _folder
from braindec.generators._condition import Condition
from braindec.generators._latent import LatentDiffusion, Settings, networks
from braindec.generators._texts import texts, time_ids

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of an IP-Adapter, beside `Settings`.

    Parameters
    ----------
    n_steps : int
    guidance : float
    adapter : str
        The adapter's safetensors file: ``image_proj.*`` and ``ip_adapter.*``.
    scale : float
        How much the image embedding counts beside the caption.
    n_tokens : int
        Tokens of an embedding: 1 for a pooled one, more for an adapter that resamples tokens ("plus").
    negative : str
        A caption that guidance goes away from.
    """

    adapter: str
    n_steps: int = 30
    guidance: float = 5.0
    scale: float = 1.0
    n_tokens: int = 1
    negative: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.at_least("scale", self.scale, 0)
        checks.at_least("n_tokens", self.n_tokens, 1)


def build(config: Config, nothing: np.ndarray | None = None) -> IpAdapter:
    """The generator of a folder and an adapter's file.

    Parameters
    ----------
    config : Config
    nothing : ndarray of float, shape (n_tokens, dim), optional
        Embedding of a black picture, which says nothing to an adapter that resamples tokens; zeros to others.
    """
    return IpAdapter(config, nothing)


class IpAdapter(LatentDiffusion):
    """Pictures of image embeddings and captions.

    Notes
    -----
    Ye et al. 2023, arXiv:2308.06721. ATM draws with SDXL-Turbo: 4 steps, guidance 0 (Li et al. 2024,
    arXiv:2403.07721).
    """

    name = "ip_adapter"
    config: Config

    def __init__(self, config: Config, nothing: np.ndarray | None) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        super().__init__(config, folder, networks(folder, config))
        self.takes |= {"texts"}
        self.beside = (Path(config.adapter),)
        self.texts = texts(folder, config.device, config.dtype, config.variant)
        self.width = _adapted_(self.networks.unet, Path(config.adapter), config)
        if config.n_tokens > 1 and config.guidance > 1 and nothing is None:
            raise checks.ConfigError(
                "an adapter of tokens with guidance needs `nothing`, the embedding of a black picture; give it to "
                "build, or set guidance to 1."
            )
        shape = (config.n_tokens, self.width)
        self.nothing = (
            torch.zeros(shape) if nothing is None else torch.as_tensor(nothing, dtype=torch.float32)
        )
        if tuple(self.nothing.shape) != shape:
            raise checks.SpaceMismatchError(
                f"nothing has shape {tuple(self.nothing.shape)}, but the adapter takes {shape}; embed a black picture "
                "with the target."
            )

    def identity(self) -> dict[str, Any]:
        """Weights and settings, and the sha256 of the embedding that says nothing."""
        return super().identity() | {"nothing": store.content_hash(nothing=self.nothing.numpy())}

    @property
    def item(self) -> tuple[int, int]:
        """Tokens and dims that the adapter projects."""
        return self.config.n_tokens, self.width

    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """The caption's tokens, and the embedding for the adapter."""
        nothing = self.nothing.to(embeddings).expand(len(embeddings), -1, -1)
        return tuple(
            Condition(tokens, None, self._added(pooled, about))
            for (tokens, pooled), about in (
                (self.texts.read(texts), embeddings),
                (self.texts.nothing(self.config.negative, len(embeddings)), nothing),
            )
        )  # type: ignore[return-value]  # two of them

    def _added(self, pooled: Tensor | None, about: Tensor) -> dict[str, Tensor]:
        """The adapter takes (n, picture, dim), or (n, picture, token, dim)."""
        added = {"image_embeds": about if self.config.n_tokens == 1 else about[:, None]}
        if pooled is not None:
            added |= {"text_embeds": pooled, "time_ids": time_ids(len(about), self.size).to(about)}
        return added


def _adapted_(unet: Any, file: Path, config: Config) -> int:
    """Puts the adapter into a UNet; the width of the embeddings that it takes."""
    found = _read(file)
    _compat.ensure_torchvision()
    from diffusers import StableDiffusionPipeline

    with _folder.quiet(), torch.random.fork_rng(devices=[]):
        holder = StableDiffusionPipeline(
            vae=None, text_encoder=None, tokenizer=None, unet=unet, scheduler=None, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        try:
            holder.load_ip_adapter(
                found, subfolder="", weight_name="", image_encoder_folder=None, low_cpu_mem_usage=False
            )
        except (KeyError, RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise _misfit(file, config, said) from error
        holder.set_ip_adapter_scale(config.scale)
    of_unet = [p for p in unet.attn_processors.values() if isinstance(p, torch.nn.Module)]
    for name, modules in (("image_proj", [unet.encoder_hid_proj]), ("ip_adapter", of_unet)):
        # Whatever of the file is not asked for is left aside in silence.
        n_there, n_taken = sum(v.numel() for v in found[name].values()), sum(map(_size, modules))
        if n_there != n_taken:
            raise _misfit(file, config, f"{name} holds {n_there} values, the network takes {n_taken}")
    unet.to(config.device, getattr(torch, config.dtype)).requires_grad_(False).eval()
    proj = found["image_proj"]
    return int(proj["proj_in.weight" if "proj_in.weight" in proj else "proj.weight"].shape[1])


def _read(file: Path) -> dict[str, dict[str, Tensor]]:
    """Tensors of an adapter by its two parts."""
    from safetensors.torch import load_file

    file = checks.existing_file(file, "Name an adapter's .safetensors file.")
    if file.suffix != ".safetensors":
        raise checks.DataFileError(file, "is no .safetensors file", "Use the adapter's safetensors file.")
    found: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in load_file(file).items():
        part, _, name = key.partition(".")
        if part not in found:
            raise checks.DataFileError(
                file, f"holds {key}, which is of no IP-Adapter", "Use an adapter's file."
            )
        found[part][name] = value
    if not {"proj.weight", "proj_in.weight"} & set(found["image_proj"]):
        raise checks.DataFileError(
            file, "is neither a plain adapter (image_proj.proj) nor a resampler of tokens (image_proj.proj_in)",
            "Adapters of faces take other inputs than image embeddings.",
        )  # fmt: skip
    return found


def _misfit(file: Path, config: Config, found: str) -> checks.DataFileError:
    return checks.DataFileError(
        file, f"does not fit the network of {config.folder} ({found})", "Use the adapter of this model."
    )


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
