"""What every measure of similarity promises, whichever file of `braindec/similarity` defines it."""

from __future__ import annotations

import math

import pytest
import torch

from braindec import registry
from braindec.similarity import Measure, calibrated

MEMBERS = registry.names("similarity")
MEASURES = {n: m for member in MEMBERS for n, m in registry.load("similarity", member).MEASURES.items()}
NAMES = sorted(MEASURES)
PERMUTED = [n for n in NAMES if MEASURES[n].null == "permuted_stimuli"]
SHARING = [n for n in NAMES if MEASURES[n].under is not None]
N = 48


def noise(generator: torch.Generator, dims: int, n: int = N) -> torch.Tensor:
    """Independent rows, float64."""
    return torch.randn(n, dims, generator=generator, dtype=torch.float64)


def related(
    generator: torch.Generator, p: int = 8, q: int = 12, n: int = N
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sides that share causes, some units among them, with unequal dims and variances."""
    causes = noise(generator, 6, n)
    x = torch.cat([causes, noise(generator, p - 6, n)], 1) * torch.linspace(2.0, 0.5, p, dtype=torch.float64)
    y = torch.cat([causes + noise(generator, 6, n), noise(generator, q - 6, n)], 1)
    return x, y


def rotated(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """x in another orthogonal basis."""
    return x @ torch.linalg.qr(noise(generator, x.shape[1], x.shape[1])).Q


def changed(x: torch.Tensor, by: str, generator: torch.Generator) -> torch.Tensor:
    """x after one of the transforms that leave some measures unchanged."""
    p = x.shape[1]
    if by == "rotation":
        return rotated(x, generator)
    if by == "shift":
        return x + 3 * noise(generator, p, 1)
    if by == "linear":
        return x @ (torch.eye(p, dtype=x.dtype) + 0.3 * noise(generator, p, p))
    return x * (7.3 if by == "scale" else 0.2 + torch.rand(p, generator=generator, dtype=x.dtype))


def value(measure: Measure, x: torch.Tensor, y: torch.Tensor) -> float:
    """The measure as a number."""
    return float(measure(x, y))


def test_no_two_members_define_one_name():
    assert len(MEASURES) == sum(len(registry.load("similarity", m).MEASURES) for m in MEMBERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_names_the_measure_and_its_source(name):
    assert MEASURES[name].name == name and MEASURES[name].source


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_in_the_named_range_are_one_double_and_leave_their_input_alone(name, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    before = x.clone(), y.clone()
    found = measure(x, y)
    assert found.shape == () and found.dtype == torch.float64
    assert measure.range[0] <= float(found) <= measure.range[1]
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_side_is_most_like_itself(name, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    own = value(measure, x, x)
    assert own == pytest.approx(measure.of_itself, abs=0.06 if measure.of_itself < 1 else 1e-6)
    assert (own > value(measure, x, y)) == measure.higher


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_gives_about_the_same(name, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    assert value(measure, x.float(), y.float()) == pytest.approx(value(measure, x, y), abs=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_symmetry_is_what_the_table_says(name, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    there, back = value(measure, x, y), value(measure, y, x)
    assert (there == pytest.approx(back, abs=1e-7)) == measure.symmetric


@pytest.mark.parametrize(("name", "by"), [(n, by) for n in NAMES for by in MEASURES[n].unchanged_by])
def test_promised_invariances_hold_on_either_side(name, by, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    expected = value(measure, x, y)
    assert value(measure, changed(x, by, generator), y) == pytest.approx(expected, abs=1e-6)
    assert value(measure, x, changed(y, by, generator)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", [n for n in NAMES if "rotation" not in MEASURES[n].unchanged_by])
def test_a_measure_that_does_not_promise_rotations_notices_them(name, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    turned = [value(measure, rotated(x, generator), y), value(measure, x, rotated(y, generator))]
    assert max(abs(v - value(measure, x, y)) for v in turned) > 1e-6


@pytest.mark.parametrize("name", PERMUTED)
def test_related_sides_are_told_from_unrelated_ones(name, generator):
    x, y = related(generator)
    assert MEASURES[name].compare(x, y, 19, generator).p == pytest.approx(1 / 20)


@pytest.mark.parametrize("name", PERMUTED)
def test_unrelated_sides_are_at_zero_once_calibrated(name, generator):
    measure = MEASURES[name]
    shares = torch.tensor(
        [
            measure.compare(noise(generator, 8), noise(generator, 12), 6, generator).calibrated
            for _ in range(8)
        ]
    )
    # The null's own mean is a mean of 6: its spread is in the spread of these.
    assert float(shares.mean()) == pytest.approx(0.0, abs=4 * float(shares.std()) / math.sqrt(8) + 1e-9)


@pytest.mark.parametrize("name", [n for n in NAMES if MEASURES[n].chance is not None])
def test_chance_is_what_unrelated_sides_get(name, generator):
    measure = MEASURES[name]
    made = torch.tensor([value(measure, noise(generator, 8), noise(generator, 12)) for _ in range(24)])
    assert float(made.mean()) == pytest.approx(measure.chance(N), abs=4 * float(made.std()) / math.sqrt(24))


@pytest.mark.parametrize("name", SHARING)
def test_the_null_that_shares_work_equals_the_one_that_does_not(name, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    orders = torch.stack([torch.randperm(N, generator=generator) for _ in range(2)])
    plain = torch.stack([measure.function(x, y[order]) for order in orders]).double()
    torch.testing.assert_close(measure.under(x, y, orders).double(), plain, atol=1e-7, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_few_stimuli_wide_sides_and_constant_features_give_finite_values(name, generator):
    measure = MEASURES[name]
    n = max(measure.fewest, 6)
    x, y = noise(generator, 40, n), noise(generator, 3, n)
    y[:, 1] = 1.0
    for a, b in ((x, y), (y, x)):
        assert math.isfinite(value(measure, a, b))
        assert torch.isfinite(measure.nulls(a, b, 2, generator)).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_compared_is_refused(name, generator):
    measure, (x, y) = MEASURES[name], related(generator)
    with pytest.raises(ValueError, match="along axis 'stimulus'"):
        measure(x, y[:-1])
    with pytest.raises(ValueError, match="at least"):
        measure(x[: measure.fewest - 1], y[: measure.fewest - 1])
    with pytest.raises(ValueError, match="NaN"):
        measure(x, torch.where(y == y[0, 0], torch.nan, y))


def test_calibration_puts_the_null_at_zero_and_the_best_at_one():
    nulls = torch.tensor([0.4, 0.6])
    found = [float(calibrated(torch.tensor(v), nulls)) for v in (0.5, 1.0, 0.25)]
    assert found == pytest.approx([0.0, 1.0, -0.5])
    assert (
        float(calibrated(torch.tensor(1.0), torch.ones(3))) == 0.0
    )  # a null at the best value: nothing can be told
