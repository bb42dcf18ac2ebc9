"""The RDM type: its order of conditions travels, and what does not fit is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from braindec.rdm import (
    COMPARATORS,
    RDM,
    commonality,
    compare,
    cross_temporal,
    dissimilarity,
    fit_weights,
    from_square,
    infer,
    noise_ceiling,
    pairs,
    partial,
    permutation_null,
    residuals,
    searchlight,
    sensors,
    shared_conditions,
    spheres,
    stack,
)
from braindec.rdm.bootstrap import bootstrap
from braindec.rdm.distances import correlation, euclidean
from braindec.rdm.pairs import condensed, n_conditions, square


@pytest.fixture
def rdm(rng):
    return RDM(
        torch.from_numpy(rng.random((2, 10))), tuple("abcde"), "euclidean", ("subject",), {"subject": (1, 2)}
    )


def test_pairs_are_ordered_as_scipy_orders_them(rng):
    d = rng.random(15)
    np.testing.assert_array_equal(square(torch.from_numpy(d)), squareform(d))
    np.testing.assert_array_equal(condensed(torch.from_numpy(squareform(d))), d)
    with pytest.raises(ValueError, match="7 distances are not those of all pairs"):
        n_conditions(7)


@pytest.mark.parametrize("n", [2, 5, 8, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_and_distances_of_some_rows_at_a_time_are_those_of_all(rng, monkeypatch, n, dtype):
    monkeypatch.setattr(pairs, "ROWS_AT_ONCE", 4)
    x = rng.standard_normal((n, 6))
    x[n // 2] = x[0]
    given = torch.from_numpy(x).to(dtype)
    distances, products = (pairs.of_rows(given, distances=wanted) for wanted in (True, False))
    close = 1e-5 if dtype == torch.float32 else 1e-13
    np.testing.assert_allclose(distances, pdist(x, "sqeuclidean"), atol=close)
    np.testing.assert_allclose(products, condensed(torch.from_numpy(x @ x.T)), atol=close)
    assert distances.dtype == dtype


def test_distances_of_one_matrix_have_the_gradient_of_those_of_a_batch(rng):
    x = torch.from_numpy(rng.standard_normal((300, 4))).requires_grad_()
    (alone,) = torch.autograd.grad(euclidean(x).square().sum(), x)
    (batched,) = torch.autograd.grad(euclidean(x[None]).square().sum(), x)
    torch.testing.assert_close(alone, batched)


def test_reordered_and_chosen_conditions_keep_their_distances(rdm):
    kept = rdm.subset("dba")
    names = {name: i for i, name in enumerate(rdm.conditions)}
    whole = rdm.square()
    for i, a in enumerate("dba"):
        for j, b in enumerate("dba"):
            assert torch.equal(kept.square()[:, i, j], whole[:, names[a], names[b]])
    back = rdm.reorder("edcba").reorder("abcde")
    assert torch.equal(back.distances, rdm.distances) and back.conditions == rdm.conditions


def test_means_and_stacks_name_their_axes(rdm):
    mean = rdm.mean("subject")
    assert mean.axes == () and torch.equal(mean.distances, rdm.distances.mean(0))
    both = stack([mean, mean.reorder("edcba")], "time", [0.0, 0.1])
    assert both.axes == ("time",) and torch.equal(both.distances[0], both.distances[1])
    assert shared_conditions(rdm, rdm.subset("dcb")) == ("b", "c", "d")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda r: RDM(r.distances, tuple("abcd"), "x", ("subject",)), "4 conditions have 6 pairs"),
        (lambda r: RDM(r.distances, tuple("abcda"), "x", ("subject",)), "unique"),
        (lambda r: RDM(r.distances, tuple("abcde"), "x"), "must have axes"),
        (lambda r: RDM(r.distances * torch.nan, tuple("abcde"), "x", ("subject",)), "NaN"),
        (lambda r: r.subset("abz"), "'z'"),
        (lambda r: r.reorder("abc"), "to leave some out: subset"),
        (lambda r: r.mean("time"), "axis must be one of"),
        (lambda r: from_square(np.arange(9.0).reshape(3, 3), "abc", "x"), "symmetric"),
        (lambda r: from_square(np.corrcoef(np.eye(5)[:, :3] + 0.1), "abcde", "r"), "give 1 - r"),
        (lambda r: from_square(np.eye(5), "abcde", "x"), "5 of 5 entries there are not"),
        (lambda r: shared_conditions(r, r.subset("ab")), "at least 3"),
        (
            lambda r: infer(stack([r, r], "time"), {"m": r.mean("subject")}, generator=torch.Generator()),
            "axis",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(rdm, make, says):
    with pytest.raises(ValueError, match=says):
        make(rdm)


@pytest.mark.parametrize("own", [0.0, np.nan, 1e-7])
def test_matrices_of_distances_may_be_negative_and_their_diagonal_rounded_or_missing(rng, own):
    below = np.tril(rng.standard_normal((5, 5)), -1)
    found = from_square(below + below.T + np.diag(np.full(5, own)), "abcde", "crossnobis")
    np.testing.assert_allclose(found.distances, squareform(below + below.T))


def test_which_labels_differ_is_a_matrix_of_distances():
    kind = np.array([0, 0, 1, 1])
    assert from_square(kind[:, None] != kind, "abcd", "kind").distances.tolist() == [0, 1, 1, 1, 1, 0]


def test_a_matrix_of_likenesses_is_not_taken_for_one_of_distances(rng):
    """Correlations would turn the sign of every comparison."""
    likeness = np.corrcoef(rng.standard_normal((12, 5)))
    with pytest.raises(ValueError, match=r"12 of 12 entries there are not, up to 1 .* give 1 - r"):
        from_square(likeness, [f"thing-{i}" for i in range(12)], "judged")
    from_square(1 - likeness, [f"thing-{i}" for i in range(12)], "judged")


def test_distances_refuse_what_they_cannot_be_made_of(rng):
    x, condition = rng.standard_normal((8, 5)), np.tile(np.arange(4), 2)
    with pytest.raises(ValueError, match="give run="):
        dissimilarity(x, condition)
    with pytest.raises(ValueError, match="Did you mean 'crossnobis'"):
        dissimilarity(x, condition, measure="crosnobis", run=condition)
    with pytest.raises(ValueError, match="no condition repeats"):
        residuals(torch.from_numpy(x), np.arange(8))
    with pytest.raises(ValueError, match="no direction"):
        dissimilarity(np.ones((4, 5)), np.arange(4), measure="correlation")
    with pytest.raises(ValueError, match="no noise variance"):
        dissimilarity(np.c_[x, np.zeros(8)], condition, run=np.repeat([0, 1], 4))
    with pytest.raises(ValueError, match="together in fewer than two runs"):
        dissimilarity(x[:7], condition[:7], run=np.repeat([0, 1], 4)[:7], noise=None)
    with pytest.raises(TypeError, match="floating"):
        dissimilarity(np.ones((4, 5), int), np.arange(4), measure="euclidean")
    with pytest.raises(ValueError, match="two conditions leave no other"):
        dissimilarity(x, condition % 2, run=np.repeat([0, 1, 2, 3], 2))
    with pytest.raises(ValueError, match="give run="):
        searchlight(torch.from_numpy(x), sensors(rng.random((5, 3)), nearest=2), condition)


def test_distances_follow_dtype_and_the_order_that_is_asked_for(rng):
    x = rng.standard_normal((4, 5)).astype(np.float32)
    found = dissimilarity(x, ["b", "a", "d", "c"], measure="euclidean", conditions=["d", "c", "b", "a"])
    assert found.distances.dtype == torch.float32 and found.conditions == ("d", "c", "b", "a")
    assert float(found.square()[0, 2]) == pytest.approx(((x[2] - x[0]) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize("comparator", sorted(COMPARATORS))
def test_permutations_that_keep_a_category_model_as_it_is_are_ties(generator, comparator):
    """Two categories of three can be told in ten ways, so that no p lies far below a tenth."""
    kind = torch.tensor([0, 0, 0, 1, 1, 1])
    model = condensed((kind[:, None] != kind).double())
    names = tuple("abcdef")
    for _ in range(5):
        data = model + 0.01 * torch.randn(3, 15, generator=generator, dtype=torch.float64)
        found = infer(
            RDM(data, names, "euclidean", ("subject",)), {"kind": RDM(model, names, "kind")}, comparator=comparator,
            n_draws=20, n_permutations=400, generator=generator,
        )  # fmt: skip
        assert found.p[0] > 0.06 and found.p_corrected[0] > 0.06


@pytest.mark.parametrize("value", [0.1, 3.3, 100.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_pattern_correlates_with_nothing_whatever_its_value(generator, value, dtype):
    patterns = torch.randn(4, 700, generator=generator, dtype=dtype)
    patterns[0] = value
    with pytest.raises(ValueError, match="1 patterns have no direction"):
        correlation(patterns)


def test_a_run_may_lack_a_condition_however_many_channels_there_are(rng):
    condition, run = np.tile(np.arange(5), 4), np.repeat(np.arange(4), 5)
    kept = np.arange(20) != 3
    x = torch.from_numpy(rng.standard_normal((19, 60)))
    found = dissimilarity(x, condition[kept], run=run[kept])
    over_time = dissimilarity(x[:, :, None], condition[kept], run=run[kept])
    torch.testing.assert_close(found.distances, over_time.distances[0])


@pytest.mark.parametrize("n_channels", [8, 40])
@pytest.mark.parametrize("measure", ["crossnobis", "mahalanobis"])
def test_a_channel_that_never_changes_is_refused_whatever_its_value(rng, measure, n_channels):
    """Its mean is rounded, by another amount in conditions of other numbers of trials."""
    for value in (0.1, 3.3, 100.3):
        x = rng.standard_normal((27, n_channels)).astype(np.float32)
        x[:, 3] = value
        condition, run = np.tile(np.arange(5), 6)[3:], np.repeat(np.arange(3), 10)[3:]
        with pytest.raises(ValueError, match="no noise variance"):
            dissimilarity(x, condition, run=run, measure=measure)


@pytest.mark.parametrize("comparator", sorted(COMPARATORS))
def test_few_conditions_have_intervals_within_the_range_of_the_comparator(generator, comparator):
    """Of four conditions one draw in 64 holds a single one, and the interval is wider than the range."""
    data = RDM(torch.rand(6, 6, generator=generator).double(), tuple("abcd"), "planted", ("subject",))
    models = {
        name: RDM(torch.rand(6, generator=generator).double(), tuple("abcd"), "planted") for name in "mno"
    }
    found = infer(data, models, comparator=comparator, n_draws=300, n_permutations=20, generator=generator)
    assert (np.abs(found.interval) <= 1).all() and (found.interval[:, 0] <= found.value).all()
    assert (found.value <= found.interval[:, 1]).all() and found.half_width.max() > 0.5
    free = np.stack([found.value - found.half_width, found.value + found.half_width], 1)
    np.testing.assert_array_equal(found.interval, free.clip(-1, 1))
    assert all(-2 <= d.interval[0] <= d.value <= d.interval[1] <= 2 for d in found.differences)


def test_draws_without_a_pair_leave_the_interval_to_the_others(generator):
    data, models = (torch.rand(n, 3, generator=generator).double() for n in (4, 2))
    counts = torch.tensor([[3.0, 0, 0], [1, 1, 1], [2, 1, 0], [1, 1, 1]]).double(), torch.ones(4, 4).double()
    draws = bootstrap(data, models, "rho_a", 4, generator, counts=counts)
    assert draws.conditions is not None and len(draws.conditions) == 3


def test_arrays_are_taken_where_tensors_are(rng):
    """Whatever a caller holds: the same numbers."""
    d, m = rng.random((4, 15)), rng.random((2, 15))
    x, p = rng.standard_normal((24, 27)), rng.standard_normal((3, 4, 5, 6))
    where = spheres(np.ones((3, 3, 3), dtype=bool), np.eye(3 + 1), 1.5)
    condition, run = np.tile(np.arange(4), 6), np.repeat(np.arange(3), 8)
    own = np.cov(rng.standard_normal((6, 40)))

    def seeded():
        return torch.Generator().manual_seed(0)

    for function in (
        lambda f: searchlight(f(x), where, condition, run=run).distances,
        lambda f: searchlight(
            f(x), where, condition, measure="correlation", score=lambda d: compare(d, f(m[:, :6]))
        ),
        lambda f: dissimilarity(f(x[:, :6]), condition, run=run, noise=f(np.linalg.inv(own))).distances,
        lambda f: residuals(f(x), condition).values,
        lambda f: compare(f(d), f(m), "pearson"),
        lambda f: compare(f(d), f((m > 0.5).astype(int)), "pearson"),
        lambda f: partial(f(d), f(m), f(m[::-1])),
        lambda f: noise_ceiling(f(d)).lower,
        lambda f: permutation_null(f(d), f(m), "rho_a", 3, seeded()),
        lambda f: fit_weights(f(m), f(d[0])),
        lambda f: cross_temporal(f(p), tuple("abcde"), noise=f(own)).distances,
        lambda f: RDM(f(d[0]), tuple("abcdef"), "x").square(),
        lambda f: commonality(f(d[:, :3]), f(d[:, :2]), f(m[:, :3].T)),
    ):
        made = function(lambda values: values)
        assert torch.is_tensor(made)
        torch.testing.assert_close(made, function(lambda v: torch.from_numpy(np.ascontiguousarray(v))))
    with pytest.raises(TypeError, match="x must be floating"):
        searchlight(x.astype(int), where, condition, run=run)
