"""Federated rounds: the averages are what they are said to be, and what leaves a site is the trunk and a count."""

from __future__ import annotations

import dataclasses
import os
import runpy
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from braindec import checks, stopping, train
from braindec.decoder import BrainDecoder, batches, federated, learning
from braindec.decoder import site as site_module
from braindec.decoder.federated import Config, Sent, Update, average, federate, first_weights
from braindec.decoder.site import Site, fit_sites, training_of
from braindec.train import optimise

W = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "federated_sites.py")))
LR = 0.05
STEPS = replace(W.SETTINGS.train, schedule="constant", clip_norm=0.0, weight_decay=0.0, lr=LR, batch_size=999)
PLAIN = replace(W.SETTINGS, train=STEPS)


@pytest.fixture
def plain_sgd(monkeypatch):
    """Steps of plain gradient descent in place of AdamW's."""
    monkeypatch.setattr(optimise, "optimizer_of", lambda m, s: torch.optim.SGD(m.parameters(), lr=s.lr))


@pytest.fixture(scope="module")
def world():
    """(parts, embeddings) of two sites with 40 and 41 training trials."""
    datasets, embeddings = W.world()
    return {name: d.part("train") for name, d in datasets.items()}, embeddings


def first_of(site: Site) -> dict[str, torch.Tensor]:
    return first_weights(PLAIN, site.encoder.shared_shape, site.outputs)


def trained(parts, embeddings, told, settings=PLAIN, **more):
    return fit_sites(settings, parts, embeddings, told, progress=False, **more)


def gradients(decoder, part, embeddings, weights) -> tuple[dict[str, torch.Tensor], int]:
    """Summed over trials: of the squared error's mean over values, by plain autograd on the site's own encoder."""
    fresh = BrainDecoder.build(PLAIN, part.info, embeddings.info)
    fresh.scaler("main").fit_(torch.from_numpy(embeddings.of(part.stimulus_ids)))
    sets = learning.prepared_sets_(fresh, part, {"main": embeddings})
    encoder = fresh.build_encoder()
    encoder.backbone.load_state_dict(weights, strict=True)
    ((key, data),) = sets.items()
    error = (encoder({key: data.signals})[key]["main"] - data.targets["main"]).square().mean((1, 2)).sum()
    error.backward()
    return {n: p.grad for n, p in encoder.backbone.named_parameters()}, len(data.stimuli)


def test_a_round_of_one_plain_step_is_a_step_along_the_pooled_gradient(plain_sgd, world):
    parts, embeddings = world
    found = trained(parts, embeddings, Config(rounds=1, local_steps=1))
    one = W.site("site-0", settings=PLAIN)
    first = first_of(one)
    summed = [gradients(found.decoders[n], parts[n], embeddings[n], first) for n in parts]
    n_all = sum(n for _, n in summed)
    assert [n for _, n in summed] == [40, 41]
    for name, made in found.federation.weights["all"].items():
        pooled = sum(g[name] for g, _ in summed) / n_all
        assert pooled.abs().max() > 0
        torch.testing.assert_close(made, first[name] - LR * pooled, atol=1e-6, rtol=0)


@pytest.mark.parametrize("settings", [W.SETTINGS, PLAIN])
def test_one_site_alone_trains_as_it_would_without_rounds(world, settings):
    parts, embeddings = world
    name, told = "site-1", Config(rounds=3, local_steps=4)
    found = trained({name: parts[name]}, {name: embeddings[name]}, told, settings)
    other = W.site(name, told, settings)
    trainee = other._run.module
    run = training_of(settings, told)
    train.fit(trainee, batches.Batches(other._sets, run, 0, site_module.NAME), batches.objective, run, seed=0,
              name=site_module.NAME, progress=False)  # fmt: skip
    wanted = other.encoder.state_dict()
    made = found.decoders[name].encoder.state_dict()
    assert wanted.keys() == made.keys()
    assert all(torch.equal(made[n], values) for n, values in wanted.items())


