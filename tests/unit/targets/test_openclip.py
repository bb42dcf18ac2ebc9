"""The OpenCLIP target embeds what open_clip's own code embeds, for the shipped model and for named architectures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec import _compat, checks, weights
from braindec.targets import openclip, pixels, tiny_openclip


@pytest.fixture(scope="module")
def shipped() -> openclip.OpenClip:
    return tiny_openclip.build(tiny_openclip.Config())


def in_open_clip(config: str, weights_file: str):
    """A model in open_clip's own class, loaded without our code."""
    _compat.ensure_torchvision()
    from open_clip.model import CLIP

    model = CLIP(**json.loads(Path(config).read_text())["model_cfg"])
    model.load_state_dict({k: v.float() for k, v in load_file(weights_file).items()}, strict=True)
    return model.eval()


@pytest.fixture(scope="module")
def reference():
    return in_open_clip(weights.FOLDER / "openclip.json", weights.FOLDER / "openclip.safetensors")


@pytest.fixture(scope="module")
def a_transformer(tmp_path_factory) -> tuple[str, str]:
    """Config and random weights of a small vision transformer with a class token."""
    _compat.ensure_torchvision()
    from open_clip.model import CLIP

    folder = tmp_path_factory.mktemp("transformer")
    described = json.loads((weights.FOLDER / "openclip.json").read_text())
    vision = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    described["model_cfg"] |= {"vision_cfg": vision, "embed_dim": 24}
    torch.manual_seed(0)
    save_file(CLIP(**described["model_cfg"]).state_dict(), folder / "vit.safetensors")
    (folder / "vit.json").write_text(json.dumps(described))
    return str(folder / "vit.json"), str(folder / "vit.safetensors")


@pytest.fixture
def pictures(rng) -> np.ndarray:
    return rng.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def as_input(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def test_pooled_embeddings_are_open_clips_own(shipped, reference, pictures):
    with torch.inference_mode():
        expected = reference.encode_image(as_input(pictures), normalize=True).numpy()
    found = shipped.embed_images(pictures, batch_size=2)
    assert found.shape == (5, *shipped.shape)
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-6)


def test_texts_are_open_clips_own(shipped, reference):
    texts = [
        "a large solid red circle at the top left",
        "a small striped blue star on a plain grey background",
    ]
    with torch.inference_mode():
        expected = reference.encode_text(shipped.tokenizer(texts), normalize=True).numpy()
    np.testing.assert_allclose(shipped.embed_text(texts, batch_size=1), expected, atol=2e-6)


def test_raw_embeddings_point_where_normalised_ones_do(shipped, pictures):
    raw = tiny_openclip.build(tiny_openclip.Config(normalised=False))
    found = raw.embed_images(pictures)
    assert raw.space != shipped.space
    lengths = np.linalg.norm(found, axis=2, keepdims=True)
    assert np.abs(lengths - 1).max() > 0.05
    np.testing.assert_allclose(found / lengths, shipped.embed_images(pictures), atol=2e-6)


def test_all_tokens_begin_with_the_pooled_embedding_and_hold_one_per_patch(a_transformer, pictures):
    every = openclip.build(openclip.Config(*a_transformer, tokens="all"))
    pooled = openclip.build(openclip.Config(*a_transformer))
    found = every.embed_images(pictures)
    assert found.shape == (5, 17, 24) == (5, *every.shape)
    np.testing.assert_allclose(found[:, :1], pooled.embed_images(pictures), atol=2e-6)
    assert every.space != pooled.space


def test_patch_tokens_are_the_visual_towers_own_output(a_transformer, pictures):
    target = openclip.build(openclip.Config(*a_transformer, tokens="patches"))
    model = in_open_clip(*a_transformer)
    caught = []
    model.visual.ln_post.register_forward_hook(lambda _module, _input, output: caught.append(output))
    with torch.inference_mode():
        model.encode_image(as_input(pictures))
    assert target.shape == (16, 32)
    np.testing.assert_allclose(target.embed_images(pictures), caught[0][:, 1:].numpy(), atol=2e-5)


