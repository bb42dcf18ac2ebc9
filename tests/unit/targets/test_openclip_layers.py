"""Any layer of any OpenCLIP tower, before or after the projection, against hooks on open_clip's own modules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from braindec import _compat, checks, weights
from braindec.targets import differentiable, openclip, tiny_openclip
from braindec.targets._views import View

VISION = {"image_size": 64, "layers": 3, "width": 32, "head_width": 16, "patch_size": 16}
TIMM = {
    "image_size": 224,
    "timm_model_name": "vit_tiny_patch16_224",
    "timm_pool": "token",
    "timm_proj": "none",
}


def made(folder: Path, vision: dict, embed_dim: int) -> tuple[str, str]:
    """Config and random weights of a small OpenCLIP model with this image tower."""
    _compat.ensure_torchvision()
    from open_clip.model import CLIP

    described = json.loads((weights.FOLDER / "openclip.json").read_text())
    described["model_cfg"] |= {"vision_cfg": vision, "embed_dim": embed_dim}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(CLIP(**described["model_cfg"]).state_dict(), folder / "tower.safetensors")
    (folder / "tower.json").write_text(json.dumps(described))
    return str(folder / "tower.json"), str(folder / "tower.safetensors")


@pytest.fixture(scope="module")
def vit(tmp_path_factory) -> tuple[str, str]:
    return made(tmp_path_factory.mktemp("vit"), VISION, 24)


@pytest.fixture(scope="module")
def reference(vit):
    from open_clip.model import CLIP

    model = CLIP(**json.loads(Path(vit[0]).read_text())["model_cfg"])
    model.load_state_dict(load_file(vit[1]), strict=True)
    return model.eval()


@pytest.fixture
def pictures(rng) -> np.ndarray:
    return rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def caught(model, module, pictures: np.ndarray) -> torch.Tensor:
    """What a module puts out in the model's own forward pass."""
    found: list = []
    handle = module.register_forward_hook(lambda _m, _i, out: found.append(out))
    with torch.inference_mode():
        model.encode_image(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 * 2 - 1)
    handle.remove()
    return found[0]


@pytest.mark.parametrize("layer", [1, 2, 3, -1, -3])
def test_a_layer_is_what_its_block_puts_out(vit, reference, pictures, layer):
    block = caught(
        reference, reference.visual.transformer.resblocks[layer - 1 if layer > 0 else layer], pictures
    )
    for tokens, expected in (
        ("pooled", block[:, :1]),
        ("all", block),
        ("patches", block[:, 1:]),
        ("mean", block[:, 1:].mean(1, keepdim=True)),
    ):
        target = openclip.build(openclip.Config(*vit, tokens=tokens, layer=layer, normalised=False))
        assert target.shape == expected.shape[1:]
        np.testing.assert_allclose(target.embed_images(pictures), expected.numpy(), atol=2e-5)
        assert target.identity()["layer"] == layer


def test_a_projected_layer_goes_through_the_last_norm_and_the_projection(vit, reference, pictures):
    block = caught(reference, reference.visual.transformer.resblocks[1], pictures)
    with torch.inference_mode():
        expected = reference.visual.ln_post(block[:, :1]) @ reference.visual.proj
    target = openclip.build(openclip.Config(*vit, layer=2, projected=True, normalised=False))
    np.testing.assert_allclose(target.embed_images(pictures), expected.numpy(), atol=2e-5)


def test_before_the_projection_stands_the_last_norm(vit, reference, pictures):
    normed = caught(reference, reference.visual.ln_post, pictures)
    before = openclip.build(openclip.Config(*vit, projected=False, normalised=False))
    np.testing.assert_allclose(before.embed_images(pictures), normed[:, :1].numpy(), atol=2e-5)
    after = openclip.build(openclip.Config(*vit, tokens="patches", projected=True))
    with torch.inference_mode():
        expected = normed[:, 1:] @ reference.visual.proj
    np.testing.assert_allclose(after.embed_images(pictures), expected.numpy(), atol=2e-5)


def test_normalised_means_unit_length_of_the_one_embedding(vit, pictures):
    for given in ({"layer": 1}, {"projected": False}, {"tokens": "mean"}):
        found = openclip.build(openclip.Config(*vit, **given)).embed_images(pictures)
        np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-5)


def test_every_way_of_reading_has_a_space_of_its_own_and_the_usual_ones_keep_theirs(vit):
    usual = openclip.build(openclip.Config(*vit))
    assert usual.space == f"openclip/tower/{weights.sha256(vit[1])[:12]}/pooled"
    assert set(usual.identity()) == {
        "target", "model", "weights_sha256", "transform", "tokens", "normalised"
    }  # fmt: skip
    ways = [{}, {"layer": 1}, {"layer": 2}, {"layer": 2, "projected": True}, {"projected": False},
            {"tokens": "mean"}, {"layer": 1, "tokens": "mean"}, {"view": View(blur=0.1)}, {"view": View(low_pass=4.0)},
            {"tokens": "patches"}, {"tokens": "patches", "projected": True}, {"normalised": False}]  # fmt: skip
    targets = [openclip.build(openclip.Config(*vit, **way)) for way in ways]
    assert len({target.space for target in targets}) == len(ways)
    assert len({json.dumps(target.identity()) for target in targets}) == len(ways)


