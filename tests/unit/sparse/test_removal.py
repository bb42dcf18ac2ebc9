"""Latents of a concept picked by their share of what is active, and edits of them alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import sparse
from braindec.sparse import removal

N, STEPS, POSITIONS, DIMS, LATENTS = 40, 2, 6, 12, 8
LEVELS = (900.0, 400.0)
CONCEPT = 5  # the planted latent


@pytest.fixture
def model(generator) -> sparse.SparseAutoencoder:
    """Orthogonal atoms that read what they write; four directions are nobody's."""
    made = sparse.SparseAutoencoder(DIMS, sparse.Config(LATENTS, "relu")).eval()
    basis = torch.linalg.qr(torch.randn(DIMS, DIMS, generator=generator)).Q[:LATENTS]
    with torch.no_grad():
        made.atoms.copy_(basis)
        made.encoder.copy_(basis)
    return made


@pytest.fixture
def planted(model, generator):
    """Activations of pictures, half of which have the concept; the rest of each lies outside the dictionary."""
    has = torch.arange(N) % 2 == 0
    amounts = torch.rand(N, STEPS, POSITIONS, LATENTS, generator=generator)
    amounts[~has, :, :, CONCEPT] *= 0.2
    outside = torch.randn(N, STEPS, POSITIONS, DIMS, generator=generator)
    outside = outside - outside @ model.atoms.detach().T @ model.atoms.detach()
    return amounts, amounts @ model.atoms.detach() + outside, has


def test_means_are_those_of_the_planted_amounts(model, planted):
    amounts, values, _ = planted
    assert torch.allclose(removal.mean_activations(model, values), amounts.mean(2), atol=1e-5)


def test_scores_are_shares_with_the_concept_less_shares_without(rng):
    means, has = rng.random((7, 3, 5)), np.array([1, 0, 0, 1, 1, 0, 0], bool)
    expected = np.zeros((3, 5))
    for t in range(3):
        for sign, rows in ((1, has), (-1, ~has)):
            mean = [sum(means[i, t, k] for i in np.flatnonzero(rows)) / rows.sum() for k in range(5)]
            expected[t] += sign * np.array(mean) / sum(mean)
    found = removal.scores(torch.from_numpy(means), torch.from_numpy(has))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_the_planted_latent_is_picked_at_every_step_and_by_permuted_labels_it_is_not(
    model, planted, generator
):
    _, values, has = planted
    means = removal.mean_activations(model, values)
    assert removal.removal(model, means, has, LEVELS, 1).latents.tolist() == [[CONCEPT]] * STEPS
    found = [
        removal.removal(model, means, has[torch.randperm(N, generator=generator)], LEVELS, 1).latents
        for _ in range(40)
    ]
    assert (
        float((torch.stack(found) == CONCEPT).float().mean()) < 0.6
    )  # the loudest is picked often, by accident


def test_an_edit_moves_the_latent_where_it_is_above_its_mean_and_nothing_else(model, planted):
    amounts, values, has = planted
    means = removal.mean_activations(model, values)
    edit = removal.removal(model, means, has, LEVELS, 1, factor=-2.0)
    found = edit(values[:, 1], LEVELS[1])
    wanted = amounts[:, 1].clone()
    loud = wanted[..., CONCEPT] > amounts[:, 1, :, CONCEPT].mean()
    wanted[..., CONCEPT] = torch.where(loud, -2.0 * wanted[..., CONCEPT], wanted[..., CONCEPT])
    outside = values[:, 1] - amounts[:, 1] @ model.atoms.detach()
    assert torch.allclose(found, wanted @ model.atoms.detach() + outside, atol=1e-4)
    assert loud.any()
    assert not loud.all()


def test_a_factor_of_one_changes_no_bit(model, planted):
    _, values, has = planted
    edit = removal.removal(model, removal.mean_activations(model, values), has, LEVELS, 1).times(1.0)
    assert torch.equal(edit(values[:, 0], LEVELS[0]), values[:, 0])
    along = removal.mean_difference(values, has, LEVELS).times(1.0)
    assert torch.equal(along(values[:, 0], LEVELS[0]), values[:, 0])


def test_a_concept_without_latents_is_refused(model, planted):
    _, values, has = planted
    means = removal.mean_activations(model, values)
    with pytest.raises(ValueError, match="fewer than n_latents 8"):
        removal.removal(model, means, has, LEVELS, LATENTS)  # shares sum to one: some are smaller
    silent = means.clone()
    silent[has] = 0.0
    with pytest.raises(ValueError, match="the concept has 0 latents at noise level 900"):
        removal.removal(model, silent, has, LEVELS, 1)


def test_a_concept_that_no_picture_or_every_picture_has_is_refused(model, planted):
    _, values, has = planted
    means = removal.mean_activations(model, values)
    for labels in (torch.zeros_like(has), torch.ones_like(has)):
        with pytest.raises(ValueError, match="pictures with the concept"):
            removal.scores(means, labels)


def test_a_level_that_was_not_recorded_is_refused(model, planted):
    _, values, has = planted
    edit = removal.removal(model, removal.mean_activations(model, values), has, LEVELS, 1)
    with pytest.raises(ValueError, match=r"noise level 500 .*number of steps"):
        edit(values[:, 0], 500.0)


def test_other_latents_are_none_of_the_concept_and_as_active(model, rng, generator):
    means = torch.from_numpy(np.sort(rng.random((N, STEPS, 200)), axis=2)).float()  # latent 0 the quietest
    latents = torch.tensor([[20, 100], [60, 180]])
    chosen = removal.Removal(model, LEVELS, latents, means.mean(0).gather(1, latents), -1.0)
    drawn = [removal.others(chosen, means, generator) for _ in range(30)]
    found = torch.stack([d.latents for d in drawn])
    assert not (found == latents).any()
    assert (
        int((found - latents).abs().max()) <= removal.N_LIKE
    )  # means ascend: near in mean is near in number
    assert len(found[:, 0, 0].unique()) > 3
    assert torch.allclose(drawn[0].floors, means.mean(0).gather(1, drawn[0].latents))


def test_without_a_dictionary_what_lies_beyond_the_mean_of_others_is_scaled_along_the_planted_direction(
    generator,
):
    direction = torch.nn.functional.normalize(torch.randn(DIMS, generator=generator), dim=0)
    has = torch.arange(2000) % 2 == 0
    values = 0.1 * torch.randn(2000, 1, 4, DIMS, generator=generator) + has[:, None, None, None] * direction
    edit = removal.mean_difference(values, has, (1.0,), factor=0.0)
    assert float(edit.directions[0] @ direction) > 0.99
    found = edit(values[:, 0], 1.0)
    along = edit.directions[0]
    assert float((found @ along).max()) <= float(edit.floors[0]) + 1e-5
    change = found - values[:, 0]
    assert torch.allclose(change, (change @ along)[..., None] * along, atol=1e-5)
    below = values[:, 0] @ along < edit.floors[0]
    assert torch.equal(found[below], values[:, 0][below])
