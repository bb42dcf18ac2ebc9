"""What a code keeps of retrieval, which known factors latents tell, and which go together; and what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset
from braindec.evaluate import inside_meaning
from braindec.evaluate.inside_names import Named
from braindec.sparse import Config, SparseAutoencoder
from braindec.sparse.latents import top_stimuli
from braindec.types import ArraySpace, StimulusSet, Table, Trials

N, N_DIMS, N_FACTORS = 200, 16, 6


def dictionary_of(atoms):
    model = SparseAutoencoder(atoms.shape[1], Config(len(atoms), "relu")).eval()
    with torch.no_grad():
        model.atoms.copy_(atoms)
        model.encoder.copy_(atoms)
        model.encoder_bias.fill_(-1e-4)  # rounding is no activity
    return model


@pytest.fixture
def world(generator):
    """Stimuli of six factors along orthogonal atoms, and the dictionary of these atoms."""
    atoms = torch.linalg.qr(torch.randn(N_DIMS, N_FACTORS, generator=generator))[0].T
    present = torch.rand(N, N_FACTORS, generator=generator) < 0.3
    strength = 0.5 + torch.rand(N, N_FACTORS, generator=generator)
    return dictionary_of(atoms), (present * strength) @ atoms, present


def known(present):
    """A dataset whose stimuli's table knows the factors."""
    ids = tuple(f"s{i:03d}" for i in range(N))
    table = Table({f"factor_f{k}": present[:, k].numpy() for k in range(N_FACTORS)})
    n = np.arange(N)
    trials = Trials(
        np.zeros((N, 2), np.float32),
        Table({
            "stimulus_id": np.array(ids), "session": np.full(N, "1"), "run": np.full(N, "1"), "repeat": 0 * n,
            "onset_s": 1.0 * n, "acquisition_order": n, "exchangeability_block": np.full(N, "1"),
        }), ArraySpace(2), "a.u.", subject=1, modality="fmri",
    )  # fmt: skip
    return NeuralDataset.from_trials([trials], StimulusSet(ids, "none", table=table)), ids


def test_a_code_that_keeps_everything_finds_every_embedding_and_one_that_keeps_nothing_none(world, generator):
    model, inputs, _ = world
    whole = inside_meaning.retrieval_kept(model, inputs, inputs.mean(0))
    assert whole.rebuilt == pytest.approx(whole.original, abs=0.02)
    assert whole.original > 0.85  # the few that hold nothing are alike
    blind = dictionary_of(torch.zeros(4, N_DIMS))
    none = inside_meaning.retrieval_kept(blind, inputs, inputs.mean(0))
    assert none.rebuilt < 0.02 and none.mean == pytest.approx(1 / N, abs=0.01)
    two = inside_meaning.retrieval_kept(dictionary_of(model.atoms.detach()[:2]), inputs, inputs.mean(0))
    assert none.rebuilt < two.rebuilt < whole.rebuilt


def test_each_factor_has_its_latent_and_permuted_stimuli_have_none(world, generator):
    model, inputs, present = world
    dataset, ids = known(present)
    ((_, _, table),), (said,) = inside_meaning.factor_panels(model, inputs, ids, dataset, 0, n_draws=19)
    assert {(row[0], row[1]) for row in table["rows"]} == {(f"f{k}", k) for k in range(N_FACTORS)}
    assert all(float(row[2]) > 0.98 for row in table["rows"])
    assert said.startswith("6 of 6 latents tell one of 6 known factors")
    other = inputs[torch.randperm(N, generator=generator)]
    (_, (nothing,)) = inside_meaning.factor_panels(model, other, ids, dataset, 0, n_draws=19)
    assert int(nothing.split(" ")[0]) <= 1


def test_a_table_without_factors_has_no_panel(world):
    model, inputs, present = world
    dataset, ids = known(present)
    plain = NeuralDataset.from_trials(list(dataset.trials.values()), StimulusSet(ids, "none"))
    assert inside_meaning.factor_panels(model, inputs, ids, plain, 0) == ([], [])


def test_latents_that_go_with_a_commoner_one_hang_below_it_and_independent_ones_do_not(generator):
    atoms = torch.linalg.qr(torch.randn(N_DIMS, N_FACTORS, generator=generator))[0].T
    present = torch.rand(N, N_FACTORS, generator=generator) < 0.3
    model = dictionary_of(atoms)

    def panels(active):
        inputs = active.float() @ atoms
        return inside_meaning.family_panels(model, inputs, Named(top_stimuli(model, inputs, 4), None), 0)

    independent = (torch.rand(N, N_FACTORS, generator=generator) < 0.3 for _ in range(10))
    assert sum(bool(panels(one)) for one in independent) <= 3  # one in twenty has a pair
    nested = present.clone()
    nested[:, 1] = nested[:, 0] & (torch.rand(N, generator=generator) < 0.7)
    ((_, kind, table),) = panels(nested)
    assert kind == "table"
    assert any(row[0] == "latent 0" and "latent 1 (" in row[3] for row in table["rows"])
