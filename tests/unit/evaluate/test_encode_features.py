"""Feature spaces by name: targets, layers inside their networks, and random weights."""

from __future__ import annotations

import numpy as np
import pytest

from braindec import checks
from braindec.evaluate import encode_features


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
