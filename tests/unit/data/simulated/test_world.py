"""Worlds from JSON: galleries of look-alikes, schedules, and draws that do not depend on each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks, config
from braindec.data.simulated import design, world
from braindec.data.simulated.scenes import FACTORS

ONE = world.Subject(
    1, "fmri", n_images=12, n_repeats=3, n_gallery_repeats=3, n_sessions=2, n_runs=2, n_voxels=30
)
TWO = replace(ONE, subject=2, n_voxels=40)
SMALL = world.World("small", seed=0, n_gallery=8, subjects=(ONE, TWO), n_alike=2, n_reference=40)


@pytest.fixture(scope="module")
def stimuli() -> world.Stimuli:
    return world.draw_stimuli(SMALL)


def test_a_world_survives_json(tmp_path):
    (tmp_path / "w.json").write_text(world.json_text(SMALL))
    assert world.load_world(tmp_path / "w.json") == SMALL


def test_an_unknown_key_of_a_world_is_refused_with_the_closest_name():
    with pytest.raises(checks.ConfigError, match="noise_level"):
        config.from_json(world.World, config.to_json(SMALL) | {"noise_levl": 2.0})


def test_the_gallery_holds_look_alikes_that_differ_in_the_announced_number_of_words():
    gallery = world.draw_gallery(replace(SMALL, n_gallery=40, n_changes=2), exclude=[])
    assert len({scene.key for scene in gallery}) == 40
    for first, second in zip(gallery[::2], gallery[1::2], strict=True):
        assert (first.background, first.pattern) == (second.background, second.pattern)
        changed = [
            name
            for a, b in zip(first.objects, second.objects, strict=True)
            for name in FACTORS
            if getattr(a, name) != getattr(b, name)
        ]
        assert len(changed) == 2 and set(changed) <= {"shape", "colour", "texture"}


def test_families_that_do_not_fill_the_gallery_are_refused():
    with pytest.raises(checks.ConfigError, match="n_alike"):
        replace(SMALL, n_alike=3)


def test_scenes_of_gallery_subjects_and_reference_are_all_different(stimuli):
    assert len({scene.key for scene in stimuli.scenes}) == SMALL.n_stimuli == 32
    assert SMALL.images_of(TWO) == range(20, 32)


def test_a_subject_does_not_depend_on_the_other_subjects(stimuli):
    alone = world.simulate_subject(SMALL, ONE, stimuli)
    again = world.simulate_subject(replace(SMALL, subjects=(ONE, replace(TWO, n_voxels=50))), ONE, stimuli)
    assert np.array_equal(alone.responses, again.responses)
    other = world.simulate_subject(SMALL, TWO, stimuli)
    assert other.responses.shape == (60, 40)


def test_subjects_differ_in_weights_and_noise(stimuli):
    first = world.simulate_subject(SMALL, ONE, stimuli)
    equal = replace(TWO, n_voxels=30)
    second = world.simulate_subject(replace(SMALL, subjects=(ONE, equal)), equal, stimuli)
    assert abs(np.corrcoef(first.brain.weights.ravel(), second.brain.weights.ravel())[0, 1]) < 0.1


def test_an_inverse_crime_world_needs_the_target_and_no_other_takes_it():
    with pytest.raises(checks.ConfigError, match="inverse_crime"):
        world.draw_stimuli(replace(SMALL, inverse_crime=True))
    with pytest.raises(checks.ConfigError, match="inverse_crime"):
        world.draw_stimuli(SMALL, embed=lambda images: images.reshape(len(images), -1))


def test_brains_of_an_inverse_crime_world_are_driven_by_the_target(stimuli):
    crime = world.draw_stimuli(
        replace(SMALL, inverse_crime=True),
        embed=lambda images: images[:, ::16, ::16].reshape(len(images), -1),
    )
    assert np.array_equal(crime.images, stimuli.images)
    assert not np.allclose(crime.features[:, -5:], stimuli.features[:, -5:])


def test_every_picture_is_shown_as_often_as_announced_and_never_twice_in_a_row():
    counts = {3: 4, 7: 2, 8: 2, 9: 2, 11: 3, 12: 3}
    for seed in range(20):
        drawn = design.draw_schedule(
            counts, n_sessions=2, n_runs=2, spacing_s=4, start_s=12, generator=np.random.default_rng(seed)
        )
        assert {int(k): int((drawn.stimulus == k).sum()) for k in counts} == counts
        assert (np.diff(drawn.stimulus) != 0).all()
        assert drawn.repeat.max() == 3 and (drawn.repeat[drawn.stimulus == 7] == [0, 1]).all()


def test_runs_and_sessions_are_of_equal_length_and_onsets_restart_with_every_run():
    drawn = design.draw_schedule(
        dict.fromkeys(range(30), 2), n_sessions=3, n_runs=4, spacing_s=4, start_s=12,
        generator=np.random.default_rng(0),
    )  # fmt: skip
    assert np.bincount(drawn.session).tolist() == [20, 20, 20]
    assert drawn.onset_s[:6].tolist() == [12, 16, 20, 24, 28, 12]
    assert drawn.position[18:22].tolist() == [18, 19, 0, 1]


def test_head_motion_is_a_small_random_walk():
    motion = design.draw_motion(400, np.random.default_rng(0))
    steps = np.diff(motion[:, :3], axis=0)
    assert steps.std() == pytest.approx(0.01, rel=0.1) and np.abs(motion[:, 3:]).max() < 0.05
