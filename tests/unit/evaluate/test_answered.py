"""Answers are counted right by the truth, the wording alone gets no more than wording gives, pictures are the units."""

from __future__ import annotations

import dataclasses
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from braindec import store
from braindec.captioners import prefix
from braindec.data.simulated import scenes
from braindec.evaluate import answered

RECIPE = SimpleNamespace(protocol="heldout_stimuli", seed=0)


class Reader:
    """Knows the picture of every embedding, and answers the truth about it; of the mean embedding it knows none."""

    def __init__(self, ids, values, asked):
        self.known = {v.tobytes(): i for i, v in zip(ids, values, strict=True)}
        self.answers = {(i, q.text): q.answer for i, some in asked.test.items() for q in some}

    def answer(self, image_embeddings, questions, *, generator, progress=False):
        shown = [self.known.get(np.asarray(v, np.float32).tobytes(), "") for v in image_embeddings]
        return tuple(self.answers.get((i, q), "no") for i, q in zip(shown, questions, strict=True))


@pytest.fixture(scope="module")
def told(planted, tmp_path_factory):
    folder, ids = tmp_path_factory.mktemp("world"), planted.dataset.stimuli.ids
    drawn = scenes.sample_unique_scenes(len(ids), np.random.default_rng(0))
    store.write_json(folder / scenes.FILE, [scenes.to_dict(s) for s in drawn])
    asked = answered.exams(folder, planted.dataset, 0)
    return asked, Reader(ids, planted.embeddings.of(ids), asked), dict(zip(ids, drawn, strict=True))


class Eye:
    """Embeds a picture as itself, made smaller."""

    def embed_images(self, images):
        return np.asarray(images, np.float32)[:, ::16, ::16].reshape(len(images), 1, -1)


def truth(planted, key, ids):
    return planted.embeddings.of(ids)


def another(planted, key, ids):
    return planted.embeddings.of(list(ids)[1:] + list(ids)[:1])


def test_true_embeddings_are_answered_in_full_and_others_are_not(told, planted):
    asked, reader, _ = told
    found = answered.answered(
        partial(truth, planted), [partial(another, planted)] * 2, asked, reader, RECIPE, planted.dataset,
        planted.embeddings,
    )  # fmt: skip
    ours = [s for s in found.scores if s.system == "braindec" and s.subject != "group"]
    assert [s.value for s in ours] == [1.0, 1.0]
    for score in ours:
        assert score.null < 0.5 and score.null_n == 2
        assert score.n == 40 < len(score.per_sample)  # pictures, of which several questions are asked
    for row in found.comparisons:
        assert row["difference"] > 0.4 and row["interval"][0] > 0.3 and row["n"] == 40
    wording = [s for s in found.scores if s.system == "mean" and s.subject == 1]
    assert wording[0].value < 0.2  # "no" is right of half of two kinds out of ten
    assert next(title for title, _, _ in answered.panels(found)) == "Answers beside their controls"


def test_questions_are_of_their_own_part_and_scene(told, planted):
    asked, _, drawn = told
    parts = planted.dataset.split.parts
    assert set(asked.train) == set(parts["train"]) and set(asked.test) == set(parts["test"])
    for i, some in (*asked.train.items(), *asked.test.items()):
        assert {q.answer for q in some if q.kind == "background"} == {drawn[i].background}
    bare = dataclasses.replace(planted.dataset, split=None)
    with pytest.raises(ValueError, match="no split"):
        answered.exams("nowhere", bare, 0)


def test_lessons_are_of_scenes_that_are_not_held_out_and_answer_true(told, planted, monkeypatch, tmp_path):
    """Scenes are drawn from few, half of them held out: none of these is among the lessons."""
    few = scenes.sample_unique_scenes(12, np.random.default_rng(3))
    monkeypatch.setattr(scenes, "_sample_scene", lambda generator: few[generator.integers(12)])
    held = list(planted.dataset.split.parts["test"])[:6]
    drawn = told[2] | dict(zip(held, few[:6], strict=True))
    store.write_json(tmp_path / scenes.FILE, [scenes.to_dict(drawn[i]) for i in planted.dataset.stimuli.ids])
    given = (6, Eye(), tmp_path, planted.dataset, 0, ("background", "count"))
    found = answered.lessons(*given)
    assert set(found.texts[:6]) == {scenes.caption(scene) for scene in few[6:]}
    assert (
        found.questions == ("",) * 6 + ("what colour is the background ?", "how many objects are there ?") * 6
    )
    pictures = dict(zip((v.tobytes() for v in Eye().embed_images(scenes.render_all(few))), few, strict=True))
    for value, text, question in zip(found.embeddings, found.texts, found.questions, strict=True):
        scene = pictures[value.tobytes()]
        true = {"": scenes.caption(scene), "what colour is the background ?": scene.background}
        assert text == true.get(question, ("one", "two", "three")[len(scene.objects) - 1])
    again = answered.lessons(*given)
    assert again.texts == found.texts and np.array_equal(again.embeddings, found.embeddings)


def test_a_captioner_learns_from_lessons_too(told, planted, monkeypatch):
    asked, _, drawn = told
    captions = {i: scenes.caption(scene) for i, scene in drawn.items()}
    stimuli = dataclasses.replace(planted.dataset.stimuli, captions=captions)
    dataset = dataclasses.replace(planted.dataset, stimuli=stimuli)
    made = {}
    monkeypatch.setattr(
        answered.registry.load("captioners", "prefix"), "build",
        lambda config, values, texts, space, *, questions, generator: made.update(
            values=values, texts=texts, questions=questions
        ),
    )  # fmt: skip
    shape = planted.embeddings.of(planted.embeddings.ids[:1]).shape[1:]
    more = answered.Lessons(np.full((2, *shape), 7, np.float32), ("a scene", "red"), ("", "what colour ?"))
    answered.answerer_of(prefix.Config(), dataset, planted.embeddings, asked, 0, more)
    assert len(made["values"]) == len(made["texts"]) == len(made["questions"])
    assert made["texts"][-2:] == ["a scene", "red"] and made["questions"][-2:] == ["", "what colour ?"]
    assert np.all(made["values"][-2:] == 7) and made["questions"].count("") == 1 + len(asked.train)


def test_pictures_are_shown_with_one_question_each_of_different_kinds(told, planted):
    asked, reader, _ = told
    ids = planted.dataset.stimuli.ids
    read = dict.fromkeys(ids, np.zeros((8, 8, 3), np.uint8))
    stimuli = dataclasses.replace(
        planted.dataset.stimuli, kind="image", read=lambda some: np.stack([read[i] for i in some])
    )
    dataset = dataclasses.replace(planted.dataset, stimuli=stimuli)
    predict, other = partial(truth, planted), partial(another, planted)
    found = answered.answered(predict, [other], asked, reader, RECIPE, dataset, planted.embeddings)

    class Painter:
        def generate(self, values, *, generator, n_steps=None):
            return np.repeat(values.reshape(len(values), -1)[:, :1, None, None] > 0, 3, -1).astype(np.uint8)

    panels = answered.pictures(found, predict, other, Painter(), dataset, 0, n=4)
    assert [kind for _, kind, _ in panels] == ["image_grid"] * 2
    payload = panels[0][2]
    assert {len(v) for v in payload["rows"].values()} == {4} and len(payload["captions"]) == 4
    presented, ours = payload["notes"]["presented"], payload["notes"][answered.ROWS["braindec"]]
    assert len({text.rsplit(" ? ")[0].split()[0:2][1] for text in presented}) > 1
    assert [text.split(" ? ")[1] for text in presented] == ours  # the reader knows the truth
