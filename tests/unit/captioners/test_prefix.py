"""A prefix captioner learns what embeddings say, is kept whole, and refuses what it cannot read."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.captioners import multimodal_tokens, nearest_caption, prefix, vision_tokens
from braindec.captioners._prefix_training import word_tokenizer
from braindec.captioners._writing import Writing
from braindec.weights import published

WORDS = {"colour": ("red", "blue", "green"), "shape": ("star", "ring"), "place": ("top", "centre")}
QUICK = prefix.Config(
    width=32, depth=1, heads=2, n_prefix=3, n_steps=150, lr=5e-3, writing=Writing(n_tokens=8)
)


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, list[str]]:
    """Embeddings in which every word has a direction, and the captions of these words."""
    rng = np.random.default_rng(0)
    directions = {word: rng.standard_normal((2, 12)) for words in WORDS.values() for word in words}
    rows = [[words[rng.integers(len(words))] for words in WORDS.values()] for _ in range(120)]
    values = np.stack([sum(directions[word] for word in row) for row in rows])
    noisy = values + 0.2 * rng.standard_normal(values.shape)
    return noisy.astype(np.float32), [f"a {c} {s} at the {p}" for c, s, p in rows]


@pytest.fixture(scope="module")
def trained(pairs):
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    values, texts = pairs
    return prefix.build(
        QUICK, values[:100], texts[:100], "a space", generator=torch.Generator().manual_seed(0)
    )


def right(captioner, values, texts) -> float:
    """Share of the words that tell, over captions."""
    found = captioner.caption(values, generator=torch.Generator())
    telling = {word for words in WORDS.values() for word in words}
    return float(
        np.mean(
            [len(set(a.split()) & set(b.split()) & telling) / 3 for a, b in zip(found, texts, strict=True)]
        )
    )


def test_it_says_what_held_out_embeddings_say_and_not_what_others_do(trained, pairs):
    values, texts = pairs[0][100:], pairs[1][100:]
    shuffled = texts[1:] + texts[:1]
    assert right(trained, values, texts) > 0.9
    assert right(trained, values, shuffled) < 0.65  # chance is (1/3 + 1/2 + 1/2) / 3


@pytest.mark.parametrize("mapping", ["mlp", "tokens"])
def test_either_mapping_learns(pairs, mapping):
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    config = dataclasses.replace(QUICK, mapping=mapping, n_steps=120, noise=0.1)
    made = prefix.build(config, *pairs, "a space", generator=torch.Generator().manual_seed(1))
    assert right(made, pairs[0][:20], pairs[1][:20]) > 0.8


def test_equal_seeds_train_equal_captioners_and_leave_the_global_generator_alone(pairs):
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    before = torch.get_rng_state()
    config = dataclasses.replace(QUICK, n_steps=3)
    one, same, other = (
        prefix.build(config, *pairs, "a space", generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert one.identity() == same.identity() != other.identity()


def test_what_is_saved_writes_the_same(trained, pairs, tmp_path):
    again = prefix.Prefix.from_pretrained(trained.save_pretrained(tmp_path))
    assert again.identity() == trained.identity()
    assert (again.space, again.shape, again.config) == (trained.space, trained.shape, trained.config)
    asked = torch.Generator()
    assert again.caption(pairs[0][:9], generator=asked) == trained.caption(pairs[0][:9], generator=asked)


def test_a_damaged_mapping_is_refused(trained, tmp_path):
    folder = trained.save_pretrained(tmp_path)
    file = folder / "mapping.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(checks.DataFileError, match="sha256"):
        prefix.Prefix.from_pretrained(folder)


@pytest.mark.parametrize("tuned", [False, True])
def test_a_language_model_of_a_folder_is_kept_as_it_is_or_tuned(captioner_folder, pairs, tuned):
    from braindec.captioners._models import opened

    folder = str(captioner_folder("gpt2"))
    config = prefix.Config(folder, n_prefix=2, n_steps=3, tuned=tuned, writing=Writing(n_tokens=4))
    made = prefix.build(config, *pairs, "a space", generator=torch.Generator().manual_seed(0))
    _, before, _ = opened(folder, ("GPT2LMHeadModel",), "a test")
    now = made.model.words.state_dict()
    equal = all(torch.equal(value, now[name]) for name, value in before.state_dict().items())
    assert equal is not tuned


def test_every_word_is_a_token_and_a_new_one_is_unknown():
    pytest.importorskip("transformers", reason="the captioner prefix needs the extra `models`")
    tokenizer = word_tokenizer(["A red star.", "two stars, blue"])
    ids = tokenizer(["a blue star", "a green star"]).input_ids
    assert tokenizer.unk_token_id not in ids[0]
    assert ids[1][1] == tokenizer.unk_token_id
    assert tokenizer.decode(ids[0]) == "a blue star"


def test_the_nearest_caption_is_centred_on_either_side(rng):
    texts = rng.standard_normal((5, 1, 8)).astype(np.float32)
    pictures = texts + 3.0  # the gap between pictures and texts
    captions = [f"caption {i}" for i in range(5)]
    build = nearest_caption.build
    plain = build(nearest_caption.Config(centred=False), texts, captions, "a space")
    centred = build(nearest_caption.Config(), texts - 2.0, captions, "a space", mean=pictures.mean(0))
    assert plain.caption(texts, generator=torch.Generator()) == tuple(captions)
    assert centred.caption(pictures, generator=torch.Generator()) == tuple(captions)


def test_a_folder_of_another_class_or_without_weights_is_refused(captioner_folder, tmp_path):
    for module, wrong in ((vision_tokens, "llava"), (multimodal_tokens, "git")):
        with pytest.raises(checks.ConfigError, match="class of the model"):
            module.build(module.Config(str(captioner_folder(wrong))))
    (tmp_path / "config.json").write_text('{"architectures": ["GitForCausalLM"], "model_type": "git"}')
    with pytest.raises(checks.DataFileError, match="safetensors"):
        vision_tokens.build(vision_tokens.Config(str(tmp_path)))
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        vision_tokens.build(vision_tokens.Config(str(tmp_path / "nowhere")))


def test_published_weights_are_found_where_they_were_pulled_and_else_the_command_is_said(
    captioner_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(checks.DownloadError, match=r"braindec pull git-base-coco"):
        vision_tokens.build(vision_tokens.Config())
    place = published.repository_folder("microsoft/git-base-coco") / "snapshots" / published.BY_HAND
    shutil.copytree(captioner_folder("git"), place)
    spaces = [
        vision_tokens.build(vision_tokens.Config(m)).space
        for m in ("microsoft/git-base-coco", "git-base-coco")
    ]
    assert spaces == [vision_tokens.build(vision_tokens.Config(str(place))).space] * 2


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(checks.ConfigError, match="<image>"):
        multimodal_tokens.Config(prompt="what is it?")
    with pytest.raises(checks.ConfigError, match="beam"):
        Writing(n_beams=2, temperature=1.0)
    with pytest.raises(checks.ConfigError, match="heads"):
        prefix.Config(width=30, heads=4)
