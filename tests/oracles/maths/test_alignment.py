"""Rotations against scipy; the shared response model against its likelihood written out for every pair of features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.stats import multivariate_normal, ortho_group

from braindec.maths import procrustes, srm


def test_a_rotation_is_scipys(rng):
    x, y = rng.standard_normal((50, 7)), rng.standard_normal((50, 7))
    expected, _ = orthogonal_procrustes(x, y)
    found = procrustes.procrustes(torch.from_numpy(x), torch.from_numpy(y), scaling=True)
    assert found.matrix.numpy() == pytest.approx(expected, abs=1e-10)
    scales = np.linspace(0.5, 1.5, 1001) * found.scale
    errors = [np.square(s * x @ expected - y).sum() for s in scales]
    assert np.argmin(errors) == 500


def test_a_planted_rotation_and_scale_are_found(rng):
    x, rotation = rng.standard_normal((40, 6)), ortho_group.rvs(6, random_state=1)
    found = procrustes.procrustes(torch.from_numpy(x), torch.from_numpy(2.5 * x @ rotation), scaling=True)
    assert found.matrix.numpy() == pytest.approx(rotation) and found.scale == pytest.approx(2.5)


def test_rotated_and_scaled_copies_are_brought_onto_each_other_in_any_order(rng):
    truth = rng.standard_normal((80, 5))
    sets = [
        torch.from_numpy(c * truth @ ortho_group.rvs(5, random_state=i))
        for i, c in enumerate((1.0, 2.0, 0.5))
    ]
    for chosen in (sets, sets[::-1]):
        found = procrustes.generalised_procrustes(chosen, scaling=True)
        assert found.errors[-1] < 1e-20
        assert float(found.shared.norm()) == pytest.approx(
            np.sqrt(np.mean([float(s.square().sum()) for s in sets]))
        )
    apart = procrustes.generalised_procrustes(
        [torch.from_numpy(rng.standard_normal((80, 5))) for _ in range(3)]
    )
    assert apart.errors[-1] > 0.4 and (np.diff(apart.errors) <= 1e-12).all()


def planted(rng, n_samples=60, k=3, sizes=(7, 5, 90), noise=(0.3, 0.6, 0.3)):
    """(n_features, n_samples) of three subjects, their bases, and the shared response."""
    shared = np.diag([3.0, 2.0, 1.0]) @ rng.standard_normal((k, n_samples))
    bases = [np.linalg.qr(rng.standard_normal((v, k)))[0] for v in sizes]
    made = [
        torch.from_numpy(w @ shared + s * rng.standard_normal((len(w), n_samples)))
        for w, s in zip(bases, noise, strict=True)
    ]
    return [x - x.mean(1, keepdim=True) for x in made], bases, shared


def likelihood(responses, fitted):
    """Log-density of all subjects' features of each sample as one Gaussian vector."""
    w = np.concatenate([b.numpy() for b in fitted.bases])
    variance = np.repeat(fitted.noise.numpy(), [len(b) for b in fitted.bases])
    covariance = w @ fitted.covariance.numpy() @ w.T + np.diag(variance)
    return multivariate_normal(cov=covariance).logpdf(torch.cat(responses).T.numpy()).sum()


def test_the_likelihood_is_that_of_one_large_gaussian_and_never_falls(rng, generator):
    responses, _, _ = planted(rng)
    fits = [srm.probabilistic_srm(responses, 3, generator, n) for n in (1, 2, 30)]
    for fitted in fits:
        assert fitted.progress[-1] == pytest.approx(likelihood(responses, fitted), rel=1e-9)
    assert (np.diff(fits[-1].progress) >= -1e-8).all()


def test_the_fit_is_a_maximum_nearby_models_are_less_likely(rng, generator):
    responses, _, _ = planted(rng)
    fitted = srm.probabilistic_srm(responses, 3, generator, 300)
    best = likelihood(responses, fitted)
    for number in range(3):
        for _ in range(5):
            turned = list(fitted.bases)
            small = turned[number] + 0.02 * torch.randn(
                turned[number].shape, generator=generator, dtype=torch.float64
            )
            turned[number] = torch.linalg.qr(small).Q * torch.sign(torch.linalg.qr(small).R.diagonal())
            assert likelihood(responses, fitted._replace(bases=tuple(turned))) < best
    for factor in (0.95, 1.05):
        assert likelihood(responses, fitted._replace(noise=fitted.noise * factor)) < best
        assert likelihood(responses, fitted._replace(covariance=fitted.covariance * factor)) < best


