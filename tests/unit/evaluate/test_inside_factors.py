"""Known factors in autoencoders: planted data are what they say, chance knows nothing, steering is judged by scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import sparse
from braindec.evaluate import inside_factors as factors
from braindec.sparse import matching, monosemanticity

TINY = factors.Settings(n_scenes=400, n_dims=96, n_steps=20, n_latents=16, n_active=4, n_null=5)


def test_planted_data_are_sums_of_the_atoms_of_what_is_present():
    made = factors.planted(TINY)
    assert made.values.shape == (400, 96) and made.present.shape[1] == len(made.names) == len(made.atoms)
    torch.testing.assert_close(made.atoms.norm(dim=1), torch.ones(len(made.atoms)))
    # With more dims than factors their strengths come back by least squares.
    strength = torch.linalg.lstsq(made.atoms.T, made.values.T).solution.T
    assert strength[made.present].min() > strength[~made.present].abs().max()
    assert strength[~made.present].abs().max() < 0.5
    assert 3 < made.present.float().sum(1).mean() < 8


def test_chance_is_that_of_random_atoms_and_far_from_the_factors_themselves():
    made = factors.planted(TINY)
    values = [factors._chance(made.atoms, TINY, i) for i in range(6)]
    assert np.std(values) > 0 and max(values) < 0.5
    assert matching.recovery(made.atoms, made.atoms) == pytest.approx(1, abs=1e-5)


def test_every_kind_of_autoencoder_has_the_width_asked_for():
    kinds = factors.kinds(64, 5)
    assert set(kinds) == {"TopK", "BatchTopK", "Matryoshka", "JumpReLU", "ReLU + L1"}
    assert all(kind.n_latents == 64 for kind, _ in kinds.values())
    assert kinds["Matryoshka"][0].prefixes == (16, 32)


@pytest.fixture
def inside():
    """Scenes of ten factors along orthogonal atoms, and the dictionary of these atoms."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.linalg.qr(torch.randn(24, 10, generator=generator))[0].T
    present = torch.rand(300, 10, generator=generator) < 0.2
    x = present.float() @ atoms + 0.02 * torch.randn(300, 24, generator=generator)
    model = sparse.SparseAutoencoder(24, sparse.Config(10, "relu")).eval()
    with torch.no_grad():
        model.atoms.copy_(atoms)
        model.encoder.copy_(atoms)
        codes = model.encode(x).dense()
    found = monosemanticity.against_factors(codes, present, generator=generator, n_draws=5)
    return model, x, present, found


def test_a_latent_that_is_its_factor_brings_scenes_that_have_it_and_another_one_does_not(inside):
    model, x, present, found = inside
    words = [f"factor {i}" for i in range(10)]
    (said,), rows, _ = factors._steer(model, x, present, found, words, TINY)
    before, on, other = (np.mean([row[k] for row in rows]) for k in (1, 2, 3))
    assert len(rows) == 8 and on > 0.8
    assert before < 0.2 and other < 0.35
    assert f"{on:.2f} of the ten nearest scenes have it" in said


def test_scenes_near_to_a_query_are_counted_as_a_loop_would(inside):
    _, x, present, _ = inside
    centre = x.mean(0)
    expected = []
    for query in x[:7] - centre:
        similarity = [float(torch.cosine_similarity(query, row - centre, dim=0)) for row in x]
        nearest = np.argsort(similarity)[::-1][:10]
        expected.append(present[nearest.tolist(), 3].float().mean())
    assert factors._with(x[:7], x, present[:, 3]) == pytest.approx(float(np.mean(expected)), abs=1e-6)


def test_other_latents_are_drawn_for_all_factors_at_once_and_never_the_own_one(inside, monkeypatch):
    model, x, present, found = inside
    on = []
    steer = factors.latents.steer
    monkeypatch.setattr(
        factors.latents, "steer", lambda m, v, edits, **told: on.append(*edits) or steer(m, v, edits, **told)
    )
    _, rows, others = factors._steer(model, x, present, found, [str(i) for i in range(10)], TINY)
    assert others.shape == (TINY.n_null,) and others.std() > 0
    assert others.mean() == pytest.approx(np.mean([row[3] for row in rows]))
    for own, *rest in np.array(on).reshape(8, 1 + TINY.n_null).tolist():
        assert own not in rest
