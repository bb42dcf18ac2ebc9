"""What two dictionaries share is found, what they do not share is not, and the nulls say what chance gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from braindec.sparse import Config, SparseAutoencoder, matching
from braindec.sparse.stability import stability
from braindec.sparse.universality import universality

N_LATENTS, N_DIMS = 80, 40


def dictionary(seed, n_latents=N_LATENTS):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SparseAutoencoder(N_DIMS, Config(n_latents, "topk", 4)).eval()


def sharing(a, n_shared, noise=0.03):
    """Another dictionary with the first latents of `a`, a little off, in another order."""
    other = dictionary(1, N_LATENTS)
    order = torch.randperm(N_LATENTS, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for mine, theirs in ((other.atoms, a.atoms), (other.encoder, a.encoder)):
            mine[:n_shared] = theirs[:n_shared] + noise * torch.randn(
                n_shared, N_DIMS, generator=torch.Generator().manual_seed(3)
            )
            mine.copy_(mine[order])
    return other, order


@pytest.fixture
def frequency(generator):
    return torch.rand(N_LATENTS, generator=generator)


def test_the_share_found_again_is_the_share_planted(frequency, generator):
    a = dictionary(0)
    b, order = sharing(a, 48)
    found = stability(a, b, frequency=frequency, generator=generator, n_draws=5)
    assert found.at(0.7) == (pytest.approx(48 / 80), 0.0)
    assert order[found.decoder.second[:48]].tolist() == list(range(48))
    assert float(found.mcc.value) > 1.5 * float(found.mcc.null)
    assert found.shared.p[14] == pytest.approx(1 / 6)
    assert (found.shared.value.diff() <= 0).all()


def test_unrelated_dictionaries_share_what_a_rotation_shares(frequency, generator):
    found = stability(dictionary(0), dictionary(1), frequency=frequency, generator=generator, n_draws=9)
    assert found.at(0.7) == (0.0, 0.0)
    assert float(found.mcc.value) == pytest.approx(float(found.mcc.nulls["rotated"].mean()), abs=0.02)
    assert float(found.mmcs.value) == pytest.approx(float(found.mmcs.nulls["rotated"].mean()), abs=0.02)
    assert float(found.mcc.nulls["shuffled"].mean()) < 0.05 < float(found.mcc.value)


def test_a_latent_whose_encoder_goes_elsewhere_is_not_shared(frequency, generator):
    a = dictionary(0)
    b, _ = sharing(a, N_LATENTS)
    with torch.no_grad():
        b.encoder.copy_(b.encoder.roll(1, 0))
    found = stability(a, b, frequency=frequency, generator=generator, n_draws=1)
    assert float(found.mcc.value) > 0.9
    assert found.at(0.7)[0] == 0


def test_dictionaries_of_other_widths_are_compared_by_the_smaller(generator):
    small, large = dictionary(0, 30), dictionary(0, N_LATENTS)
    with torch.no_grad():
        large.atoms[50:], large.encoder[50:] = small.atoms, small.encoder
    for a, b in ((small, large), (large, small)):
        found = stability(a, b, frequency=torch.rand(b.n_latents), generator=generator, n_draws=1)
        assert (found.n_pairs, found.at(0.7)[0]) == (30, 1.0)


def test_mcc_is_scipys_and_signs_count(rng):
    a, b = rng.standard_normal((9, 5)), rng.standard_normal((9, 5))
    similarity = a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    expected = similarity[linear_sum_assignment(similarity, maximize=True)].mean()
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    assert matching.mcc(a, b) == pytest.approx(expected)
    assert matching.mcc(a, a) == pytest.approx(1) == matching.mcc(a, -a, signed=False)
    assert matching.mcc(a, -a) < 0.9
    assert matching.mmcs(a, torch.cat([b, a])) == pytest.approx(1)
    assert matching.mcc(a, a[:3]) == pytest.approx(1)
    assert matching.recovery(a, a[:3]) == pytest.approx(3 / 9)  # what is missing was not found
    assert matching.recovery(a[:3], a) == pytest.approx(1)


def test_rotations_are_orthogonal_and_keep_a_dictionarys_geometry(generator):
    turn = matching.rotation(12, generator)
    torch.testing.assert_close(turn @ turn.T, torch.eye(12), atol=1e-5, rtol=0)
    mean = torch.stack([matching.rotation(3, generator) for _ in range(4000)]).mean(0)
    assert mean.abs().max() < 0.04  # entries have a spread of 1 / sqrt(3): four standard errors
    a = dictionary(0)
    b = matching.rotated(a, generator)
    torch.testing.assert_close(matching.cosines(b.atoms, b.encoder), matching.cosines(a.atoms, a.encoder))
    assert matching.mcc(a.atoms, b.atoms) < 0.5


def test_partners_are_exchanged_only_among_latents_of_equal_frequency(generator):
    frequency = torch.rand(103, generator=generator)
    other = matching.exchanged(frequency, generator, n_bins=10)
    assert sorted(other.tolist()) == list(range(103))
    assert (other != torch.arange(103)).all()
    ranks = frequency.argsort().argsort()
    assert (ranks[other] - ranks).abs().max() < 11


# --------------------------------------------------------------------------------------------- by activation


def codes(generator, n_stimuli=300, n_latents=40, share=0.1):
    size = (n_stimuli, n_latents)
    return (torch.rand(size, generator=generator) < share) * torch.rand(size, generator=generator)


def test_latents_that_two_models_share_are_paired_and_the_others_are_not_significant(generator):
    a, b = codes(generator), codes(generator)
    order = torch.randperm(40, generator=generator)
    b[:, order[:15]] = a[:, :15] * (1 + 0.3 * torch.randn(300, 15, generator=generator))
    found = universality(a, b, generator=generator, n_draws=39)
    assert found.pairs.second[:15].tolist() == order[:15].tolist()
    assert (found.p[:15] <= 0.025 + 1e-6).all()
    assert found.share() == pytest.approx(15 / 40, abs=0.03)
    assert found.mean.p == pytest.approx(1 / 40)
    assert float(found.mean.nulls["permuted"].mean()) > float(found.mean.nulls["shuffled"].mean()) + 0.05


def test_nothing_is_universal_of_models_that_share_nothing(generator):
    p, means = [], []
    for _ in range(20):
        found = universality(codes(generator), codes(generator), generator=generator, n_draws=19)
        p.append(found.share(0.05) > 0)
        means.append(float(found.mean.value - found.mean.nulls["permuted"].mean()))
    assert sum(p) <= 4
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(20) + 1e-3


def test_latents_active_in_too_few_stimuli_take_no_part(generator):
    a, b = codes(generator), codes(generator)
    a[:, 3], b[:, 7] = 0, 0
    a[0, 3], b[0, 7] = 1, 1  # a correlation of 1
    found = universality(a, b, generator=generator, n_draws=1)
    assert found.n_latents == (39, 39)
    assert 3 not in found.pairs.first.tolist() and 7 not in found.pairs.second.tolist()
    assert torch.isnan(found.best[3])
    with pytest.raises(ValueError, match="active in at least 5"):
        universality(torch.zeros(20, 4), b[:20], generator=generator)


def test_rotated_dictionaries_are_a_null_of_their_own(generator):
    model = dictionary(0)
    inputs = torch.randn(400, N_DIMS, generator=generator)
    turned = [matching.rotated(model, generator).encode(inputs).dense().detach() for _ in range(3)]
    own = model.encode(inputs).dense()
    found = universality(own, own.flip(1), generator=generator, n_draws=9, rotated=turned)
    assert float(found.mean.value) == pytest.approx(1, abs=1e-4)
    permuted, rotated = (float(found.mean.nulls[n].mean()) for n in ("permuted", "rotated"))
    assert permuted < rotated < 0.9  # the same inputs make any two dictionaries of a space alike
