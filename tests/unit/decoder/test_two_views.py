"""Contrast of two views: what is hidden and what is interpolated, what is learnt of it, and how fit starts from it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from braindec import checks, seeding, train
from braindec.adapters import linear as linear_adapter
from braindec.adapters import region_patches
from braindec.backbones import masked_transformer
from braindec.data import sliding
from braindec.data.preprocessing import Standardise
from braindec.decoder import BrainDecoder, Settings
from braindec.decoder.batches import Batches
from braindec.decoder.fitting import SubjectSet
from braindec.decoder.two_views import Config, Viewer, Volumes, looked_for, objective, time_weights
from braindec.encoder import Encoder
from braindec.losses import clip
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

OFFSETS = (-2, 0, 1, 3, 4)  # not evenly apart
N_VOXELS, N_PLACES = 24, 6
BACKBONE = masked_transformer.Config(patch=4, width=16, n_layers=1, n_heads=2)
SHORT = train.Config(n_steps=6, batch_size=32, validate_every=3, device="cpu")


def regions(offsets):
    return tuple(f"volume {o:+d}" for o in offsets)


def windows(offsets=OFFSETS):
    """A subject's windows of volumes of 24 voxels."""
    n = N_VOXELS * len(offsets)
    inside = {}
    for i, name in enumerate(regions(offsets)):
        inside[name] = np.arange(n) // N_VOXELS == i
    return SubjectSignal(1, "fmri", (n,), ArraySpace(n, inside))


def encoder_of(signal, adapter=None):
    adapter = adapter or region_patches.Config(
        regions=regions(OFFSETS), rest=False, n_patches=N_PLACES, patch=4
    )
    return Encoder.build(SignalInfo({signal.key: signal}), {"main": (1, 3)}, adapter, BACKBONE, 0)


@pytest.fixture
def viewer():
    signal = windows()
    with seeding.seeded(0, "head"):
        return Viewer(encoder_of(signal), Config(), SignalInfo({signal.key: signal}))


def volumes_of(signal=None):
    signal = signal or windows()
    return Volumes.of(signal, encoder_of(signal))


def test_replaced_volumes_lie_on_the_line_in_time_between_those_that_stay(rng):
    volumes, signals = volumes_of(), torch.from_numpy(rng.standard_normal((7, 5 * N_VOXELS))).float()
    inner = rng.random((7, 3)) < 0.6
    replaced = torch.from_numpy(np.pad(inner, ((0, 0), (1, 1))))
    found = volumes.interpolated(signals, replaced).numpy().reshape(7, 5, N_VOXELS)
    given, times = signals.numpy().reshape(7, 5, N_VOXELS), np.array(OFFSETS, float)
    for i in range(7):
        stays = ~replaced[i].numpy()
        assert np.array_equal(found[i, stays], given[i, stays])
        for voxel in range(N_VOXELS):
            expected = np.interp(times, times[stays], given[i, stays, voxel])
            np.testing.assert_allclose(found[i, :, voxel], expected, atol=1e-5)


def test_what_runs_evenly_in_time_is_left_as_it_is_and_weights_are_shares():
    times = torch.tensor(OFFSETS).float()
    replaced = torch.tensor([[False, True, True, True, False], [False, False, True, False, False]])
    weights = time_weights(times, replaced)
    torch.testing.assert_close(weights @ times, times.expand(2, -1))
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 5))
    assert torch.equal(weights[1, 1], torch.eye(5)[1])


@pytest.mark.parametrize(("share", "n"), [(0.01, 1), (0.5, 2), (1.0, 3)])
def test_a_share_of_the_volumes_between_first_and_last_is_replaced_one_at_least(share, n, generator):
    replaced = volumes_of().drawn_times(torch.rand(50, 3, generator=generator), share)
    assert replaced.sum(1).tolist() == [n] * 50
    assert not replaced[:, [0, -1]].any()
    assert n == 3 or replaced[:, 1:-1].any(0).all()  # each is, in some window


