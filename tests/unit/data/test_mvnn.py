"""MVNN is the published computation, on training rows alone, and leaves what conditions differ in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power
from sklearn.discriminant_analysis import _cov

from braindec.data.preprocessing import MVNN, FittedPreprocessing, Preprocessing
from braindec.types import SensorSpace, Table, Trials

N_CONDITIONS, N_REPEATS, N_CHANNELS, N_TIMES = 12, 8, 5, 40


@pytest.fixture
def mixed(rng) -> Trials:
    """Channels of correlated noise of unlike sizes, and responses of conditions along one direction."""
    mixing = rng.standard_normal((N_CHANNELS, N_CHANNELS)) * np.logspace(0, 1, N_CHANNELS)[:, None]
    condition = np.tile(np.arange(N_CONDITIONS), N_REPEATS)
    evoked = rng.standard_normal((N_CONDITIONS, N_CHANNELS, 1)) * np.sin(np.arange(N_TIMES) / 6)
    noise = np.einsum("ij,njt->nit", mixing, rng.standard_normal((len(condition), N_CHANNELS, N_TIMES)))
    n = len(condition)
    table = Table({"stimulus_id": np.char.add("s", condition.astype(str)), "session": np.repeat(["1", "2"], n // 2),
                   "run": np.repeat(["1", "2"], n // 2), "repeat": np.repeat(np.arange(N_REPEATS), N_CONDITIONS),
                   "onset_s": np.arange(n) * 1.0, "acquisition_order": np.arange(n),
                   "exchangeability_block": np.full(n, "1")})  # fmt: skip
    space = SensorSpace(tuple("ABCDE"), np.full((N_CHANNELS, 3), np.nan), ("eeg",) * N_CHANNELS)
    return Trials((noise + evoked[condition]).astype(np.float32), table, space, "V", 1, "eeg", 100.0, 0.0)


def published(x, ids, over):
    """The loop over conditions of the THINGS-EEG2 scripts, in scikit-learn's covariance."""
    sigmas = []
    for name in np.unique(ids):
        data = x[ids == name].astype(float)
        if over == "epochs":
            found = [_cov(epoch.T, shrinkage="auto") for epoch in data]
        else:
            found = [_cov(data[:, :, t], shrinkage="auto") for t in range(data.shape[2])]
        sigmas.append(np.mean(found, axis=0))
    return fractional_matrix_power(np.mean(sigmas, axis=0), -0.5)


@pytest.mark.parametrize("over", ["epochs", "time"])
def test_the_matrix_is_the_published_loops(mixed, over):
    uneven = mixed.take(np.arange(90))  # conditions of seven and of eight trials
    chain = Preprocessing((MVNN(over),)).fit(uneven)
    expected = published(uneven.responses, uneven.table["stimulus_id"], over)
    assert chain.states[0]["matrix"] == pytest.approx(expected, rel=1e-6, abs=1e-8)
    whitened = np.swapaxes(np.swapaxes(mixed.responses.astype(float), 1, 2) @ expected, 1, 2)
    assert chain.apply(mixed) == pytest.approx(whitened, abs=1e-4)


def test_noise_about_the_conditions_is_white_and_what_they_differ_in_stays(mixed):
    x = Preprocessing((MVNN("time", shrinkage=0.0),)).fit(mixed).apply(mixed)
    ids = mixed.table["stimulus_id"]
    residual = np.concatenate([x[ids == i] - x[ids == i].mean(0) for i in np.unique(ids)])
    flat = np.moveaxis(residual, 1, -1).reshape(-1, N_CHANNELS)
    assert np.cov(flat.T, bias=True) == pytest.approx(np.eye(N_CHANNELS), abs=1e-3)
    larger = replace(mixed, responses=mixed.responses + 50 * (ids == "s3")[:, None, None].astype(np.float32))
    again = Preprocessing((MVNN("time"),)).fit(larger).states[0]["matrix"]
    assert again == pytest.approx(Preprocessing((MVNN("time"),)).fit(mixed).states[0]["matrix"], abs=1e-4)


def test_a_session_has_a_matrix_of_its_own_training_rows(mixed):
    louder = np.where((mixed.table["session"] == "2")[:, None, None], 10.0, 1.0) * mixed.responses
    trials = replace(mixed, responses=louder.astype(np.float32))
    chain = Preprocessing((MVNN(unit="session", scope="unit_train_rows"),)).fit(trials)
    first = trials.take(np.arange(48))
    alone = Preprocessing((MVNN(),)).fit(first)
    assert np.array_equal(chain.apply(trials)[:48], alone.apply(first))
    assert chain.apply(trials)[48:].std() == pytest.approx(chain.apply(trials)[:48].std(), rel=0.05)
    assert alone.apply(trials)[48:].std() > 5 * alone.apply(first).std()
    again = FittedPreprocessing.from_arrays(chain.config, chain.to_arrays())
    assert np.array_equal(again.apply(trials), chain.apply(trials))


def test_held_out_rows_do_not_move_the_matrix(mixed):
    rows = np.arange(48)
    spoiled = replace(mixed, responses=np.where(np.arange(96)[:, None, None] < 48, mixed.responses, 1e4))
    before, after = (Preprocessing((MVNN(),)).fit_apply(t, rows)[0] for t in (mixed, spoiled))
    assert np.array_equal(before.states[0]["matrix"], after.states[0]["matrix"])


def test_channels_that_sum_to_zero_stay_so_and_are_not_blown_up(mixed):
    referenced = replace(mixed, responses=mixed.responses - mixed.responses.mean(1, keepdims=True))
    x = Preprocessing((MVNN("time", shrinkage=0.0),)).fit(referenced).apply(referenced)
    assert np.abs(x).max() < 50
    flat = np.moveaxis(x, 1, -1).reshape(-1, N_CHANNELS)
    assert np.linalg.matrix_rank(np.cov(flat.T), tol=1e-3) == N_CHANNELS - 1


def test_voxels_and_conditions_shown_once_are_refused(mixed, voxels):
    with pytest.raises(ValueError, match="no time axis"):
        Preprocessing((MVNN(),)).fit(voxels)
    with pytest.raises(ValueError, match="use 'epochs'"):
        Preprocessing((MVNN("time"),)).fit(mixed.take(np.arange(N_CONDITIONS)))
