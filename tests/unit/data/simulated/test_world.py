"""Worlds from JSON: galleries of look-alikes, schedules, and draws that do not depend on each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from braindec import checks, config
from braindec.data.simulated import design, simulate, world
from braindec.data.simulated import features as banks
from braindec.data.simulated import stimuli as stimuli_room
from braindec.data.simulated.network import layer_features
from braindec.data.simulated.scenes import FACTORS

ONE = world.Subject(
    1, "fmri", n_images=12, n_repeats=3, n_gallery_repeats=3, n_sessions=2, n_runs=2, n_voxels=30
)
TWO = replace(ONE, subject=2, n_voxels=40)
SMALL = world.World("small", seed=0, n_gallery=8, subjects=(ONE, TWO), n_alike=2, n_reference=40)


@pytest.fixture(scope="module")
def stimuli() -> stimuli_room.Stimuli:
    return stimuli_room.draw_stimuli(SMALL)


def test_a_world_survives_json(tmp_path):
    (tmp_path / "w.json").write_text(world.json_text(SMALL))
    assert world.load_world(tmp_path / "w.json") == SMALL


def test_an_unknown_key_of_a_world_is_refused_with_the_closest_name():
    with pytest.raises(checks.ConfigError, match="noise_level"):
        config.from_json(world.World, config.to_json(SMALL) | {"noise_levl": 2.0})


def test_the_gallery_holds_look_alikes_that_differ_in_the_announced_number_of_words():
    gallery = stimuli_room.draw_gallery(replace(SMALL, n_gallery=40, n_changes=2), exclude=[])
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


def test_more_look_alikes_than_there_are_words_to_change_are_refused():
    world = replace(SMALL, n_gallery=50, n_alike=50, n_changes=1)
    with pytest.raises(checks.ConfigError, match="n_alike must be smaller"):
        stimuli_room.draw_gallery(world, exclude=[])


def test_families_that_do_not_fill_the_gallery_are_refused():
    with pytest.raises(checks.ConfigError, match="n_alike"):
        replace(SMALL, n_alike=3)


def test_scenes_of_gallery_subjects_and_reference_are_all_different(stimuli):
    assert len({scene.key for scene in stimuli.scenes}) == SMALL.n_stimuli == 32
    assert SMALL.images_of(TWO) == range(20, 32)


def test_a_subject_does_not_depend_on_the_other_subjects(stimuli):
    alone = simulate.simulate_subject(SMALL, ONE, stimuli)
    again = simulate.simulate_subject(replace(SMALL, subjects=(ONE, replace(TWO, n_voxels=50))), ONE, stimuli)
    assert np.array_equal(alone.responses, again.responses)
    other = simulate.simulate_subject(SMALL, TWO, stimuli)
    assert other.responses.shape == (60, 40)


def test_subjects_differ_in_weights_and_noise(stimuli):
    first = simulate.simulate_subject(SMALL, ONE, stimuli)
    equal = replace(TWO, n_voxels=30)
    second = simulate.simulate_subject(replace(SMALL, subjects=(ONE, equal)), equal, stimuli)
    assert abs(np.corrcoef(first.brain.weights.ravel(), second.brain.weights.ravel())[0, 1]) < 0.1
    for name in ("sd", "session_scale", "loadings"):
        assert not np.allclose(getattr(first.brain.noise, name), getattr(second.brain.noise, name)), name
    residuals = [one.responses - one.noise_free[one.schedule.stimulus] for one in (first, second)]
    assert abs(np.corrcoef(residuals[0].ravel(), residuals[1].ravel())[0, 1]) < 0.1


def test_an_inverse_crime_world_needs_the_target_and_no_other_takes_it():
    with pytest.raises(checks.ConfigError, match="inverse_crime"):
        stimuli_room.draw_stimuli(replace(SMALL, inverse_crime=True))
    with pytest.raises(checks.ConfigError, match="inverse_crime"):
        stimuli_room.draw_stimuli(SMALL, embed=lambda images: images.reshape(len(images), -1))


def test_brains_of_an_inverse_crime_world_are_driven_by_the_target(stimuli):
    crime = stimuli_room.draw_stimuli(
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


def test_another_gallery_seed_changes_gallery_trials_and_not_a_bit_of_anything_else(stimuli):
    fresh = replace(SMALL, gallery_seed=5)
    other = stimuli_room.draw_stimuli(fresh)
    assert other.scenes[8:] == stimuli.scenes[8:]
    assert np.array_equal(other.features[8:], stimuli.features[8:])
    assert not {s.key for s in other.scenes[:8]} & {s.key for s in stimuli.scenes}
    scaled = banks.network_banks(layer_features(other.images[:8]), layer_features(stimuli.images))
    raw = banks.raw_banks(other.scenes[:8], other.images[:8], scaled)
    assert other.features[:8] == pytest.approx(
        stimuli.map(raw), abs=1e-4
    )  # on the scale of all other features
    eeg = replace(ONE, subject=3, modality="eeg", n_voxels=0)
    for subject in (ONE, eeg):
        both = replace(SMALL, subjects=(ONE, TWO, eeg))
        first = simulate.simulate_subject(both, subject, _with(stimuli, 12))
        second = simulate.simulate_subject(replace(both, gallery_seed=5), subject, _with(other, 12))
        gallery = first.schedule.stimulus < 8
        assert np.array_equal(first.schedule.stimulus, second.schedule.stimulus)
        assert np.array_equal(first.brain.weights, second.brain.weights)
        assert np.array_equal(first.responses[~gallery], second.responses[~gallery])
        assert np.array_equal(first.seen[~gallery], second.seen[~gallery])
        changed = first.responses[gallery] != second.responses[gallery]
        assert changed.reshape(gallery.sum(), -1).any(1).all()


def _with(drawn: stimuli_room.Stimuli, n_more: int) -> stimuli_room.Stimuli:
    """The stimuli with the last pictures once more, for a further subject."""
    features = np.concatenate([drawn.features, drawn.features[-n_more:]])
    return replace(drawn, scenes=drawn.scenes + drawn.scenes[-n_more:], features=features)


def test_galleries_do_not_depend_on_who_else_is_in_the_world():
    fresh = replace(SMALL, gallery_seed=7)
    alone = stimuli_room.draw_scenes(replace(fresh, subjects=(ONE,)), exclude=[])
    together = stimuli_room.draw_scenes(fresh, exclude=[])
    assert alone[2] == together[2] != together[0]
    assert stimuli_room.draw_scenes(replace(fresh, gallery_seed=8), exclude=[])[2] != together[2]


def test_a_gallery_of_another_seed_avoids_the_development_gallery_and_all_training_scenes():
    fresh = replace(SMALL, n_gallery=100, gallery_seed=7)
    development, training, gallery = stimuli_room.draw_scenes(fresh, exclude=[])
    usual = stimuli_room.draw_scenes(replace(fresh, gallery_seed=0), exclude=[])
    assert usual == (development, training, development)
    assert len({s.key for s in development + training + gallery}) == 100 + 24 + 100
