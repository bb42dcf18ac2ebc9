"""A language model's explanations and judgements: read strictly, drawn by seed, odds as computed by hand."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from braindec import _compat, checks
from braindec.sparse import explanation_scores, language_model
from braindec.sparse.explanations import NOTHING

CAPTIONS = ["a red star", "a blue star on a plain background", "a red square", "a blue heart"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A causal language model of words with random weights."""
    pytest.importorskip("transformers", reason="language models need the extra `models`")
    _compat.ensure_torchvision()
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    known = ["<end>", "<unknown>", "yes", "no"]
    texts = " ".join([language_model.EXPLAIN, language_model.JUDGE, *CAPTIONS]).lower()
    for mark in "\n.,:?-{}":
        texts = texts.replace(mark, f" {mark} ")
    known += sorted(set(texts.split()) - set(known))
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, unk_token="<unknown>"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<end>", unk_token="<unknown>", clean_up_tokenization_spaces=False
    )
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(known), n_embd=16, n_layer=2, n_head=2, n_positions=160, bos_token_id=0, eos_token_id=0,
        initializer_range=0.5,
    )  # fmt: skip
    place = tmp_path_factory.mktemp("words")
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def model(folder):
    return language_model.build(language_model.Config(str(folder), n_tokens=6, batch_size=3))


def test_odds_are_those_of_the_last_logits(model, folder):
    import transformers

    plain = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    told = ("red", NOTHING, "a blue star", "red")
    found = model.fits(told, CAPTIONS)
    assert found.shape == (4, 4)
    for i, caption in enumerate(CAPTIONS):
        for k, text in enumerate(told):
            if text == NOTHING:
                assert found[i, k] == 0
                continue
            asked = f"Picture: {caption}\nDescription: {text}\nDoes the description fit the picture? Answer:"
            with torch.no_grad():
                odds = torch.log_softmax(
                    plain(**tokenizer(asked, return_tensors="pt")).logits[0, -1].double(), 0
                )
            yes, no = (tokenizer.convert_tokens_to_ids(w) for w in ("yes", "no"))
            assert float(found[i, k]) == pytest.approx(float(odds[yes] - odds[no]), abs=1e-5)
    assert found[:, 0].std() > 1e-3 and found[0].std() > 1e-3  # caption and explanation are both read


def test_what_it_says_is_a_line_that_it_says_again(model):
    active, silent = [CAPTIONS[::2], []], [CAPTIONS[1::2], CAPTIONS[1::2]]
    before = torch.get_rng_state()
    one, same = (model.explain(active, silent, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    assert one == same  # the likeliest words need no draw
    assert one[0] != NOTHING and "\n" not in one[0] and one[1] == NOTHING
    assert torch.equal(before, torch.get_rng_state())


def test_a_temperature_draws_by_the_seed(folder):
    warm = language_model.build(language_model.Config(str(folder), n_tokens=6, temperature=1.0))
    told = [[CAPTIONS[:2]] * 3, [CAPTIONS[2:]] * 3]
    one, same, other = (warm.explain(*told, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert one == same != other
    assert len(set(one)) > 1


def test_the_whole_path_runs_and_random_weights_know_nothing(model, generator):
    captions = [CAPTIONS[i % 4] for i in range(40)]
    values = torch.rand(40, 12, generator=generator) * (torch.rand(40, 12, generator=generator) < 0.4)
    rows = explanation_scores.asked(values > 0, 5, generator)
    texts = model.explain([CAPTIONS[:2]] * 12, [CAPTIONS[2:]] * 12, generator=generator)
    found = explanation_scores.score(model.fits(texts, [captions[i] for i in rows]), values[rows])
    assert found.means()[0] == pytest.approx(0.5, abs=0.1)


def test_weights_that_are_missing_are_not_drawn(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in weights if "mlp" in name)
    save_file(
        {k: v for k, v in weights.items() if k != lost}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(checks.DataFileError, match="lacks weights"):
        language_model.build(language_model.Config(str(tmp_path)))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(checks.DataFileError, match=r"no \.safetensors"):
        language_model.build(language_model.Config(str(tmp_path)))
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        language_model.build(language_model.Config(str(tmp_path / "nowhere")))


def test_answers_are_a_token_each_and_prompts_hold_what_they_are_told(folder):
    config = language_model.Config(str(folder))
    with pytest.raises(checks.ConfigError, match="one token"):
        language_model.build(dataclasses.replace(config, answers=(" yes it does", " no")))
    with pytest.raises(checks.ConfigError, match="two tokens"):
        language_model.build(dataclasses.replace(config, answers=(" oui", " non")))  # words it does not know
    with pytest.raises(checks.ConfigError, match="caption"):
        dataclasses.replace(config, judge="{explanation}?")


def test_more_captions_than_it_has_places_are_refused(model):
    with pytest.raises(ValueError, match="160 tokens"):
        model.explain([CAPTIONS * 10], [CAPTIONS], generator=torch.Generator())


def test_its_identity_is_json_and_knows_the_prompts(model, folder):
    other = language_model.build(language_model.Config(str(folder), judge="{caption} is {explanation}"))
    assert json.dumps(model.identity()) != json.dumps(other.identity())
