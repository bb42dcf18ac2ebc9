"""Weighted sums over pairs are those of the resampled RDM, in however many parts they are made."""

from __future__ import annotations

import pytest
import torch

from braindec.rdm import resampling
from braindec.rdm.pairs import condensed, n_pairs, square

N, SUBJECTS, MODELS = 9, 4, 2


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = torch.rand(SUBJECTS + MODELS, n_pairs(N), generator=generator, dtype=torch.float64) + 3
    return made[:SUBJECTS], made[SUBJECTS:]


def gathered(rows: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """The resampled distances themselves, without those between copies of one condition."""
    chosen = torch.repeat_interleave(torch.arange(N), count.long())
    kept = condensed((chosen[:, None] != chosen[None, :]).double()) > 0
    return condensed(square(rows)[:, chosen][:, :, chosen])[:, kept]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("numbers", "draws"), [(1 << 20, 1024), (1, 3), (40, 1), (60, 5)])
def test_any_division_into_parts_gives_the_correlations_of_gathered_distances(
    rows, centred, numbers, draws, monkeypatch
):
    monkeypatch.setattr(resampling, "NUMBERS_AT_ONCE", numbers)
    monkeypatch.setattr(resampling, "DRAWS_AT_ONCE", draws)
    data, models = rows
    counts = resampling.draw_counts(N, 7, torch.Generator().manual_seed(1))
    found = resampling.weighted_inner(data, models, counts, centred=centred)
    for number, count in enumerate(counts):
        drawn = gathered(torch.cat([data, models]), count)
        drawn = drawn - drawn.mean(1, keepdim=True) if centred else drawn
        drawn = drawn / drawn.norm(dim=1, keepdim=True)
        expected = drawn[:SUBJECTS] @ drawn.T
        torch.testing.assert_close(found.products[number], expected[:, :SUBJECTS], rtol=0, atol=1e-12)
        torch.testing.assert_close(found.scores[number], expected[:, SUBJECTS:], rtol=0, atol=1e-12)


def test_rows_that_are_given_stay_as_they_were(rows):
    data, models = rows
    before = data.clone(), models.clone()
    resampling.weighted_inner(data, models, torch.ones(1, N), centred=True)
    assert torch.equal(data, before[0])
    assert torch.equal(models, before[1])
