"""Feature spaces by name: targets, layers inside their networks, and random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from braindec import checks
from braindec._compat import ensure_torchvision
from braindec.evaluate import encode_features
from braindec.targets._pictures import PictureNetwork
from braindec.targets.timm_vision import VIEW


@pytest.fixture(scope="module")
def pictures():
    return list(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))


def test_layers_come_from_early_to_late_with_the_target_last():
    specs = encode_features.layers_of("tiny_openclip", 5)
    assert specs == [*(f"tiny_openclip@visual.layer{i}" for i in (1, 2, 3, 4)), "tiny_openclip"]
    assert encode_features.layers_of("pixels") == ["pixels"]
    assert encode_features.default_nuisance(specs)[-1] == "tiny_openclip@visual.layer3!random"
    assert len(encode_features.default_nuisance(["pixels"])) == 1


def test_random_weights_depend_on_the_seed_alone_and_leave_the_trained_network_as_it_is(pictures):
    spec = "tiny_openclip@visual.layer2"
    trained, one, again, other = (
        encode_features.feature_target(s, seed).embed_images(pictures)
        for s, seed in ((spec, 0), (f"{spec}!random", 0), (f"{spec}!random", 0), (f"{spec}!random", 1))
    )
    assert trained.shape == one.shape == (3, 1, encode_features.feature_target(spec).shape[1])
    assert np.array_equal(one, again)
    assert not np.allclose(one, other) and not np.allclose(one, trained)
    assert np.array_equal(trained, encode_features.feature_target(spec).embed_images(pictures))


@pytest.mark.parametrize("kind", ["open_clip", "dinov2"])
def test_random_weights_keep_no_parameter_of_a_trained_transformer(kind):
    ensure_torchvision()
    torch.manual_seed(0)
    if kind == "open_clip":
        from open_clip.transformer import VisionTransformer

        network = VisionTransformer(32, 8, 32, layers=2, heads=2, mlp_ratio=2, output_dim=16)
    else:
        from transformers import Dinov2Config, Dinov2Model

        network = Dinov2Model(
            Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28)
        )
    with torch.no_grad():
        for own in network.parameters():
            own += 0.05 * torch.randn_like(own)  # "training"
    trained = {name: own.clone() for name, own in network.named_parameters()}
    encode_features._redraw(network, 0)
    for name, own in network.named_parameters():
        assert not torch.equal(own, trained[name]), name
        if own.ndim > 1:  # and nothing of it is left but its size
            like = torch.corrcoef(torch.stack([own.detach().flatten(), trained[name].detach().flatten()]))[
                0, 1
            ]
            assert abs(float(like)) < 5 / own.numel() ** 0.5, name


class _ChannelsLast(nn.Module):
    """A network whose maps are (n, row, column, channel), as timm says of Swin."""

    output_fmt = "NHWC"

    def __init__(self):
        super().__init__()
        self.block = nn.Identity()

    def forward(self, x):
        return self.block(x.permute(0, 2, 3, 1))


class _Seen(PictureNetwork):
    def _prepared(self, pictures):
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()

    def _tokens(self, x):
        return self.network(x).flatten(1)[:, None]


def test_maps_whose_channels_stand_last_are_averaged_over_positions_not_over_channels(pictures):
    target = _Seen("seen", "seen", _ChannelsLast(), {}, view=VIEW, aligned=None, normalised=False)
    found = encode_features.LayerOf(target, "block").embed_images(pictures)
    grid = np.stack(pictures).reshape(3, 4, 16, 4, 16, 3).mean((2, 4))  # (picture, row, column, channel)
    np.testing.assert_allclose(found.reshape(3, 3, 4, 4), grid.transpose(0, 3, 1, 2), rtol=1e-5)


def test_spaces_that_differ_have_names_and_identities_that_differ():
    specs = (
        "tiny_openclip",
        "tiny_openclip@visual.layer2",
        "tiny_openclip@visual.layer2!random",
        "tiny_openclip!random",
    )
    targets = [encode_features.feature_target(s) for s in specs]
    assert len({t.space for t in targets}) == len({str(t.identity()) for t in targets}) == 4


def test_settings_are_taken_and_mistakes_are_named():
    assert encode_features.feature_target("pixels:height=4,width=4").shape == (1, 16)
    with pytest.raises(checks.ConfigError, match="layer must be one of"):
        encode_features.feature_target("tiny_openclip@visual.layer9")
    with pytest.raises(checks.ConfigError, match="has no network"):
        encode_features.feature_target("pixels!random")
    with pytest.raises(checks.ConfigError, match="Did you mean 'pixels'"):
        encode_features.feature_target("pixel")
    with pytest.raises(checks.ConfigError, match="not of the form"):
        encode_features.feature_target("")
