"""Estimators pass scikit-learn's own checks, agree with its classes where these exist, and find what is planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from braindec.estimators import Aligner, EmbeddingRidge, Whitener, top1, two_way

OURS = (
    EmbeddingRidge(),
    EmbeddingRidge(per_target=True, seed=0),
    Whitener(),
    Aligner(),
    Aligner(scaling=True),
)


@pytest.fixture
def planted(rng):
    """(responses, embeddings) of 80 stimuli."""
    embeddings = rng.standard_normal((80, 6))
    return embeddings @ rng.standard_normal((6, 30)) + rng.standard_normal((80, 30)), embeddings


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("estimator", OURS, ids=repr)
def test_all_of_scikit_learns_checks_pass(estimator, record_property):
    found = check_estimator(estimator, on_fail=None)
    failed = [(one["check_name"], one["exception"]) for one in found if one["status"] == "failed"]
    n_passed = sum(one["status"] == "passed" for one in found)
    record_property(f"R15 {estimator!r}", f"{n_passed} of {len(found)} checks pass, {len(failed)} fail")
    assert not failed and n_passed >= 0.9 * len(found), failed


def test_one_penalty_gives_scikit_learns_ridge(planted):
    x, y = planted
    ours, theirs = EmbeddingRidge((10.0,)).fit(x, y), linear_model.Ridge(10.0).fit(x, y)
    assert np.allclose(ours.coef_, theirs.coef_) and np.allclose(ours.predict(x), theirs.predict(x))


def test_whitened_rows_are_uncorrelated_with_unit_variance(planted):
    made = Whitener(shrinkage=0.0).fit_transform(planted[0])
    assert np.allclose(np.cov(made.T, bias=True), np.eye(30), atol=1e-8)


def test_alignment_brings_a_rotated_brain_back(planted, rng):
    x, _ = planted
    rotation = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    found = Aligner().fit(x[:60] @ rotation + 3.0, x[:60])
    assert np.allclose(found.transform(x[60:] @ rotation + 3.0), x[60:], atol=1e-8)


def test_a_pipeline_tells_stimuli_apart_and_a_shuffled_one_does_not(planted, rng):
    x, y = planted
    model = make_pipeline(StandardScaler(), Whitener(), EmbeddingRidge())
    assert cross_val_score(model, x, y, cv=4, scoring=two_way).mean() > 0.9
    assert cross_val_score(model, x, y, cv=4, scoring=top1).mean() > 0.4  # chance 1 / 20
    shuffled = rng.permutation(y)
    assert 0.3 < cross_val_score(model, x, shuffled, cv=4, scoring=two_way).mean() < 0.7
    assert cross_val_score(model, x, shuffled, cv=4, scoring=top1).mean() < 0.2


def test_what_is_retrieved_is_the_own_stimulus(planted):
    x, y = planted
    places = EmbeddingRidge().fit(x[:60], y[:60]).retrieve(x[60:], y[60:], k=3)
    assert places.shape == (20, 3) and (places[:, 0] == np.arange(20)).mean() > 0.4
    with pytest.raises(ValueError, match=r"k must lie in \[1, 20\]"):
        EmbeddingRidge().fit(x, y).retrieve(x, y[:20], k=21)


def test_settings_are_searched_and_cloned(planted):
    found = GridSearchCV(EmbeddingRidge(), {"per_target": [False, True]}, cv=3).fit(*planted)
    assert clone(found.best_estimator_).get_params() == found.best_estimator_.get_params()
