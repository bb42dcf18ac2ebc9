"""The losses give the numbers that the published systems' own code gave, one assertion for each number in the file."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from braindec.losses import Mix, clip, join, soft_clip, soft_siglip

TOLERANCE = {"abs": 1e-4, "rel": 1e-4}
IS_LOSS = re.compile(r"soft_clip_loss_t\d+_\d+|mixco_nce_t\d+_\d+|nce_t\d+_\d+|soft_siglip")
# The README beside the files: temperature exp(2.3), bias -3; a file that names them goes first.
LOG_SCALE, BIAS = 2.3, -3.0


def loss_keys() -> list[str]:
    """The losses that the file holds; their usual names where there is no file (the tests then skip)."""
    file = Path(os.environ.get("BRAINDEC_PARITY", "nowhere")) / "mindeye_metrics_public.json"
    if not file.is_file():
        return [
            "soft_clip_loss_t0_005",
            "soft_clip_loss_t0_125",
            "mixco_nce_t0_006",
            "nce_t0_006",
            "soft_siglip",
        ]
    return [key for key in json.loads(file.read_text()) if IS_LOSS.fullmatch(key)]


@pytest.fixture(scope="module")
def published(parity):
    """(tensors, numbers) of the published code."""
    numbers = json.loads((parity / "mindeye_metrics_public.json").read_text())
    return load_file(parity / "mindeye_metrics_public.safetensors"), numbers


def temperature_of(key: str) -> float:
    """0.005 of ``soft_clip_loss_t0_005``."""
    whole, digits = re.fullmatch(r".*_t(\d+)_(\d+)", key).groups()
    return float(f"{whole}.{digits}")


def mix_of(tensors) -> Mix:
    """The published draw: weights count where a row was selected."""
    weight = torch.where(tensors["mix_select"], tensors["mix_betas"], torch.ones_like(tensors["mix_betas"]))
    drawn = tensors["mix_perm"]
    return Mix(torch.where(tensors["mix_select"], drawn, torch.arange(len(drawn))), weight, drawn)


def mixed_loss(predicted, true, mix, temperature, labels="as_published_by_mindeye", chunk=0) -> float:
    """The mixing phase of SoftCLIP on vectors (n_trials, n_values)."""
    config = soft_clip.Config(mixco_temperature=temperature, labels=labels, chunk=chunk)
    tokens = (predicted.unsqueeze(1), true.unsqueeze(1))
    return float(soft_clip.build(config)(*tokens, torch.arange(len(true)), 0.0, mix))


def our_value(key: str, tensors, numbers) -> float:
    predicted, true = tensors["loss_pred"], tensors["loss_target"]
    tokens, ids = (predicted.unsqueeze(1), true.unsqueeze(1)), torch.arange(len(true))
    if key == "soft_siglip":
        scale = numbers.get("soft_siglip_log_temperature", LOG_SCALE)
        settings = soft_siglip.Config(math.exp(-scale), -numbers.get("soft_siglip_bias", BIAS))
        return float(soft_siglip.build(settings)(*tokens, ids, 0.0, None))
    temperature = temperature_of(key)
    if key.startswith("mixco"):
        return mixed_loss(predicted, true, mix_of(tensors), temperature)
    if key.startswith("nce"):
        return float(clip.build(clip.Config(temperature))(*tokens, ids, 0.0, None))
    settings = soft_clip.Config(temperature_start=temperature, temperature_end=temperature)
    return float(soft_clip.build(settings)(*tokens, ids, 1.0, None))


@pytest.mark.parametrize("key", loss_keys())
def test_a_loss_gives_the_published_number(published, key):
    tensors, numbers = published
    assert our_value(key, tensors, numbers) == pytest.approx(numbers[key], **TOLERANCE)


def test_plain_info_nce_is_the_mixing_phase_without_a_mix(published):
    tensors, numbers = published
    keys = [key for key in numbers if key.startswith("nce_t")]
    for key in keys:
        loss = soft_clip.build(soft_clip.Config(mixco_temperature=temperature_of(key)))
        tokens = (tensors["loss_pred"].unsqueeze(1), tensors["loss_target"].unsqueeze(1))
        found = loss(*tokens, torch.arange(len(tensors["loss_pred"])), 0.0, None)
        assert float(found) == pytest.approx(numbers[key], **TOLERANCE)
    assert keys


@pytest.mark.parametrize("chunk", [1, 5])
def test_blocks_give_the_published_numbers_too(published, chunk):
    tensors, numbers = published
    predicted, true = tensors["loss_pred"], tensors["loss_target"]
    tokens, ids = (predicted.unsqueeze(1), true.unsqueeze(1)), torch.arange(len(true))
    for key in loss_keys():
        expected = pytest.approx(numbers[key], **TOLERANCE)
        if key.startswith("mixco"):
            assert mixed_loss(predicted, true, mix_of(tensors), temperature_of(key), chunk=chunk) == expected
        elif key.startswith("nce"):
            loss = clip.build(clip.Config(temperature_of(key), chunk=chunk))
            assert float(loss(*tokens, ids, 0.0, None)) == expected
        elif key.startswith("soft_clip"):
            t = temperature_of(key)
            loss = soft_clip.build(soft_clip.Config(temperature_start=t, temperature_end=t, chunk=chunk))
            assert float(loss(*tokens, ids, 1.0, None)) == expected


@pytest.fixture
def vectors(generator):
    """Unit vectors (9, 7), twice."""
    return tuple(
        torch.nn.functional.normalize(torch.randn(9, 7, generator=generator), dim=1) for _ in range(2)
    )


def test_our_mixed_loss_is_the_published_one_unless_a_row_drew_itself(vectors):
    weight, ids = torch.linspace(0.1, 1, 9), torch.arange(9)
    for partner, equal in ((ids.roll(1), True), (torch.tensor([0, 2, 1, 4, 3, 6, 5, 8, 7]), False)):
        mix = Mix(partner, weight, partner)
        ours, theirs = (
            mixed_loss(*vectors, mix, 0.05, labels) for labels in ("exact", "as_published_by_mindeye")
        )
        assert (ours == pytest.approx(theirs, rel=1e-5)) == equal


def test_a_row_that_is_not_mixed_and_drew_itself_has_no_label_in_the_published_loss(vectors):
    everyone_alone = Mix(torch.arange(9), torch.ones(9), torch.arange(9))
    assert mixed_loss(vectors[0], vectors[0], everyone_alone, 0.1) == 0.0
    assert mixed_loss(vectors[0], vectors[0], everyone_alone, 0.1, "exact") > 0.0


def test_published_labels_of_every_subject_but_the_first_point_to_other_rows(vectors):
    """Two subjects of three rows, all mixed with the next row of theirs by 0.3: labels written out by hand."""
    predicted, true = (x[:6] for x in vectors)
    drawn = torch.tensor([1, 2, 0])
    joined = join([Mix(drawn, torch.full((3,), 0.3), drawn)] * 2)
    label = {"exact": torch.zeros(6, 6), "as_published_by_mindeye": torch.zeros(6, 6)}
    for row, (right, wrong) in enumerate(zip([1, 2, 0, 4, 5, 3], [1, 2, 0, 1, 2, 0], strict=True)):
        for name, other in (("exact", right), ("as_published_by_mindeye", wrong)):
            label[name][row, row] = 0.3
            label[name][row, other] = 0.7
    logits = predicted @ true.T / 0.1
    for name, own in label.items():
        expected = -(own * logits.log_softmax(1)).sum() / 12 - (own * logits.log_softmax(0)).sum() / 12
        assert mixed_loss(predicted, true, joined, 0.1, name) == pytest.approx(float(expected), rel=1e-5)


def test_published_labels_without_what_was_drawn_are_refused(vectors):
    with pytest.raises(ValueError, match="drawn"):
        mixed_loss(*vectors, Mix(torch.arange(9), torch.ones(9)), 0.1)
