"""The loop: its order of trials, what it keeps, and that a resumed run is the run that was never stopped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from braindec import checkpoints, train
from braindec.maths.order import Order
from braindec.train import optimise


def problem(seed=0):
    """A noisy linear regression with dropout, so that the run depends on every random state."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(64, 8, generator=generator)
    y = x @ torch.randn(8, 3, generator=generator) + 0.1 * torch.randn(64, 3, generator=generator)
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 3))
    order = Order(64, 16, seed)

    def batch(step):
        rows = order.rows(step)
        return {"x": x[rows], "y": y[rows]}

    def objective(module, batch, progress, generator):
        noise = torch.randn(batch["y"].shape, generator=generator)
        return {"mse": (module(batch["x"]) - batch["y"] - 0.01 * noise).square().mean()}

    return module, batch, objective


def settings(**changes):
    return train.Config(**{"n_steps": 60, "lr": 1e-2, "device": "cpu", "validate_every": 10, **changes})


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def run(folder=None, **changes):
    module, batch, objective = problem()
    log = train.fit(module, batch, objective, settings(**changes), seed=3, folder=folder, progress=False)
    return module, log


def test_every_pass_shows_every_trial_once():
    order = Order(10, 4, 0)
    rows = torch.cat([order.rows(step) for step in range(5)])  # two passes of ten
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_the_order_of_a_step_does_not_depend_on_the_steps_before():
    fresh, used = Order(10, 4, 0), Order(10, 4, 0)
    for step in range(7):
        used.rows(step)
    assert torch.equal(fresh.rows(7), used.rows(7))


def test_training_lowers_the_loss():
    _, log = run()
    values = log.column("mse")[1]
    assert values[-1] < 0.3 * values[0]


def test_equal_seeds_give_equal_weights_whatever_the_global_state():
    first, _ = run()
    torch.rand(5)
    second, _ = run()
    assert torch.equal(weights(first), weights(second))


def test_the_global_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    module, batch, objective = problem()
    torch.random.set_rng_state(before)
    train.fit(module, batch, objective, settings(n_steps=3), seed=3, progress=False)
    assert torch.equal(before, torch.random.get_rng_state())


def stopped_after(folder, step, **changes):
    """A run that dies in the middle of a step."""
    module, batch, objective = problem()

    def dying(number):
        if number == step:
            raise KeyboardInterrupt
        return batch(number)

    with pytest.raises(KeyboardInterrupt):
        train.fit(module, dying, objective, settings(**changes), seed=3, folder=folder, progress=False)


@pytest.mark.parametrize("step", [11, 25, 47])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, step):
    whole, log = run(tmp_path / "whole", checkpoint_every=10)
    stopped_after(tmp_path / "stopped", step, checkpoint_every=10)
    resumed, again = run(tmp_path / "stopped", checkpoint_every=10)
    assert torch.equal(weights(whole), weights(resumed))
    assert log.rows == again.rows


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    whole, _ = run(tmp_path / "whole", checkpoint_every=10)
    stopped_after(tmp_path / "stopped", 45, checkpoint_every=10)
    newest = checkpoints.files(tmp_path / "stopped", "train")[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed, _ = run(tmp_path / "stopped", checkpoint_every=10)
    assert torch.equal(weights(whole), weights(resumed))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    stopped_after(tmp_path, 45, checkpoint_every=10)
    with pytest.raises(ValueError, match="other settings"):
        run(tmp_path, checkpoint_every=10, lr=1e-3)


def test_the_step_that_validates_best_is_kept():
    module, batch, objective = problem()
    seen = []

    def validate(m):
        seen.append(weights(m).clone())
        return -abs(len(seen) - 3)  # best at the third look

    log = train.fit(module, batch, objective, settings(), seed=3, validate=validate, progress=False)
    assert log.best_step == 20
    assert torch.equal(weights(module), seen[2])


def test_divergence_is_an_error_that_names_the_step():
    module, batch, _ = problem()
    with pytest.raises(FloatingPointError, match="step 1 "):
        train.fit(
            module,
            batch,
            lambda m, b, p, g: {"nan": m(b["x"]).sum() * float("nan")},
            settings(),
            seed=0,
            progress=False,
        )


def test_a_validation_split_never_divides_a_unit(generator):
    units = [f"u{i // 3}" for i in range(30)]
    kept, held = train.split_rows(units, 0.3, generator)
    assert not {units[i] for i in kept.tolist()} & {units[i] for i in held.tolist()}
    assert len(kept) + len(held) == 30
    assert len(held) == 9


def test_two_runs_of_one_process_may_differ_in_precision():
    for precision in ("no", "bf16", "no"):
        _, log = run(n_steps=10, precision=precision)
        assert log.rows


def test_a_checkpoint_of_other_data_is_not_taken_over(tmp_path):
    """The same settings in the same folder, but twice the rows or other whole numbers: not the run that was begun."""
    module, batch, objective = problem()
    chosen = settings(n_steps=20, checkpoint_every=10)
    train.fit(module, batch, objective, chosen, seed=3, folder=tmp_path, progress=False)

    def other(step):
        return batch(step) | {"stimuli": torch.arange(16)}

    with pytest.raises(ValueError, match="other settings, data"):
        train.fit(module, other, objective, chosen, seed=3, folder=tmp_path, progress=False)


def test_a_validation_that_is_not_a_number_is_never_the_best():
    module, batch, objective = problem()
    said = iter([0.1, 0.9, float("nan"), 0.5])
    log = train.fit(
        module, batch, objective, settings(n_steps=30), seed=0, progress=False, validate=lambda _: next(said)
    )
    assert log.best_step == 10


def test_a_gpu_without_float64_is_left_alone(monkeypatch):
    """Accelerate would take Apple's GPU of a laptop, where half of the losses and every prior would stop."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert optimise.accelerator_of(settings(device="auto")).device.type == "cpu"


@pytest.mark.parametrize("n_steps", [1, 2, 10])
def test_a_cosine_schedule_is_torchs_and_its_first_step_the_largest(n_steps):
    settings = train.Config(n_steps=n_steps, schedule="cosine")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    known = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for step in range(n_steps):
        assert optimise.rate(settings, step) == pytest.approx(known.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        known.step()
