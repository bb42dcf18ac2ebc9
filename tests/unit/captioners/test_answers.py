"""Questions about embeddings: answers are learnt and kept, rows stand alone, and who cannot answer says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.captioners import Writing, multimodal_tokens, nearest_caption, prefix
from braindec.captioners._prefix_training import CAPTION_SHARE, _batch, _by_kind, token_ids, word_tokenizer

COLOURS, SHAPES = ("red", "blue", "green"), ("star", "ring", "heart")
ASKED = ("what colour has it ?", "and what is the shape of this thing ?")  # of different lengths
QUICK = prefix.Config(
    width=32, depth=1, heads=2, n_prefix=3, n_steps=250, lr=5e-3, writing=Writing(n_tokens=6)
)
PROMPT = "what is <image> <question> on the sky"


@pytest.fixture(scope="module")
def triples() -> tuple[np.ndarray, list[str], list[str]]:
    """Embeddings in which a colour and a shape have a direction, each asked for both."""
    rng = np.random.default_rng(0)
    directions = {word: rng.standard_normal((1, 12)) for word in (*COLOURS, *SHAPES)}
    rows = [(COLOURS[rng.integers(3)], SHAPES[rng.integers(3)]) for _ in range(120)]
    values = np.stack([directions[c] + directions[s] for c, s in rows])
    values = (values + 0.2 * rng.standard_normal(values.shape)).astype(np.float32)
    return np.repeat(values, 2, axis=0), [word for row in rows for word in row], list(ASKED) * 120


@pytest.fixture(scope="module")
def taught(triples) -> prefix.Prefix:
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    values, answers, questions = (some[:200] for some in triples)
    values = np.concatenate([values, values[::2]])
    texts = [*answers, *(f"a {c} {s}" for c, s in zip(answers[::2], answers[1::2], strict=True))]
    generator = torch.Generator().manual_seed(0)
    return prefix.build(
        QUICK, values, texts, "a space", questions=[*questions, *[""] * 100], generator=generator
    )


def right(captioner, values, questions, answers) -> float:
    found = captioner.answer(values, questions, generator=torch.Generator())
    return float(np.mean([a == b for a, b in zip(found, answers, strict=True)]))


def test_it_answers_what_is_asked_of_held_out_embeddings_and_not_what_is_asked_of_others(taught, triples):
    values, answers, questions = (some[200:] for some in triples)
    assert right(taught, values, questions, answers) > 0.9
    assert right(taught, values, questions, answers[2:] + answers[:2]) < 0.6  # chance is 1/3
    assert right(taught, values, questions[1:] + questions[:1], answers) < 0.1  # the other question's answers


def test_the_same_language_model_writes_captions_too(taught, triples):
    text = taught.caption(triples[0][200:202:2], generator=torch.Generator())[0]
    assert text == f"a {triples[1][200]} {triples[1][201]}"


def test_rows_stand_alone_however_long_their_questions_are(taught, triples):
    values, _, questions = (some[200:211] for some in triples)
    whole = taught.answer(values, questions, generator=torch.Generator())
    single = [
        taught.answer(values[[i]], questions[i : i + 1], generator=torch.Generator())[0] for i in range(11)
    ]
    assert list(whole) == single
    assert taught.answer(values[:0], [], generator=torch.Generator()) == ()


def test_sampled_answers_follow_the_generator_row_by_row(taught, triples):
    values, _, questions = (some[200:208] for some in triples)
    drawn = dataclasses.replace(QUICK, writing=Writing(n_tokens=6, temperature=3.0))
    one = prefix.Prefix(drawn, taught.model, taught._tokenizer, taught.space, taught.taught)
    said = [one.answer(values, questions, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert said[0] == said[1] != said[2]
    first = one.answer(values[:3], questions[:3], generator=torch.Generator().manual_seed(0))
    assert first == said[0][:3]


def test_what_is_saved_answers_the_same(taught, triples, tmp_path):
    again = prefix.Prefix.from_pretrained(taught.save_pretrained(tmp_path))
    assert again.taught == taught.taught == prefix.TAUGHT
    values, _, questions = (some[200:] for some in triples)
    generator = torch.Generator()
    assert again.answer(values, questions, generator=generator) == taught.answer(
        values, questions, generator=generator
    )


def test_a_batch_holds_captions_or_answers_and_each_comes_as_often_as_it_should(generator):
    captions, answers = (torch.tensor(rows) for rows in _by_kind(["", "what ?", "", "where ?", "what ?"]))
    assert (captions.tolist(), answers.tolist()) == ([0, 2], [1, 3, 4])
    batches = [set(_batch([captions, answers], 8, generator).tolist()) for _ in range(400)]
    assert all(rows <= {0, 2} or rows <= {1, 3, 4} for rows in batches)
    assert np.mean([rows <= {0, 2} for rows in batches]) == pytest.approx(CAPTION_SHARE, abs=0.07)
    assert set().union(*batches) == {0, 1, 2, 3, 4}
    alone = [_batch([answers], 3, generator.manual_seed(1)).tolist() for _ in range(2)]
    drawn = torch.randint(3, (3,), generator=generator.manual_seed(1))
    assert alone[0] == alone[1] == answers[drawn].tolist()  # of one kind nothing further is drawn


def test_the_loss_is_that_of_the_answer_s_tokens_alone():
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    tokenizer = word_tokenizer(["what colour ?", "red", "is it big ?", "very blue"])
    texts, questions = ["red", "very blue", "red"], ["what colour ?", "is it big ?", ""]
    ids, mask = token_ids(tokenizer, texts, questions, 20)
    said = [
        tokenizer.decode(row[on == 1], skip_special_tokens=False) for row, on in zip(ids, mask, strict=True)
    ]
    assert said == ["red <end>", "very blue <end>", "red <end>"]
    assert tokenizer.decode(ids[1]).startswith("is it big ?")
    with pytest.raises(ValueError, match="longest question"):
        token_ids(tokenizer, texts, questions, 5)


def test_who_cannot_answer_or_was_not_taught_says_so(triples):
    values, answers, questions = (some[:6] for some in triples)
    nearest = nearest_caption.build(nearest_caption.Config(), values, answers, "a space")
    with pytest.raises(ValueError, match="writes captions alone"):
        nearest.answer(values, questions, generator=torch.Generator())
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    quick = dataclasses.replace(QUICK, n_steps=1)
    told = {"generator": torch.Generator().manual_seed(0)}
    plain = prefix.build(quick, values, answers, "a space", **told)
    with pytest.raises(ValueError, match="not taught answers"):
        plain.answer(values, questions, generator=torch.Generator())
    asked = prefix.build(quick, values, answers, "a space", questions=questions, **told)
    with pytest.raises(ValueError, match="not taught captions"):
        asked.caption(values, generator=torch.Generator())


def test_questions_that_cannot_be_asked_are_refused(taught, triples, captioner_folder):
    values, _, questions = (some[:2] for some in triples)
    with pytest.raises(ValueError, match="question"):
        taught.answer(values, questions[:1], generator=torch.Generator())
    with pytest.raises(ValueError, match="empty"):
        taught.answer(values, ["what ?", " "], generator=torch.Generator())
    with pytest.raises(ValueError, match="longest question"):
        taught.answer(values, ["what ? " * 40] * 2, generator=torch.Generator())
    for text in ("<image> what?", "<question>", "<image> <question> <question>"):
        with pytest.raises(checks.ConfigError, match="question_prompt"):
            multimodal_tokens.Config(question_prompt=text)
    llava = multimodal_tokens.build(
        multimodal_tokens.Config(str(captioner_folder("llava")), question_prompt=PROMPT)
    )
    with pytest.raises(ValueError, match="<image>"):
        llava.answer(np.zeros((1, 4, 16), np.float32), ["an <image> ?"], generator=torch.Generator())
