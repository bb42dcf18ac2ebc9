"""Every member of the model's kinds: a frozen Config that survives JSON, and a `build`."""

from __future__ import annotations

import dataclasses
import json

import pytest

from braindec import config, registry

MEMBERS = [
    (kind, name) for kind in ("adapters", "backbones", "losses", "priors") for name in registry.names(kind)
]
FOUNDERS = {
    "adapters": {"linear", "sensor_attention"},
    "backbones": {"linear", "mlp", "temporal_spatial"},
    "losses": {"clip", "soft_clip", "mse", "cross_entropy", "cosine"},
    "priors": {"diffusion", "ridge", "none"},
}


@pytest.mark.parametrize("kind", FOUNDERS)
def test_the_folder_is_the_registry(kind):
    assert set(registry.names(kind)) >= FOUNDERS[kind]


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_a_config_is_frozen_and_survives_json(kind, name):
    original = registry.load(kind, name).Config()
    again = config.component_from_json(json.loads(json.dumps(config.to_json(original))), registry.load)
    assert again == original
    assert type(original).__dataclass_params__.frozen


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_every_setting_is_explained(kind, name):
    settings = registry.load(kind, name).Config
    # Inherited settings are explained where they are declared.
    told = "".join(cls.__doc__ or "" for cls in settings.__mro__[:-1])
    assert [field.name for field in dataclasses.fields(settings) if field.name not in told] == []


@pytest.mark.parametrize(("kind", "name"), MEMBERS)
def test_a_wrong_setting_is_refused_by_its_name(kind, name):
    settings = registry.load(kind, name).Config
    numbers = [
        f.name
        for f in dataclasses.fields(settings)
        if isinstance(f.default, int | float) and f.type != "bool"
    ]
    for field in numbers:
        with pytest.raises(ValueError, match=field):
            settings(**{field: -1})
