"""Electrodes that integrate pictures and words: called where they were planted, by nobody where nothing was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec.evaluate import encode_electrodes as electrodes

DESIGN = electrodes.Design(
    n_electrodes=6, n_components=2, ceiling=0.9, n_hidden=128, n_steps=20, n_draws=99, n_null=2
)


@pytest.fixture(scope="module")
def embedded():
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(240, 20, generator=generator) * torch.linspace(3, 0.3, 20) for _ in range(2))


def test_products_of_both_sides_are_called_and_linear_and_silent_electrodes_are_not(embedded, monkeypatch):
    monkeypatch.setattr(electrodes, "N_READ", 2)  # of few stimuli a network learns products of few components
    report = electrodes.electrode_study(*embedded, DESIGN)
    told, shuffled = (
        report.score("integration_told", system, "electrodes") for system in ("braindec", "shuffled")
    )
    assert told.value > 0.9 and told.interval[0] > 0.6
    assert told.details["hits"] > 0.6 and told.details["false_alarms"] < 0.15
    assert shuffled.value < 0.85
    assert told.n == 24


def test_responses_hold_what_their_kind_says(embedded, generator):
    v, w = (electrodes._standard(x, torch.arange(240)) for x in embedded)
    y = electrodes._electrodes(v, w, DESIGN, generator).double()
    a, b = (electrodes._components(x, DESIGN.n_components) for x in (v, w))
    products = (a[:, :, None] * b[:, None, :]).flatten(1)

    def explained(basis, kind):
        rows = y[:, DESIGN.n_electrodes * kind : DESIGN.n_electrodes * (kind + 1)]
        left = rows - basis @ torch.linalg.lstsq(basis, rows).solution
        return float(1 - left.var(0).mean() / rows.var(0).mean())

    both = torch.cat([a, b], 1)
    for kind, basis in enumerate((a, b, torch.cat([both, products], 1))):
        assert explained(basis, kind) == pytest.approx(DESIGN.ceiling, abs=0.05)
    assert explained(both, 2) < 0.1  # no linear model has what integrates
    assert explained(torch.cat([both, products], 1), 3) < 0.15


def test_correlations_under_counts_are_those_of_the_rows_that_they_count(rng):
    made, truth = (torch.from_numpy(rng.standard_normal((30, 4))) for _ in range(2))
    counts = rng.multinomial(30, np.full(30, 1 / 30), 3)
    found = electrodes._correlation(made, truth, torch.from_numpy(counts / 30))
    for row, count in zip(found, counts, strict=True):
        rows = np.repeat(np.arange(30), count)
        for k in range(4):
            assert row[k] == pytest.approx(np.corrcoef(made[rows, k], truth[rows, k])[0, 1], abs=1e-9)
    torch.testing.assert_close(
        electrodes._correlation(made, truth),
        torch.tensor([np.corrcoef(made[:, k], truth[:, k])[0, 1] for k in range(4)]),
    )


def test_no_electrode_is_better_predicted_by_a_network_that_equals_the_others(rng):
    truth = torch.from_numpy(rng.standard_normal((80, 40)))
    made = truth + torch.from_numpy(rng.standard_normal((80, 40)))
    same = dict.fromkeys((electrodes.MULTIMODAL, *electrodes.UNIMODAL), made)
    assert (electrodes._better(same, truth, DESIGN) == 1).all()
    worse = {
        **same,
        **{name: made + 5 * torch.randn(80, 40, dtype=torch.float64) for name in electrodes.UNIMODAL},
    }
    assert (electrodes._better(worse, truth, DESIGN) <= 0.05).mean() > 0.9
    names = (electrodes.MULTIMODAL, *electrodes.UNIMODAL)
    equal = {name: truth + torch.from_numpy(rng.standard_normal((80, 40))) for name in names}
    assert (electrodes._better(equal, truth, DESIGN) <= 0.05).mean() < 0.1


@pytest.mark.parametrize(
    ("told", "said"), [({"ceiling": 0.0}, "ceiling"), ({"n_electrodes": 1}, "n_electrodes")]
)
def test_designs_without_signal_or_electrodes_are_refused(told, said):
    with pytest.raises(ValueError, match=said):
        electrodes.Design(**told)
