"""What every captioner promises."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from braindec import checks, config, registry
from braindec.captioners import Captioner

NAMES = registry.names("captioners")
CAPTIONS = (
    "a red circle",
    "two blue stars",
    "a green heart on white",
    "a ring",
    "a dark cross",
    "a star at the top",
)


def embeddings(n: int, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)


def words(module, **writing):
    return dataclasses.replace(module.WRITING, n_tokens=6, **writing)


def nearest(folders, **writing) -> Captioner:
    module = registry.load("captioners", "nearest_caption")
    return module.build(module.Config(), embeddings(6, (1, 16), seed=1), CAPTIONS, "a space")


def prefix(folders, **writing) -> Captioner:
    module = registry.load("captioners", "prefix")
    settings = module.Config(
        width=16, depth=1, heads=2, n_prefix=3, n_steps=30, writing=words(module, **writing)
    )
    known = embeddings(12, (2, 16), seed=1)
    return module.build(
        settings, known, CAPTIONS * 2, "a space", questions=[""] * 6 + QUESTIONS * 2,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def vision_tokens(folders, **writing) -> Captioner:
    module = registry.load("captioners", "vision_tokens")
    return module.build(module.Config(str(folders("git")), writing=words(module, **writing)))


def multimodal_tokens(folders, **writing) -> Captioner:
    module = registry.load("captioners", "multimodal_tokens")
    told = {"prompt": "what is <image>", "question_prompt": "<image> <question>"}
    return module.build(module.Config(str(folders("llava")), writing=words(module, **writing), **told))


BUILD: dict[str, Callable[..., Captioner]] = {
    "nearest_caption": nearest,
    "prefix": prefix,
    "vision_tokens": vision_tokens,
    "multimodal_tokens": multimodal_tokens,
}
NEVER_DRAW = {"nearest_caption"}
NEVER_ANSWER = {"nearest_caption", "vision_tokens"}
QUESTIONS = ["what is a star", "is it red", "where is the ring on white"]


@pytest.fixture(scope="module", params=NAMES)
def build(request, captioner_folder) -> Callable[..., Captioner]:
    return partial(BUILD[request.param], captioner_folder)


@pytest.fixture(scope="module", params=[name for name in NAMES if name not in NEVER_DRAW])
def writes(request, captioner_folder) -> Callable[..., Captioner]:
    """Builds a captioner that puts words in a row, and may draw them."""
    return partial(BUILD[request.param], captioner_folder)


@pytest.fixture(scope="module", params=[name for name in NAMES if name not in NEVER_ANSWER])
def answers(request, captioner_folder) -> Callable[..., Captioner]:
    """Builds a captioner that answers questions."""
    return partial(BUILD[request.param], captioner_folder)


@pytest.fixture(scope="module")
def made(build) -> Captioner:
    return build()


def write(captioner: Captioner, values: np.ndarray, seed: int = 0) -> tuple[str, ...]:
    return captioner.caption(values, generator=torch.Generator().manual_seed(seed))


def test_it_is_a_captioner_that_names_itself_and_its_space(made):
    assert isinstance(made, Captioner)
    assert made.name in NAMES
    assert type(made).__module__ == f"braindec.captioners.{made.name}"
    assert made.space


def test_a_caption_for_each_embedding(made):
    texts = write(made, embeddings(3, made.shape))
    assert len(texts) == 3
    assert all(isinstance(text, str) and text == " ".join(text.split()) for text in texts)
    assert write(made, embeddings(0, made.shape)) == ()


def test_what_is_not_sampled_is_the_same_for_every_seed_and_draws_nothing(made, global_state_untouched):
    asked = torch.Generator().manual_seed(0)
    before = asked.get_state()
    found = made.caption(embeddings(5, made.shape), generator=asked)
    assert torch.equal(asked.get_state(), before)
    assert found == write(made, embeddings(5, made.shape), seed=1)


def test_rows_do_not_depend_on_each_other(made):
    values = embeddings(5, made.shape)
    assert write(made, values[::-1]) == write(made, values)[::-1]
    assert write(made, values[:2]) == write(made, values)[:2]


def test_samples_follow_the_given_generator_alone(writes, global_state_untouched):
    sampling = writes(temperature=2.0)
    values = embeddings(4, sampling.shape)
    assert write(sampling, values) == write(sampling, values)
    assert write(sampling, values) != write(sampling, values, seed=1)
    assert write(sampling, values) == write(writes(temperature=2.0, batch_size=1), values)


def test_beams_write_too(writes):
    captioner = writes(n_beams=3)
    values = embeddings(3, captioner.shape)
    assert write(captioner, values) == write(captioner, values, seed=1)


def ask(captioner: Captioner, values: np.ndarray, questions, seed: int = 0) -> tuple[str, ...]:
    return captioner.answer(values, questions, generator=torch.Generator().manual_seed(seed))


def test_an_answer_for_each_question_that_depends_on_no_other_row(answers, global_state_untouched):
    captioner = answers()
    values = embeddings(6, captioner.shape)
    found = ask(captioner, values, QUESTIONS * 2)
    assert len(found) == 6 and all(isinstance(text, str) for text in found)
    assert found == ask(captioner, values[::-1], (QUESTIONS * 2)[::-1], seed=1)[::-1]
    assert found[:2] == ask(captioner, values[:2], QUESTIONS[:2])
    assert ask(captioner, embeddings(0, captioner.shape), []) == ()


def test_questions_that_are_sampled_follow_the_given_generator_alone(answers, global_state_untouched):
    captioner = answers(temperature=2.0)
    values = embeddings(3, captioner.shape)
    assert ask(captioner, values, QUESTIONS) == ask(captioner, values, QUESTIONS)
    assert ask(captioner, values, QUESTIONS) != ask(captioner, values, QUESTIONS, seed=1)


def test_a_question_too_few_or_an_empty_one_is_refused(answers):
    captioner = answers()
    values = embeddings(3, captioner.shape)
    for questions in (QUESTIONS[:2], ["is it red", " ", "what"]):
        with pytest.raises(ValueError, match="question"):
            ask(captioner, values, questions)


@pytest.mark.parametrize("name", sorted(NEVER_ANSWER))
def test_who_only_describes_refuses_questions(name, captioner_folder):
    captioner = BUILD[name](captioner_folder)
    with pytest.raises(ValueError, match="captions alone"):
        ask(captioner, embeddings(1, captioner.shape), QUESTIONS[:1])


def test_the_identity_is_json(made):
    assert json.loads(json.dumps(made.identity())) == made.identity()


def test_the_identity_knows_how_captions_are_written(writes):
    assert writes().identity() == writes().identity()
    assert writes(n_beams=2).identity() != writes().identity()


def test_embeddings_of_another_shape_or_with_nan_are_refused(made):
    with pytest.raises(checks.SpaceMismatchError, match="target"):
        write(made, embeddings(2, made.shape)[:, :, :-1])
    with pytest.raises(ValueError, match="NaN"):
        write(made, embeddings(2, made.shape) * np.nan)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_survives_json_and_explains_every_setting(name):
    original = registry.load("captioners", name).Config()
    written = json.loads(json.dumps(config.to_json(original)))
    assert config.component_from_json(written, registry.load) == original
    told = type(original).__doc__ or ""
    assert [f.name for f in dataclasses.fields(original) if f.name not in told] == []
