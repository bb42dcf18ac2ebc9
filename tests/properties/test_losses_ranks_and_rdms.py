"""Losses, ranks, alignments and dissimilarities keep their symmetries, for ties and small numbers too."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

from braindec import rdm
from braindec.guards import in_pieces
from braindec.losses import join
from braindec.losses._info_nce import Matches, info_nce
from braindec.losses.soft_clip import draw_mixco
from braindec.maths import cka, correlation, nearest, procrustes, ranks
from braindec.metrics.identification import two_way_identification
from braindec.metrics.retrieval import brain_retrieval, image_retrieval
from braindec.rdm import pairs

pytestmark = pytest.mark.slow
SEEDS = st.integers(0, 2**32)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def whole_numbers(*sides):
    """Arrays of few different values, so that there are ties."""
    return arrays.arrays(np.float64, st.tuples(*sides), elements=st.integers(-2, 2).map(float))


TABLES = whole_numbers(st.integers(2, 8), st.integers(2, 6))


# -------------------------------------------------------------------------------------------------------------- MixCo


@given(st.integers(1, 40), st.floats(0.05, 5), st.floats(0, 1), SEEDS)
def test_mixed_rows_are_between_a_row_and_its_partner(n, beta, probability, seed):
    mix = draw_mixco(n, beta, probability, torch.Generator().manual_seed(seed))
    assert sorted(mix.drawn.tolist()) == list(range(n))
    assert bool(((mix.weight >= 0) & (mix.weight <= 1)).all())
    assert bool((mix.weight[mix.partner == torch.arange(n)] <= 1).all())
    x = normal(seed, n, 3)
    low, high = torch.minimum(x, x[mix.partner]), torch.maximum(x, x[mix.partner])
    mixed = mix.apply(x)
    assert bool(((mixed >= low - 1e-6) & (mixed <= high + 1e-6)).all())


@given(st.integers(1, 20), SEEDS)
def test_nothing_is_mixed_where_the_coin_never_falls(n, seed):
    mix = draw_mixco(n, 0.15, 0.0, torch.Generator().manual_seed(seed))
    x = normal(seed, n, 2)
    assert torch.equal(mix.apply(x), x)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), SEEDS)
def test_joined_mixes_never_cross_subjects(sizes, seed):
    made = [draw_mixco(n, 0.5, 1.0, torch.Generator().manual_seed(seed + i)) for i, n in enumerate(sizes)]
    x = normal(seed, sum(sizes), 2)
    apart = torch.cat([mix.apply(part) for mix, part in zip(made, x.split(sizes), strict=True)])
    assert torch.equal(join(made).apply(x), apart)


@given(st.integers(1, 10), st.integers(1, 4), SEEDS)
def test_labels_of_mixed_trials_add_up_to_one(n, n_ids, seed):
    mix = draw_mixco(n, 0.5, 0.7, torch.Generator().manual_seed(seed))
    ids = torch.randint(n_ids, (n,), generator=torch.Generator().manual_seed(seed))
    labels = Matches(ids, torch.float64, mix)
    rows = torch.arange(n)
    assert torch.allclose(labels.of_predictions(rows).sum(1), torch.ones(n).double())


# ----------------------------------------------------------------------------------------------------------- InfoNCE


@given(st.integers(2, 12), st.integers(1, 12), SEEDS)
def test_a_contrast_in_blocks_is_the_contrast(n, chunk, seed):
    x, y, ids = normal(seed, n, 4), normal(seed + 1, n, 4), torch.arange(n) // 2
    found = []
    for size in (0, chunk):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        loss = info_nce(a, b, ids, torch.tensor(3.0, dtype=torch.float64), chunk=size)
        found.append((loss.detach(), *torch.autograd.grad(loss, (a, b))))
    assert all(torch.allclose(p, q, rtol=1e-9, atol=1e-12) for p, q in zip(*found, strict=True))


@given(st.integers(2, 10), SEEDS)
def test_a_contrast_does_not_depend_on_the_order_of_trials_and_is_never_negative(n, seed):
    x, y, ids = normal(seed, n, 3), normal(seed + 1, n, 3), torch.arange(n) % 3
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    scale = torch.tensor(2.0, dtype=torch.float64)
    loss = info_nce(x, y, ids, scale)
    assert float(loss) >= 0
    assert torch.allclose(info_nce(x[order], y[order], ids[order], scale), loss)


@given(st.integers(2, 10), SEEDS)
def test_swapping_sides_swaps_the_directions_of_a_contrast(n, seed):
    x, y, scale = normal(seed, n, 3), normal(seed + 1, n, 3), torch.tensor(2.0, dtype=torch.float64)
    ids = torch.arange(n)
    there = info_nce(x, y, ids, scale, direction="to_target")
    assert torch.allclose(info_nce(y, x, ids, scale, direction="to_prediction"), there)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), SEEDS)
def test_a_forward_pass_in_pieces_is_the_forward_pass(n, other, n_pieces, seed):
    weight = normal(seed, 3, 2).requires_grad_()
    signals = {"a": normal(seed + 1, n, 3), "b": normal(seed + 2, other, 3)}

    def call(given):
        return {key: {"main": (rows @ weight).tanh()} for key, rows in given.items()}

    found = []
    for k in (1, n_pieces):
        outputs = in_pieces(call, signals, k)
        total = sum(parts["main"].square().sum() for parts in outputs.values())
        found.append((outputs["a"]["main"].detach(), torch.autograd.grad(total, weight)[0]))
    assert all(torch.allclose(p, q) for p, q in zip(*found, strict=True))


# -------------------------------------------------------------------------------------------------------- retrieval


@given(TABLES, st.data())
def test_hits_grow_with_k_to_certainty_and_do_not_depend_on_the_order_of_the_gallery(table, data):
    n, m = table.shape
    similarity = torch.from_numpy(table)
    truth = torch.tensor(data.draw(st.lists(st.integers(0, m - 1), min_size=n, max_size=n)))
    hits = [image_retrieval(similarity, truth, k=k) for k in range(1, m + 1)]
    assert all(bool((a <= b + 1e-12).all()) for a, b in pairwise(hits))
    assert torch.equal(hits[-1], torch.ones(n, dtype=torch.float64))
    order = torch.tensor(data.draw(st.permutations(range(m))))
    again = image_retrieval(similarity[:, order], order.argsort()[truth], k=1)
    assert torch.allclose(again, hits[0])


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 10))
def test_a_constant_prediction_scores_chance(n, m, k):
    found = image_retrieval(torch.zeros(n, m), torch.zeros(n, dtype=torch.long), k=k)
    assert torch.allclose(found, torch.full((n,), min(k, m) / m, dtype=torch.float64))


@given(whole_numbers(st.just(5), st.just(5)))
def test_searching_the_other_way_is_searching_the_transposed_table(table):
    similarity, truth = torch.from_numpy(table), torch.arange(5)
    assert torch.equal(brain_retrieval(similarity, truth), image_retrieval(similarity.T.contiguous(), truth))


@given(TABLES, st.data())
def test_better_and_tied_entries_are_counted_as_by_hand(table, data):
    n, m = table.shape
    truth = data.draw(st.lists(st.integers(0, m - 1), min_size=n, max_size=n))
    better, tied = nearest.ranks_in(torch.from_numpy(table), torch.tensor(truth))
    for row, t, b, e in zip(table, truth, better, tied, strict=True):
        assert (int(b), int(e)) == (int((row > row[t]).sum()), int((row == row[t]).sum()) - 1)


@given(st.integers(1, 12), st.integers(1, 12), SEEDS, st.data())
def test_the_nearest_entries_are_those_of_a_full_sort_however_many_at_once(n, m, seed, data):
    k, chunk = data.draw(st.integers(1, m)), data.draw(st.integers(1, n))
    queries, gallery = normal(seed, n, 4), normal(seed + 1, m, 4)
    values, places = nearest.top_k(queries, gallery, k, chunk=chunk)
    full = nearest.similarity(queries, gallery).sort(dim=1, descending=True, stable=True)
    assert torch.allclose(values, full.values[:, :k]) and torch.equal(places, full.indices[:, :k])


@given(st.integers(2, 12), st.integers(2, 5), SEEDS)
def test_the_truth_itself_is_always_told_from_others_and_its_opposite_never(n, d, seed):
    x = normal(seed, n, d + 1)
    assert two_way_identification(x, x).value == 1.0
    assert two_way_identification(-x, x).value == 0.0


@given(st.integers(3, 10), SEEDS)
def test_telling_apart_does_not_depend_on_scale_and_place(n, seed):
    x, y = normal(seed, n, 6), normal(seed + 1, n, 6)
    found = two_way_identification(x, y).value
    assert 0 <= found <= 1
    assert two_way_identification(3 * x + 1, 0.5 * y - 2).value == pytest.approx(found)


# ------------------------------------------------------------------------------------------- ranks and correlations


@given(whole_numbers(st.integers(1, 5), st.integers(1, 8)))
def test_ranks_are_scipys_with_ties(table):
    assert np.allclose(ranks.average_ranks(torch.from_numpy(table)).numpy(), rankdata(table, axis=1))


@given(TABLES, st.floats(0.1, 5), st.floats(-3, 3))
def test_correlations_are_bounded_symmetric_and_blind_to_scale(table, scale, shift):
    x, y = torch.from_numpy(table), torch.from_numpy(table[::-1].copy())
    for measure in (correlation.pearson, ranks.spearman):
        found = measure(x, y)
        assert bool((found.abs() <= 1).all()) and torch.allclose(found, measure(y, x))
        assert torch.allclose(measure(scale * x + shift, y), found, atol=1e-9)


@given(st.integers(3, 12), st.integers(1, 5), SEEDS)
def test_alignment_undoes_any_rotation(n, p, seed):
    assume(n > p)
    x = normal(seed, n, p)
    x = x - x.mean(0)
    rotation = torch.linalg.qr(normal(seed + 1, p, p)).Q
    found = procrustes.procrustes(x, x @ rotation)
    assert torch.allclose(x @ found.matrix, x @ rotation, atol=1e-8)
    assert torch.allclose(found.matrix.T @ found.matrix, torch.eye(p).double(), atol=1e-8)


@given(st.integers(5, 15), st.integers(1, 4), st.floats(0.1, 10), SEEDS)
def test_cka_is_one_with_itself_and_blind_to_rotation_scale_and_place(n, p, scale, seed):
    x, y = normal(seed, n, p), normal(seed + 2, n, p + 1)
    rotation = torch.linalg.qr(normal(seed + 1, p, p)).Q
    found = cka.linear_cka(x, y, debiased=False)
    assert -1e-9 <= float(found) <= 1 + 1e-9
    assert torch.allclose(cka.linear_cka(scale * x @ rotation + 1, y, debiased=False), found, atol=1e-9)
    assert float(cka.linear_cka(x, x, debiased=False)) == pytest.approx(1.0)


# ---------------------------------------------------------------------------------------------------------------- RDMs


@given(st.integers(2, 12), SEEDS)
def test_condensed_and_square_distances_are_scipys(n, seed):
    x = normal(seed, n, 3)
    distances = torch.from_numpy(pdist(x.numpy()))
    assert np.array_equal(pairs.square(distances).numpy(), squareform(distances.numpy()))
    assert torch.equal(pairs.condensed(pairs.square(distances)), distances)
    assert pairs.n_conditions(len(distances)) == n


@given(st.integers(3, 9), SEEDS, st.data())
def test_conditions_may_come_in_any_order(n, seed, data):
    names = tuple(f"c{i}" for i in range(n))
    found = rdm.dissimilarity(normal(seed, n, 5), names, measure="euclidean")
    order = data.draw(st.permutations(names))
    moved = found.reorder(order)
    assert torch.equal(moved.reorder(names).distances, found.distances)
    rows = [names.index(name) for name in order]
    again = rdm.dissimilarity(normal(seed, n, 5)[rows], order, measure="euclidean", conditions=order)
    assert torch.allclose(again.distances, moved.distances)


@given(st.integers(3, 9), st.sampled_from(["euclidean", "correlation", "cosine"]), SEEDS)
def test_distances_of_patterns_are_scipys(n, measure, seed):
    x = normal(seed, n, 6)
    found = rdm.dissimilarity(x, [f"c{i}" for i in range(n)], measure=measure).distances
    theirs = pdist(x.numpy(), {"euclidean": "sqeuclidean"}.get(measure, measure))
    assert np.allclose(found.numpy(), theirs / (6 if measure == "euclidean" else 1))


@given(st.integers(4, 9), st.sampled_from(["spearman", "pearson", "cosine", "rho_a", "tau_a"]), SEEDS)
def test_comparators_are_bounded_symmetric_and_highest_with_themselves(n, comparator, seed):
    a, b = (normal(seed + i, pairs.n_pairs(n)).abs() for i in range(2))
    found = float(rdm.compare(a, b[None], comparator))
    assert abs(found) <= 1 + 1e-12
    assert float(rdm.compare(b, a[None], comparator)) == pytest.approx(found)
    assert float(rdm.compare(a, a[None], comparator)) == pytest.approx(1.0)


@given(st.integers(4, 9), st.sampled_from(["spearman", "rho_a", "tau_a"]), SEEDS)
def test_rank_comparators_only_see_order(n, comparator, seed):
    a, b = (normal(seed + i, pairs.n_pairs(n)).abs() for i in range(2))
    assert torch.allclose(rdm.compare(a.exp(), b[None], comparator), rdm.compare(a, b[None], comparator))