def test_fresh_moments_make_another_run_than_kept_ones(world):
    parts, embeddings = world
    kept, fresh = (
        trained(
            parts, embeddings, Config(rounds=2, local_steps=3, moments=moments), W.SETTINGS
        ).federation.moved
        for moments in ("kept", "fresh")
    )
    assert kept[0] == fresh[0]
    assert kept[1] != fresh[1]


def test_the_proximal_term_pulls_by_its_weight_times_the_way_from_the_round_s_start(plain_sgd, world):
    """After the first step w1 = w0 - lr g0, the second one is w2 = w1 - lr (g(w1) + mu (w1 - w0))."""
    mu = 3.0
    name = "site-0"
    two, with_pull = (W.site(name, Config(1, 2, proximal=m), PLAIN) for m in (0.0, mu))
    first = first_of(two)
    w1 = W.site(name, Config(1, 1), PLAIN).round(0, first).tensors
    free, pulled = two.round(0, first).tensors, with_pull.round(0, first).tensors
    for n, start in first.items():
        by_hand = free[n] - LR * mu * (w1[n] - start)
        torch.testing.assert_close(pulled[n], by_hand, atol=1e-6, rtol=1e-5)
    assert any((pulled[n] - free[n]).abs().max() > 1e-4 for n in first)


def test_averages_by_level_are_those_of_a_calculation_by_hand():
    def update(a, b, n):
        return Update({"stem.w": torch.tensor([a]), "heads.w": torch.tensor([b])}, n)

    updates = {"x": update(1.0, 10.0, 1), "y": update(3.0, 30.0, 3), "z": update(9.0, 90.0, 4)}
    groups = {"x": "eeg", "y": "eeg", "z": "meg"}
    flat = average(updates, groups, Config())
    assert flat["eeg"] == flat["meg"] == {"stem.w": 46 / 8, "heads.w": 460 / 8}  # (1 + 9 + 36) / 8
    alike = average(updates, groups, Config(grouped=("heads.",), groups_count="equal"))
    assert alike["eeg"] == {"stem.w": (10 / 4 + 9) / 2, "heads.w": 100 / 4}
    assert alike["meg"] == {"stem.w": (10 / 4 + 9) / 2, "heads.w": 90.0}


def test_personal_heads_stay_and_differ_while_the_rest_is_one(world):
    parts, embeddings = world
    told = Config(rounds=2, local_steps=2, personal=("heads.",))
    found = trained(parts, embeddings, told, W.SETTINGS)
    assert not any(name.startswith("heads.") for name in found.federation.names)
    one, other = (d.encoder.backbone.state_dict() for d in found.decoders.values())
    same = {name for name in one if torch.equal(one[name], other[name])}
    assert same == set(found.federation.names)


# ------------------------------------------------------------------------------------------------- what leaves a site


def private_arrays(site: Site, part, embeddings) -> dict[str, np.ndarray]:
    """All that must stay: adapters, signals as measured and prepared, embeddings, statistics, in float32."""
    ((key, trials),) = part.trials.items()
    fitted = site._decoder.preprocessing[key]
    statistics = {f"fitted/{n}": np.asarray(v) for n, v in fitted.to_arrays().items()}
    found = {
        "measured": trials.responses, "prepared": site._sets[key].signals.numpy(),
        "embeddings": embeddings.values, "centred": site._sets[key].targets["main"].numpy(),
        "mean": site._decoder.scaler("main").mean.numpy(), "scale": site._decoder.scaler("main").scale.numpy(),
        **statistics,
    }  # fmt: skip
    own = (p for p in site.encoder.named_parameters() if not p[0].startswith("backbone."))
    found |= {name: values.detach().numpy() for name, values in own}
    return {
        name: np.asarray(v, dtype=np.float32) for name, v in found.items() if np.asarray(v).dtype.kind == "f"
    }


