"""What the backbones of EEG promise beyond the contract."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from braindec import seeding
from braindec.backbones import channel_transformer, conformer, eeg_simpleconv, eegnet, temporal_spatial
from braindec.backbones._channel_mixing import GraphAttention, SelfAttention
from braindec.backbones._dropout import Dropout
from braindec.backbones._tsconv import TSConv

SMALL = {"n_filters": 4, "kernel": 5, "pool": 6, "stride": 3}
OUTPUT = {"main": (1, 8)}


@pytest.fixture(autouse=True)
def first_weights_are_the_same_in_every_run():
    with seeding.seeded(0, "weights"):
        yield


def reached(scalar, x):
    (gradient,) = torch.autograd.grad(scalar, x)
    return gradient != 0


# Dropout


@pytest.mark.parametrize("share", [0.25, 0.5, 0.3])
def test_dropout_drops_its_share_independently_and_keeps_the_mean(share):
    """0.3 is no multiple of 1/256 and takes torch's own way."""
    x = torch.ones(400, 500)
    made = Dropout(share).train()(x)
    assert made.unique().tolist() == [0.0, pytest.approx(1 / (1 - share))]
    assert float((made == 0).float().mean()) == pytest.approx(share, abs=0.005)
    rows = torch.corrcoef(made[:, :50].T) - torch.eye(50)
    assert float(rows.abs().max()) < 5 / 400**0.5  # 5 standard errors of a correlation of 400 values
    assert torch.equal(Dropout(share).eval()(x), x)


def test_dropout_passes_the_gradient_of_what_it_kept():
    x = torch.ones(33, 7, requires_grad=True)
    made = Dropout(0.5).train()(x)
    made.sum().backward()
    assert torch.equal(x.grad, made.detach())


# Attention between channels


def test_self_attention_mended_lets_channels_see_each_other_and_the_published_one_never_learns_whom(
    generator,
):
    x = torch.randn(3, 6, 40, generator=generator, dtype=torch.float64)
    for published in (False, True):
        module = SelfAttention(6, 40, published=published).double().train()
        for part in module.modules():
            if isinstance(part, Dropout):
                part.share = 0.0
        weight = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        (module(x) * weight).sum().backward()
        dead = {
            n for n, p in module.named_parameters() if p.grad is None or float(p.grad.abs().max()) < 1e-13
        }
        assert dead == set(module.inert)
        assert bool(dead) == published


def test_graph_attention_is_the_published_formula_over_the_complete_graph(generator):
    """A loop over nodes and neighbours; as published, only the first trial of a batch has neighbours."""
    x = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    for published in (False, True):
        module = GraphAttention(4, 5, published=published).double().eval()
        with torch.no_grad():
            module.bias.normal_(generator=generator)
            found = module(x)
            h = x @ module.map.weight.T
            for trial in range(2):
                for i in range(4):
                    near = range(4) if not published or trial == 0 else [i]
                    scores = [h[trial, j] @ module.source + h[trial, i] @ module.target for j in near]
                    shares = nn.functional.leaky_relu(torch.stack(scores), 0.2).softmax(0)
                    mixed = sum(share * h[trial, j] for share, j in zip(shares, near, strict=True))
                    torch.testing.assert_close(found[trial, i], x[trial, i] + mixed + module.bias)


@pytest.mark.parametrize("attention", ["self", "graph"])
@pytest.mark.parametrize("variant", ["ours", "published"])
def test_attention_is_part_of_the_network_and_inert_is_what_never_learns(attention, variant, generator):
    config = temporal_spatial.Config(**SMALL, attention=attention, variant=variant, dropout=0.0)
    network = temporal_spatial.build((6, 40), OUTPUT, config).double().train()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    made = network(torch.randn(8, 6, 40, generator=generator, dtype=torch.float64))["main"]
    (made * torch.randn(made.shape, generator=generator, dtype=torch.float64)).sum().backward()
    sizes = {n: 0.0 if p.grad is None else float(p.grad.abs().max()) for n, p in network.named_parameters()}
    assert {name for name, size in sizes.items() if size < 1e-12} == network.inert
    assert any(name.startswith("attention.") for name in sizes)


