"""Captioners of predicted tokens against the whole models of transformers that they are halves of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import pretrained
from braindec.captioners import multimodal_tokens, vision_tokens
from braindec.captioners._writing import Writing
from braindec.targets import transformers_vision

WAYS = [Writing(n_tokens=8), Writing(n_tokens=8, n_beams=3), Writing(n_tokens=5, batch_size=2)]
PROMPT = "what is <image> on the sky"


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)


def whole(folder, name: str):
    """(model, tokenizer, image processor) as transformers itself opens them."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with pretrained.quiet():
        return getattr(transformers, name).from_pretrained(folder).eval(), tokenizer, processor


def said(tokenizer, ids) -> tuple[str, ...]:
    return tuple(" ".join(text.split()) for text in tokenizer.batch_decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("writing", WAYS)
@pytest.mark.parametrize(
    ("name", "kind"), [("git", "GitForCausalLM"), ("blip", "BlipForConditionalGeneration")]
)
def test_tokens_of_the_true_picture_give_the_caption_of_the_whole_model(
    captioner_folder, pictures, name, kind, writing, generator
):
    folder = captioner_folder(name)
    target = transformers_vision.build(transformers_vision.Config(str(folder), pooling="all"))
    captioner = vision_tokens.build(vision_tokens.Config(str(folder), writing))
    assert captioner.space == target.space
    assert captioner.shape == target.shape
    found = captioner.caption(target.embed_images(pictures), generator=generator)
    model, tokenizer, processor = whole(folder, kind)
    x = processor(images=list(pictures), return_tensors="pt").pixel_values
    with torch.inference_mode():
        ids = model.generate(
            pixel_values=x, do_sample=False, max_new_tokens=writing.n_tokens, num_beams=writing.n_beams
        )
    assert found == said(tokenizer, ids)
    assert len(set(found)) > 2  # pictures tell


@pytest.mark.parametrize("writing", WAYS[:2])
def test_image_tokens_of_the_true_picture_give_the_answer_of_the_whole_multimodal_model(
    captioner_folder, pictures, writing, generator
):
    folder = captioner_folder("llava")
    config = transformers_vision.Config(str(folder), layers=(-2,), pooling="patches")
    target = transformers_vision.build(config)
    captioner = multimodal_tokens.build(multimodal_tokens.Config(str(folder), PROMPT, writing))
    assert captioner.space == target.space
    assert captioner.shape == target.shape
    found = captioner.caption(target.embed_images(pictures), generator=generator)
    model, tokenizer, processor = whole(folder, "LlavaForConditionalGeneration")
    x = processor(images=list(pictures), return_tensors="pt").pixel_values
    ids = tokenizer(PROMPT.replace("<image>", " ".join(["<image>"] * 4)), return_tensors="pt").input_ids
    ids = ids.expand(len(x), -1)
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=x, do_sample=False,
            max_new_tokens=writing.n_tokens, num_beams=writing.n_beams,
        )  # fmt: skip
    assert found == said(tokenizer, made[:, ids.shape[1] :])
    assert len(set(found)) > 2


def test_another_prompt_gets_another_answer(captioner_folder, pictures, generator):
    folder = captioner_folder("llava")
    tokens = np.random.default_rng(1).standard_normal((4, 4, 16)).astype(np.float32)
    answers = [
        multimodal_tokens.build(multimodal_tokens.Config(str(folder), prompt, WAYS[0])).caption(
            tokens, generator=generator
        )
        for prompt in (PROMPT, "two dog runs <image> is")
    ]
    assert answers[0] != answers[1]


@pytest.mark.parametrize("writing", WAYS)
def test_questions_of_the_true_picture_get_the_whole_multimodal_model_s_answers_whatever_their_lengths(
    captioner_folder, pictures, writing, generator
):
    folder = captioner_folder("llava")
    target = transformers_vision.build(
        transformers_vision.Config(str(folder), layers=(-2,), pooling="patches")
    )
    prompt = "what is <image> <question> on the sky"
    config = multimodal_tokens.Config(str(folder), writing=writing, question_prompt=prompt)
    questions = ["is one red", "what saw the two dog", "runs", "is one red", "what", "a white tree on house"]
    tokens = target.embed_images(pictures)
    captioner = multimodal_tokens.build(config)
    found = captioner.answer(tokens, questions, generator=generator)
    model, tokenizer, processor = whole(folder, "LlavaForConditionalGeneration")
    for picture, question, answer in zip(pictures, questions, found, strict=True):
        x = processor(images=[picture], return_tensors="pt").pixel_values
        text = prompt.replace("<question>", question).replace("<image>", " ".join(["<image>"] * 4))
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.inference_mode():
            made = model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=x, do_sample=False,
                max_new_tokens=writing.n_tokens, num_beams=writing.n_beams,
            )  # fmt: skip
        assert answer == said(tokenizer, made[:, ids.shape[1] :])[0]
    assert captioner.answer(tokens[:1], ["what"], generator=generator) != found[:1]  # questions tell
