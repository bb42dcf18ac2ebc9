"""What every metric promises, whichever file of `braindec/metrics` defines it."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from braindec import registry
from braindec.checks import MissingPackageError
from braindec.metrics import INPUTS, Metric, mismatched

MEMBERS = registry.names("metrics")
METRICS = {name: metric for m in MEMBERS for name, metric in registry.load("metrics", m).METRICS.items()}
NAMES = [  # CIDEr starts Java for every call
    pytest.param(name, marks=pytest.mark.slow) if name == "cider" else name for name in sorted(METRICS)
]
N = 6
SHAPES = {
    "images": (3, 16, 16),
    "videos": (3, 3, 16, 16),
    "frames": (3, 60),
    "clips": (60,),
    "features": (60,),
    "points": (20, 3),
    "occupancy": (4, 4, 4),
}
WORDS = "red blue green circle square star man dog horse beach table runs sits under over near small large".split()
LARGE = ("_425", "_256", "cider")  # slow: pictures are enlarged, or Java is started


def captions(generator: torch.Generator) -> list[str]:
    """Sentences of ten words drawn at random."""
    rows = torch.randint(len(WORDS), (N, 10), generator=generator).tolist()
    return [" ".join(WORDS[i] for i in row) for row in rows]


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
    if kind == "captions":
        presented, decoded = captions(generator), captions(generator)
        return presented, (list(presented) if perfect else decoded)
    shape = (N, *SHAPES.get(kind, (30,)))
    presented, decoded = (torch.rand(shape, generator=generator).to(dtype) for _ in range(2))
    if not metric.paired:  # a bad set of items is one that hardly varies
        decoded = presented[:1] + 0.01 * decoded
    extra = (torch.arange(N) % 2,) if metric.name.endswith("within_class") else ()
    return presented, (presented.clone() if perfect else decoded), *extra


def computed(name: str) -> Metric:
    """The metric, where this machine has what it needs."""
    if METRICS[name].status != "computed":
        pytest.skip(METRICS[name].status)
    return METRICS[name]


def taken(items, order):
    """Items in another order."""
    return items[order] if isinstance(items, torch.Tensor) else [items[i] for i in order]


def test_no_two_members_define_one_name():
    assert len(METRICS) == sum(len(registry.load("metrics", m).METRICS) for m in MEMBERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_names_the_metric_and_its_source(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.source
    assert metric.needs.partition(":")[0] in INPUTS


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_that_knows_everything_gets_the_best_value(name, generator):
    metric = computed(name)
    best = metric.value(*inputs(metric, generator, perfect=True))
    other = metric.value(*inputs(metric, generator))
    if math.isfinite(metric.best_value):
        assert best == pytest.approx(metric.best_value, abs=1e-5)
    if metric.chance_of(N) != metric.best_value:  # ten guesses among six cannot miss
        assert (best > other) == (metric.direction == "higher")


def chance_of(name: str) -> float | None:
    """Chance of a metric among the samples of these tests; None where there is no theory."""
    return METRICS[name].chance_of(2 if METRICS[name].needs == "labels" else N)


def chosen(wanted) -> list:
    """Entries of NAMES, marks and all, whose name is wanted."""
    return [entry for entry in NAMES if wanted(entry if isinstance(entry, str) else entry.values[0])]


# Divergences have no best value and need more samples: tests/recovery/stats/test_pool_free.py.
@pytest.mark.parametrize(
    "name", chosen(lambda n: chance_of(n) is not None and math.isfinite(METRICS[n].best_value))
)
def test_noise_is_at_chance(name, generator):
    metric, chance = computed(name), chance_of(name)
    values = torch.cat([metric.per_sample(*inputs(metric, generator)) for _ in range(60)])
    # Samples of one draw share a gallery; four standard errors of independent ones are wide enough for 60 draws.
    assert float(values.mean()) == pytest.approx(chance, abs=4 * float(values.std()) / len(values) ** 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_one_a_sample_and_do_not_depend_on_precision_or_change_their_input(name, generator):
    metric = computed(name)
    given = inputs(metric, generator)
    before = copy.deepcopy(given)
    single = metric.per_sample(*given)
    double = metric.per_sample(
        *(x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in given)
    )
    assert single.shape == (N,) and single.dtype == torch.float64
    assert all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(before, given))
    torch.testing.assert_close(single, double, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_samples_does_not_matter(name, generator):
    metric = computed(name)
    given = inputs(metric, generator)
    order = torch.randperm(N, generator=generator)
    if metric.needs == "similarity":
        shuffled = (given[0][order][:, order], torch.arange(N))
    else:
        shuffled = tuple(taken(x, order) for x in given)
    torch.testing.assert_close(
        metric.per_sample(*shuffled), metric.per_sample(*given)[order], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("name", chosen(lambda n: chance_of(n) is None))
def test_without_a_theory_chance_is_the_score_of_mismatched_pairs(name, generator):
    metric = computed(name)
    perfect = inputs(metric, generator, perfect=True)
    gap = metric.value(*perfect) - mismatched(metric, *perfect, n_shifts=1)
    if metric.paired:
        assert gap > 0 if metric.direction == "higher" else gap < 0
    else:  # it does not look at pairs
        assert abs(gap) < 0.2
    if not metric.paired or any(word in name for word in LARGE):
        return
    draws = [inputs(metric, generator) for _ in range(12)]
    gaps = torch.tensor([metric.value(*given) - mismatched(metric, *given) for given in draws])
    # Independent items are mismatched already.
    assert float(gaps.mean()) == pytest.approx(0.0, abs=4 * float(gaps.std()) / len(gaps) ** 0.5 + 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_that_cannot_be_computed_here_says_what_it_needs(name):
    metric = METRICS[name]
    assert metric.status == "computed" or metric.status.startswith("not computed: needs ")
    if metric.status != "computed":
        with pytest.raises(MissingPackageError, match="not computed"):
            metric.per_sample(["a red circle"], ["a red circle"])
