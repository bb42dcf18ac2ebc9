"""ERPs of new combinations stay apart, the choice looks at no factor, and closed forms are what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.data.simulated.factor_erps import row_of
from braindec.decoder.disentangled import Config
from braindec.evaluate import disentangling_scores
from braindec.evaluate.disentangling import Planted, Settings, choose, parted, planted
from braindec.train import Config as Train

TRAIN = Train(n_steps=60, batch_size=32, lr=1e-2, validate_every=60)
SETTINGS = Settings(betas=(1.0, 400.0), n_seeds=2, model=Config(n_latents=4, width=8, train=TRAIN))


@pytest.fixture(scope="module")
def erps():
    return planted(Planted(n=360))


@pytest.fixture(scope="module")
def parts(erps):
    return parted(erps, SETTINGS)


def test_no_erp_is_in_two_parts_and_new_combinations_are_never_learnt_from(parts, erps):
    sizes = (3, 2, 2, 3)
    rows = [row_of(part.factors, sizes) for part in (parts.train, parts.test, parts.new)]
    wanted = row_of(parts.combinations, sizes)
    assert sum(map(len, rows)) == 360
    assert set(rows[2].tolist()) == set(wanted.tolist())
    assert not set(wanted.tolist()) & {*rows[0].tolist(), *rows[1].tolist()}
    seen = {part.tobytes() for part in parts.train.values.numpy()}
    assert not seen & {part.tobytes() for part in parts.held[0].numpy()}
    for column, size in zip(parts.train.factors.T, sizes, strict=True):
        assert len(column.unique()) == size


def test_the_choice_is_the_same_whatever_the_factors_and_a_silent_beta_is_not_ranked(parts):
    one = choose(parts.train, SETTINGS)
    other = choose(replace(parts.train, factors=parts.train.factors.flip(0)), SETTINGS)
    assert (one.beta, one.which) == (other.beta, other.which)
    assert one.enough == (1.0,)
    assert one.beta == 1.0


def test_main_effects_are_least_squares_of_levels(parts):
    combination = torch.tensor([[0, 1, 0, 2]])
    made = disentangling_scores.main_effects(parts.train)(combination)[0]
    design = np.concatenate([np.eye(s)[c] for c, s in zip(parts.train.factors.T.numpy(), (3, 2, 2, 3))], 1)
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(design, parts.train.values.flatten(1).numpy())
    wanted = np.concatenate([np.eye(s)[[c]] for c, s in zip(combination[0].tolist(), (3, 2, 2, 3))], 1)
    np.testing.assert_allclose(made.flatten()[None], fitted.predict(wanted), atol=1e-3)


def test_balanced_accuracy_is_that_of_another_library(rng):
    from sklearn.metrics import balanced_accuracy_score

    said, true = (torch.from_numpy(rng.integers(0, 3, (200, 2))) for _ in range(2))
    expected = np.mean([balanced_accuracy_score(true[:, i], said[:, i]) for i in range(2)])
    assert disentangling_scores.balanced(said, true) == pytest.approx(expected)


def test_too_many_new_combinations_are_refused(erps):
    with pytest.raises(ValueError, match="combinations that are learnt from"):
        parted(erps, replace(SETTINGS, n_new=30))
