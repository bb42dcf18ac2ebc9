"""The mixer's settings: what each output is made of, and what cannot work."""

from __future__ import annotations

import pytest
import torch

from braindec import checks
from braindec.backbones import mixer

TWO = {"tokens": (3, 8), "clip": (3, 8)}


def test_a_vector_is_split_and_tokens_are_taken_as_they_are():
    assert mixer.build((24,), {"a": (1, 2)}, mixer.Config()).tokens_shape == (8, 3)
    assert mixer.build((24,), {"a": (1, 2)}, mixer.Config(n_tokens=2)).tokens_shape == (2, 12)
    assert mixer.build((6, 90), {"a": (1, 2)}, mixer.Config()).tokens_shape == (6, 90)
    assert mixer.build((1, 16), {"a": (1, 2)}, mixer.Config()).tokens_shape == (8, 2)
    assert mixer.build((24,), {"a": (1, 2)}, mixer.Config(variant="published")).tokens_shape == (1, 24)


@pytest.mark.parametrize("variant", ["fixed", "published"])
def test_it_begins_as_its_linear_heads(variant):
    torch.manual_seed(0)
    made = mixer.build((24,), TWO, mixer.Config(variant=variant)).eval()
    x = torch.randn(4, 24)
    for name, values in made(x).items():
        torch.testing.assert_close(values.flatten(1), made.linear_path(name)(x))


def test_only_linear_heads_have_a_linear_path():
    made = mixer.build((24,), TWO, mixer.Config(projected=(("clip", "tokens"),)))
    assert made.linear_path("tokens").out_features == 24
    assert made.linear_path("clip") is None


def test_latents_have_any_square_size_that_doubling_reaches():
    config = mixer.Config(latents="small", latent_channels=(8, 16), latent_width=4)
    made = mixer.build((24,), {"small": (3, 36)}, config).eval()
    assert made(torch.randn(2, 24))["small"].shape == (2, 3, 36)
    assert made.blurry.side == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"variant": "mended"}, "fixed"),
        ({"variant": "published", "n_tokens": 4}, "splits no vector"),
        ({"n_tokens": 1}, "n_tokens"),
        ({"latent_maps": "maps"}, "name latents too"),
        ({"latents": "x", "latent_maps": "x"}, "unique"),
        ({"latent_channels": ()}, "latent_channels"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        mixer.Config(**settings)


@pytest.mark.parametrize(
    ("shape", "outputs", "settings", "said"),
    [
        ((25,), TWO, {}, "n_tokens=8"),
        ((8,), TWO, {}, "2 at least"),
        ((2, 3, 4), TWO, {}, "mixer needs"),
        ((24,), TWO, {"projected": (("clip", "other"),)}, "other"),
        ((24,), TWO, {"projected": (("clop", "tokens"),)}, "Did you mean 'clip'"),
        ((24,), {"tokens": (3, 8), "clip": (3, 4)}, {"projected": (("clip", "tokens"),)}, "must be equal"),
        ((24,), {"x": (4, 783)}, {"latents": "x"}, "square"),
        ((24,), {"x": (4, 36)}, {"latents": "x"}, "multiple of 4"),
        ((24,), {"x": (4, 784), "y": (48, 5)}, {"latents": "x", "latent_maps": "y"}, "must have 49 tokens"),
    ],
)
def test_what_does_not_fit_is_named(shape, outputs, settings, said):
    with pytest.raises(checks.ConfigError, match=said):
        mixer.build(shape, outputs, mixer.Config(**settings))


def test_without_blocks_nothing_is_mixed_on_any_device():
    """A tensor of the CPU with an axis cannot be added to one of a GPU; nor to one of torch's device without data."""
    config = mixer.Config(variant="published", n_blocks=0)
    mixing = mixer.build((24,), TWO, config).mixing.eval()
    x = torch.randn(4, 1, 24)
    torch.testing.assert_close(mixing(x), x)
    assert mixing.to("meta")(x.to("meta")).shape == x.shape
