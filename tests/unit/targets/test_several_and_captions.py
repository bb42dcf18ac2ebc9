"""Several targets side by side, and captions as targets."""

from __future__ import annotations

from importlib import util

import numpy as np
import pytest

from braindec import checks, config, registry
from braindec.targets import caption_text, minilm, pixels, several, tiny_openclip
from braindec.targets._embedding import embed
from braindec.types import StimulusSet

SCENES = ["a large solid red circle at the top left", "a small striped blue star on a plain grey background",
          "a large blue circle at the top"]  # fmt: skip
TINY, PIXELS = tiny_openclip.Config(), pixels.Config(height=4, width=4)
CAPTION = caption_text.Config(encoder="tiny_openclip")


@pytest.fixture
def stimuli(rng) -> StimulusSet:
    pictures = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    ids = ("a", "b", "c")
    captions = dict(zip(ids, SCENES, strict=True))
    return StimulusSet(ids, "image", lambda some: pictures[[ids.index(i) for i in some]], captions)


def unit(x: np.ndarray) -> np.ndarray:
    x = x.reshape(len(x), -1)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_the_cosine_of_joined_embeddings_is_the_weighted_mean_of_the_parts(stimuli, tmp_path):
    joined = several.build(several.Config((TINY, PIXELS, CAPTION), weights=(3.0, 1.0, 1.0)))
    found = embed(joined, stimuli, content="c", cache=tmp_path)
    parts = [unit(embed(part, stimuli, content="c", cache=tmp_path).of(stimuli.ids)) for part in joined.parts]
    expected = sum(w * p @ p.T for w, p in zip((0.6, 0.2, 0.2), parts, strict=True))
    values = found.of(stimuli.ids)[:, 0]
    assert found.values.shape == (3, *joined.shape)
    np.testing.assert_allclose(values @ values.T, expected, atol=1e-5)
    np.testing.assert_allclose(found.of(["c", "a"]), found.of(stimuli.ids)[[2, 0]])


def test_raw_parts_add_their_squared_distances(stimuli):
    joined = several.build(several.Config((TINY, PIXELS), weights=(1.0, 3.0), normalised=False))
    values = embed(joined, stimuli, content="c").of(stimuli.ids)[:, 0]
    parts = [embed(part, stimuli, content="c").of(stimuli.ids).reshape(3, -1) for part in joined.parts]
    expected = [w * np.square(p[0] - p[1]).sum() for w, p in zip((0.25, 0.75), parts, strict=True)]
    assert np.square(values[0] - values[1]).sum() == pytest.approx(sum(expected), rel=1e-4)


def test_parts_are_kept_one_by_one_so_that_another_mixture_computes_nothing(stimuli, tmp_path):
    first = embed(several.build(several.Config((TINY, PIXELS))), stimuli, content="c", cache=tmp_path)
    files = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.h5")}
    assert len(files) == 2
    other = several.build(several.Config((TINY, PIXELS), weights=(9.0, 1.0)))
    second = embed(other, stimuli, content="c", cache=tmp_path)
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("*.h5")} == files
    assert first.provenance != second.provenance and first.space != second.space


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"targets": (TINY,)}, "at least 2"),
        ({"targets": (TINY, TINY)}, "unique"),
        ({"targets": (TINY, PIXELS), "weights": (1.0,)}, "must match"),
        ({"targets": (TINY, PIXELS), "weights": (1.0, 0.0)}, "above 0"),
        ({"targets": (TINY, {"name": "pixels"})}, "Configs"),
        ({"targets": (TINY, registry.load("losses", "mse").Config())}, "kind of mse"),
    ],
)
def test_mixtures_that_mean_nothing_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        several.build(several.Config(**given))


def test_settings_are_recorded_as_json():
    told = config.to_json(several.Config((TINY, PIXELS), (2.0, 1.0)))
    assert [part["name"] for part in told["targets"]] == ["tiny_openclip", "pixels"]


def test_captions_lie_in_the_space_of_the_pictures_they_describe(stimuli):
    target, pictures = caption_text.build(CAPTION), tiny_openclip.build(TINY)
    assert target.space == pictures.space and target.identity() != pictures.identity()
    found = embed(target, stimuli, content="c")
    np.testing.assert_array_equal(found.of(stimuli.ids)[:, 0], pictures.embed_text(SCENES))


@pytest.mark.skipif(util.find_spec(minilm.PACKAGE) is None, reason="the weights come as a package")
def test_captions_through_the_sentence_model_are_its_embeddings(stimuli):
    target = caption_text.build(caption_text.Config())
    expected = minilm.build(minilm.Config()).embed_text(SCENES)
    np.testing.assert_array_equal(embed(target, stimuli, content="c").of(stimuli.ids)[:, 0], expected)
    with pytest.raises(checks.ConfigError, match="unit length"):
        caption_text.Config(normalised=False)