@pytest.mark.parametrize("fit", [srm.deterministic_srm, srm.probabilistic_srm])
def test_planted_bases_and_shared_responses_are_found(rng, generator, fit):
    responses, bases, shared = planted(rng, n_samples=400)
    fitted = fit(responses, 3, generator, 50)
    rotation = procrustes.polar(
        fitted.shared @ torch.from_numpy(shared).T
    ).numpy()  # found only up to one rotation
    assert np.corrcoef((rotation.T @ fitted.shared.numpy()).ravel(), shared.ravel())[0, 1] > 0.98
    for found, truth in zip(fitted.bases, bases, strict=True):
        assert (found.T @ found).numpy() == pytest.approx(np.eye(3), abs=1e-10)
        assert np.linalg.svd(found.numpy().T @ truth)[1].min() > 0.95
    assert fitted.noise.sqrt().numpy() == pytest.approx([0.3, 0.6, 0.3], rel=0.25)


def test_least_squares_falls_and_is_the_closed_form_for_one_subject(rng, generator):
    responses, _, _ = planted(rng)
    assert (np.diff(srm.deterministic_srm(responses, 3, generator, 20).progress) <= 1e-12).all()
    x = responses[0]
    alone = srm.deterministic_srm([x], 3, generator, 1)
    discarded = torch.linalg.svdvals(x)[3:].square().sum() / x.numel()
    assert alone.progress[-1] == pytest.approx(float(discarded))


def test_reducing_to_the_row_space_changes_nothing(rng, generator, monkeypatch):
    responses, _, _ = planted(rng, n_samples=20)
    reduced = srm.probabilistic_srm(responses, 3, generator, 15)
    monkeypatch.setattr(srm, "_reduced", lambda x, *_: ([srm._Held(r) for r in x], [None] * len(x)))
    plain = srm.probabilistic_srm(responses, 3, generator, 15)
    assert reduced.progress == pytest.approx(plain.progress, rel=1e-9)
    assert reduced.bases[2].numpy() == pytest.approx(plain.bases[2].numpy(), abs=1e-6)


def test_subjects_who_share_nothing_have_a_shared_response_that_explains_little(rng, generator):
    apart = [torch.from_numpy(rng.standard_normal((30, 500))) for _ in range(3)]
    found = srm.deterministic_srm(apart, 3, generator)
    explained = 1 - found.progress[-1] / float(torch.stack([x.square().mean() for x in apart]).mean())
    assert explained < 0.1


def test_too_large_a_shared_response_and_other_samples_are_refused(generator):
    x = torch.randn(5, 20, generator=generator)
    with pytest.raises(ValueError, match="size of the shared response"):
        srm.deterministic_srm([x, x], 6, generator)
    with pytest.raises(ValueError, match="same stimuli"):
        srm.probabilistic_srm([x, x[:, :10]], 3, generator)


def test_noise_covariance_and_error_are_those_of_brainiak(generator):
    """Numbers of brainiak 0.12: SRM(n_iter=200, features=4) and DetSRM likewise, of these responses."""
    rng = np.random.default_rng(5)
    shared = rng.standard_normal((4, 60)) * np.array([3.0, 2.0, 1.5, 1.0])[:, None]
    responses = []
    for n_features, noise in ((30, 0.5), (25, 1.0), (40, 0.3)):
        basis = np.linalg.qr(rng.standard_normal((n_features, 4)))[0]
        x = basis @ shared + noise * rng.standard_normal((n_features, 60))
        responses.append(torch.from_numpy(x - x.mean(1, keepdims=True)))
    fitted = srm.probabilistic_srm(responses, 4, generator, 200)
    assert fitted.noise.numpy() == pytest.approx([0.22752178, 0.91401808, 0.08565236], rel=1e-6)
    assert np.linalg.slogdet(fitted.covariance.numpy())[1] == pytest.approx(4.107399327, abs=1e-6)
    squares = srm.deterministic_srm(responses, 4, generator, 200).progress[-1] * sum(
        x.numel() for x in responses
    )
    assert squares == pytest.approx(1878.868505447847, rel=1e-7)
