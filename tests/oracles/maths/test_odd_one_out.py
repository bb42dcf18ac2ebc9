"""Odd-one-out judgements against loops, scipy's own minimiser, and people whose probabilities are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from braindec.maths import odd_one_out
from braindec.maths.odd_one_out import Judgements
from braindec.targets._views import LinearMap, save_map

INF = float("inf")


def judged_by(x, metric, n, generator, decided=1.0):
    """Judgements (n) of random triplets by somebody whose similarities are x metric x^T."""
    triplets = torch.rand(n, len(x), generator=generator).topk(3, 1).indices
    s = decided * x @ metric @ x.T
    likely = torch.stack([s[triplets[:, a], triplets[:, b]] for a, b in ((1, 2), (0, 2), (0, 1))], 1).softmax(
        1
    )
    return Judgements(triplets, torch.multinomial(likely, 1, generator=generator)[:, 0])


def planted(generator, n=60, p=6):
    """Embeddings, and a metric that looks at three directions of them alone."""
    x = torch.randn(n, p, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(p, p, generator=generator, dtype=torch.float64)).Q[:, :3]
    return x, 2.0 * basis @ basis.T


def test_the_odd_one_is_the_one_outside_of_the_most_similar_pair(generator):
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    triplets = torch.tensor(list(itertools.permutations(range(7), 3)))
    for triplet, odd in zip(triplets.tolist(), odd_one_out.choose(x, triplets).tolist()):
        pairs = {
            k: float(x[i] @ x[j]) for k in range(3) for i, j in [[t for m, t in enumerate(triplet) if m != k]]
        }
        assert odd == max(pairs, key=pairs.__getitem__)


def test_ties_count_as_their_share():
    x = torch.ones(3, 2)
    judged = Judgements(torch.tensor([[0, 1, 2]] * 2), torch.tensor([0, 2]))
    assert odd_one_out.right(x, judged).tolist() == pytest.approx([1 / 3, 1 / 3])


@pytest.mark.parametrize("n", [12, 30])  # more judgements than pairs of stimuli, and fewer
def test_the_metric_is_the_one_that_scipy_finds_from_loops(n, generator):
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    judged = judged_by(x, torch.tensor([[2.0, 0.4], [0.4, 0.7]], dtype=torch.float64), 60, generator)
    found = odd_one_out.fit_metric(x, judged, 0.1)
    z = ((x - x.mean(0)) / (x - x.mean(0)).square().mean().sqrt()).numpy()

    def loss(entries):
        metric = np.array([[entries[0], entries[1]], [entries[1], entries[2]]])
        total = 0.0
        for (i, j, k), odd in zip(judged.triplets.tolist(), judged.odd.tolist()):
            s = [z[j] @ metric @ z[k], z[i] @ metric @ z[k], z[i] @ metric @ z[j]]
            total -= s[odd] - math.log(sum(math.exp(v) for v in s))
        c = np.trace(metric) / 2
        return total + 0.1 * 2**2 * ((metric - c * np.eye(2)) ** 2).sum()

    best = minimize(loss, [1.0, 0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    metric = (found.weight @ found.weight.T).numpy()
    assert [metric[0, 0], metric[0, 1], metric[1, 1]] == pytest.approx(list(best), abs=1e-4)
    torch.testing.assert_close(found.weight, found.weight.T)


def test_a_planted_metric_is_found_and_one_of_permuted_stimuli_is_not(generator):
    x, metric = planted(generator)
    learnt = judged_by(x[:40], metric, 4000, generator)
    asked = judged_by(x, metric, 4000, generator)
    asked = asked.take(asked.within(torch.arange(60) >= 40))  # stimuli that nothing was fitted on
    units = np.arange(60)
    ours = odd_one_out.fit_chosen(x, learnt, units, generator)
    wrong = odd_one_out.fit_chosen(
        x, learnt.renamed(torch.randperm(40, generator=generator)), units, generator
    )
    plain = odd_one_out.fit_metric(x, learnt, INF)
    values, axes = torch.linalg.eigh(metric)
    root = (axes * values.clamp_min(0).sqrt()) @ axes.T
    best, ours, wrong, plain = (
        float(odd_one_out.right(z, asked).mean())
        for z in (x @ root, ours.apply(x), wrong.apply(x), plain.apply(x))
    )
    assert ours > best - 0.03
    assert plain < best - 0.05 and wrong < plain + 0.03


def test_an_infinite_penalty_keeps_the_geometry_and_says_how_decided_people_are(generator):
    x = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    z = (x - x.mean(0)) / (x - x.mean(0)).square().mean().sqrt()
    identity = torch.eye(5, dtype=torch.float64)
    for decided in (0.3, 1.5):
        made = odd_one_out.fit_metric(x, judged_by(z, identity, 20_000, generator, decided), INF)
        torch.testing.assert_close(made.weight, made.weight[0, 0] * identity)
        assert float(made.weight[0, 0]) ** 2 == pytest.approx(decided, rel=0.1)


@pytest.mark.parametrize("n_people", [2, 3, 10])
def test_agreement_holds_what_the_best_predictor_reaches(n_people, generator):
    likely = torch.rand(2000, 3, generator=generator, dtype=torch.float64) ** 2
    likely = likely / likely.sum(1, keepdim=True)
    triplets = torch.arange(6000).reshape(2000, 3).repeat_interleave(n_people, 0)
    said = torch.multinomial(likely, n_people, replacement=True, generator=generator).flatten()
    # the same triplet in another order is the same triplet
    order = torch.rand(len(said), 3, generator=generator).argsort(1)
    judged = Judgements(triplets.gather(1, order), (order == said[:, None]).double().argmax(1))
    found, best = odd_one_out.agreement(judged), float(likely.max(1).values.mean())
    assert found.n == 2000
    assert found.lower < best + 0.01 and best < found.upper + 0.01
    assert n_people < 10 or found.upper - found.lower < 0.1


def test_people_who_guess_agree_by_chance(generator):
    triplets = torch.arange(6000).reshape(2000, 3).repeat_interleave(3, 0)
    judged = Judgements(triplets, torch.randint(3, (6000,), generator=generator))
    assert odd_one_out.agreement(judged).lower == pytest.approx(1 / 3, abs=0.02)


def test_folds_share_no_unit(generator):
    triplets = torch.rand(3000, 30, generator=generator).topk(3, 1).indices
    judged, units = Judgements(triplets, torch.zeros(3000, dtype=torch.int64)), np.arange(30) // 2
    seen = torch.zeros(3000, dtype=torch.int64)
    for train, test in odd_one_out.disjoint(judged, units, 3, generator):
        sides = [set(units[judged.take(rows).triplets.unique()]) for rows in (train, test)]
        assert sides[0] and sides[1] and not sides[0] & sides[1]
        seen += test
    assert int(seen.max()) == 1


def test_a_saved_map_is_what_a_target_applies(generator, tmp_path):
    x, metric = planted(generator)
    made = odd_one_out.fit_metric(x, judged_by(x, metric, 500, generator), 1.0)
    file = save_map(tmp_path / "human.safetensors", mean=made.mean, std=made.std, weight=made.weight)
    torch.testing.assert_close(LinearMap(file)(x.float()), made.apply(x.float()), atol=1e-5, rtol=1e-5)


def test_what_is_no_judgement_is_refused(generator):
    one = torch.tensor([[0, 1, 2]])
    with pytest.raises(ValueError, match="three different"):
        Judgements(torch.tensor([[0, 1, 1]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="odd"):
        Judgements(one, torch.tensor([3]))
    with pytest.raises(ValueError, match="twice"):
        odd_one_out.agreement(Judgements(one, torch.tensor([0])))
    with pytest.raises(ValueError, match="share no stimulus"):
        odd_one_out.disjoint(Judgements(one, torch.tensor([0])), np.arange(3), 3, generator)
    with pytest.raises(ValueError, match="above 0"):
        odd_one_out.fit_metric(
            torch.randn(3, 2, generator=generator), Judgements(one, torch.tensor([0])), 0.0
        )
