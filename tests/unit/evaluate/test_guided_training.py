"""Guided networks lie as their guide does on new stimuli too; permuted guides, or no weight, guide nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.evaluate import guided_training
from braindec.losses import cka
from braindec.similarity.cka import MEASURES

QUICK = guided_training.Settings(width=24, n_steps=40, batch_size=64, lr=3e-3, strength=5.0, n_networks=2)


def world(generator, n=160, p=20):
    """Inputs, classes, and a guide of two layers that weighs other inputs than come by themselves."""
    x = torch.randn(n, p, generator=generator)
    labels = np.array(["a", "b"])[(x[:, 0] > 0).long().numpy()]
    guide = [x[:, 10:15] @ torch.randn(5, width, generator=generator) for width in (7, 30)]
    return x, labels, guide, np.arange(n) < 120


def by_name(report):
    return {s.name: s for s in report.scores if s.system == "braindec"}


def test_a_guide_is_followed_on_new_stimuli_and_a_permuted_one_is_not(generator):
    x, labels, guide, train = world(generator)
    found = by_name(guided_training.guided_study(x, labels, {"planted": guide}, train, QUICK))
    aligned = found["aligned_with_planted"]
    assert aligned.value > max(aligned.null, aligned.details["unguided"]) + 0.2
    assert aligned.n == 40 and found["accuracy_guided_by_planted"].chance >= 0.5


def test_guidance_without_weight_is_no_guidance(generator):
    x, labels, guide, _ = world(generator)
    y = torch.from_numpy((labels == "b").astype(np.int64))
    nothing = replace(QUICK, strength=0.0, n_steps=5)
    alone = guided_training.train_guided(x, y, None, 2, nothing, 0)
    beside = guided_training.train_guided(x, y, guide, 2, nothing, 0)
    for a, b in zip(alone.parameters(), beside.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert guided_training.accuracy(alone, x, y) == guided_training.accuracy(beside, x, y)


def test_a_guide_of_other_depth_is_refused(generator):
    x, _, guide, _ = world(generator)
    with pytest.raises(ValueError, match="the guide has 2 layers, the network 3"):
        guided_training.train_guided(x, torch.zeros(len(x), dtype=torch.int64), guide, 3, QUICK, 0)


@pytest.mark.parametrize(("name", "debiased"), [("cka", True), ("cka_biased", False)])
def test_the_aim_is_one_less_cka_of_sides_of_any_width(name, debiased, generator):
    x, y = (torch.randn(30, p, generator=generator, dtype=torch.float64) for p in (4, 11))
    y[:, :4] += x
    x.requires_grad_()
    away = cka.away(x, y, debiased=debiased)
    assert float(away.detach()) == pytest.approx(1 - float(MEASURES[name](x.detach(), y)), abs=1e-9)
    away.backward()
    assert float(x.grad.norm()) > 0
    with pytest.raises(ValueError, match="row"):
        cka.away(x, y[:-1])
