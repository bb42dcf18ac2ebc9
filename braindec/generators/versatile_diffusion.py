"""Versatile Diffusion: one network told image tokens, another one caption tokens, mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from braindec import checks, store
from braindec.generators import _folder
from braindec.generators._condition import Condition
from braindec.generators._latent import LatentDiffusion, Settings, networks

PIPELINES = (
    "VersatileDiffusionPipeline", "VersatileDiffusionDualGuidedPipeline", "VersatileDiffusionImageVariationPipeline",
)  # fmt: skip
GREY = 0.5 / 255  # of 1: the pipeline's grey picture is divided by 255 once more by its image processor


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """Settings of Versatile Diffusion, beside `Settings`.

    Parameters
    ----------
    text_share : float
        How much captions count beside the image embedding, in [0, 1]; 0: no caption is taken.
    n_tokens : int
        Image tokens of an embedding.
    n_text_tokens : int
        Predicted caption tokens behind them; 0: captions are told as texts.
    """

    guidance: float = 7.5
    text_share: float = 0.5
    n_tokens: int = 257
    n_text_tokens: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.in_range("text_share", self.text_share, 0, 1)
        checks.at_least("n_tokens", self.n_tokens, 1)
        checks.at_least("n_text_tokens", self.n_text_tokens, 0)
        if self.n_text_tokens and not self.text_share:
            raise checks.ConfigError("n_text_tokens are not looked at when text_share is 0; set one of them.")


def build(config: Config) -> VersatileDiffusion:
    """The generator of a folder."""
    return VersatileDiffusion(config)


class VersatileDiffusion(LatentDiffusion):
    """Pictures of CLIP's tokens of images, and of captions or their tokens.

    Notes
    -----
    Xu et al. 2023, arXiv:2211.08332, in diffusers' (deprecated) classes. Tokens are normed, projected and divided by
    the length of the first one. Image tokens alone: MindEye1 (guidance 3.5); both predicted, img2img:
    Brain-Diffuser (text_share 0.4, strength 0.75, guidance 7.5) and MindBridge.
    """

    name = "versatile_diffusion"
    config: Config

    def __init__(self, config: Config) -> None:
        folder = _folder.opened(config.folder, PIPELINES)
        made = networks(folder, config, "image_unet")
        super().__init__(config, folder, made)
        place = {"device": config.device, "variant": config.variant}
        self.words: tuple[Any, Any] | None = None
        self.nothing_seen: Tensor | None = None
        if config.text_share:
            encoder = _folder.model(folder, "text_encoder", ("CLIPTextModelWithProjection",), **place)
            self.words = _folder.tokenizer(folder), encoder
            self.takes |= frozenset() if config.n_text_tokens else {"texts"}
            n_words = config.n_text_tokens or encoder.config.max_position_embeddings
            _mix_(made.unet, folder, config, n_words)
        if config.guidance > 1:
            vision = _folder.model(folder, "image_encoder", ("CLIPVisionModelWithProjection",), **place)
            self.nothing_seen = _grey(folder, vision)

    @property
    def item(self) -> tuple[int, int]:
        """Image tokens and predicted caption tokens, as wide as the network's cross-attention."""
        return self.config.n_tokens + self.config.n_text_tokens, self.networks.unet.config.cross_attention_dim

    def conditions(
        self, embeddings: Tensor, texts: tuple[str, ...], sources: list[torch.Generator]
    ) -> tuple[Condition, Condition]:
        """Caption tokens, then image tokens; and those of an empty caption and a grey picture."""
        seen, words = embeddings.split([self.config.n_tokens, self.config.n_text_tokens], 1)
        nothing_seen = (
            torch.zeros_like(seen) if self.nothing_seen is None else self.nothing_seen.expand_as(seen)
        )
        if self.words is None:
            return Condition(seen), Condition(nothing_seen)
        if not self.config.n_text_tokens:
            words = self._read(texts)
        nothing = self._read(("",)).expand(len(words), -1, -1)[:, : words.shape[1]]
        return Condition(torch.cat([words, seen], 1)), Condition(torch.cat([nothing, nothing_seen], 1))

    def _read(self, texts: tuple[str, ...]) -> Tensor:
        tokenizer, encoder = self.words  # type: ignore[misc]  # there whenever captions count
        ids = tokenizer(
            list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        ).input_ids  # fmt: skip
        found = encoder(ids.to(encoder.device))
        tokens = encoder.text_projection(found.last_hidden_state)
        return tokens / found.text_embeds.norm(dim=-1, keepdim=True)[:, None]


class Mixed(nn.Module):
    """The attention layers of both networks at one place, over their own tokens, and their mean.

    What diffusers' DualTransformer2DModel computes; its 0.42 hands it a mask that it does not take.
    """

    def __init__(self, image: nn.Module, text: nn.Module, text_share: float, n_words: int) -> None:
        super().__init__()
        self.image, self.text = image, text
        self.text_share, self.n_words = text_share, n_words

    def forward(self, x: Tensor, *, encoder_hidden_states: Tensor, **rest: Any) -> tuple[Tensor]:
        """Latents (n, channel, height, width) after attention to caption tokens and, behind them, image tokens."""
        words, seen = encoder_hidden_states[:, : self.n_words], encoder_hidden_states[:, self.n_words :]
        read = self.text(x, encoder_hidden_states=words, **rest)[0]
        looked = self.image(x, encoder_hidden_states=seen, **rest)[0]
        return (self.text_share * read + (1 - self.text_share) * looked,)


def _mix_(unet: Any, folder: _folder.Folder, config: Config, n_words: int) -> None:
    """Puts the text network's attention beside the image network's."""
    from diffusers.models import DualTransformer2DModel, Transformer2DModel

    joined = bool(unet.config.get("dual_cross_attention", False))  # a folder that the dual pipeline saved
    text = unet if joined else _folder.model(
        folder, "text_unet", ("UNetFlatConditionModel",), device=config.device, dtype=config.dtype,
        variant=config.variant,
    )  # fmt: skip
    kind = DualTransformer2DModel if joined else Transformer2DModel
    for name in [name for name, module in unet.named_modules() if isinstance(module, kind)]:
        parent, _, last = name.rpartition(".")
        of_image, of_text = unet.get_submodule(name), text.get_submodule(name)
        if joined:
            of_image, of_text = of_image.transformers
        setattr(unet.get_submodule(parent), last, Mixed(of_image, of_text, config.text_share, n_words))


@torch.no_grad()
def _grey(folder: _folder.Folder, vision: Any) -> Tensor:
    """Tokens (1, n_tokens, dim) of the picture that says nothing."""
    file = checks.existing_file(
        folder.path / "image_feature_extractor" / "preprocessor_config.json", _folder.WRITE
    )
    about = store.read_json(file)
    mean, std = (torch.tensor(about[key])[None, :, None, None] for key in ("image_mean", "image_std"))
    side = vision.config.image_size
    pixels = ((GREY - mean) / std).expand(1, -1, side, side).to(vision.device)
    tokens = vision.visual_projection(vision.vision_model.post_layernorm(vision(pixels).last_hidden_state))
    return tokens / tokens[:, :1].norm(dim=-1, keepdim=True)
