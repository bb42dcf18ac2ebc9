"""What every backbone promises, for every shared shape that it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from braindec import registry, seeding

NAMES = registry.names("backbones")
SHAPES = ((24,), (6, 90))
# "type" and "half" are attributes of every module: an output may still be called that.
OUTPUTS = {"main": (1, 16), "type": (3, 8), "half": (2, 5)}


def build(name, shape, seed=0):
    module = registry.load("backbones", name)
    with seeding.seeded(seed, "backbone"):
        return module.build(shape, OUTPUTS, module.Config())


def accepted(name):
    """(shape, backbone) for the shared shapes that this backbone takes; a refusal must name the member."""
    pairs = []
    for shape in SHAPES:
        try:
            pairs.append((shape, build(name, shape)))
        except ValueError as error:
            assert name in str(error)
    assert pairs, f"{name} takes no shared shape at all"
    return pairs


def some(shape, n=4, dtype=torch.float32):
    return torch.randn((n, *shape), generator=torch.Generator().manual_seed(2), dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
def test_every_output_has_its_shape(name):
    for shape, backbone in accepted(name):
        out = backbone(some(shape))
        assert {key: tuple(v.shape) for key, v in out.items()} == {k: (4, *s) for k, s in OUTPUTS.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_reaches_every_parameter_that_is_not_declared_inert(name, randomised_, unreached):
    for shape, backbone in accepted(name):
        out = randomised_(backbone.double().train())(some(shape, n=8, dtype=torch.float64))
        weights = torch.Generator().manual_seed(3)
        scalar = sum((v * torch.randn(v.shape, generator=weights, dtype=v.dtype)).sum() for v in out.values())
        assert unreached(backbone, scalar) == backbone.inert


@pytest.mark.parametrize("name", NAMES)
def test_eval_is_deterministic_and_blind_to_the_other_trials(name):
    for shape, backbone in accepted(name):
        backbone.eval()
        x = some(shape)
        whole, again, alone = backbone(x), backbone(x), backbone(x[1:2])
        for key in OUTPUTS:
            assert torch.equal(whole[key], again[key])
            torch.testing.assert_close(whole[key][1:2], alone[key], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_saving_and_loading_is_bit_equal(name, randomised_, saved_into):
    for shape, backbone in accepted(name):
        randomised_(backbone).train()(some(shape, n=8))  # moves running statistics, which must be saved too
        other = saved_into(backbone, build(name, shape, seed=5)).eval()(some(shape))
        for key, value in backbone.eval()(some(shape)).items():
            assert torch.equal(other[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_close_to_double(name):
    for shape, backbone in accepted(name):
        single = backbone.eval()(some(shape))
        double = backbone.double()(some(shape).double())
        for key in OUTPUTS:
            torch.testing.assert_close(double[key], single[key].double(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_weights_follow_from_the_seed_alone(name, global_state_untouched):
    for shape, backbone in accepted(name):
        again, other = build(name, shape).state_dict(), build(name, shape, seed=1).state_dict()
        assert all(torch.equal(again[key], value) for key, value in backbone.state_dict().items())
        assert any(not torch.equal(other[key], value) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_linear_path_leads_from_the_shared_values_to_the_output(name):
    for shape, backbone in accepted(name):
        backbone.eval()
        for output, (n_tokens, n_dims) in OUTPUTS.items():
            path = backbone.linear_path(output)
            if path is None:
                continue
            assert isinstance(path, nn.Linear)
            before = backbone(some(shape))[output]
            shift = torch.randn(path.weight.shape)
            with torch.no_grad():
                path.weight += shift
            gained = (some(shape).flatten(1) @ shift.T).unflatten(1, (n_tokens, n_dims))
            torch.testing.assert_close(backbone(some(shape))[output], before + gained, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_an_output_that_is_not_there_is_named(name):
    for _, backbone in accepted(name):
        with pytest.raises(ValueError, match="mian"):
            if backbone.linear_path("mian") is None:
                raise AssertionError("an unknown output was taken for one without a linear path")


@pytest.mark.parametrize("name", NAMES)
def test_no_output_and_a_bad_output_are_refused(name):
    module = registry.load("backbones", name)
    shape = accepted(name)[0][0]
    for outputs in ({}, {"a.b": (1, 2)}, {"main": (0, 2)}):
        with pytest.raises(ValueError, match="output"):
            module.build(shape, outputs, module.Config())
