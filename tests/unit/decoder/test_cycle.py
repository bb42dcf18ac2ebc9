"""Cycle consistency: what is missed, what it costs, and that it trains what it should."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from braindec import checks, seeding
from braindec.adapters import linear
from braindec.backbones import mlp
from braindec.decoder import BrainDecoder, cycle
from braindec.decoder.batches import Trainee, objective
from braindec.decoder.settings import Settings, settings_from_json, settings_to_json
from braindec.encoder import Encoder
from braindec.losses import clip, mse
from braindec.train import Config
from braindec.types import ArraySpace, SignalInfo, SubjectSignal

SIZES = {"sub-01_fmri": 9, "sub-02_fmri": 7, "sub-03_fmri": 5}


def encoder_of(sizes=SIZES, shared=4):
    signals = {
        key: SubjectSignal(i + 1, "fmri", (n,), ArraySpace(n)) for i, (key, n) in enumerate(sizes.items())
    }
    return Encoder.build(SignalInfo(signals), {"main": (1, 3)}, linear.Config(shared), mlp.Config(8, 1), 0)


def trainee_of(encoder, config=None):
    with seeding.seeded(0, "cycle"):
        return Trainee(encoder, {"main": mse.build(mse.Config())}, {"main": 1.0}, config)


def batch_of(generator, sizes=SIZES, n=6):
    batch = {"keys": list(sizes)}
    for key, size in sizes.items():
        batch[f"signals/{key}"] = torch.randn(n, size, generator=generator)
        batch[f"stimuli/{key}"] = torch.arange(n)
        batch[f"main/{key}"] = torch.randn(n, 1, 3, generator=generator)
    return batch


def test_the_losses_are_the_way_through_the_next_subject_written_out(generator):
    trainee = trainee_of(encoder_of(), cycle.Config(reconstruction=2.0, cycle=0.5)).train()
    batch = batch_of(generator)
    found = objective(trainee, batch, 0.0, generator)
    rebuilt, around = [], []
    for key, other in zip(SIZES, [*list(SIZES)[1:], next(iter(SIZES))], strict=True):
        signal, build = batch[f"signals/{key}"], trainee.cycle.builders
        shared = trainee.encoder.adapter(key)(signal)
        rebuilt.append(((build[key](shared) - signal) ** 2).mean())
        around.append(((trainee.encoder.adapter(other)(build[other](shared)) - shared) ** 2).mean())
    torch.testing.assert_close(found["reconstruction"], 2.0 * sum(rebuilt) / 3)
    torch.testing.assert_close(found["cycle"], 0.5 * sum(around) / 3)
    assert set(found) == {"main", "reconstruction", "cycle"}


def test_a_gradient_reaches_builders_and_adapters(generator):
    trainee = trainee_of(encoder_of(), cycle.Config()).train()
    found = objective(trainee, batch_of(generator), 0.0, generator)
    (found["reconstruction"] + found["cycle"]).backward()
    reached = {
        name for name, p in trainee.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }
    assert {name for name, _ in trainee.named_parameters() if name.startswith("cycle.")} <= reached
    assert {f"encoder.adapters.{key}.linear.weight" for key in SIZES} <= reached
    assert not {name for name in reached if name.startswith("encoder.backbone.")}


def test_builders_that_invert_adapters_leave_nothing_to_miss(generator):
    """Shared values of as many dims as both signals have, and builders that solve the adapters' equations."""
    sizes = {"sub-01_fmri": 4, "sub-02_fmri": 4}
    trainee = trainee_of(encoder_of(sizes), cycle.Config()).double().train()
    with torch.no_grad():
        for key in sizes:
            adapter, build = trainee.encoder.adapter(key), trainee.cycle.builders[key]
            offset = adapter(torch.zeros(1, 4, dtype=torch.float64))
            forward = (adapter(torch.eye(4, dtype=torch.float64)) - offset).T
            build.weight.copy_(forward.inverse())
            build.bias.copy_(-(build.weight @ offset[0]))
    batch = {k: v.double() if isinstance(v, torch.Tensor) and v.is_floating_point() else v
             for k, v in batch_of(generator, sizes).items()}  # fmt: skip
    found = objective(trainee, batch, 0.0, generator)
    assert float(found["reconstruction"].detach() + found["cycle"].detach()) < 1e-20


