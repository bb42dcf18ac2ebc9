"""The encoder: subjects that do not touch each other, one backbone call, and starts from closed-form solutions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from braindec import seeding
from braindec.adapters import gain_bias, linear, low_rank, sensor_attention
from braindec.backbones import linear as linear_backbone
from braindec.backbones import mlp, temporal_spatial
from braindec.encoder import Encoder
from braindec.types import ArraySpace, SensorSpace, SignalInfo, SubjectSignal

OUTPUTS = {"main": (2, 4), "blur": (1, 3)}


def fmri(subject, n_voxels):
    return SubjectSignal(subject, "fmri", (n_voxels,), ArraySpace(n_voxels))


def eeg(subject, n_channels, n_times=12):
    space = SensorSpace(
        tuple(map(str, range(n_channels))), np.full((n_channels, 3), np.nan), ("eeg",) * n_channels
    )
    return SubjectSignal(subject, "eeg", (n_channels, n_times), space, 100.0, 0.0)


def info(*signals):
    return SignalInfo({signal.key: signal for signal in signals})


def build(*signals, adapter=None, backbone=None, seed=0):
    adapter, backbone = adapter or linear.Config(shared_dim=10), backbone or mlp.Config(width=8, n_blocks=1)
    return Encoder.build(info(*signals), OUTPUTS, adapter, backbone, seed).eval()


def batch(encoder, generator, n=3):
    return {
        key: torch.randn((n + i, *encoder.adapter(key).signal_shape), generator=generator)
        for i, key in enumerate(encoder.keys)
    }


def test_every_subject_gets_its_own_predictions_of_every_output(generator):
    encoder = build(fmri(1, 5), fmri(2, 7), eeg(3, 4))
    out = encoder(batch(encoder, generator))
    assert {key: {name: tuple(v.shape) for name, v in o.items()} for key, o in out.items()} == {
        key: {name: (n, *shape) for name, shape in OUTPUTS.items()}
        for key, n in (("sub-01_fmri", 3), ("sub-02_fmri", 4), ("sub-03_eeg", 5))
    }


def test_predictions_do_not_depend_on_who_else_is_in_the_batch(generator):
    encoder = build(fmri(1, 5), fmri(2, 7))
    signals = batch(encoder, generator)
    together = encoder(signals)
    for key in encoder.keys:
        alone = encoder({key: signals[key]})[key]
        torch.testing.assert_close(together[key]["main"], alone["main"])


def test_the_backbone_is_called_once_for_all_subjects(generator):
    encoder, calls = build(fmri(1, 5), fmri(2, 7)), []
    encoder.backbone.register_forward_hook(lambda module, args, out: calls.append(len(args[0])))
    encoder(batch(encoder, generator))
    assert calls == [7]


def test_first_weights_do_not_depend_on_the_other_subjects_or_their_order():
    first, second, third = fmri(1, 5), fmri(2, 7), fmri(3, 6)
    whole = build(first, second, third).state_dict()
    other_order = build(third, first, second).state_dict()
    one_by_one = build(second)
    one_by_one.add_subject(third)
    one_by_one.add_subject(first)
    for key, value in whole.items():
        assert torch.equal(value, other_order[key])
        assert torch.equal(value, one_by_one.state_dict()[key])


def test_subjects_and_seeds_start_from_different_weights():
    weights = build(fmri(1, 5), fmri(2, 5)).state_dict()
    assert not torch.equal(
        weights["adapters.sub-01_fmri.linear.weight"], weights["adapters.sub-02_fmri.linear.weight"]
    )
    other = build(fmri(1, 5), fmri(2, 5), seed=1).state_dict()
    assert not torch.equal(
        weights["adapters.sub-01_fmri.linear.weight"], other["adapters.sub-01_fmri.linear.weight"]
    )
    assert not torch.equal(weights["backbone.stem.1.weight"], other["backbone.stem.1.weight"])


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeding.seeded(0, "anything"):
        torch.rand(7)
    build(fmri(1, 5)).add_subject(fmri(2, 4))
    assert torch.equal(torch.rand(3), expected)


def test_a_subject_added_later_has_the_encoder_s_dtype():
    encoder = build(fmri(1, 5)).double()
    encoder.add_subject(fmri(2, 4))
    assert encoder.adapter("sub-02_fmri").linear.weight.dtype == torch.float64


def test_each_modality_may_have_its_own_adapter(generator):
    adapters = {"fmri": linear.Config(shared_dim=10), "eeg": linear.Config(shared_dim=10, dropout=0.5)}
    encoder = build(fmri(1, 5), eeg(2, 4), adapter=adapters)
    assert [encoder.adapter(key).dropout.p for key in encoder.keys] == [0.0, 0.5]
    with pytest.raises(ValueError, match="meg"):
        encoder.add_subject(SubjectSignal(3, "meg", (4,), ArraySpace(4)))


def test_sensors_of_different_montages_meet_in_one_convolution(generator):
    backbone = temporal_spatial.Config(n_filters=3, kernel=3, pool=4, stride=2)
    encoder = build(eeg(1, 4), eeg(2, 6), adapter=sensor_attention.Config(n_virtual=5), backbone=backbone)
    assert encoder.shared_shape == (5, 12)
    assert encoder(batch(encoder, generator))["sub-02_eeg"]["main"].shape == (4, 2, 4)


def test_what_cannot_meet_or_is_not_there_is_refused_by_name(generator):
    encoder = build(fmri(1, 5), fmri(2, 7))
    with pytest.raises(ValueError, match=r"sub-02_eeg.*\(5, 9\).*sub-01_eeg.*\(5, 12\)"):
        backbone = temporal_spatial.Config(n_filters=3, kernel=3, pool=4, stride=2)
        build(eeg(1, 4), eeg(2, 4, 9), adapter=sensor_attention.Config(n_virtual=5), backbone=backbone)
    with pytest.raises(ValueError, match="Did you mean 'sub-01_fmri'"):
        encoder({"sub-1_fmri": torch.zeros(2, 5)})
    with pytest.raises(ValueError, match="sub-01_fmri"):
        encoder({"sub-01_fmri": torch.zeros(2, 6)})
    with pytest.raises(ValueError, match="already has an adapter for sub-01_fmri"):
        encoder.add_subject(fmri(1, 5))
    with pytest.raises(ValueError, match="number of signals"):
        encoder({})
    with pytest.raises(ValueError, match="number of signals"):
        build()


def test_subjects_of_one_modality_share_a_part_and_the_names_of_what_is_new_are_told():
    encoder = build(fmri(1, 5), fmri(2, 7), adapter=low_rank.Config(shared_dim=10, rank=3))
    assert list(encoder.shared) == ["low_rank_fmri"]
    shared = encoder.adapter("sub-01_fmri").shared
    assert shared is encoder.adapter("sub-02_fmri").shared is encoder.shared["low_rank_fmri"]
    assert encoder.add_subject(fmri(3, 6)) == ("adapters.sub-03_fmri.",)
    assert encoder.adapter("sub-03_fmri").shared is shared
    assert encoder.add_subject(eeg(4, 2)) == ("adapters.sub-04_eeg.", "shared.low_rank_eeg.")
    assert encoder.adapter("sub-04_eeg").shared is not shared
    assert build(fmri(1, 5)).add_subject(fmri(2, 4)) == ("adapters.sub-02_fmri.",)


def test_a_shared_part_does_not_depend_on_how_many_subjects_there_are():
    config = low_rank.Config(shared_dim=10, rank=3)
    many, one = build(fmri(1, 5), fmri(2, 7), adapter=config), build(fmri(2, 7), adapter=config)
    assert torch.equal(many.shared["low_rank_fmri"].weight, one.shared["low_rank_fmri"].weight)


def test_a_subject_added_later_learns_only_from_adapters_of_its_modality():
    adapters = {"fmri": gain_bias.Config(), "eeg": gain_bias.Config(mapping="linear", shared_dim=5)}
    encoder = build(fmri(1, 5), eeg(2, 4), adapter=adapters)
    with torch.no_grad():
        encoder.adapter("sub-01_fmri").gain.fill_(3.0)
    encoder.add_subject(fmri(3, 5))
    encoder.add_subject(eeg(4, 4))
    assert encoder.adapter("sub-03_fmri").gain.tolist() == [3.0] * 5
    assert encoder.adapter("sub-04_eeg").gain.tolist() == [1.0] * 5


def ridge_maps(encoder, generator, n_values=8):
    """Weights and biases of the size that regressions onto unit-norm embeddings have."""
    return {
        key: (
            0.02 * torch.randn(n_values, *encoder.adapter(key).signal_shape, generator=generator),
            0.1 * torch.randn(n_values, generator=generator),
        )
        for key in encoder.keys
    }


def test_started_from_ridge_it_predicts_what_ridge_predicts(generator):
    encoder = build(fmri(1, 50), fmri(2, 70), backbone=linear_backbone.Config())
    maps, signals = ridge_maps(encoder, generator), batch(encoder, generator)
    assert encoder.start_from_ridge_(maps) == encoder.keys
    for key, (weight, bias) in maps.items():
        expected = (signals[key] @ weight.T + bias).unflatten(1, (2, 4))
        torch.testing.assert_close(encoder(signals)[key]["main"], expected, atol=1e-5, rtol=1e-4)


def test_a_residual_network_started_from_ridge_is_close_to_it(generator):
    encoder = build(fmri(1, 50), fmri(2, 70))
    maps, signals = ridge_maps(encoder, generator), batch(encoder, generator, n=50)
    encoder.start_from_ridge_(maps)
    for key, (weight, bias) in maps.items():
        expected = (signals[key] @ weight.T + bias).unflatten(1, (2, 4))
        difference = encoder(signals)[key]["main"] - expected
        assert difference.square().mean() < 0.02 * (expected - expected.mean(0)).square().mean()


def test_a_short_shared_vector_keeps_the_strongest_common_subspace(generator):
    """Solutions of rank 3 pass through 3 shared values unharmed; through 2 they lose as little as an SVD does."""
    common, outputs = torch.randn(8, 3, generator=generator), {}
    for shared_dim in (3, 2):
        encoder = build(
            fmri(1, 5), fmri(2, 7), adapter=linear.Config(shared_dim), backbone=linear_backbone.Config()
        )
        maps = {
            key: (common @ torch.randn(3, n, generator=torch.Generator().manual_seed(n)), torch.zeros(8))
            for key, n in zip(encoder.keys, (5, 7), strict=True)
        }
        encoder.start_from_ridge_(maps)
        path = encoder.backbone.linear_path("main").weight
        outputs[shared_dim] = torch.cat(
            [path @ encoder.adapter(key).linear.weight for key in encoder.keys], 1
        )
    whole = torch.cat([weight for weight, _ in maps.values()], 1)
    torch.testing.assert_close(outputs[3], whole, atol=1e-4, rtol=1e-4)
    lost = torch.linalg.svdvals(whole)[2]
    torch.testing.assert_close((outputs[2] - whole).norm(), lost, atol=1e-4, rtol=1e-4)


def test_where_there_is_no_linear_path_nothing_changes(generator):
    backbone = temporal_spatial.Config(n_filters=3, kernel=3, pool=4, stride=2)
    convolution = build(eeg(1, 4), adapter=sensor_attention.Config(n_virtual=5), backbone=backbone)
    attention = build(eeg(1, 4), adapter=sensor_attention.Config(n_virtual=5))
    for encoder in (convolution, attention):
        before = {k: v.clone() for k, v in encoder.state_dict().items()}
        assert encoder.start_from_ridge_({"sub-01_eeg": (torch.zeros(8, 48), torch.zeros(8))}) == ()
        assert all(torch.equal(encoder.state_dict()[k], v) for k, v in before.items())


def test_encoding_and_a_prior_s_training_import_no_diffusion_package():
    program = """
import sys, torch
from braindec import registry
from braindec.encoder import Encoder
from braindec.types import ArraySpace, SignalInfo, SubjectSignal
for kind in ("adapters", "backbones", "losses", "priors"):
    for name in registry.names(kind):
        registry.load(kind, name)
member = lambda kind, name: registry.load(kind, name)
signal = SubjectSignal(1, "fmri", (5,), ArraySpace(5))
encoder = Encoder.build(SignalInfo({signal.key: signal}), {"main": (1, 4)}, member("adapters", "linear").Config(8),
                        member("backbones", "mlp").Config(8), 0)
out = encoder({signal.key: torch.randn(6, 5)})[signal.key]["main"]
prior = member("priors", "diffusion").build((1, 4), member("priors", "diffusion").Config(width=8))
prior.start_(out.detach(), out.detach())
prior.objective(out, out, torch.Generator()).backward()
heavy = {"diffusers", "transformers", "torchvision", "open_clip", "nibabel", "nilearn", "mne"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
