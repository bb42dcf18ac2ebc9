"""Units on a sheet: Moran's I and the loss as they are defined, and patches where smoothness is asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from braindec.encoding import sheets
from braindec.evaluate import encode_sheets


def test_morans_i_is_its_double_sum_and_that_of_a_chessboard_is_minus_one():
    draw = torch.Generator().manual_seed(0)
    places, maps = sheets.grid(4, 5), torch.randn(2, 20, generator=draw)
    rows = places.numpy()
    near = np.abs(rows[:, None] - rows).sum(2) == 1  # four neighbours
    z = maps.numpy() - maps.numpy().mean(1, keepdims=True)
    truth = [
        20 / near.sum() * sum(one[i] * one[j] for i, j in np.argwhere(near)) / (one**2).sum() for one in z
    ]
    np.testing.assert_allclose(sheets.moran(maps, places).numpy(), truth, rtol=1e-6)
    board = (places.sum(1) % 2)[None]
    assert float(sheets.moran(board, places)) == pytest.approx(-1)
    halves = (places[:, 1] > 2).float()[None]
    assert float(sheets.moran(halves, places)) > 0.7
    assert float(sheets.moran(torch.ones(1, 20), places)) == 0


def test_over_all_orders_of_the_units_its_mean_is_minus_one_over_the_others():
    places, values = sheets.grid(2, 3), torch.tensor([[0.3, -1.0, 2.0, 0.5, 0.1, -0.7]])
    orders = list(itertools.permutations(range(6)))
    every = [float(sheets.moran(values[:, list(order)], places)) for order in orders]
    assert np.mean(every) == pytest.approx(-1 / 5, abs=1e-9)
    drawn = sheets.moran_of_random_sheets(values, places, 400, torch.Generator().manual_seed(1))
    assert drawn.mean() == pytest.approx(-1 / 5, abs=0.06)


def test_roughness_is_the_correlation_of_likeness_and_nearness():
    draw = torch.Generator().manual_seed(2)
    responses, places = torch.randn(30, 12, generator=draw), sheets.grid(3, 4)
    alike = np.corrcoef(responses.numpy().T)
    rows = places.double().numpy()
    near = 1 / (1 + np.linalg.norm(rows[:, None] - rows, axis=2))
    upper = np.triu_indices(12, 1)
    truth = (1 - np.corrcoef(alike[upper], near[upper])[0, 1]) / 2
    assert float(sheets.roughness(responses, places)) == pytest.approx(truth, abs=1e-5)
    # Responses whose correlations are the nearness itself are as smooth as can be; random ones lie in the middle.
    root = torch.linalg.cholesky(torch.from_numpy(near) + 1e-6 * torch.eye(12, dtype=torch.float64))
    white = torch.linalg.qr(torch.randn(60, 13, generator=draw, dtype=torch.float64))[0]
    white = torch.linalg.qr(white - white.mean(0))[0][:, :12]
    white = white - white.mean(0)
    assert float(sheets.roughness(white @ root.T, places.double())) < 0.02
    many = [float(sheets.roughness(torch.randn(30, 12, generator=draw), places)) for _ in range(50)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.03)


def test_the_loss_makes_patches_of_things_that_were_planted_and_the_task_is_still_done():
    draw = torch.Generator().manual_seed(3)
    present = torch.rand(160, 4, generator=draw) < 0.5
    x = present.float() @ torch.randn(4, 12, generator=draw) + 0.5 * torch.randn(160, 12, generator=draw)
    things = {str(i): present[:, i].numpy() for i in range(4)}
    settings = encode_sheets.Settings(side=7, n_steps=120, n_null=4)
    report = encode_sheets.sheet_study(x, things, settings)
    ours, plain = report.score("moran_i"), report.score("moran_i", "contender")
    assert ours.value > plain.value + 0.2
    assert abs(ours.null) < 0.15
    assert abs(plain.value) < 0.25
    task = report.score("factor_auc")
    assert task.value > 0.85
    assert abs(task.null - 0.5) < 0.15


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="no unit has a neighbour"):
        sheets.moran(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
    with pytest.raises(ValueError, match="every thing must be"):
        sheets.selectivity(torch.zeros(3, 2), torch.ones(3, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="no thing is in"):
        encode_sheets.sheet_study(torch.zeros(20, 2), {"all": np.ones(20, bool)})


def test_selectivity_has_no_unit():
    draw = torch.Generator().manual_seed(0)
    responses, present = torch.randn(50, 6, generator=draw), torch.rand(50, 3, generator=draw) > 0.5
    torch.testing.assert_close(
        sheets.selectivity(1e-13 * responses, present), sheets.selectivity(responses, present)
    )
