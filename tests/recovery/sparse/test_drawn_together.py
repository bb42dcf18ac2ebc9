"""Autoencoders trained side by side: the term's gradient, that it draws them together, and that 0 leaves them alone."""

from __future__ import annotations

import signal

import pytest
import torch

from braindec import sparse, stopping
from braindec.maths.assignment import assign
from braindec.sparse import matching, shared, steps

CONFIG = sparse.Config(32, "topk", 3)


def samples(n=1500, n_dims=12):
    generator = torch.Generator().manual_seed(0)
    code = (torch.rand(n, 32, generator=generator) < 0.08) * torch.rand(n, 32, generator=generator)
    return code @ torch.randn(32, n_dims, generator=generator) + 0.1 * torch.randn(
        n, n_dims, generator=generator
    )


def settings(**more):
    return sparse.FitConfig(**({"n_steps": 150, "batch_size": 128, "lr": 3e-3, "dead_after": 2000} | more))


def together(mutual, models=(CONFIG,) * 3, seed=0, **more):
    return shared.fit(samples(), models, settings(**more), mutual, seed=seed, progress=False)


def alike(fitted):
    atoms = [f.model.atoms for f in fitted]
    return sum(matching.mcc(a, b) for i, a in enumerate(atoms) for b in atoms[:i]) / 3


def test_the_gradient_is_that_of_the_mean_distance_of_matched_atoms():
    models = [sparse.SparseAutoencoder(6, sparse.Config(n, "topk", 2)).double() for n in (9, 9, 5)]
    pull = shared._Pull(models, shared.Config(0.7, rise=0))
    for model, term in zip(models, pull(0), strict=True):
        term(model).backward()
    atoms = [model.atoms.detach().clone().requires_grad_() for model in models]
    units = [torch.nn.functional.normalize(a, dim=1) for a in atoms]
    parts = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        rows, columns = assign(units[i].detach() @ units[j].detach().T)
        parts.append(1 - (units[i][rows] * units[j][columns]).sum(1).mean())
    (0.7 * torch.stack(parts).mean()).backward()
    for model, expected in zip(models, atoms, strict=True):
        torch.testing.assert_close(model.atoms.grad, expected.grad, rtol=1e-9, atol=1e-12)


def test_the_term_draws_dictionaries_together_and_costs_little_of_the_reconstruction():
    apart, drawn = together(shared.Config(0.0)), together(shared.Config(0.5, rise=20))
    assert alike(drawn) > alike(apart) + 0.1
    last = [[f.rows[-1]["reconstruction"] for f in fits] for fits in (apart, drawn)]
    assert max(last[1]) < max(last[0]) + 0.1
    assert drawn[0].rows[-1]["further"] < drawn[0].rows[2]["further"]


def test_with_a_weight_of_zero_each_is_what_it_would_be_alone():
    both = together(shared.Config(0.0), (CONFIG, CONFIG))
    assert not torch.equal(both[0].model.atoms, both[1].model.atoms)
    three = together(shared.Config(0.0))
    assert torch.equal(both[1].model.atoms, three[1].model.atoms)


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    mutual, models = shared.Config(0.3, rise=30), (CONFIG, sparse.Config(32, "topk", 6))
    given = (samples(), models, settings(n_steps=40, checkpoint_every=10), mutual)
    whole = shared.fit(*given, seed=0, progress=False)
    shared.fit(*given, seed=0, folder=tmp_path, progress=False, stop_at=25)
    resumed = shared.fit(*given, seed=0, folder=tmp_path, progress=False)
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a.model.atoms, b.model.atoms)
        assert a.rows == b.rows


def test_a_signal_between_two_pairings_changes_no_bit(tmp_path, monkeypatch):
    mutual, models = shared.Config(0.3, rise=5, match_every=30), (CONFIG, sparse.Config(32, "topk", 6))
    given = (samples(), models, settings(n_steps=60, checkpoint_every=30), mutual)
    whole, step = shared.fit(*given, seed=0, progress=False), steps.State.step

    def signalled(self, number, *rest):
        if number == 24:
            signal.raise_signal(signal.SIGTERM)
        return step(self, number, *rest)

    monkeypatch.setattr(steps.State, "step", signalled)
    with pytest.raises(stopping.Stopped):
        shared.fit(*given, seed=0, folder=tmp_path, progress=False)
    monkeypatch.undo()
    resumed = shared.fit(*given, seed=0, folder=tmp_path, progress=False)
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a.model.atoms, b.model.atoms)


def test_the_weight_rises_along_half_a_cosine():
    config = shared.Config(2.0, rise=10)
    assert [config.at(s) for s in (0, 5, 10, 99)] == pytest.approx([0, 1, 2, 2])
