"""Betas of a run that is still being scanned: those of the usual model on what there is of it."""

from __future__ import annotations

import numpy as np
import pytest

from braindec.data import glm, glm_design
from braindec.stream import LiveBetas

T_R, N = 1.5, 120
ONSETS = np.arange(6.0, 160.0, 9.0)


def scanned(effect: float = 60.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Volumes (n, n_voxels), the planted height of each event (n_events, n_voxels) and motion (n, 2)."""
    rng = np.random.default_rng(seed)
    times = T_R * np.arange(N)
    planted = effect * rng.standard_normal((len(ONSETS), 30))
    expected = glm_design.responses(ONSETS, np.full(len(ONSETS), 2.0), times)
    motion = rng.standard_normal((N, 2)).cumsum(0)
    volumes = 9_000 + 300 * np.cos(np.pi * (np.arange(N) + 0.5) / N)[:, None] + expected @ planted
    volumes = volumes + 20 * motion[:, :1] + 4 * rng.standard_normal((N, 30))
    return volumes.astype(np.float32), planted, motion


def live(volumes: np.ndarray, motion: np.ndarray | None = None, **settings):
    model = LiveBetas(T_R, N, **settings)
    for number, onset in enumerate(ONSETS):
        model.expect(float(onset), 2.0, f"event {number}")
    rows = [None] * len(volumes) if motion is None else list(motion)
    return [beta for volume, row in zip(volumes, rows, strict=True) for beta in model.push(volume, row)]


def test_each_beta_is_the_usual_model_s_on_the_volumes_so_far():
    volumes, _, motion = scanned()
    betas = live(volumes, motion)
    assert [b.event for b in betas] == [f"event {i}" for i in range(len(betas))] and len(betas) >= 16
    for number in (1, 7, len(betas) - 1):
        beta = betas[number]
        n = beta.n_volumes
        times = T_R * np.arange(N)
        assert times[n - 1] >= ONSETS[number] + 8.0 > times[n - 2]
        begun = ONSETS[ONSETS < times[n - 1]]
        trials = glm_design.responses(begun, np.full(len(begun), 2.0), times[:n])
        nuisance = np.concatenate(
            [glm_design.drift(times[:n], 0.01), glm_design.standardised(motion[:n])], axis=1
        )
        offline = glm.single_trials(volumes[:n], trials, nuisance, method="lss", noise="ols").beta[number]
        assert beta.values == pytest.approx(100 * offline / volumes[:n].mean(0), abs=2e-4)


def test_planted_heights_are_found_and_shuffled_ones_are_not():
    volumes, planted, motion = scanned()
    betas = live(volumes, motion, delay_s=12.0)
    found = np.stack([b.values for b in betas])
    planted = planted[: len(found)]
    own = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found, planted)])
    others = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found, np.roll(planted, 3, axis=0))])
    assert own > 0.8 and abs(others) < 0.15


def test_what_cannot_be_is_refused_by_name():
    volumes, _, motion = scanned()
    model = LiveBetas(T_R, 3)
    with pytest.raises(ValueError, match="1 values that are not finite"):
        model.push(np.where(np.arange(30) == 2, np.nan, volumes[0]))
    model = LiveBetas(T_R, 3)
    model.push(volumes[0])
    with pytest.raises(ValueError, match="motion is given with every volume or with none"):
        model.push(volumes[1], motion[1])
    with pytest.raises(ValueError, match="voxel"):
        model.push(volumes[1][:7])
    model.push(volumes[1])
    model.push(volumes[2])
    with pytest.raises(ValueError, match="3 volumes were planned"):
        model.push(volumes[2])


def test_an_event_that_two_volumes_cannot_tell_is_refused():
    model = LiveBetas(T_R, N, delay_s=0.0)
    model.expect(0.0, 2.0, "first")
    with pytest.raises(ValueError, match=r"event 'first' at 0 s cannot be told"):
        model.push(np.full(4, 100.0))


def test_a_response_that_has_not_begun_gives_no_beta():
    model = LiveBetas(T_R, N, delay_s=0.0)
    model.expect(15.0, 2.0, "event")
    with pytest.raises(ValueError, match=r"event 'event' at 15 s cannot be told .* wait longer \(delay_s\)"):
        for volume in scanned()[0]:
            assert model.push(volume) == []
