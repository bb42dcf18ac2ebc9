"""Transcoders and followed latents against the planted circuit, a loop, and a pathway that is dormant."""

from __future__ import annotations

import pytest
import torch

from braindec import sparse
from braindec.evaluate.inside_worlds import circuit
from braindec.sparse import circuits, matching, transcoder


def dictionary(atoms, threshold=0.1):
    """Reads along its atoms, above a threshold, and writes what it read."""
    model = sparse.SparseAutoencoder(atoms.shape[1], sparse.Config(len(atoms), "gated")).eval()
    with torch.no_grad():
        model.atoms.copy_(atoms)
        model.encoder.copy_(atoms)
        model.encoder_bias.fill_(-threshold)
    return model


@pytest.fixture(scope="module")
def made():
    return circuit(1200, 14, 8, 6, 0)


def test_ablation_reaches_what_is_wired_and_nothing_else(made, generator):
    before, after = dictionary(made.before), dictionary(made.after, 1e-3)
    found = circuits.effects(before, made.layer, after, made.inputs, range(8), generator=generator)
    assert bool((found.ablated[made.wired] > 0.08).all())
    assert float(found.ablated[~made.wired].abs().max()) < 0.02
    assert float(found.size[-1]) < 0.02  # drives nothing
    assert float(found.dormant[found.size > 0.1].max()) < 0.2
    assert bool((found.n > 100).all())
    # An ablated latent, by hand, in samples in which it is active.
    active = made.inputs @ made.before[0] > 0.1
    x = made.inputs[active]
    without = x - (x @ made.before[0])[:, None] * made.before[0]
    expected = ((made.layer(x) - made.layer(without)) @ made.after.T).mean(0)
    torch.testing.assert_close(found.ablated[0], expected, atol=2e-3, rtol=1e-2)


def test_a_random_latent_does_less_to_what_is_wired(made, generator):
    found = circuits.effects(
        dictionary(made.before),
        made.layer,
        dictionary(made.after, 1e-3),
        made.inputs,
        [0],
        generator=generator,
        n_draws=39,
    )  # fmt: skip
    own = made.wired[0]
    assert found.random.shape == (39, 1, 6)
    assert float(found.ablated[0, own].min()) > 1.2 * float(found.random[:, 0, own].mean(0).max())
    assert float(found.p[0, ~own].min()) > 0.05


def test_a_direction_that_works_through_a_dormant_pathway_is_told_from_one_that_inputs_use(made, generator):
    """The last feature drives nothing; its atom, with the dormant direction added, seems to."""
    illusory = made.before.clone()
    illusory[-1] = made.before[-1] - 2 * made.dormant
    model = dictionary(made.before)
    with torch.no_grad():
        model.atoms.copy_(illusory)
    found = circuits.effects(
        model, made.layer, dictionary(made.after, 1e-3), made.inputs, [0, 7], generator=generator
    )
    assert float(found.size[1]) > 0.1  # it looks like a cause
    assert float(found.natural[1].norm()) < 0.05 * float(found.size[1])
    assert float(found.dormant[1]) > 0.9 > 0.2 > float(found.dormant[0])


def test_a_silent_latent_has_no_effect_and_an_unknown_one_is_refused(made, generator):
    told = made.layer, dictionary(made.after), made.inputs
    found = circuits.effects(dictionary(made.before, 99.0), *told, [3], generator=generator)
    assert int(found.n[0]) == 0 and bool(found.ablated.isnan().all())
    with pytest.raises(ValueError, match="latent"):
        circuits.effects(dictionary(made.before), *told, [8], generator=generator)


def test_a_transcoder_finds_what_a_layer_writes_and_what_it_reads_for_it(made):
    outputs = made.layer(made.inputs)
    settings = sparse.FitConfig(n_steps=200, batch_size=128, lr=0.04, decay_fraction=0.4)
    config = transcoder.Config(12, 2)
    model = transcoder.fit(made.inputs, outputs, config, settings, seed=0)
    again = transcoder.fit(made.inputs, outputs, config, settings, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    order = torch.randperm(len(outputs), generator=torch.Generator().manual_seed(0))
    shuffled = transcoder.fit(made.inputs, outputs[order], config, settings, seed=0)
    found, null = (matching.recovery(made.after, one.atoms) for one in (model, shuffled))
    assert found > 0.7 and found > null + 0.15

    def left(one):
        return float(
            (outputs - one(made.inputs).detach()).square().sum() / (outputs - outputs.mean(0)).square().sum()
        )

    assert left(model) < 0.5 < 0.9 < left(shuffled)
    pairs = matching.match(matching.cosines(made.after, model.atoms.detach()))
    sure = pairs.similarity.topk(3).indices  # of six; nobody says that all are found
    read = (model.encoder[pairs.second[sure]].detach() @ made.before.T).T  # (feature, output)
    assert float(read[made.wired[:, sure]].mean()) > 3 * float(read[~made.wired[:, sure]].abs().mean())


def test_a_transcoder_is_its_formula_and_a_skip_takes_what_is_linear(made):
    torch.manual_seed(0)
    model = transcoder.Transcoder(5, 3, transcoder.Config(9, 2)).double()
    x = torch.randn(20, 5, dtype=torch.float64)
    pre = x @ model.encoder.T + model.encoder_bias
    kept = torch.relu(pre) * (pre >= pre.topk(2, dim=1).values[:, -1:])
    torch.testing.assert_close(model(x), kept @ model.atoms + model.bias)
    y = x.float() @ torch.randn(5, 3)
    settings = sparse.FitConfig(n_steps=120, batch_size=20, lr=0.05)
    left = []
    for skip in (False, True):
        fitted = transcoder.fit(x.float(), y, transcoder.Config(2, 1, skip), settings, seed=0)
        left.append(float((y - fitted(x.float()).detach()).square().mean()))
    assert left[1] < 0.1 * left[0]
    assert not model.skip.requires_grad


def test_inputs_and_outputs_that_do_not_go_together_are_refused(made):
    settings = sparse.FitConfig(n_steps=1)
    with pytest.raises(ValueError, match="sample"):
        transcoder.fit(torch.ones(3, 2), torch.ones(4, 2), transcoder.Config(2, 1), settings, seed=0)
    with pytest.raises(ValueError, match="do not vary"):
        transcoder.fit(torch.rand(3, 2), torch.ones(3, 2), transcoder.Config(2, 1), settings, seed=0)
    with pytest.raises(ValueError, match="axis 'dim'"):
        transcoder.Transcoder(2, 2, transcoder.Config(2, 1))(torch.ones(1, 3))


def test_a_latent_that_is_never_active_has_no_p(made, generator):
    before = dictionary(made.before)
    with torch.no_grad():
        before.encoder_bias[3] = -1e6
    found = circuits.effects(
        before, made.layer, dictionary(made.after, 1e-3), made.inputs, [0, 3], generator=generator
    )
    assert bool(found.p[1].isnan().all()) and not bool(found.p[0].isnan().any())
