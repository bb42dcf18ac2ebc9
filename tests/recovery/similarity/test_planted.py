"""Planted relations between two systems are found, of the right kind, and nothing where nothing was planted."""

from __future__ import annotations

import pytest
import torch

from braindec.similarity import cka, neighbours, predictivity, relative, shared_response, units
from braindec.similarity._clusters import spectral_labels


def draw(generator, *shape):
    """Independent normal values, float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotation(generator, p):
    """A random orthogonal matrix."""
    return torch.linalg.qr(draw(generator, p, p)).Q


def sharing(generator, share, n=300, p=40):
    """Two systems of which this share of variance is common, in different bases."""
    common = draw(generator, n, p)
    made = [share**0.5 * common + (1 - share) ** 0.5 * draw(generator, n, p) for _ in range(2)]
    return made[0], made[1] @ rotation(generator, p)


@pytest.mark.parametrize("table", [cka, neighbours, predictivity, relative, shared_response])
def test_more_shared_variance_is_more_similar(table, generator):
    for name, measure in table.MEASURES.items():
        values = [float(measure(*sharing(generator, share))) for share in (0.0, 0.4, 0.7, 0.95)]
        assert values == sorted(values), name


def test_debiased_cka_is_the_squared_share_of_variance_at_any_number_of_stimuli(generator):
    measure = cka.MEASURES["cka"]
    # E of the products of kernels: (share^2 p) / p
    for n in (60, 400):
        values = torch.stack([measure(*sharing(generator, 0.6, n)) for _ in range(20)])
        assert float(values.mean()) == pytest.approx(0.36, abs=4 * float(values.std()) / 20**0.5)
    biased = float(cka.MEASURES["cka_biased"](*sharing(generator, 0.0, 60)))
    assert biased > 0.3  # what the bias looks like


def test_the_planted_pairing_of_units_is_found(generator):
    x = draw(generator, 200, 30)
    order = torch.randperm(30, generator=generator)
    y = x[:, order] + 0.5 * draw(generator, 200, 30)
    found = units.match_one_to_one(x[:100], y[:100], (x[100:], y[100:]))
    assert torch.equal(order[found.y_units], found.x_units)
    assert float(found.correlation.mean()) == pytest.approx(1 / 1.25**0.5, abs=0.03)
    alone = units.match_one_to_one(x[:100], draw(generator, 100, 30), (x[100:], draw(generator, 100, 30)))
    assert float(alone.correlation.mean()) == pytest.approx(0.0, abs=4 / (30 * 100) ** 0.5)
    assert float(alone.chosen_by.mean()) > 0.1  # why pairs are judged on other stimuli


def test_the_planted_few_behind_every_unit_are_found(generator):
    x = draw(generator, 200, 40)
    behind = torch.stack([torch.randperm(40, generator=generator)[:3] for _ in range(15)])
    y = x[:, behind].sum(-1) + 0.3 * draw(generator, 200, 15)
    found, weights = units.match_sparse(x - x.mean(0), y, 3)
    assert torch.equal(found.sort(1).values, behind.sort(1).values)
    assert float(weights.mean()) == pytest.approx(1.0, abs=0.02)


def test_the_planted_groups_of_units_are_found_and_one_to_one_pairs_are_not_there(generator):
    causes = [draw(generator, 300, 3) for _ in range(3)]
    x = torch.cat([c @ rotation(generator, 3) for c in causes], 1)
    y = torch.cat([c @ draw(generator, 3, 5) for c in causes], 1)
    own, other = units.match_groups(x, y, 3)
    assert len(own.unique()) == 3
    for k in range(3):
        label = own[3 * k]
        assert bool((own[3 * k : 3 * k + 3] == label).all()) and bool(
            (other[5 * k : 5 * k + 5] == label).all()
        )
    assert float(units.MEASURES["many_to_many"](x, y)) > 0.9
    assert float(units.MEASURES["one_to_one"](x, y)) < 0.9


def test_blocks_of_a_table_get_a_label_each():
    table = torch.block_diag(torch.ones(4, 6), torch.ones(5, 2), torch.ones(3, 3)) + 0.01
    rows, columns = spectral_labels(table, 3)
    assert [len(rows[a:b].unique()) for a, b in ((0, 4), (4, 9), (9, 12))] == [1, 1, 1]
    assert len(rows.unique()) == 3
    assert columns.tolist() == [*rows[:1].tolist() * 6, *rows[4:5].tolist() * 2, *rows[9:10].tolist() * 3]


def test_universal_units_are_told_from_shared_geometry(generator):
    x = draw(generator, 400, 24)
    others = []
    for _ in range(
        3
    ):  # the first twelve units everywhere; the rest of the space is shared, but in other units
        mixed = torch.cat([x[:, :12], x[:, 12:] @ rotation(generator, 12)], 1)
        others.append(mixed[:, torch.randperm(24, generator=generator)] + 0.2 * draw(generator, 400, 24))
    found = units.universality(x, others, generator)
    assert float(found.correlation[:12].min()) > 0.95
    assert float(found.excess[:12].min()) > float(found.excess[12:].max())
    turned = units.universality(x, [x @ rotation(generator, 24) for _ in range(3)], generator)
    assert float(turned.excess.mean()) == pytest.approx(0.0, abs=0.05)


def test_the_rotation_null_of_universality_needs_units_to_be_shared(generator):
    measure = units.MEASURES["universality"]
    x = draw(generator, 200, 20)
    same = measure.compare(x, x + 0.5 * draw(generator, 200, 20), 19, generator)
    turned = measure.compare(x, x @ rotation(generator, 20), 19, generator)
    assert same.p == pytest.approx(0.05) and same.calibrated > 0.5
    assert turned.p > 0.05 and abs(turned.calibrated) < 0.2


def test_heads_move_between_stitched_spaces_and_not_between_unrelated_ones(generator):
    x, y = sharing(generator, 0.9, 400, 20)
    head = draw(generator, 20)
    moved = relative.stitch(x[200:], x[:200], y[:200])
    lost = relative.stitch(x[200:], x[:200], y[:200][torch.randperm(200, generator=generator)])
    truth = y[200:] @ head
    found, null = (float(torch.corrcoef(torch.stack([m @ head, truth]))[0, 1]) for m in (moved, lost))
    assert found > 0.8 and abs(null) < 0.25


def test_a_shared_response_of_several_systems_is_found(generator):
    shared = draw(generator, 200, 4)
    systems = [shared @ rotation(generator, 12)[:4] + 0.1 * draw(generator, 200, 12) for _ in range(3)]
    found = shared_response.shared_response(systems, 4, generator).shared.T
    assert float(cka.MEASURES["cka"](found, shared)) > 0.97
