"""A concept is found in the cube that carries it, by either method, and nowhere where pairs were permuted."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from braindec import checks
from braindec.data import maps
from braindec.decoder import BrainDecoder, localisation
from braindec.types import ArraySpace, Trials

W = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "planted_concepts.py")))
N_DIMS, CUBES, DIRECTIONS = W.N_DIMS, W.CUBES, W.DIRECTIONS
N_SHUFFLES = 8


def area(decoder: BrainDecoder, trials: Trials, present: np.ndarray, method) -> float:
    """Chance that the cube that carries a concept gets more than one that does not."""
    _, x = localisation.prepared(decoder, trials)
    cube = localisation.cubes_of(trials.space, CUBES)
    found = [
        localisation.concept_map(
            localisation.contributions(decoder, trials.key, x, x.mean(0), DIRECTIONS[i], cube, method=method),
            present[:, i],
        )
        for i in range(N_DIMS)
    ]
    carries = np.arange(8)[None] == 2 * np.arange(N_DIMS)[:, None]
    return float(roc_auc_score(carries.ravel(), np.array(found).ravel()))


@pytest.fixture(scope="module")
def recorded():
    known, present = W.recorded()
    return known, known.trials["sub-01_fmri"], present


@pytest.fixture(scope="module")
def planted(recorded):
    known, trials, present = recorded
    return W.fitted(known, present, None), trials, present


@pytest.fixture(scope="module")
def shuffled(recorded) -> list[BrainDecoder]:
    known, _, present = recorded
    return [W.fitted(known, present, seed, n_steps=25) for seed in range(N_SHUFFLES)]


@pytest.mark.parametrize("method", localisation.METHODS)
def test_the_cube_that_carries_a_concept_is_found(planted, method):
    assert area(*planted, method) > 0.99


@pytest.mark.parametrize("method", localisation.METHODS)
def test_of_decoders_of_permuted_pairs_the_concept_s_own_cube_is_not_singled_out(recorded, shuffled, method):
    """Where a concept lies is the decoder's knowledge: labels and responses alone do not give it away."""
    _, trials, present = recorded
    found = [area(decoder, trials, present, method) for decoder in shuffled]
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)
    assert max(found) < 0.99


def test_gradient_and_occlusion_agree_where_changes_are_small(planted):
    decoder, trials, _ = planted
    _, x = localisation.prepared(decoder, trials)
    mean = x[0]
    near = mean + 1e-2 * (x[1:] - mean)
    cube = localisation.cubes_of(trials.space, CUBES)
    one, other = (
        localisation.contributions(decoder, trials.key, near, mean, DIRECTIONS[0], cube, method=method)
        for method in localisation.METHODS
    )
    np.testing.assert_allclose(one, other, atol=0.05 * np.abs(one).max())


def test_a_gradient_is_the_slope_that_small_steps_show(planted):
    decoder, trials, _ = planted
    _, x = localisation.prepared(decoder, trials)
    some, step = x[:1].astype(np.float64), 1e-2
    each = np.arange(64)
    zero = np.zeros(64, np.float32)
    made = localisation.contributions(decoder, trials.key, x[:1], zero, DIRECTIONS[1], each)[0]
    ups, downs = (some + s * step * np.eye(64) for s in (1, -1))
    high, low = (
        localisation.agreement(decoder, trials.key, v.astype(np.float32), DIRECTIONS[1]) for v in (ups, downs)
    )
    np.testing.assert_allclose(made, (high - low) / (2 * step) * x[0], atol=2e-3)


def test_a_map_of_cubes_is_saved_as_a_volume(planted, tmp_path):
    space = planted[1].space
    cube = localisation.cubes_of(space, CUBES)
    values = np.arange(8, dtype=np.float32)
    (path,) = maps.write({"star": localisation.on_voxels(values, cube)}, space, tmp_path / "concept")
    np.testing.assert_array_equal(maps.from_nifti(path, space), values[cube])


def test_a_direction_leads_from_other_texts_to_the_concept_s():
    others = np.random.default_rng(0).standard_normal((5, 1, 3))
    found = localisation.concept_direction(others + [3.0, 0.0, 4.0], others)
    np.testing.assert_allclose(found, [[0.6, 0.0, 0.8]], atol=1e-6)
    with pytest.raises(ValueError, match="do not differ"):
        localisation.concept_direction(others, others)


def test_what_fits_no_decoder_is_refused(planted):
    decoder, trials, _ = planted
    _, x = localisation.prepared(decoder, trials)
    with pytest.raises(ValueError, match="voxels of a volume"):
        localisation.cubes_of(ArraySpace(4), CUBES)
    with pytest.raises(checks.SpaceMismatchError, match="direction"):
        localisation.agreement(decoder, trials.key, x, np.zeros((1, 7), np.float32))
    with pytest.raises(checks.ConfigError, match="method"):
        localisation.contributions(decoder, trials.key, x, x[0], DIRECTIONS[0], x[0] > 0, method="guess")
