"""Vision models of transformers as targets are the library's own forward passes, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.targets import transformers_vision
from braindec.targets._views import View

PREFIX = {"dinov2": 1, "dinov2_registers": 4, "clip": 1, "siglip": 0}


def own(folder, pictures):
    """The library's forward pass on the library's own preparation: (vision model, inputs, output)."""
    from transformers import AutoImageProcessor, AutoModel

    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(
        images=list(pictures), return_tensors="pt"
    )
    with torch.inference_mode():
        out = getattr(model, "vision_model", model)(**inputs, output_hidden_states=True)
    return model, inputs, out


def found(folder, pictures, **given) -> np.ndarray:
    config = transformers_vision.Config(model=str(folder), **given)
    target = transformers_vision.build(config)
    values = target.embed_images(pictures, batch_size=2)
    assert values.shape == (len(pictures), *target.shape)
    return values


@pytest.mark.parametrize("name", sorted(PREFIX))
@pytest.mark.parametrize("layers", [(), (0,), (1,), (-1,), (1, 2)])
def test_layers_and_poolings_are_hidden_states_of_the_library(saved, pictures, name, layers):
    _, _, out = own(saved(name), pictures)
    hidden = [out.hidden_states[k] for k in layers]
    expected = torch.stack(hidden).mean(0) if layers else out.last_hidden_state
    n = PREFIX[name]
    ways = {"all": expected, "patches": expected[:, n:], "mean": expected[:, n:].mean(1, keepdim=True)}
    if n:
        ways["class"] = expected[:, :1]
    for pooling, values in ways.items():
        mine = found(saved(name), pictures, layers=layers, pooling=pooling)
        np.testing.assert_allclose(mine, values.numpy(), atol=2e-5)


@pytest.mark.parametrize("name", ["dinov2", "siglip", "clip"])
def test_the_models_own_end_is_the_librarys(saved, pictures, name):
    model, _, out = own(saved(name), pictures)
    with torch.inference_mode():
        expected = out.pooler_output
        if name == "clip":
            expected = model.visual_projection(expected)
    mine = found(saved(name), pictures, pooling="model")
    np.testing.assert_allclose(mine[:, 0], expected.numpy(), atol=2e-5)


def test_feature_maps_of_a_convolutional_network_are_tokens_by_position(saved, pictures):
    square = pictures[:, :, :40]
    _, _, out = own(saved("convnext"), square)
    expected = out.hidden_states[1].flatten(2).transpose(1, 2)
    np.testing.assert_allclose(
        found(saved("convnext"), square, layers=(1,), pooling="patches"), expected.numpy(), atol=2e-5
    )
    with pytest.raises(checks.ConfigError, match="class token"):
        found(saved("convnext"), square)


def test_unit_length_and_views_are_of_the_same_tokens(saved, pictures):
    plain = found(saved("dinov2"), pictures, pooling="patches")
    unit = found(saved("dinov2"), pictures, pooling="patches", normalised=True)
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=2, keepdims=True), atol=1e-5)
    view = View(low_pass=5.0)
    seen = np.stack([view.apply(p) for p in pictures])
    blurred = found(saved("dinov2"), pictures, view=view)
    np.testing.assert_array_equal(blurred, found(saved("dinov2"), seen))
    assert np.abs(blurred - found(saved("dinov2"), pictures)).max() > 1e-3


def test_a_layer_that_is_not_there_is_refused(saved, pictures):
    with pytest.raises(checks.ConfigError, match="layers must be one of"):
        found(saved("dinov2"), pictures, layers=(3,))
    with pytest.raises(checks.ConfigError, match="takes no layers"):
        transformers_vision.Config(layers=(1,), pooling="model")


def test_every_way_of_reading_has_an_identity_and_a_space_of_its_own(saved):
    ways = [
        {},
        {"layers": (1,)},
        {"pooling": "mean"},
        {"pooling": "model"},
        {"normalised": True},
        {"view": View(0.1)},
    ]
    targets = [
        transformers_vision.build(transformers_vision.Config(model=str(saved("dinov2")), **way))
        for way in ways
    ]
    assert len({target.space for target in targets}) == len(ways)
    assert len({str(target.identity()) for target in targets}) == len(ways)
    told = targets[0].identity()
    assert {"model", "weights_sha256", "layers", "pooling", "transform"} <= set(told)
    assert told["transform"]["image_mean"]
