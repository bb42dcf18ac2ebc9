"""AUC, information, similarity of stimuli and phi against sklearn and loops; planted families and factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import matthews_corrcoef, mutual_info_score, roc_auc_score

from braindec.sparse import families, monosemanticity


@pytest.fixture
def activations(generator):
    size = (400, 9)
    return (torch.rand(size, generator=generator) < 0.2) * torch.rand(size, generator=generator)


@pytest.fixture
def factors(activations, generator):
    drawn = torch.rand(400, 5, generator=generator) < 0.3
    drawn[:, 0] = activations[:, 4] > 0
    return drawn


def test_auc_and_information_are_sklearns(activations, factors, generator):
    found = monosemanticity.against_factors(activations, factors, generator=generator, n_draws=1)
    for i in range(9):
        for j in range(5):
            truth, value = factors[:, j].numpy(), activations[:, i].numpy()
            assert float(found.auc[i, j]) == pytest.approx(roc_auc_score(truth, value), abs=1e-9)
            share = mutual_info_score(truth, value > 0) / entropy([truth.mean(), 1 - truth.mean()])
            assert float(found.information[i, j]) == pytest.approx(share, abs=1e-9)


def test_a_latent_that_is_a_factor_is_told_and_the_others_are_not(activations, factors, generator):
    found = monosemanticity.against_factors(activations, factors, generator=generator, n_draws=99)
    assert found.best[4] == 0 and float(found.best_auc[4]) == 1.0
    assert float(found.p[4]) == pytest.approx(0.01)
    assert float(found.gap[4]) > 0.9
    others = [i for i in range(9) if i != 4]
    assert (found.p[others] > 0.01).all()
    assert float(found.best_auc[others].mean()) == pytest.approx(found.null, abs=0.03)
    assert found.covered(0.9) == pytest.approx(1 / 5)
    with pytest.raises(ValueError, match="leave constant ones out"):
        monosemanticity.against_factors(activations, torch.zeros(400, 2), generator=generator)


def test_similarity_of_stimuli_is_the_double_loop_and_its_null_is_the_mean_of_all(activations, generator):
    embeddings = torch.randn(400, 7, generator=generator) + 0.5
    embeddings[activations[:, 2] > 0] += torch.tensor([4.0] + [0.0] * 6)
    found = monosemanticity.alike(activations, embeddings, generator=generator)
    unit = torch.nn.functional.normalize(embeddings, dim=1).numpy()
    cosine = unit @ unit.T
    for i in (0, 2):
        a = activations[:, i].numpy()
        pairs = np.triu(np.outer(a, a), 1)
        assert float(found.value[i]) == pytest.approx((pairs * cosine).sum() / pairs.sum(), abs=1e-5)
    assert found.baseline == pytest.approx(cosine[np.triu_indices(400, 1)].mean(), abs=1e-5)
    assert float(found.p[2]) == pytest.approx(0.01)
    assert float(found.p[[0, 1, 3, 4]].min()) > 0.01
    activations[:, 6] = 0
    silent = monosemanticity.alike(activations, embeddings, generator=generator, n_draws=2)
    assert torch.isnan(silent.value[6]) and torch.isnan(silent.p[6])
    with pytest.raises(ValueError, match="at least 0"):
        monosemanticity.alike(-activations, embeddings, generator=generator)


def test_phi_is_matthews(activations):
    active = activations > 0
    active[:, 3] = True
    found = families.phi(active)
    for i, j in ((0, 1), (4, 7), (5, 5)):
        expected = matthews_corrcoef(active[:, i].numpy(), active[:, j].numpy())
        assert float(found[i, j]) == pytest.approx(expected, abs=1e-6)
    assert (found[3] == 0).all()


def test_planted_trees_are_found_and_independent_latents_stay_alone(generator):
    def rarely(share, n=4000):
        return torch.rand(n, generator=generator) < share

    animal, tool = rarely(0.3), rarely(0.3)
    dog, cat, hammer = animal & rarely(0.4), animal & rarely(0.3), tool & rarely(0.4)
    poodle = dog & rarely(0.4)
    active = torch.stack([poodle, tool, rarely(0.2), cat, animal, dog, hammer], 1)
    found = families.families(active, generator=generator)
    assert found.parent.tolist() == [5, -1, -1, 4, -1, 4, 1]
    assert found.members() == {4: [0, 3, 4, 5], 1: [1, 6]}
    alone = torch.rand(4000, 30, generator=generator) < 0.2
    assert len(families.families(alone, generator=generator).members()) <= 1
