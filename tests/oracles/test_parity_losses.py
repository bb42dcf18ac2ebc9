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

from braindec.losses import Mix, clip, soft_clip, soft_siglip
from braindec.losses._published import mixco_nce_as_published_by_mindeye

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
    return Mix(tensors["mix_perm"], weight)


def our_value(key: str, tensors, numbers) -> float:
    predicted, true = tensors["loss_pred"], tensors["loss_target"]
    tokens, ids = (predicted.unsqueeze(1), true.unsqueeze(1)), torch.arange(len(true))
    if key == "soft_siglip":
        scale = numbers.get("soft_siglip_log_temperature", LOG_SCALE)
        settings = soft_siglip.Config(math.exp(-scale), -numbers.get("soft_siglip_bias", BIAS))
        return float(soft_siglip.build(settings)(*tokens, ids, 0.0, None))
    temperature = temperature_of(key)
    if key.startswith("mixco"):
        return float(mixco_nce_as_published_by_mindeye(predicted, true, mix_of(tensors), temperature))
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


def test_our_mixed_loss_is_the_published_one_unless_a_row_drew_itself(generator):
    predicted, true = (
        torch.nn.functional.normalize(torch.randn(9, 7, generator=generator), dim=1) for _ in range(2)
    )
    weight, ids = torch.linspace(0.1, 1, 9), torch.arange(9)
    for partner, equal in ((ids.roll(1), True), (torch.tensor([0, 2, 1, 4, 3, 6, 5, 8, 7]), False)):
        mix = Mix(partner, weight)
        ours = float(soft_clip.mixco_nce(predicted, true, ids, mix, 0.05))
        theirs = float(mixco_nce_as_published_by_mindeye(predicted, true, mix, 0.05))
        assert (ours == pytest.approx(theirs, rel=1e-5)) == equal


def test_a_row_that_is_not_mixed_and_drew_itself_has_no_label_in_the_published_loss(generator):
    predicted = torch.nn.functional.normalize(torch.randn(4, 6, generator=generator), dim=1)
    everyone_alone = Mix(torch.arange(4), torch.ones(4))
    assert float(mixco_nce_as_published_by_mindeye(predicted, predicted, everyone_alone, 0.1)) == 0.0
    assert float(soft_clip.mixco_nce(predicted, predicted, torch.arange(4), everyone_alone, 0.1)) > 0.0