def test_batches_and_containers_do_not_matter(shipped, pictures):
    from PIL import Image

    expected = shipped.embed_images(pictures)
    as_pil = (Image.fromarray(p) for p in pictures)
    np.testing.assert_allclose(shipped.embed_images(as_pil, batch_size=3), expected, atol=2e-6)
    assert shipped.embed_images([]).shape == (0, *shipped.shape)


def test_pictures_that_are_not_bytes_are_refused(shipped, pictures):
    with pytest.raises(TypeError, match="uint8"):
        shipped.embed_images(pictures / 255)


def test_the_identity_is_json_with_the_weights_sha256(shipped):
    identity = json.loads(json.dumps(shipped.identity()))
    assert identity["weights_sha256"] == weights.expected_sha256()["openclip.safetensors"]
    assert identity["transform"]["size"] in (64, [64, 64])
    assert identity["weights_sha256"][:12] in shipped.space


def test_a_missing_or_surplus_weight_is_refused(tmp_path):
    state = load_file(weights.FOLDER / "openclip.safetensors")
    state.pop("logit_scale")
    save_file(state, tmp_path / "less.safetensors")
    config = openclip.Config(str(weights.FOLDER / "openclip.json"), str(tmp_path / "less.safetensors"))
    with pytest.raises(RuntimeError, match="logit_scale"):
        openclip.build(config)


def test_a_named_architecture_reads_a_safetensors_file(tmp_path):
    _compat.ensure_torchvision()
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32-alt", pretrained=None)
    save_file(model.state_dict(), tmp_path / "random.safetensors")
    target = openclip.build(openclip.Config("ViT-S-32-alt", str(tmp_path / "random.safetensors")))
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[
        :, None, None
    ]  # CLIP's published image statistics
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    x = (torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / std
    with torch.inference_mode():
        expected = model.eval().encode_image(x[None], normalize=True).numpy()
    np.testing.assert_allclose(target.embed_images([picture])[:, 0], expected, atol=2e-5)


def test_unknown_names_are_refused_with_the_closest_known_ones():
    with pytest.raises(checks.ConfigError, match="Did you mean 'ViT-L-14'"):
        openclip.build(openclip.Config("ViT-L14"))
    with pytest.raises(checks.ConfigError, match="Did you mean 'openai'"):
        openclip.build(openclip.Config("ViT-L-14", "opena1"))
    with pytest.raises(checks.ConfigError, match="Did you mean 'pooled'"):
        openclip.Config(tokens="pool")


def test_weights_that_cannot_be_downloaded_say_what_and_where(monkeypatch):
    _compat.ensure_torchvision()
    import open_clip

    def unreachable(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)
    monkeypatch.setattr(
        openclip._downloads, "why_unreachable", lambda url: ""
    )  # it answers, and then breaks off
    monkeypatch.setattr(openclip._downloads, "in_hub_cache", lambda repository, names: None)
    with pytest.raises(
        checks.DownloadError, match=r"'openai' of ViT-L-14 must be downloaded once from .*no route to host"
    ):
        openclip.build(openclip.Config())


def test_a_convolutional_tower_refuses_token_outputs():
    with pytest.raises(checks.ConfigError, match="class token"):
        openclip.build(
            openclip.Config(
                str(weights.FOLDER / "openclip.json"), str(weights.FOLDER / "openclip.safetensors"), "all"
            )
        )


def test_no_text_and_no_picture_are_no_rows(shipped):
    assert shipped.embed_text([]).shape == (0, shipped.shape[1])
    for target in (shipped, pixels.build(pixels.Config(height=3, width=2))):
        found = target.embed_images([])
        assert found.shape == (0, *target.shape) and found.dtype == np.float32
