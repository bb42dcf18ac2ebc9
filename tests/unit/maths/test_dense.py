"""A linear layer by other kernels: torch's layer in value, gradients and gradients of gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from braindec.maths import gemm
from braindec.maths.dense import Dense, _Product

SHAPES = [((24,), 512, 1024), ((3,), 4000, 600), ((6, 40), 160, 200), ((2,), 5, 3)]


def twins(n_in, n_out, bias=True, seed=0):
    torch.manual_seed(seed)
    ours, torchs = Dense(n_in, n_out, bias=bias), nn.Linear(n_in, n_out, bias=bias)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def gradients(layer, x, weigh):
    x = x.clone().requires_grad_()
    (layer(x) * weigh).sum().backward()
    return {"x": x.grad, **{name: p.grad for name, p in layer.named_parameters()}}


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.detach().abs().max()))


@pytest.mark.parametrize(("leading", "n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_torch_s_layer(leading, n_in, n_out, bias):
    ours, torchs = twins(n_in, n_out, bias)
    x, weigh = torch.randn(*leading, n_in), torch.randn(*leading, n_out)
    close(ours(x), torchs(x))
    expected = gradients(torchs, x, weigh)
    found = gradients(ours, x, weigh)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        close(value, expected[name])


def test_first_weights_are_drawn_as_torch_draws_them():
    torch.manual_seed(3)
    ours = Dense(7, 5)
    torch.manual_seed(3)
    torchs = nn.Linear(7, 5)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), torchs.parameters(), strict=True))


def test_a_gradient_can_be_differentiated_again():
    ours, torchs = twins(512, 1024)
    x, weigh = torch.randn(24, 512), torch.randn(24, 1024)
    penalties = []
    for layer in (ours, torchs):
        given = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad((layer(given).tanh() * weigh).sum(), given, create_graph=True)
        slope.square().sum().backward()
        penalties.append(layer.weight.grad)
    close(*penalties)


def test_signals_that_need_no_gradient_cost_no_product(monkeypatch):
    ours, _ = twins(512, 1024)
    made = []
    real = gemm.mm
    monkeypatch.setattr(gemm, "mm", lambda a, b: made.append(1) or real(a, b))
    ours(torch.randn(24, 512)).sum().backward()
    assert len(made) == 1  # the weights' alone
    ours(torch.randn(24, 512, requires_grad=True)).sum().backward()
    assert len(made) == 3


@pytest.mark.skipif(not gemm.onednn_is_used(), reason="oneDNN's kernel is not used on this processor")
def test_large_layers_take_the_faster_kernel_and_small_ones_and_autocast_do_not(monkeypatch):
    taken = []
    real = _Product.apply
    monkeypatch.setattr(_Product, "apply", lambda *a: taken.append(1) or real(*a))
    large, _ = twins(512, 1024)
    large(torch.randn(24, 512))
    assert len(taken) == 1
    twins(8, 8)[0](torch.randn(24, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert large(torch.randn(24, 512)).dtype == torch.bfloat16
    large.double()(torch.randn(24, 512, dtype=torch.float64))
    assert len(taken) == 1


def test_a_wrong_width_is_refused_as_by_torch():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Dense(512, 1024)(torch.randn(24, 511))
