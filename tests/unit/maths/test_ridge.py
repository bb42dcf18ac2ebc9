"""What ridge promises besides its numbers."""

from __future__ import annotations

import pytest
import torch

from braindec.maths.factors import factorise
from braindec.maths.folds import complement, folds_by_count, folds_by_group
from braindec.maths.reduced_rank import fit_reduced_rank
from braindec.maths.ridge import choose_alpha, cross_validate, fit_ridge, solve
from braindec.maths.ridge_scores import named_score


def data(generator, n=30, p=5, q=3):
    return torch.randn(n, p, generator=generator), torch.randn(n, q, generator=generator)


def test_of_equal_scores_the_largest_penalty_is_chosen():
    alphas = torch.tensor([1.0, 100.0, 10.0])
    scores = torch.tensor([[0.5, 0.2], [0.5, 0.1], [0.5, 0.2]])
    assert choose_alpha(alphas, scores, per_target=True).tolist() == [100.0, 10.0]
    assert choose_alpha(alphas, scores, per_target=False).tolist() == [10.0]


def test_a_constant_target_gets_zero_scores_and_weights(generator):
    x, y = data(generator)
    y[:, 1] = 3.0
    for score in ("r2", "correlation"):
        fit = fit_ridge(x, y, [1.0, 10.0], folds_by_count(30, 3), per_target=True, score=score)
        assert fit.cv_scores[:, 1].abs().max() == 0
        assert fit.weights[:, 1].abs().max() < 1e-5
        assert fit.intercept[1] == pytest.approx(3.0)


def test_a_shift_of_features_or_targets_changes_only_the_intercept(generator):
    x, y = (t.double() for t in data(generator))
    rules = folds_by_count(30, 5)
    plain = fit_ridge(x, y, [0.1, 1.0, 10.0], rules)
    moved = fit_ridge(x + 100, y - 50, [0.1, 1.0, 10.0], rules)
    torch.testing.assert_close(plain.weights, moved.weights)
    torch.testing.assert_close(plain.cv_scores, moved.cv_scores)


def test_without_penalty_and_with_fewer_rows_the_shortest_exact_solution_is_found(generator):
    x, y = (t.double() for t in data(generator, 10, 25))
    fit = fit_ridge(x, y, [0.0])
    torch.testing.assert_close(x @ fit.weights + fit.intercept, y)
    expected = torch.linalg.pinv(x - x.mean(0)) @ (y - y.mean(0))
    torch.testing.assert_close(fit.weights, expected)


def test_nothing_is_modified_and_dtype_follows_the_input(generator):
    x, y = data(generator)
    before = x.clone(), y.clone()
    fit = fit_ridge(x, y, [1.0, 2.0], folds_by_count(30, 3))
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])
    assert fit.weights.dtype == torch.float32
    assert fit_ridge(x.half(), y, [1.0]).weights.dtype == torch.float32


def test_targets_are_independent_of_each_other(generator):
    x, y = (t.double() for t in data(generator, q=4))
    factors = factorise(x, folds_by_count(30, 3))
    together = solve(factors, y, [0.1, 1.0, 10.0], per_target=True)
    alone = solve(factors, y[:, 2:3], [0.1, 1.0, 10.0], per_target=True)
    torch.testing.assert_close(together.weights[:, 2:3], alone.weights)


def test_folds_cover_every_row_once_and_keep_groups_whole(generator):
    for rules in (folds_by_count(11, 3), folds_by_count(11, 3, generator)):
        assert torch.cat(rules).sort().values.tolist() == list(range(11))
    groups = ["b", "a", "b", "c", "a"]
    assert [fold.tolist() for fold in folds_by_group(groups)] == [[1, 4], [0, 2], [3]]
    assert complement(5, torch.tensor([1, 4])).tolist() == [0, 2, 3]


def test_refusals_name_the_argument_and_the_way_out(generator):
    x, y = data(generator)
    with pytest.raises(ValueError, match="folds must be given"):
        fit_ridge(x, y, [1.0, 2.0])
    with pytest.raises(ValueError, match="smallest alpha must be at least"):
        fit_ridge(x, y, [-1.0])
    with pytest.raises(ValueError, match="trial"):
        fit_ridge(x, y[:-1], [1.0])
    with pytest.raises(ValueError, match="NaN"):
        fit_ridge(x * float("nan"), y, [1.0])
    with pytest.raises(ValueError, match="Did you mean 'correlation'"):
        cross_validate(factorise(x, "loo"), y, [1.0, 2.0], score="corelation")
    with pytest.raises(ValueError, match="per_target needs"):
        fit_ridge(x, y, [1.0, 2.0], folds_by_count(30, 3), per_target=True, score=lambda p, t: p.sum())
    with pytest.raises(ValueError, match="rank"):
        fit_reduced_rank(x, y, 1.0, 4)
    with pytest.raises(ValueError, match="number of groups"):
        folds_by_group([1, 1, 1])


def test_targets_that_hold_nan_are_named_and_choose_no_penalty(generator):
    x, y = data(generator)
    y[4, 1] = float("nan")
    with pytest.raises(ValueError, match="1 of 3 targets are NaN, first 1"):
        fit_ridge(x, y, [1.0, 10.0], folds_by_count(30, 3), score="neg_mse", per_target=True)


def test_groups_of_two_parts_are_refused(generator):
    with pytest.raises(ValueError, match="groups must have axes"):
        folds_by_group([("sub-01", "1"), ("sub-01", "2")])


def test_a_constant_truth_has_no_r2_whatever_its_value(generator):
    for n in range(10, 2000, 40):
        truth = (100 * torch.rand(1, 50, generator=generator)).expand(n, 50)
        prediction = truth + torch.randn(n, 50, generator=generator)
        assert not named_score("r2", prediction, truth).any()


def test_the_correlation_of_shrunken_predictions_is_that_of_double_precision(generator):
    """Predictions that vary a ten-thousandth of what they are off by, as ridges of strong penalties make them."""
    truth = torch.randn(60, 20, generator=generator)
    prediction = 1e-4 * (truth + torch.randn(60, 20, generator=generator)) + 0.3
    expected = named_score("correlation", prediction.double(), truth.double())
    assert expected.min() > 0.3
    torch.testing.assert_close(
        named_score("correlation", prediction, truth).double(), expected, rtol=0, atol=1e-4
    )