def test_a_published_network_starts_as_its_authors_start_it():
    network = temporal_spatial.build((63, 250), OUTPUT, temporal_spatial.Config(variant="published"))
    assert float(network.tsconv.spatial.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert 0 < float(network.tsconv.temporal_norm.weight.detach().std()) < 0.04


def test_filters_may_be_mixed_into_another_number():
    network = temporal_spatial.build((6, 40), OUTPUT, temporal_spatial.Config(**SMALL, n_mixed=3))
    assert network.features(torch.zeros(2, 6, 40)).shape == (
        2,
        3 * temporal_spatial.Config(**SMALL).n_steps(40),
    )


# Channels and a token


@pytest.fixture
def rows(generator):
    return torch.randn(2, 7, 40, generator=generator, requires_grad=True)  # a token and 6 channels


def transformer(**settings):
    return channel_transformer.build((7, 40), OUTPUT, channel_transformer.Config(**SMALL, **settings)).eval()


@pytest.mark.parametrize("variant", ["ours", "published"])
def test_every_channel_and_the_token_reach_the_output(variant, rows):
    found = reached(transformer(variant=variant)(rows)["main"].square().sum(), rows)
    assert found.any(2).all()


def test_the_first_published_code_hands_the_token_on_and_its_convolution_never_sees_the_last_channel(rows):
    seen = {}
    for variant in ("published", "published_old"):
        network = transformer(variant=variant)
        handed_on = []
        network.tsconv.register_forward_pre_hook(lambda _, given, to=handed_on: to.append(given[0]))
        network(rows)
        whole = network.layer(torch.cat([rows[:, :1], network.embed(rows[:, 1:])], 1), first=0)
        seen[variant] = (handed_on[0], whole)
    torch.testing.assert_close(seen["published"][0], seen["published"][1][:, 1:])
    torch.testing.assert_close(seen["published_old"][0], seen["published_old"][1][:, :-1])


def test_another_token_gives_another_output(rows):
    network = transformer()
    other = rows.detach().clone()
    other[:, 0] += 1
    assert not torch.allclose(network(rows)["main"], network(other)["main"], atol=1e-3)


def test_attention_on_a_cpu_in_training_is_torch_s_own(rows):
    network = transformer(attention_dropout=1 / 256)
    network.layer.attention.train()
    network.layer.attention.dropout.eval()
    expected = network.layer.attention.eval()(rows, 0)
    network.layer.attention.training = True
    torch.testing.assert_close(network.layer.attention(rows, 0), expected, atol=1e-5, rtol=1e-5)


def test_a_lone_token_and_more_heads_than_samples_are_refused():
    with pytest.raises(ValueError, match="subject_token"):
        channel_transformer.build((1, 90), OUTPUT, channel_transformer.Config())
    with pytest.raises(ValueError, match="n_heads"):
        channel_transformer.build((3, 90), OUTPUT, channel_transformer.Config(n_heads=91))


# EEGNet, Conformer, SimpleConv


def test_eegnet_without_the_first_norm_computes_what_the_published_order_computes(generator):
    """Temporal filters, norm, spatial filters, norm: the second norm takes back what the first one did."""
    config = eegnet.Config(n_filters=3, kernel=8)
    network = eegnet.build((5, 64), OUTPUT, config).double().train()
    signal = torch.randn(9, 5, 64, generator=generator, dtype=torch.float64)
    padded = nn.functional.pad(signal, (3, 4))
    norm = nn.BatchNorm2d(3, eps=1e-15).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=generator)
        norm.bias.normal_(generator=generator)
        network.spatial_norm.eps = 1e-15
        x = nn.functional.conv2d(
            norm(network.temporal(padded.unsqueeze(1))), network.spatial.weight, groups=3
        )
        found = network.spatial_norm(network._filtered(padded))
        torch.testing.assert_close(found, network.spatial_norm(x.squeeze(2)), atol=1e-9, rtol=1e-9)


def test_eegnet_s_spatial_filters_never_act_longer_than_their_limit(generator):
    network = eegnet.build((5, 64), OUTPUT, eegnet.Config(max_norm=0.5)).eval()
    x = torch.randn(3, 5, 64, generator=generator)
    with torch.no_grad():
        network.spatial.weight.mul_(100)
        before = network(x)["main"]
        network.spatial.weight.mul_(3)
        torch.testing.assert_close(network(x)["main"], before)
        network.spatial.weight.mul_(1e-4)  # short ones are taken as they are
        assert not torch.allclose(network(x)["main"], before)


def test_conformer_s_one_filter_is_its_two_convolutions(generator):
    network = conformer.build((5, 60), OUTPUT, conformer.Config(n_layers=1, kernel=7)).eval()
    x = torch.randn(2, 5, 60, generator=generator)
    expected = network.spatial(network.temporal(x.unsqueeze(1))).squeeze(2)
    torch.testing.assert_close(nn.functional.conv1d(x, network._filters()), expected, atol=1e-5, rtol=1e-5)


def test_conformer_at_250_samples_has_the_published_tokens():
    assert conformer.Config().pooling(250) == (75, 15)
    network = conformer.build((5, 250), OUTPUT, conformer.Config())
    assert network.heads.of("main").in_features == 11 * 40
    with pytest.raises(ValueError, match="multiple of n_heads"):
        conformer.Config(width=41)


def test_simpleconv_halves_time_in_each_block_and_grows_from_the_second(generator):
    assert eeg_simpleconv.Config(n_blocks=3).widths() == [128, 128, 180, 254]
    network = eeg_simpleconv.build(
        (5, 64), OUTPUT, eeg_simpleconv.Config(width=8, n_blocks=3, kernel=3)
    ).eval()
    x = network.blocks(network.first(torch.randn(2, 5, 64, generator=generator)))
    assert x.shape == (2, 15, 8)


@pytest.mark.parametrize(
    ("module", "n_times", "needs"),
    [(eegnet, 31, "at least 32"), (conformer, 24, "at least 25"), (eeg_simpleconv, 3, "at least 4"),
     (channel_transformer, 74, "at least 75")],
)  # fmt: skip
def test_epochs_too_short_are_refused_with_the_length_they_need(module, n_times, needs):
    with pytest.raises(ValueError, match=needs):
        module.build((3, n_times), OUTPUT, module.Config())
    with pytest.raises(ValueError, match="sensor_attention"):
        module.build((90,), OUTPUT, module.Config())


def test_half_precision_signals_are_filtered_in_single(generator):
    module = TSConv(6, temporal_spatial.Config(**SMALL)).eval()
    x = torch.randn(2, 6, 40, generator=generator).half()
    torch.testing.assert_close(module(x), module(x.float()))
