"""The model that a brain was made of is recognised where signal is strong, and none is where stimuli are shuffled."""

from __future__ import annotations

import pytest
import torch

from braindec.evaluate import encode_identification as identification


@pytest.fixture(scope="module")
def candidates():
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(80, 15, generator=generator) for name in "abc"}


def test_every_score_names_the_right_model_of_a_clear_brain_and_guesses_for_a_shuffled_one(candidates):
    design = identification.Design(n_stimuli=60, n_voxels=40, ceiling=0.7, n_brains=4)
    found = identification.identify(candidates, design)
    shuffled = identification.identify(candidates, design, shuffled=True)
    for score in ("encoding", "rsa", "cka"):
        assert found.accuracy(score)[0] == 1.0
        assert shuffled.accuracy(score)[0] <= 0.75
        assert shuffled.first[score].sum() == 12
    made = identification.report(found, shuffled, design)
    assert made.score("right_model_by_rsa").value == 1.0 and made.score("right_model_by_rsa").chance == 1 / 3


def test_a_brain_has_the_ceiling_it_was_given(candidates):
    design = identification.Design(n_stimuli=80, n_voxels=3000, ceiling=0.4)
    x = candidates["a"]
    y = identification.brain_of(x, design, torch.Generator().manual_seed(2)).double()
    fitted = torch.linalg.lstsq(torch.cat([x, torch.ones(80, 1)], 1).double(), y)
    left = (y - torch.cat([x, torch.ones(80, 1)], 1).double() @ fitted.solution).square().sum(0) / (80 - 16)
    assert float(left.mean()) == pytest.approx(0.6, abs=0.02)


def test_alignment_with_unrelated_features_is_zero_on_average_however_wide_they_are():
    generator = torch.Generator().manual_seed(0)
    pairs = [
        (torch.randn(30, 200, generator=generator), torch.randn(30, 300, generator=generator))
        for _ in range(40)
    ]
    found = torch.tensor([identification.cka_score(x, y) for x, y in pairs])
    assert abs(float(found.mean())) < 0.04  # the biased one is 0.9 here
    assert identification.cka_score(pairs[0][0], pairs[0][0]) == pytest.approx(1)
