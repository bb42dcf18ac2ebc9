"""What is still named once a concept is edited away, where the editor is known: perfect, idle or blind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.data.simulated import scenes
from braindec.evaluate import inside_removal, inside_removal_report
from braindec.evaluate.inside_removal import WORDS, Shown

CONCEPTS = ("red", "white")


@pytest.fixture(scope="module")
def drawn() -> list[scenes.Scene]:
    return scenes.sample_unique_scenes(120, np.random.default_rng(4))


@pytest.fixture(scope="module")
def shown(drawn) -> Shown:
    """Embeddings that say nothing but which scene it is."""
    return Shown(np.arange(len(drawn), dtype=float)[:, None, None], inside_removal.present_in(drawn))


def painter(drawn, change):
    """Draws scenes as they are without an edit, and changed with one; the edit is the concept's word."""

    def draw(embeddings, block, edit):
        held = [drawn[int(i)] for i in embeddings[:, 0, 0]]
        return scenes.render_all([one if edit is None else change(one, edit) for one in held])

    return draw


def repainted(scene: scenes.Scene, word: str) -> scenes.Scene:
    """The scene without red (yellow instead) or a white background (navy), all else as it was."""
    objects = tuple(replace(o, colour="yellow" if o.colour == word else o.colour) for o in scene.objects)
    return scenes.Scene(objects, "navy" if scene.background == word else scene.background, scene.pattern)


def tally(drawn, shown, change):
    draw = painter(drawn, change)
    about = inside_removal.asked(shown, CONCEPTS, 12, draw)
    return inside_removal.tallied(shown, about, {w: ("a block", w) for w in CONCEPTS}, draw)


def test_rendered_scenes_are_named_rightly(drawn, shown):
    said = inside_removal.named(scenes.render_all(drawn))
    backgrounds = [WORDS.index(w) for w in scenes.BACKGROUNDS]
    np.testing.assert_array_equal(said[:, backgrounds], shown.present[:, backgrounds])
    assert (said == shown.present).mean() > 0.98


def test_words_of_a_scene_are_those_that_the_datasets_table_gives(drawn, shown):
    from braindec.data.simulated import features

    table = features.factor_features(drawn)
    columns = [list(map(str, features.FACTOR_WORDS)).index(w) for w in WORDS]
    np.testing.assert_array_equal(table[:, columns] > 0, shown.present)


def test_a_perfect_edit_removes_all_and_keeps_nearly_all(drawn, shown):
    found = tally(drawn, shown, repainted)
    assert float(found.before.nanmean()) > 0.9
    assert float(found.after.nanmean()) < 0.1
    assert float(found.gone.nanmean()) > 0.9
    assert found.kept() > 0.93
    assert found.removed() > 0.85


def test_an_edit_that_does_nothing_removes_nothing_and_keeps_all(drawn, shown):
    found = tally(drawn, shown, lambda scene, word: scene)
    assert torch.equal(found.before.nan_to_num(), found.after.nan_to_num())
    assert float(found.gone.nanmean()) == 0.0
    assert found.kept() == 1.0
    assert found.removed() == 0.0


def test_an_edit_that_draws_another_scene_altogether_scores_far_below_a_perfect_one(drawn, shown):
    other = scenes.sample_unique_scenes(1, np.random.default_rng(9))[0]
    found = tally(drawn, shown, lambda scene, word: repainted(other, word))
    assert float(found.gone.nanmean()) > 0.9
    assert found.removed() < 0.4


def test_at_most_as_many_scenes_as_asked_for_are_drawn_with_and_without(drawn, shown):
    found = tally(drawn, shown, repainted)
    assert (~found.before.isnan()).sum(0).tolist() == [12, 12]
    assert (~found.without.isnan()).sum(0).tolist() == [12, 12]
    has = torch.from_numpy(shown.present[:, [WORDS.index(w) for w in CONCEPTS]])
    assert bool(has[~found.before.isnan()].all())
    assert not bool(has[~found.without.isnan()].any())


def test_the_difference_between_two_edits_is_paired_and_holds_the_planted_one(drawn, shown):
    """One edit repaints scenes of several objects alone: what it removes is their share."""
    partly, idle = (
        tally(drawn, shown, change)
        for change in (lambda s, w: repainted(s, w) if len(s.objects) > 1 else s, lambda s, w: s)
    )
    value, low, high = inside_removal_report.beside(partly, idle)
    assert value == pytest.approx(partly.removed() - idle.removed())
    several = np.array([len(scene.objects) > 1 for scene in drawn])
    shares = [several[~row.isnan().numpy()].mean() for row in partly.gone.T]
    assert low < np.mean(shares) < high
    assert 0.0 < low < value < high
    assert inside_removal_report.beside(partly, partly) == (0.0, 0.0, 0.0)


def test_a_word_that_no_scene_has_is_refused():
    with pytest.raises(ValueError, match=r"concept must be one of .*Did you mean 'red'"):
        inside_removal.Settings(concepts=("rede",))
