"""Scenes: drawn from the seed alone, distinct, put into words and numbers that say what is there."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from braindec import checks
from braindec.data.simulated import scenes
from braindec.data.simulated.rendering import BACKGROUND_RGB, COLOUR_RGB, render, render_all
from braindec.data.simulated.scenes import Scene, SceneObject


@pytest.fixture(scope="module")
def drawn() -> list[Scene]:
    return scenes.sample_scenes(400, np.random.default_rng(1))


def an_object(**changes) -> SceneObject:
    values = {"shape": "circle", "colour": "red", "texture": "solid", "size": "large", "place": "centre"}
    return SceneObject(**(values | {"x_px": 32.0, "y_px": 32.0} | changes))


def test_the_same_seed_gives_the_same_scenes_and_more_of_them_begin_with_fewer():
    long, short = (scenes.sample_scenes(n, np.random.default_rng(5)) for n in (30, 10))
    assert long[:10] == short
    assert scenes.sample_scenes(10, np.random.default_rng(6)) != short


def test_unique_scenes_share_no_caption_with_each_other_or_with_the_excluded(drawn):
    found = scenes.sample_unique_scenes(500, np.random.default_rng(1), exclude=drawn)
    captions = [scenes.caption(s) for s in found]
    assert len(set(captions)) == 500
    assert not set(captions) & {scenes.caption(s) for s in drawn}


def test_objects_stand_in_different_places_and_hide_little_of_each_other(drawn):
    for scene in drawn:
        places = [o.place for o in scene.objects]
        assert len(set(places)) == len(places)
        for i, a in enumerate(scene.objects):
            for b in scene.objects[:i]:
                touching = scenes.RADIUS_PX[a.size] + scenes.RADIUS_PX[b.size]
                assert np.hypot(a.x_px - b.x_px, a.y_px - b.y_px) > 0.89 * touching


def test_the_category_is_the_shape_of_the_largest_object(drawn):
    for scene in drawn:
        sizes = [scenes.RADIUS_PX[o.size] for o in scene.objects]
        assert scenes.category(scene) == scene.objects[int(np.argmax(sizes))].shape


def test_a_caption_names_every_factor_in_words_of_the_vocabulary(drawn):
    for scene in drawn:
        text = scenes.caption(scene)
        assert set(text.split()) <= set(scenes.VOCABULARY)
        for o in scene.objects:
            assert f"a {o.size} {o.texture} {o.colour} {o.shape} at the {o.place}" in text
        assert text.endswith(f"on a {scene.pattern} {scene.background} background")


def test_partial_captions_are_true_and_differ(drawn, rng):
    scene = next(s for s in drawn if len(s.objects) == 3)
    texts = scenes.captions(scene, 40, rng)
    assert len(set(texts)) > 10
    for text in texts:
        assert set(text.split()) <= set(scenes.VOCABULARY)
        assert all(f"{o.colour} {o.shape}" in text for o in scene.objects)


def test_a_scene_survives_json(drawn):
    for scene in drawn[:50]:
        again = scenes.from_dict(json.loads(json.dumps(scenes.to_dict(scene))))
        assert again == scene
        np.testing.assert_array_equal(render(again), render(scene))


def test_an_unknown_word_is_refused_with_the_closest_known_one():
    with pytest.raises(checks.ConfigError, match="Did you mean 'circle'"):
        an_object(shape="circel")


def test_a_scene_without_objects_or_with_four_is_refused():
    for n in (0, 4):
        with pytest.raises(ValueError, match="number of objects"):
            Scene((an_object(),) * n, "grey", "plain")


def test_the_factor_table_holds_what_the_scenes_hold(drawn):
    table = scenes.factor_table(drawn)
    assert {len(column) for column in table.values()} == {len(drawn)}
    for i, scene in enumerate(drawn):
        assert table["n_objects"][i] == len(scene.objects)
        for k in range(3):
            present = k < len(scene.objects)
            assert table[f"object_{k + 1}_colour"][i] == (scene.objects[k].colour if present else "")
            assert np.isnan(table[f"object_{k + 1}_x_px"][i]) == (not present)


def test_factor_features_add_up_over_objects_and_conjunctions_are_products():
    big = an_object(place="left", x_px=14.0)
    small = an_object(place="right", x_px=50.0, size="small", colour="blue")
    names = scenes.factor_features([])[1]
    one, other, both = scenes.factor_features(
        [Scene(o, "grey", "plain") for o in ((big,), (small,), (big, small))]
    )[0]
    summed = [i for i, n in enumerate(names) if not n.startswith(("background", "pattern"))]
    np.testing.assert_allclose(both[summed], (one + other)[summed], rtol=1e-6)
    assert one[names.index("place=left & colour=red")] == 1
    assert both[names.index("place=right & colour=red")] == 0
    assert other[names.index("size=small")] == pytest.approx((8 / 14) ** 2)


@pytest.mark.parametrize("colour", scenes.COLOURS)
def test_an_objects_colour_is_painted_at_its_place(colour):
    for place, x, y in (("top left", 14.0, 14.0), ("bottom", 32.0, 50.0)):
        thing = an_object(colour=colour, place=place, x_px=x, y_px=y)
        picture = render(Scene((thing,), "black", "plain"))
        np.testing.assert_array_equal(picture[int(y), int(x)], COLOUR_RGB[colour])


def test_the_painted_area_of_solid_shapes_is_that_of_geometry():
    def area(shape: str) -> float:
        picture = render(Scene((an_object(shape=shape),), "black", "plain")).astype(float)
        black, red = np.array(BACKGROUND_RGB["black"]), np.array(COLOUR_RGB["red"])
        return float(((picture - black) @ (red - black)).sum() / ((red - black) @ (red - black)))

    r = scenes.RADIUS_PX["large"]
    assert area("circle") == pytest.approx(np.pi * (0.95 * r) ** 2, rel=0.02)
    assert area("square") == pytest.approx((1.7 * r) ** 2, rel=0.02)
    assert area("ring") == pytest.approx(np.pi * (1 - 0.25) * r**2, rel=0.02)
    assert area("cross") == pytest.approx((2 * 1.2 - 0.36) * r**2, rel=0.04)
    # Ten triangles between the centre, a tip at radius 1 and a notch at radius 0.42, 36 degrees apart.
    assert area("star") == pytest.approx(10 * 0.5 * 0.42 * np.sin(np.pi / 5) * r**2, rel=0.03)


def test_textures_differ_and_darken_the_solid_colour():
    pictures = [render(Scene((an_object(texture=t),), "black", "plain")).astype(int) for t in scenes.TEXTURES]
    for i, picture in enumerate(pictures[1:], 1):
        assert picture.sum() < pictures[0].sum()
        assert all(np.abs(picture - other).sum() > 10_000 for other in pictures[:i])


def test_a_picture_shows_its_own_objects_and_not_anothers(drawn):
    """Averaged over the disc of each object, the solid colour that fits best is the named one far above chance."""
    names = list(COLOUR_RGB)
    rgb = np.array([COLOUR_RGB[n] for n in names], float)
    hits, shuffled, n = 0, 0, 0
    order = np.random.default_rng(0).permutation(len(drawn))
    pictures = render_all(drawn)
    y, x = np.mgrid[:64, :64] + 0.5
    for i, scene in enumerate(drawn):
        for o in scene.objects:
            if o.texture != "solid" or o.shape in ("ring", "crescent"):
                continue
            disc = np.hypot(x - o.x_px, y - o.y_px) < 3
            for source, count in ((i, "own"), (order[i], "other")):
                mean = pictures[source][disc].mean(0)
                hit = names[int(np.abs(rgb - mean).sum(1).argmin())] == o.colour
                hits, shuffled = hits + (hit and count == "own"), shuffled + (hit and count == "other")
            n += 1
    assert hits / n > 0.97
    assert shuffled / n < 0.3


def test_rendering_is_fast_enough_to_train_on(drawn):
    started = time.process_time()
    render_all(drawn)
    assert len(drawn) / (time.process_time() - started) > 250  # measured: 2,000 a second