def test_texts_have_no_place_in_a_space_of_pictures_alone(vit):
    for given in ({"layer": 1}, {"projected": False}, {"tokens": "mean"}):
        with pytest.raises(checks.ConfigError, match="pictures alone"):
            openclip.build(openclip.Config(*vit, **given)).embed_text(["red"])


@pytest.mark.parametrize("layer", [4, -4])
def test_a_layer_that_is_not_there_is_refused(vit, layer):
    with pytest.raises(checks.ConfigError, match=f"layer {layer} is none"):
        openclip.build(openclip.Config(*vit, layer=layer))
    with pytest.raises(checks.ConfigError, match="counts from 1"):
        openclip.Config(*vit, layer=0)


def test_a_map_is_applied_to_pictures_and_texts_before_they_are_normalised(vit, pictures, rng, tmp_path):
    matrix = torch.from_numpy(rng.normal(size=(24, 7)).astype(np.float32))
    save_file({"weight": matrix}, tmp_path / "human.safetensors")
    given = {"aligned": str(tmp_path / "human.safetensors")}
    raw = openclip.build(openclip.Config(*vit, normalised=False))
    target = openclip.build(openclip.Config(*vit, **given))
    expected = raw.embed_images(pictures) @ matrix.numpy()
    expected /= np.linalg.norm(expected, axis=2, keepdims=True)
    assert target.shape == (1, 7)
    np.testing.assert_allclose(target.embed_images(pictures), expected, atol=1e-5)
    words = raw.embed_text(["a red circle"]) @ matrix.numpy()
    np.testing.assert_allclose(target.embed_text(["a red circle"]), words / np.linalg.norm(words), atol=1e-5)
    assert target.identity()["aligned_sha256"] == weights.sha256(tmp_path / "human.safetensors")
    assert "/aligned-" in target.space


def test_stages_of_the_shipped_residual_network_are_its_layers(pictures):
    reference = tiny_openclip.build(tiny_openclip.Config()).model
    stage = caught(reference, reference.visual.layer1, pictures)
    shallow = tiny_openclip.build(tiny_openclip.Config(layer=2, normalised=False))
    np.testing.assert_allclose(shallow.embed_images(pictures)[:, 0], stage.mean((2, 3)).numpy(), atol=2e-5)
    positions = tiny_openclip.build(tiny_openclip.Config(layer=2, tokens="patches"))
    expected = stage.flatten(2).transpose(1, 2).numpy()
    np.testing.assert_allclose(positions.embed_images(pictures), expected, atol=2e-5)
    with pytest.raises(checks.ConfigError, match="is none of this image tower"):
        tiny_openclip.build(tiny_openclip.Config(layer=6))


def test_a_tower_of_timm_gives_its_tokens_and_blocks(tmp_path, rng):
    pictures = rng.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    files = made(tmp_path, TIMM, 192)
    pooled = openclip.build(openclip.Config(*files, normalised=False))
    trunk = pooled.model.visual.trunk
    blocks = caught(pooled.model, trunk.blocks[3], pictures)
    normed = caught(pooled.model, trunk.norm, pictures)
    layer = openclip.build(openclip.Config(*files, layer=4, tokens="patches"))
    n_prefix = trunk.num_prefix_tokens
    np.testing.assert_allclose(layer.embed_images(pictures), blocks[:, n_prefix:].numpy(), atol=2e-5)
    patches = openclip.build(openclip.Config(*files, tokens="patches"))
    np.testing.assert_allclose(patches.embed_images(pictures), normed[:, n_prefix:].numpy(), atol=2e-5)
    with pytest.raises(checks.ConfigError, match="projection"):
        openclip.build(openclip.Config(*files, layer=4, projected=True))


def test_what_has_no_projection_apart_says_so():
    with pytest.raises(checks.ConfigError, match="no map of tokens"):
        tiny_openclip.openclip.build(
            openclip.Config(
                str(weights.FOLDER / "openclip.json"),
                str(weights.FOLDER / "openclip.safetensors"),
                projected=False,
            )
        )


def test_gradients_flow_through_a_layer_but_not_through_a_blur(vit, pictures):
    target = openclip.build(openclip.Config(*vit, layer=1))
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    found = differentiable(target)(x.requires_grad_())
    np.testing.assert_allclose(found.detach().numpy(), target.embed_images(pictures)[:, 0], atol=1e-4)
    found.sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    with pytest.raises(checks.ConfigError, match="blurs"):
        differentiable(openclip.build(openclip.Config(*vit, view=View(blur=0.1))))
