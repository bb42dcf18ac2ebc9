"""Brains that do not see a factor: nothing in their responses depends on it, and everything else in them does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks
from braindec.data.simulated.simulate import simulate_subject
from braindec.data.simulated.stimuli import ALIKE, as_seen, draw_stimuli
from braindec.data.simulated.world import Subject, World


@pytest.fixture(scope="module")
def world():
    one = Subject(
        1, "fmri", n_images=60, n_repeats=1, n_gallery_repeats=1, n_sessions=1, n_runs=2, n_voxels=40
    )
    return World("blind", 0, 20, (one,), n_reference=150, n_changes=1)


@pytest.mark.parametrize("factor", ["colour", "background"])
def test_scenes_that_differ_in_an_unseen_factor_alone_drive_a_brain_alike(world, factor):
    blind = replace(world, unseen=(factor,))
    stimuli = draw_stimuli(blind)
    seen = [as_seen(scene, blind.unseen) for scene in stimuli.scenes]
    assert any(a != b for a, b in zip(seen, stimuli.scenes, strict=True))
    again = draw_stimuli(world)
    assert np.array_equal(stimuli.images, again.images)  # what is shown is the same
    assert not np.allclose(stimuli.features[:, :3], again.features[:, :3])
    response = simulate_subject(blind, blind.subjects[0], stimuli).noise_free
    # Regressed on the factor alone, responses are explained no better than by a shuffled copy of it.
    words = [s.background if factor == "background" else s.objects[0].colour for s in stimuli.scenes]
    assert _explained(response, words) < 2.5 * _explained(
        response, list(np.random.default_rng(0).permutation(words))
    )


def test_a_brain_that_sees_all_tells_backgrounds_apart(world):
    stimuli = draw_stimuli(world)
    response = simulate_subject(world, world.subjects[0], stimuli).noise_free
    words = [s.background for s in stimuli.scenes]
    shuffled = list(np.random.default_rng(0).permutation(words))
    assert _explained(response, words) > 2.5 * _explained(response, shuffled)


def test_a_scene_without_unseen_factors_is_itself_and_an_unknown_factor_is_refused(world):
    scene = draw_stimuli(replace(world, n_reference=20)).scenes[0]
    assert as_seen(scene, ()) is scene
    assert as_seen(scene, tuple(ALIKE)).background == ALIKE["background"]
    with pytest.raises((checks.ConfigError, ValueError), match="unseen factor"):
        as_seen(scene, ("smell",))


def _explained(response: np.ndarray, words: list[str]) -> float:
    """Mean share of the voxels' variance between groups of a factor."""
    code = np.unique(words, return_inverse=True)[1]
    kept = response.std(0) > 0
    means = np.stack([response[code == k].mean(0) for k in range(code.max() + 1)])[code]
    return float((means.var(0) / np.maximum(response.var(0), 1e-12))[kept].mean())