def found_in(said: bytes, values: np.ndarray) -> int:
    """How many runs of three values (or fewer, of a shorter array) stand in these bytes; ordinary ones alone."""
    flat = values.ravel()
    step = min(3, flat.size)
    runs = [flat[i : i + step] for i in range(0, flat.size - step + 1, step)]
    return sum(run.tobytes() in said for run in runs if not np.isin(run, (0, 1)).any())


def test_an_update_is_the_trunk_s_tensors_and_a_count_and_nothing_of_the_site_is_in_it(world):
    assert [f.name for f in dataclasses.fields(Update)] == ["tensors", "n_trials"]
    parts, embeddings = world
    site = W.site("site-1", settings=W.SETTINGS)
    update = site.round(0, first_of(site))
    assert set(update.tensors) == {n for n, _ in site.encoder.backbone.named_parameters()}
    assert update.n_trials == 41
    said = save(dict(update.tensors))
    private = private_arrays(site, parts["site-1"], embeddings["site-1"])
    assert {"adapters.sub-02_fmri.linear.weight", "measured", "centred"} <= set(private)
    assert any(name.startswith("fitted/") for name in private)
    assert {name: found_in(said, v) for name, v in private.items() if found_in(said, v)} == {}
    assert all(
        found_in(said, t.numpy()) for t in site.trunk.values() if t.numel() > 8
    )  # what is there is seen
    names = [*parts["site-1"].stimulus_ids, "picture", "sub-", "adapters", "fmri"]
    assert [n for n in names if n.encode() in said] == []


def test_running_statistics_of_the_trunk_s_norms_stay_with_the_site():
    """A batch norm's mean and variance are statistics of the site's own signals."""
    from braindec.adapters import gain_bias
    from braindec.backbones import temporal_spatial
    from braindec.data import NeuralDataset

    rng = np.random.default_rng(0)
    data = NeuralDataset.from_arrays(
        rng.standard_normal((24, 5, 60)).astype(np.float32), [f"s{i}" for i in range(24)], modality="eeg", sfreq=100.0,
        tmin=0.0,
    )  # fmt: skip
    _, embeddings = W.world()
    known = replace(
        embeddings["site-0"],
        ids=data.stimulus_ids,
        values=embeddings["site-0"].values[: len(data.stimulus_ids)],
    )
    settings = replace(
        W.SETTINGS, preprocessing=(), adapter=gain_bias.Config(),
        backbone=temporal_spatial.Config(n_filters=4, kernel=5, pool=11, stride=6),
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, data.info, known.info)
    site = Site(decoder, data, known, Config(1, 1))
    statistics = {n for n, _ in site.encoder.backbone.named_buffers()}
    assert any(n.endswith("running_mean") for n in statistics)
    assert not statistics & set(site.round(0, site.trunk).tensors)


def test_the_record_says_bytes_and_tensors_of_every_round(world):
    parts, embeddings = world
    found = trained(parts, embeddings, Config(2, 1), W.SETTINGS).federation
    size = 4 * sum(t.numel() for t in found.weights["all"].values())
    assert found.sent == tuple(
        Sent(r, name, size, size, n) for r in (0, 1) for name, n in (("site-0", 40), ("site-1", 41))
    )
    assert found.names == tuple(found.weights["all"])


# ------------------------------------------------------------------------------------------------ stopped and resumed


