"""The temporal-spatial convolution in one function against torch's own layers, one after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from braindec import seeding
from braindec.backbones import _filter_bank
from braindec.backbones._filter_bank import (
    filter_bank,
    overlapped,
    running_sum,
    running_sum_back,
    window_moments,
)
from braindec.backbones._tsconv import Settings, TSConv

SIZES = [
    # trials, channels, times, filters, kernel, pool, stride, out
    (5, 7, 90, 4, 25, 51, 5, 6),
    (3, 4, 40, 3, 7, 1, 3, 5),
    (3, 4, 40, 3, 3, 8, 4, 3),
    (2, 4, 41, 3, 8, 6, 11, 5),
    (2, 1, 9, 1, 1, 1, 1, 1),
]


class Plain(nn.Module):
    """The published layers, with their biases, in the published order."""

    def __init__(self, n_channels, settings):
        super().__init__()
        n = settings.n_filters
        self.temporal = nn.Conv2d(1, n, (1, settings.kernel))
        self.pool = nn.AvgPool2d((1, settings.pool), (1, settings.stride))
        self.temporal_norm = nn.BatchNorm2d(n)
        self.spatial = nn.Conv2d(n, n, (n_channels, 1))
        self.spatial_norm = nn.BatchNorm2d(n)
        self.mix = nn.Conv2d(n, n, 1)

    def forward(self, signal):
        x = nn.functional.elu(self.temporal_norm(self.pool(self.temporal(signal.unsqueeze(1)))))
        x = self.mix(nn.functional.elu(self.spatial_norm(self.spatial(x))))
        return x.squeeze(2).transpose(1, 2).flatten(1)


@pytest.fixture(autouse=True)
def first_weights_are_the_same_in_every_run():
    with seeding.seeded(0, "weights"):
        yield


def drawn(size, generator, dtype=torch.float64):
    """Signal and weights of one size; the signal wanders and has an offset, as recordings do."""
    n, c, t, f, k, _, _, o = size
    shapes = ((n, c, t), (f, k), (f,), (o, f, c))
    made = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    made[0] = 3 + 0.3 * made[0].cumsum(2)
    return [x.requires_grad_() for x in made]


def plainly(signal, temporal, shift, spatial, pool, stride):
    filtered = nn.functional.conv2d(signal.unsqueeze(1), temporal[:, None, None])
    pooled = nn.functional.avg_pool2d(filtered, (1, pool), (1, stride)) + shift.view(-1, 1, 1)
    return nn.functional.conv2d(nn.functional.elu(pooled), spatial.unsqueeze(3)).squeeze(2).transpose(1, 2)


def with_gradients(function, inputs):
    made = function(*inputs)
    weights = torch.randn(made.shape, generator=torch.Generator().manual_seed(1), dtype=made.dtype)
    return [made.detach(), *torch.autograd.grad((made * weights).sum(), inputs)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [1, 10**9])
def test_output_and_gradients_are_those_of_the_layers_one_after_the_other(
    size, chunk, generator, monkeypatch
):
    """In chunks of one trial, which are made again, and in one chunk, which is kept."""
    monkeypatch.setattr(_filter_bank, "CPU_CHUNK", chunk)
    inputs, (pool, stride) = drawn(size, generator), size[5:7]
    expected = with_gradients(lambda *x: plainly(*x, pool, stride), inputs)
    found = with_gradients(lambda *x: filter_bank(*x, pool, stride), inputs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("size", SIZES[:4])
@pytest.mark.parametrize("chunk", [1, 10**9])
def test_moments_of_windows_are_those_of_all_windows_written_out(size, chunk, generator, monkeypatch):
    monkeypatch.setattr(_filter_bank, "CPU_CHUNK", chunk)
    (signal, *_), (kernel, pool, stride) = drawn(size, generator), size[4:7]

    def written_out(signal):
        means = signal.unfold(2, pool, 1).mean(3)
        rows = means.unfold(2, kernel, 1)[:, :, ::stride].flatten(0, 2)
        return torch.cat([rows.mean(0, keepdim=True), torch.cov(rows.T, correction=0)])

    def ours(signal):
        mean, covariance = window_moments(signal, kernel, pool, stride)
        return torch.cat([mean.unsqueeze(0), covariance])

    for a, b in zip(with_gradients(ours, [signal]), with_gradients(written_out, [signal]), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_the_whole_module_is_the_published_layers(training, generator):
    settings = Settings(n_filters=4, kernel=9, pool=12, stride=5, dropout=0.0)
    plain = Plain(6, settings).double()
    ours = TSConv(6, settings, biases=True).double()
    with torch.no_grad():
        for norm in (plain.temporal_norm, plain.spatial_norm):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.uniform_(0.5, 2, generator=generator)
            norm.bias.normal_(generator=generator)
    ours.load_state_dict(plain.state_dict(), strict=True)
    signal = torch.randn(7, 6, 60, generator=generator, dtype=torch.float64).requires_grad_()
    plain.train(training), ours.train(training)
    for _ in range(2):  # the second time with running statistics that have moved
        names = [name for name, _ in plain.named_parameters()]
        inputs = [[signal, *module.parameters()] for module in (plain, ours)]
        assert [name for name, _ in ours.named_parameters()] == names
        expected, found = (
            with_gradients(lambda *_, module=module: module(signal), x)
            for module, x in zip((plain, ours), inputs, strict=True)
        )
        for name, a, b in zip(["output", "signal", *names], found, expected, strict=True):
            torch.testing.assert_close(
                a, b, atol=1e-9, rtol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
            )
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, atol=1e-10, rtol=1e-10)


def test_single_precision_is_as_close_to_the_truth_as_the_layers_are(generator):
    """Slow drifts dwarf what a filter without a mean passes on: sums of squares in single precision would lose it."""
    settings = Settings(n_filters=4, kernel=25, pool=51, stride=5, dropout=0.0)
    plain = Plain(6, settings)
    with torch.no_grad():
        plain.temporal.weight -= plain.temporal.weight.mean(3, keepdim=True)
    ours = TSConv(6, settings, biases=True)
    ours.load_state_dict(plain.state_dict(), strict=True)
    signal = 20 + torch.randn(16, 6, 150, generator=generator).cumsum(2)
    truth = Plain(6, settings).double()
    truth.load_state_dict(plain.state_dict())
    with torch.no_grad():
        true = truth(signal.double())
        errors = [float((module(signal) - true).norm() / true.norm()) for module in (plain, ours)]
    assert errors[1] < max(3 * errors[0], 1e-5)


def test_autocast_keeps_the_temporal_part_whole(generator):
    settings = Settings(n_filters=8, dropout=0.0)
    module = TSConv(6, settings)
    signal = 20 + torch.randn(16, 6, 150, generator=generator).cumsum(2)
    whole = module(signal)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = module(signal)
    half.float().square().sum().backward()
    assert half.dtype == torch.bfloat16
    assert float((half - whole).detach().norm() / whole.detach().norm()) < 0.03
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 51])
def test_running_sums_and_their_transposed_map(width, generator):
    x = torch.randn(2, 60, 3, generator=generator, dtype=torch.float64)
    sums = running_sum(x, width)
    torch.testing.assert_close(sums, x.unfold(1, width, 1).sum(3), atol=1e-12, rtol=1e-12)
    y = torch.randn(sums.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((sums * y).sum(), (x * running_sum_back(y, width)).sum())


@pytest.mark.parametrize(("kernel", "stride"), [(25, 5), (7, 3), (3, 8), (1, 1)])
def test_overlapped_windows_are_the_transposed_map_of_cutting_them(kernel, stride, generator):
    places = torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    windows = places.unfold(1, kernel, stride).transpose(2, 3)  # (trial, step, tap, channel)
    back = torch.randn(windows.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((windows * back).sum(), (places * overlapped(back, stride, 40)).sum())


def test_a_batch_of_one_value_cannot_be_normed():
    module = TSConv(1, Settings(n_filters=1, kernel=3, pool=2, stride=5)).train()
    with pytest.raises(ValueError, match="take more trials"):
        module(torch.zeros(1, 1, 5))