def test_the_same_places_are_hidden_at_all_volumes_and_others_in_other_windows(generator):
    volumes = volumes_of()
    shown = volumes.drawn_places(torch.rand(30, N_PLACES, generator=generator), 0.5)
    places = shown.reshape(30, 5, 3) - N_PLACES * torch.arange(5)[:, None]  # of their own volume
    assert (places == places[:, :1]).all()
    assert places.min() == 0 and places.max() == N_PLACES - 1
    assert len({tuple(sorted(p)) for p in places[:, 0].tolist()}) > 5


def test_hidden_places_and_replaced_volumes_are_not_looked_at(viewer, generator):
    signals = torch.randn(4, 5 * N_VOXELS, generator=generator)
    shown, replaced = viewer.eval().draw("sub-01_fmri", 4, generator)
    hidden = torch.ones(4, 5 * N_PLACES, dtype=torch.bool).scatter(1, shown, False)
    noise = torch.randn(signals.shape, generator=generator)
    other = signals + noise * hidden.repeat_interleave(4, 1)  # 24 voxels in 6 patches of 4
    one, two = (viewer.views("sub-01_fmri", x, shown, replaced)[0] for x in (signals, other))
    torch.testing.assert_close(one, two)
    other = signals + noise * replaced.repeat_interleave(N_VOXELS, 1)
    one, two = (viewer.views("sub-01_fmri", x, shown, replaced)[1] for x in (signals, other))
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, viewer.views("sub-01_fmri", signals + noise, shown, replaced)[1])


def test_the_contrast_is_the_cross_entropy_of_finding_the_own_view_both_ways(viewer, generator):
    one, two = (
        torch.nn.functional.normalize(torch.randn(9, 4, generator=generator), dim=1) for _ in range(2)
    )
    logits, own = one @ two.T / 0.1, torch.arange(9)
    expected = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(viewer.contrast(one, two), expected)


def test_trunk_and_light_head_learn_and_adapters_and_the_encoder_s_heads_do_not(viewer, generator):
    batch = {
        "keys": ["sub-01_fmri"],
        "signals/sub-01_fmri": torch.randn(8, 5 * N_VOXELS, generator=generator),
    }
    objective(viewer.train(), batch, 0.0, generator)["contrast"].backward()
    reached = {name for name, p in viewer.named_parameters() if p.grad is not None}
    expected = {name for name, _ in viewer.named_parameters() if name.startswith("head.")}
    trunk = {f"encoder.backbone.{name}" for name in viewer.trunk.trunk()}
    assert reached == expected | trunk


def planted_set(generator, n, noise):
    """Windows of a scene that passes slowly over mixed voxels, so that places and volumes say the same."""
    mixing = torch.randn(4, N_VOXELS, generator=torch.Generator().manual_seed(7))
    scene = torch.randn(n, 1, 4, generator=generator) + 0.3 * torch.randn(n, 5, 4, generator=generator)
    values = (scene @ mixing).flatten(1) + noise * torch.randn(n, 5 * N_VOXELS, generator=generator)
    return {"sub-01_fmri": SubjectSet(values, {}, torch.arange(n), tuple(str(i) for i in range(n)))}


def test_views_of_new_windows_find_each_other_better_after_training_and_those_of_equal_windows_never(
    viewer, generator
):
    sets, new = planted_set(generator, 600, 1.0), planted_set(generator, 100, 1.0)
    before = looked_for(viewer, new, 0)["sub-01_fmri"]
    told = train.Config(n_steps=40, batch_size=64, lr=1e-2, device="cpu")
    train.fit(
        viewer, Batches(sets, told, 0, "two_views"), objective, told, seed=0, name="two_views", progress=False
    )
    found = looked_for(viewer, new, 0)["sub-01_fmri"]
    assert found.contrast < before.contrast - 0.5
    assert found.identified > before.identified
    assert found.interval[0] > 0.1  # chance is 0.01
    assert found.interval[0] < found.identified < found.interval[1]
    alike = replace(new["sub-01_fmri"], signals=new["sub-01_fmri"].signals[:1].expand(100, -1).contiguous())
    assert looked_for(viewer, {"sub-01_fmri": alike}, 0)["sub-01_fmri"].identified < 0.06


