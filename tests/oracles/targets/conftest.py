"""Small random models, saved as their own libraries save them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from braindec import _compat

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TEXT = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def dinov2(registers: int = 0) -> list:
    from transformers import (
        BitImageProcessor,
        Dinov2Config,
        Dinov2Model,
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel,
    )

    processor = BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    sizes = {"image_size": 28, "patch_size": 14, **TINY}
    if registers:
        described = Dinov2WithRegistersConfig(num_register_tokens=registers, **sizes)
        return [Dinov2WithRegistersModel(described), processor]
    return [Dinov2Model(Dinov2Config(**sizes)), processor]


def siglip() -> list:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    text = {**TEXT, **TINY, "max_position_embeddings": 16, "projection_size": 32}
    described = SiglipConfig(vision_config={"image_size": 32, "patch_size": 8, **TINY}, text_config=text)
    return [SiglipModel(described), SiglipImageProcessor(size={"height": 32, "width": 32})]


def clip() -> list:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    vision = {"image_size": 32, "patch_size": 8, **TINY}
    described = CLIPConfig(vision_config=vision, text_config={**TEXT, **TINY}, projection_dim=20)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return [CLIPModel(described), processor]


def convnext() -> list:
    from transformers import ConvNextConfig, ConvNextImageProcessor, ConvNextModel

    described = ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], image_size=64)
    return [ConvNextModel(described), ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=1.0)]


def wav2vec2(kind: str = "Wav2Vec2") -> list:
    import transformers

    convolutions = {"conv_dim": (16, 16, 16), "conv_kernel": (10, 8, 4), "conv_stride": (5, 8, 8)}
    position = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    described = getattr(transformers, f"{kind}Config")(
        num_feat_extract_layers=3, **convolutions, **position, **TINY
    )
    return [getattr(transformers, f"{kind}Model")(described), transformers.Wav2Vec2FeatureExtractor()]


def whisper() -> list:
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}  # fmt: skip
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return [WhisperModel(WhisperConfig(vocab_size=99, **ids, **sizes)), WhisperFeatureExtractor()]


def clap(fused: bool = False) -> list:
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2],
             "window_size": 4, "projection_dim": 12, "enable_fusion": fused}  # fmt: skip
    text = {**TEXT, **TINY, "projection_dim": 12}
    return [
        ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12)),
        ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc"),
    ]


MAKERS: dict[str, Callable[[], list]] = {
    "dinov2": dinov2,
    "dinov2_registers": lambda: dinov2(registers=3),
    "siglip": siglip,
    "clip": clip,
    "convnext": convnext,
    "wav2vec2": wav2vec2,
    "hubert": lambda: wav2vec2("Hubert"),
    "whisper": whisper,
    "clap": clap,
    "clap_fused": lambda: clap(fused=True),
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of one of these models, made once."""
    pytest.importorskip("transformers", reason="targets of transformers need the extra `models`")
    _compat.ensure_torchvision()
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                for part in MAKERS[name]():
                    part.save_pretrained(made[name])
        return made[name]

    return folder


@pytest.fixture
def pictures(rng) -> np.ndarray:
    return rng.integers(0, 256, (3, 40, 52, 3), dtype=np.uint8)