def test_a_cycle_is_no_part_of_predictions_and_changes_none(generator):
    batch = batch_of(generator)
    signals = {key: batch[f"signals/{key}"] for key in SIZES}
    plain, cycled = trainee_of(encoder_of()).eval(), trainee_of(encoder_of(), cycle.Config()).eval()
    for key in SIZES:
        assert set(cycled(signals)[key]) == {"main"}
        assert torch.equal(cycled(signals)[key]["main"], plain(signals)[key]["main"])
    assert set(objective(plain.train(), batch, 0.0, generator)) == {"main"}


def test_one_subject_alone_goes_through_itself(generator):
    sizes = {"sub-01_fmri": 9}
    trainee = trainee_of(encoder_of(sizes), cycle.Config()).train()
    found = objective(trainee, batch_of(generator, sizes), 0.0, generator)
    assert float(found["cycle"].detach()) > 0


def test_training_on_the_cycle_makes_shared_values_survive_another_subject(generator):
    """Two subjects see other stimuli of one world; held-out trials, against the way of another trial."""
    sizes = {"sub-01_fmri": 9, "sub-02_fmri": 7}
    maps = {key: torch.randn(4, n, generator=generator) for key, n in sizes.items()}
    world = {key: torch.randn(80, 4, generator=generator) @ m for key, m in maps.items()}
    trainee = trainee_of(encoder_of(sizes), cycle.Config()).train()
    optimizer = torch.optim.Adam(trainee.parameters(), lr=0.01)

    def missed(rows):
        return trainee.cycle(trainee.encoder, {key: x[rows] for key, x in world.items()})

    before = trainee.cycle.losses(missed(slice(60, 80)))
    for _ in range(300):
        optimizer.zero_grad()
        sum(trainee.cycle.losses(missed(slice(0, 60))).values()).backward()
        optimizer.step()
    with torch.no_grad():
        after = trainee.cycle.losses(missed(slice(60, 80)))
        for name, value in after.items():
            assert value < 0.2 * before[name]
        key = next(iter(sizes))
        shared = trainee.encoder.adapter(key)(world[key][60:])
        again = missed(slice(60, 80))[key]["cycle"] + shared
        assert (again - shared).square().mean() < 0.1 * (again - shared.roll(1, 0)).square().mean()
        assert (
            world[key][60:].var()
            > 2 * (trainee.cycle.builders[key](shared) - world[key][60:]).square().mean()
        )


def test_settings_with_a_cycle_come_back_from_json_and_older_ones_have_none():
    settings = Settings(linear.Config(), mlp.Config(), clip.Config(), cycle=cycle.Config(0.3, 0.1))
    data = json.loads(json.dumps(settings_to_json(settings)))
    assert settings_from_json(data) == settings
    del data["cycle"]
    assert settings_from_json(data) == replace(settings, cycle=None)


def test_an_output_of_the_same_name_and_negative_weights_are_refused():
    with pytest.raises(checks.ConfigError, match="rename"):
        Trainee(encoder_of(), {"cycle": mse.build(mse.Config())}, {"cycle": 1.0}, cycle.Config())
    with pytest.raises(ValueError, match="reconstruction"):
        cycle.Config(reconstruction=-1.0)


def test_a_decoder_fitted_with_a_cycle_logs_it_and_keeps_no_builder(planted):
    settings = Settings(
        linear.Config(12), mlp.Config(16, 1), clip.Config(), cycle=cycle.Config(), n_folds=2,
        train=Config(n_steps=20, batch_size=64, validate_every=20, device="cpu"),
    )  # fmt: skip
    decoder = BrainDecoder.build(settings, planted.dataset.info, planted.embeddings.info)
    decoder.fit(planted.dataset.part("train"), planted.embeddings, progress=False)
    for name in cycle.NAMES:
        _, values = decoder.log.column(name)
        assert len(values) == decoder.log.best_step // 10 or len(values) == 1
    assert not [name for name in decoder.state_dict() if "builders" in name]
