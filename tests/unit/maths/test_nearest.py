"""Ties, chance and refusals of the nearest-entry functions."""

from __future__ import annotations

import pytest
import torch

from braindec.maths import correlation, covariance, nearest, neighbours, ranks
from braindec.similarity.neighbours import MEASURES as NEIGHBOURS
from braindec.similarity.relative import relative


def test_a_constant_prediction_scores_exactly_chance(generator):
    gallery = torch.randn(20, 8, generator=generator)
    constant = torch.zeros(20, 8)
    better, tied = nearest.truth_ranks(constant, gallery, torch.arange(20))
    assert nearest.hits_at(1, better, tied).mean() == pytest.approx(1 / 20)
    assert nearest.hits_at(5, better, tied).mean() == pytest.approx(5 / 20)
    assert nearest.mid_ranks(better, tied).tolist() == [9.5] * 20


def test_equal_gallery_rows_tie_although_their_products_round_differently(generator):
    row = torch.randn(1, 300, generator=generator)
    gallery = row.expand(33, 300).contiguous()
    better, tied = nearest.truth_ranks(torch.randn(5, 300, generator=generator), gallery, torch.arange(5))
    assert better.tolist() == [0] * 5
    assert tied.tolist() == [32] * 5


def test_perfect_predictions_are_first_whatever_the_scale(generator):
    gallery = torch.randn(50, 16, generator=generator)
    for measure in ("cosine", "correlation"):
        better, tied = nearest.truth_ranks(7.0 * gallery, gallery, torch.arange(50), measure=measure, chunk=7)
        assert nearest.hits_at(1, better, tied).min() == 1
        assert nearest.top_k(gallery, gallery, 1, measure=measure)[1].flatten().tolist() == list(range(50))


def test_random_predictions_are_at_chance(generator):
    gallery, queries = torch.randn(2, 1000, 16, generator=generator).unbind()
    better, tied = nearest.truth_ranks(queries, gallery, torch.arange(1000))
    assert nearest.mid_ranks(better, tied).mean() == pytest.approx(499.5, abs=5 * 1000 / 12**0.5 / 1000**0.5)


def test_a_constant_slice_has_correlation_zero():
    x = torch.full((1, 7), 0.1)
    assert correlation.pearson(x, torch.arange(7.0)[None]).item() == 0
    assert ranks.spearman(x, torch.arange(7.0)[None]).item() == 0


def test_whitened_training_rows_have_unit_covariance(generator):
    x = torch.randn(500, 6, generator=generator).double() @ torch.randn(6, 6, generator=generator).double()
    z = covariance.whiten(x, covariance.fit_whitening(x, shrinkage=0.0))
    torch.testing.assert_close(z.T @ z / 500, torch.eye(6).double())
    unrelated = covariance.fit_whitening(x, shrinkage=1.0)
    assert unrelated.matrix.fill_diagonal_(0).abs().max() < 1e-12


def test_directions_without_variance_are_mapped_to_zero(generator):
    x = torch.randn(50, 3, generator=generator).double()
    x[:, 2] = 0
    whitening = covariance.fit_whitening(x, shrinkage=0.0)
    assert whitening.matrix[2].abs().max() == 0


def test_refusals(generator):
    x = torch.randn(4, 3, generator=generator)
    with pytest.raises(ValueError, match="Did you mean 'cosine'"):
        nearest.similarity(x, x, "cosin")
    with pytest.raises(ValueError, match="dim"):
        nearest.similarity(x, x[:, :2])
    with pytest.raises(ValueError, match="k must lie in"):
        nearest.top_k(x, x, 5)
    with pytest.raises(ValueError, match="rows of x"):
        covariance.ledoit_wolf(x[:1])


def test_cosines_of_teslas_are_those_of_any_other_unit(generator):
    """A hundred magnetometers of 1e-13 T have lengths of 1e-12."""
    x, y = torch.randn(2, 40, 100, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(nearest.similarity(1e-14 * x, y), nearest.similarity(x, y))
    first, second = (neighbours.nearest_others(z, 5).sort(1).values for z in (x, 1e-14 * x))
    assert torch.equal(first, second)
    torch.testing.assert_close(relative(1e-14 * x, 1e-14 * y), relative(x, y))
    for measure in NEIGHBOURS.values():
        torch.testing.assert_close(measure(1e-14 * x, y), measure(x, y))
    assert not nearest.similarity(torch.zeros(1, 100, dtype=torch.float64), y).any()