def test_few_volumes_and_volumes_that_an_adapter_mixes_are_refused():
    two = windows((0, 1))
    with pytest.raises(ValueError, match=r"at least 3 volumes, sub-01_fmri has 2"):
        Volumes.of(
            two, encoder_of(two, region_patches.Config(regions=regions((0, 1)), rest=False, n_patches=6, patch=4))
        )  # fmt: skip
    with pytest.raises(checks.ConfigError, match="every volume needs patches of its own"):
        Volumes.of(windows(), encoder_of(windows(), linear_adapter.Config(shared_dim=24)))


# ---------------------------------------------------------------------------------------- as a decoder is pretrained

TOLD = Config(train=SHORT)


@pytest.fixture(scope="module")
def part(planted):
    return sliding.windowed(planted.dataset, (-1, 0, 1)).part("train")


STEPS = (Standardise(),)


def pretrained(planted, part, folder=None, preprocessing=STEPS):
    adapter = region_patches.Config(regions=regions((-1, 0, 1)), rest=False, n_patches=4, patch=4)
    settings = Settings(
        adapter=adapter, backbone=BACKBONE, loss=clip.Config(), preprocessing=preprocessing,
        train=train.Config(n_steps=0, batch_size=48, device="cpu"), n_folds=0, calibrate=False,
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, part.info, planted.embeddings.info)
    return decoder.pretrain(part, TOLD, folder, progress=False)


@pytest.fixture(scope="module")
def learnt(planted, part):
    return pretrained(planted, part)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_fit_starts_from_the_trunk_and_the_decoder_says_how_views_found_each_other(planted, part, learnt):
    found = learnt.pretrained
    for views in json.loads(json.dumps(found.about))["views"].values():
        assert views["chance"] == 1 / views["n"]
        assert 0 <= views["interval"][0] <= views["identified"] <= views["interval"][1] <= 1
    shares = [(1 - v["identified"]) / (1 - v["chance"]) for v in found.about["views"].values()]
    assert found.error == pytest.approx(np.mean(shares))
    learnt.fit(part, planted.embeddings, progress=False)
    assert same(learnt.encoder.backbone.trunk(), dict(found.trunk))
    assert learnt.provenance["pretrained"]["views"] == found.about["views"]


def test_labels_are_not_looked_at(planted, part, learnt):
    unknown = {
        key: replace(t, table=t.table.replace(stimulus_id=np.full(t.n_trials, "unknown")))
        for key, t in part.trials.items()
    }
    blind = pretrained(planted, replace(part, trials=unknown, split=None))
    assert same(blind.pretrained.trunk, learnt.pretrained.trunk)


def test_a_killed_pretraining_goes_on_where_it_was(planted, part, learnt, tmp_path, monkeypatch):
    fit = train.fit
    kept = replace(TOLD, train=replace(SHORT, checkpoint_every=2))
    monkeypatch.setitem(globals(), "TOLD", kept)
    with monkeypatch.context() as patched:
        patched.setattr(train, "fit", lambda *a, **k: fit(*a, **k, stop_at=4))
        pretrained(planted, part, tmp_path)
    resumed = pretrained(planted, part, tmp_path)
    assert same(resumed.pretrained.trunk, learnt.pretrained.trunk)


def test_a_pretraining_on_signals_prepared_otherwise_is_not_gone_on_with(
    planted, part, tmp_path, monkeypatch
):
    monkeypatch.setitem(globals(), "TOLD", replace(TOLD, train=replace(SHORT, checkpoint_every=2)))
    pretrained(planted, part, tmp_path)
    with pytest.raises(checks.ConfigError, match="made with other settings, data"):
        pretrained(planted, part, tmp_path, preprocessing=())


@pytest.mark.parametrize(
    "wrong", [{"hidden": 0.0}, {"interpolated": 0.0}, {"interpolated": 1.5}, {"temperature": 0.0}]
)
def test_settings_that_hide_or_replace_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)
