"""What every metric promises, whichever file of `braindec/metrics` defines it."""

from __future__ import annotations

import pytest
import torch

from braindec import registry
from braindec.metrics import INPUTS, Metric

MEMBERS = registry.names("metrics")
METRICS = {name: metric for m in MEMBERS for name, metric in registry.load("metrics", m).METRICS.items()}
N = 6


def inputs(metric: Metric, generator: torch.Generator, dtype=torch.float32, *, perfect: bool = False):
    """Arguments of the kind that the metric needs: noise, or a decoder that knows everything."""
    kind = metric.needs.partition(":")[0]
    noise = torch.rand(N, N, generator=generator).to(dtype)
    if kind == "similarity":
        return (torch.eye(N, dtype=dtype) if perfect else noise), torch.arange(N)
    if kind == "labels":
        labels = torch.arange(N) % 2
        best = torch.stack([1.0 - labels, 1.0 * labels], 1).to(dtype)
        scores = best if perfect else noise[:, :2]
        return (scores[:, 1] if metric.name == "roc_auc" else scores), labels
    shape = (N, 3, 16, 16) if kind == "images" else (N, 30)
    presented, decoded = (torch.rand(shape, generator=generator).to(dtype) for _ in range(2))
    extra = (torch.arange(N) % 2,) if metric.name.endswith("within_class") else ()
    return presented, (presented.clone() if perfect else decoded), *extra


def test_no_two_members_define_one_name():
    assert len(METRICS) == sum(len(registry.load("metrics", m).METRICS) for m in MEMBERS)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_the_table_names_the_metric_and_its_source(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.source
    assert metric.needs.partition(":")[0] in INPUTS


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_decoder_that_knows_everything_gets_the_best_value(name, generator):
    metric = METRICS[name]
    best = metric.value(*inputs(metric, generator, perfect=True))
    other = metric.value(*inputs(metric, generator))
    assert best == pytest.approx(1.0 if metric.direction == "higher" else 0.0, abs=1e-5)
    assert (best > other) == (metric.direction == "higher")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_noise_is_at_chance(name, generator):
    metric = METRICS[name]
    chance = metric.chance_of(2 if metric.needs == "labels" else N)
    if chance is None:
        pytest.skip("chance depends on the pictures; see metrics.mismatched")
    values = torch.cat([metric.per_sample(*inputs(metric, generator)) for _ in range(60)])
    # Samples of one draw share a gallery; four standard errors of independent ones are wide enough for 60 draws.
    assert float(values.mean()) == pytest.approx(chance, abs=4 * float(values.std()) / len(values) ** 0.5)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_values_are_one_a_sample_and_do_not_depend_on_precision_or_change_their_input(name, generator):
    metric = METRICS[name]
    given = inputs(metric, generator)
    before = [x.clone() for x in given]
    single = metric.per_sample(*given)
    double = metric.per_sample(*(x.double() if x.is_floating_point() else x for x in given))
    assert single.shape == (N,) and single.dtype == torch.float64
    assert all(torch.equal(x, y) for x, y in zip(before, given))
    torch.testing.assert_close(single, double, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_the_order_of_samples_does_not_matter(name, generator):
    metric = METRICS[name]
    given = inputs(metric, generator)
    order = torch.randperm(N, generator=generator)
    if metric.needs == "similarity":
        shuffled = (given[0][order][:, order], torch.arange(N))
    else:
        shuffled = tuple(x[order] for x in given)
    torch.testing.assert_close(
        metric.per_sample(*shuffled), metric.per_sample(*given)[order], atol=1e-6, rtol=0
    )
