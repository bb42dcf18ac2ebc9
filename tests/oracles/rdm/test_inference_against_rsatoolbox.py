"""Bootstraps by weights against rsatoolbox on the very same resamples, and variances against its formula."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from braindec.rdm import ceilings, fit_weights, permutation_null, transforms
from braindec.rdm.bootstrap import Draws, bootstrap
from braindec.rdm.comparators import compare
from braindec.rdm.matrix import RDM
from braindec.rdm.pairs import condensed, square
from braindec.rdm.resampling import draw_counts

pytest.importorskip("rsatoolbox")
PEERS = {
    "rho_a": "rho-a", "spearman": "spearman", "pearson": "corr", "cosine": "cosine", "tau_a": "tau-a",
    "whitened_cosine": "cosine_cov", "whitened_correlation": "corr_cov",
}  # fmt: skip
N, SUBJECTS, MODELS = 13, 6, 3


@pytest.fixture
def data(rng):
    models = rng.random((MODELS, N * (N - 1) // 2))
    models[0] = np.round(2 * models[0])  # ties, as of categories
    return rng.random((SUBJECTS, models.shape[1])) + models[:1] + models[1:2], models


def as_theirs(values, name="rdm"):
    from rsatoolbox.rdm import RDMs

    return RDMs(
        values, pattern_descriptors={"index": np.arange(N)}, rdm_descriptors={"index": np.arange(len(values))}
    )


@pytest.mark.parametrize("name", PEERS)
def test_scores_and_ceilings_equal_those_of_rsatoolbox_on_the_same_resample(data, generator, name):
    from rsatoolbox.inference import boot_noise_ceiling
    from rsatoolbox.rdm import compare as their_compare

    values, models = data
    counts = draw_counts(N, 4, generator), draw_counts(SUBJECTS, 4, generator)
    found = bootstrap(*(torch.from_numpy(x) for x in data), name, 4, generator, counts=counts)
    d, m = as_theirs(values), as_theirs(models)
    for draw in range(4):
        conditions = np.repeat(np.arange(N), counts[0][draw].int())
        subjects = np.repeat(np.arange(SUBJECTS), counts[1][draw].int())
        d_c, m_c = (x.subsample_pattern("index", conditions) for x in (d, m))
        for x, y, ours in ((d_c.subsample("index", subjects), m_c, found.both), (d_c, m_c, found.conditions),
                           (d.subsample("index", subjects), m, found.subjects)):  # fmt: skip
            theirs = their_compare(x, y, PEERS[name]).mean(0)
            np.testing.assert_allclose(ours[draw, :MODELS], theirs, atol=5e-15)
        if not name.startswith("whitened"):  # its pooling ignores the whitening
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                limits = boot_noise_ceiling(d_c, PEERS[name])
            np.testing.assert_allclose(found.conditions[draw, MODELS:], limits, atol=5e-15)


@pytest.mark.parametrize("name", PEERS)
def test_ceilings_are_comparisons_with_the_mean_of_the_others_and_of_all(data, name):
    values = torch.from_numpy(data[0])
    found = ceilings.noise_ceiling(values, name)
    whole = bootstrap(
        values, torch.from_numpy(data[1]), name, 2, torch.Generator(),
        counts=(torch.ones(2, N).double(), torch.ones(2, SUBJECTS).double()),
    )  # fmt: skip
    for draws in (whole.both, whole.subjects, whole.conditions):
        expected = torch.stack([found.lower.mean(), found.upper.mean()])
        torch.testing.assert_close(draws[0, MODELS:], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("over", ["both", "subjects", "conditions"])
def test_variances_of_models_and_differences_are_those_of_rsatoolbox(rng, over):
    from rsatoolbox.util.inference_util import extract_variances

    draws = [torch.from_numpy(rng.standard_normal((50, 5)) * s) for s in (1.4, 1.0, 0.8)]
    covariances = np.stack([np.cov(d.numpy().T) for d in draws])
    ours = Draws(*draws, n_subjects=7, n_conditions=20)
    n = {"both": (7, 20), "subjects": (7, None), "conditions": (None, 20)}[over]
    theirs = covariances if over == "both" else covariances[1 if over == "subjects" else 2]
    models, differences, below = extract_variances(theirs, True, *n)
    single = torch.eye(3).double()
    np.testing.assert_allclose(ours.variance(single, over), models, rtol=1e-12)
    contrast = torch.tensor([[1.0, -1, 0], [1, 0, -1], [0, 1, -1]]).double()
    np.testing.assert_allclose(ours.variance(contrast, over), differences, rtol=1e-12)
    to_ceiling = torch.cat([single, -torch.ones(3, 1), torch.zeros(3, 1)], 1).double()
    np.testing.assert_allclose(ours.variance(to_ceiling, over), below[:, 0], rtol=1e-12)


@pytest.mark.parametrize("name", ["rho_a", "pearson", "whitened_cosine", "tau_a"])
def test_the_permutation_null_is_the_score_of_reordered_conditions(data, name):
    values, models = (torch.from_numpy(x) for x in data)
    found = permutation_null(values, models, name, 3, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    for row in found:
        order = torch.randperm(N, generator=generator)
        reordered = condensed(square(values)[:, order][:, :, order])
        torch.testing.assert_close(row, compare(reordered, models, name).mean(0), rtol=0, atol=1e-12)


def test_the_geo_topological_transform_of_one_rdm_equals_that_of_rsatoolbox_and_leaves_its_input_alone(rng):
    from rsatoolbox.rdm.transform import geotopological_transform

    # Above 1: theirs compares what it has rescaled with the quantile of the distances once more.
    values = rng.random((1, N * (N - 1) // 2)) + 10
    rdm = RDM(torch.from_numpy(values.copy()), tuple(f"{i:02d}" for i in range(N)), "planted", ("subject",))
    theirs = geotopological_transform(as_theirs(values.copy()), 0.2, 0.7).dissimilarities
    np.testing.assert_allclose(transforms.geo_topological(rdm, 0.2, 0.7).distances, theirs, atol=1e-14)
    np.testing.assert_array_equal(rdm.distances, values)


def test_geodesic_distances_equal_those_of_scipy(rng):
    from scipy.sparse.csgraph import floyd_warshall

    rdm = RDM(
        torch.from_numpy(rng.random((2, N * (N - 1) // 2)) + 0.01),
        tuple(map(str, range(N))),
        "x",
        ("subject",),
    )
    found = square(transforms.geodesic(rdm, longest=0.3).distances)
    for ours, d in zip(found, rdm.square().numpy(), strict=True):
        theirs = floyd_warshall(np.where(d < 0.3, d, 0.0))  # 0 is no edge there
        reached = np.isfinite(theirs)
        np.testing.assert_allclose(ours.numpy()[reached], theirs[reached], atol=1e-14)


def test_non_negative_weights_equal_those_of_all_pairs(rng):
    from scipy.optimize import nnls

    x, y = rng.random((4, 40)), rng.standard_normal(40)
    given = tuple(torch.from_numpy(a) for a in (x, y))
    np.testing.assert_allclose(fit_weights(*given, intercept=False), nnls(x.T, y)[0], atol=1e-12)
    centred = nnls((x - x.mean(1, keepdims=True)).T, y - y.mean())[0]
    np.testing.assert_allclose(fit_weights(*given), centred, atol=1e-12)