@pytest.mark.parametrize(
    ("at", "moments"), [(1, "fresh"), (6, "fresh"), (10, "kept"), (13, "fresh"), (15, "kept")]
)
def test_a_federation_that_is_stopped_anywhere_goes_on_to_the_same_bits(
    world, tmp_path, monkeypatch, at, moments
):
    parts, embeddings = world
    told = Config(rounds=3, local_steps=3, moments=moments)
    whole = trained(parts, embeddings, told, W.SETTINGS)
    plain, made = batches.objective, []

    def stops(*given):
        made.append(1)
        if len(made) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*given)

    monkeypatch.setattr(site_module.batches, "objective", stops)
    with pytest.raises(stopping.Stopped):
        trained(parts, embeddings, told, W.SETTINGS, folder=tmp_path)
    again = trained(parts, embeddings, told, W.SETTINGS, folder=tmp_path)
    assert len(made) == 2 * 9  # no step was made twice
    assert again.federation.sent == whole.federation.sent
    assert again.federation.moved == whole.federation.moved
    for name, decoder in whole.decoders.items():
        other = again.decoders[name].state_dict()
        assert all(torch.equal(other[n], v) for n, v in decoder.state_dict().items())
    assert list(tmp_path.rglob("*.pt")) == []


def test_the_same_seed_gives_the_same_decoders_and_another_seed_others(world):
    parts, embeddings = world
    told = Config(2, 2)
    one, same, other = (
        trained(parts, embeddings, told, replace(W.SETTINGS, seed=seed)).federation.weights["all"]
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[n], same[n]) for n in one)
    assert not all(torch.equal(one[n], other[n]) for n in one)


# ------------------------------------------------------------------------------------------------------ what is refused


class Answering:
    """A site that answers with whatever it is given."""

    def __init__(self, update):
        self.update = update

    def tell(self, number, weights):
        pass

    def answer(self, number):
        return self.update


@pytest.mark.parametrize(
    ("tensors", "n", "said"),
    [
        ({"w": torch.zeros(2), "adapters.x": torch.zeros(1)}, 3, "adapters.x is unexpected"),
        ({}, 3, "w is missing"),
        ({"w": torch.zeros(3)}, 3, r"w is \(3,\)"),
        ({"w": torch.tensor([0.0, float("nan")])}, 3, "'far'"),
        ({"w": torch.zeros(2)}, 0, "trials of 'far'"),
    ],
)
def test_what_is_no_update_of_this_trunk_is_refused(tensors, n, said):
    with pytest.raises(ValueError, match=said):
        federate({"far": Answering(Update(tensors, n))}, {"w": torch.ones(2)}, Config(1, 1), progress=False)


def test_settings_that_a_federation_has_not_are_refused_all_at_once(world):
    asks = replace(W.SETTINGS, n_folds=3, calibrate=True, train=replace(W.SETTINGS.train, ridge_start=True))
    with pytest.raises(checks.ConfigError, match=r"calibrate=false, n_folds=0, train\.ridge_start=false"):
        W.site("site-0", settings=asks)


def test_a_beginning_that_no_parameter_has_and_a_trunk_that_shares_nothing_are_refused():
    with pytest.raises(checks.ConfigError, match=r"personal names 'haeds\.'"):
        Config(personal=("haeds.",)).shared(["heads.w"])
    with pytest.raises(checks.ConfigError, match="leaves nothing"):
        Config(personal=("heads.",)).shared(["heads.w"])


def test_a_site_out_of_step_is_told_so():
    site = W.site("site-0")
    with pytest.raises(ValueError, match="has made 0 steps, but round 1 goes from 5 to 10"):
        site.round(1, first_of(site))
    with pytest.raises(ValueError, match="not done: 0 of 20 steps"):
        site.finish()


def test_a_group_must_be_named_for_every_site():
    with pytest.raises(checks.ConfigError, match="groups names"):
        federate(
            {"a": Answering(None)}, {"w": torch.ones(1)}, Config(1, 1), groups={"b": "eeg"}, progress=False
        )


def test_weights_that_a_server_draws_without_data_are_those_that_the_sites_draw():
    site = W.site("site-1")
    for name, values in first_of(site).items():
        assert torch.equal(values, site.trunk[name])
    assert federated.bytes_of(site.trunk) == 4 * sum(v.numel() for v in site.trunk.values())
