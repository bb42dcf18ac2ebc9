"""Planted geometry is found, noise alone is not, and intervals and p-values hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.rdm import (
    RDM,
    compare,
    cross_validated,
    dissimilarity,
    estimate,
    from_square,
    fuse,
    geo_topological,
    geodesic,
    infer,
    nuisances,
    partial,
    residuals,
    stack,
)  # fmt: skip
from braindec.rdm.pairs import n_pairs, square

NAMES = tuple(f"c{i:02d}" for i in range(16))


def measured(rng, geometry, n_runs=4, n_channels=60, noise=2.0):
    """Trials of 16 conditions whose patterns have this geometry, in correlated noise; and their labels."""
    patterns = geometry @ rng.standard_normal((geometry.shape[1], n_channels))
    condition, run = np.tile(np.arange(16), n_runs), np.repeat(np.arange(n_runs), 16)
    smooth = np.exp(-np.abs(np.subtract.outer(np.arange(n_channels), np.arange(n_channels))) / 3)
    error = rng.standard_normal((len(run), n_channels)) @ np.linalg.cholesky(smooth).T
    return torch.from_numpy(patterns[condition] + noise * error), np.array(NAMES)[condition], run


def model(geometry):
    return dissimilarity(torch.from_numpy(geometry), NAMES, measure="euclidean")


def null_means(rng, n_worlds, n_runs=4, repeats=1, **settings):
    """Mean distance of pure noise in each of some worlds."""
    found = []
    for _ in range(n_worlds):
        x, condition, run = measured(rng, np.zeros((16, 2)), n_runs=n_runs * repeats)
        found.append(float(dissimilarity(x, condition, run=run % n_runs, **settings).distances.mean()))
    return np.array(found)


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("noise", ["shrinkage", "ledoit_wolf"])
def test_crossnobis_is_zero_in_the_mean_without_signal_and_the_distances_within_runs_are_not(
    rng, noise, repeats
):
    cross = null_means(rng, 60, repeats=repeats, noise=noise)
    error = cross.std() / 60**0.5
    assert abs(cross.mean()) < 4 * error
    assert null_means(rng, 10, repeats=repeats, measure="mahalanobis", noise=noise).mean() > 20 * error


def test_noise_that_knows_the_residuals_it_divides_makes_pure_noise_positive(rng):
    """Why the noise is that of other conditions: the usual estimate has an error far above that of the mean."""
    means = []
    for _ in range(10):
        x, condition, run = measured(rng, np.zeros((16, 2)))
        usual = estimate(residuals(x, condition))
        means.append(float(dissimilarity(x, condition, run=run, noise=usual).distances.mean()))
    assert np.mean(means) > 10 * np.std(means) / 10**0.5


def test_whitened_crossnobis_recovers_the_distances_under_the_true_noise(rng):
    geometry = rng.standard_normal((16, 5))
    weights = rng.standard_normal((5, 60))
    smooth = np.exp(-np.abs(np.subtract.outer(np.arange(60), np.arange(60))) / 3)
    condition, run = np.tile(np.arange(16), 40), np.repeat(np.arange(40), 16)
    error = rng.standard_normal((640, 60)) @ np.linalg.cholesky(smooth).T
    x = torch.from_numpy((geometry @ weights)[condition] + error)
    true = dissimilarity(
        torch.from_numpy(geometry @ weights), np.arange(16), measure="mahalanobis",
        noise=torch.from_numpy(np.linalg.inv(smooth)),
    ).distances  # fmt: skip
    found = dissimilarity(x, condition, run=run).distances
    assert float(torch.corrcoef(torch.stack([true, found]))[0, 1]) > 0.98
    assert float(found.mean() / true.mean()) == pytest.approx(1.0, abs=0.15)
    assert 0 < float(estimate(residuals(x, condition)).shrinkage) < 0.5


def test_the_planted_model_wins_and_the_random_one_is_at_the_null(rng, generator):
    geometry = rng.standard_normal((16, 4))
    subjects = [
        dissimilarity(*measured(rng, geometry)[:2], run=np.repeat(np.arange(4), 16)) for _ in range(8)
    ]
    data = stack(subjects, "subject")
    found = infer(data, {"true": model(geometry), "other": model(rng.standard_normal((16, 4)))}, n_draws=300,
                  n_permutations=300, generator=generator)  # fmt: skip
    assert found.over == "both" and "8 subjects" in found.statement
    assert found.value[0] > 0.3 and found.p_corrected[0] < 0.01 < found.p[1]
    assert abs(found.null).max() < 0.1
    assert found.interval[0, 0] > 0 > found.interval[1, 0]
    (difference,) = found.differences
    assert difference.value > 0 and difference.p < 0.01 and difference.p_holm == difference.p
    low, high = found.ceiling_range
    assert low < high and found.value[0] < high + 0.1
    assert found.p_below_ceiling is not None and found.p_below_ceiling[1] < 0.05


def test_few_subjects_speak_of_stimuli_alone_and_the_result_says_so(rng, generator):
    data = stack([model(rng.standard_normal((16, 4))) for _ in range(3)], "subject")
    found = infer(
        data, {"m": model(rng.standard_normal((16, 3)))}, n_draws=50, n_permutations=50, generator=generator
    )
    assert found.over == "conditions" and "too few to speak of other subjects" in found.statement
    single = infer(data.mean("subject"), {"m": model(rng.standard_normal((16, 3)))}, n_draws=50, n_permutations=50,
                   generator=generator)  # fmt: skip
    assert single.ceiling is None and single.differences == () and single.over == "conditions"
    with pytest.raises(ValueError, match="to generalise over subjects"):
        infer(data.mean("subject"), {"m": data.mean("subject")}, over="both", generator=generator)


def test_permutation_p_values_are_uniform_under_the_null(rng):
    from braindec.rdm.permutation import permutation_null
    from braindec.stats.permutation import p_value

    p = []
    for seed in range(120):
        a, b = (model(rng.standard_normal((16, 3))).distances[None] for _ in range(2))
        null = permutation_null(a, b, "rho_a", 99, torch.Generator().manual_seed(seed))
        p.append(p_value(float(compare(a, b)), null[:, 0]))
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.085)
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_intervals_over_both_factors_cover_the_true_difference(rng):
    """Two equally good models in new subjects and new stimuli: the interval of their difference holds 0."""
    covered = []
    for seed in range(60):
        first, second = rng.standard_normal((2, 24, 3))
        names = tuple(str(i) for i in range(24))
        subjects = []
        for _ in range(10):
            mixed = np.concatenate(
                [first @ rng.standard_normal((3, 20)), second @ rng.standard_normal((3, 20))], 1
            )
            noisy = torch.from_numpy(mixed + 0.5 * rng.standard_normal(mixed.shape))
            subjects.append(dissimilarity(noisy, names, measure="euclidean"))
        models = {
            str(i): dissimilarity(torch.from_numpy(g), names, measure="euclidean")
            for i, g in enumerate((first, second))
        }
        found = infer(
            stack(subjects, "subject"),
            models,
            n_draws=200,
            n_permutations=1,
            generator=torch.Generator().manual_seed(seed),
        )
        low, high = found.differences[0].interval
        covered.append(low <= 0 <= high)
    assert 0.88 < np.mean(covered) <= 1.0


def test_partial_rsa_takes_out_the_order_of_trials(rng):
    """Slow drift makes neighbours in time alike; without signal only the nuisance is left."""
    n_runs, order = 4, np.concatenate([rng.permutation(16) for _ in range(4)])
    order = np.tile(np.arange(16), n_runs)  # the same order in every run: drift is confounded with condition
    drift = np.cumsum(rng.standard_normal((16, 80)), 0)
    x = torch.from_numpy(drift[order] + rng.standard_normal((64, 80)))
    run, position = np.repeat(np.arange(n_runs), 16), np.tile(np.arange(16), n_runs)
    names = np.array(NAMES)[order]
    data = dissimilarity(x, names, run=run).distances[None]
    nuisance = nuisances(names, order=position, time_s=3.0 * position, run=run)
    assert nuisance.coordinates["nuisance"] == (
        "order",
        "time",
    )  # every pair lies equally often in different runs
    sequence = from_square(
        np.abs(np.subtract.outer(np.arange(16.0), np.arange(16.0))) ** 0.7, NAMES, "sequence"
    )
    models = sequence.distances[None].double()
    assert float(compare(data, models, "spearman")) > 0.7
    assert abs(float(partial(data, models, nuisance.distances))) < 0.2


def test_mixtures_find_the_planted_components_on_unseen_conditions(rng, generator):
    parts = stack([model(rng.standard_normal((16, 3))) for _ in range(3)], "component")
    true = torch.tensor([1.0, 2.0, 0.0]).double()
    clean = true @ (parts.distances / parts.distances.std(1, keepdim=True))
    subjects = clean + 0.7 * torch.from_numpy(rng.standard_normal((6, n_pairs(16))))
    data = RDM(subjects, NAMES, "planted", ("subject",))
    found = cross_validated(data, parts, generator=generator)
    assert (found.weights >= 0).all()
    mean = found.weights.mean(0)
    assert mean[1] > mean[0] > 5 * mean[2]
    assert found.scores.mean() > found.components.mean(0).max()
    noise = RDM(torch.from_numpy(rng.standard_normal((6, n_pairs(16)))), NAMES, "noise", ("subject",))
    assert abs(float(cross_validated(noise, parts, generator=generator).scores.mean())) < 0.15


def test_fusion_finds_when_each_region_is_seen_and_the_model_that_explains_it(rng, generator):
    early, late = rng.standard_normal((2, 16, 4))
    times = (-0.1, 0.0, 0.1, 0.2, 0.3)
    strength = {"early": (0, 0, 1.0, 0.3, 0), "late": (0, 0, 0, 0.8, 1.0)}
    d = {"early": model(early).distances, "late": model(late).distances}
    noise = torch.from_numpy(rng.standard_normal((5, n_pairs(16))))
    course = torch.stack(
        [sum(strength[k][t] * d[k] / d[k].std() for k in d) + 0.8 * noise[t] for t in range(5)]
    )
    resolved = RDM(course, NAMES, "planted", ("time",), {"time": times})
    own = [d[k] / d[k].std() + 0.5 * torch.from_numpy(rng.standard_normal(n_pairs(16))) for k in d]
    regional = RDM(torch.stack(own), NAMES, "planted", ("region",), {"region": ("V1", "IT")})
    models = RDM(torch.stack(list(d.values())), NAMES, "planted", ("model",), {"model": ("early", "late")})
    found = fuse(resolved, regional, models, n_permutations=200, generator=generator)
    assert found.similarity[:, 0].argmax() == 2 and found.similarity[:, 1].argmax() == 4
    assert (found.p_similarity[[2, 4], [0, 1]] < 0.05).all() and (found.p_similarity[:2] > 0.05).all()
    assert found.commonality is not None and found.p_commonality is not None
    assert found.commonality[2, 0, 0] > 0.1 > abs(found.commonality[2, 0, 1])
    assert found.p_commonality[4, 1, 1] < 0.05 < found.p_commonality[4, 0, 0]
    assert (found.commonality <= np.abs(found.explained)[..., None] + 1e-12).all()


def test_geodesic_distances_keep_conditions_that_are_the_same_together():
    d = np.array([[0, 0, 1, 5], [0, 0, 5, 5], [1, 5, 0, 1], [5, 5, 1, 0]], dtype=float)
    found = geodesic(from_square(d, "abcd", "planted"))
    np.testing.assert_array_equal(
        square(found.distances), [[0, 0, 1, 2], [0, 0, 1, 2], [1, 1, 0, 1], [2, 2, 1, 0]]
    )


def test_topology_survives_a_monotone_distortion_and_quantiles_are_each_rdms_own(rng):
    rdm = model(rng.standard_normal((16, 3)))
    two = stack([rdm, RDM(100 * rdm.distances, NAMES, rdm.measure)], "subject")
    found = geo_topological(two, 0.3, 0.3).distances
    torch.testing.assert_close(found[0], found[1])
    distorted = geo_topological(RDM(rdm.distances**3, NAMES, rdm.measure), 0.3, 0.3).distances
    torch.testing.assert_close(found[0], distorted)
    assert set(found[0].tolist()) == {0.0, 1.0} and float((found[0] == 0).double().mean()) == pytest.approx(
        0.3, abs=0.01
    )
