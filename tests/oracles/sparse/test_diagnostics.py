"""Diagnostics of a dictionary against scipy, brute force, a double loop and known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import brentq

from braindec import sparse
from braindec.sparse import absorption, circular, codes, description, quasi_orthogonality
from braindec.sparse.matching import rotation


def dictionary(atoms, encoder=None, bias=None, kind="relu", n_active=1):
    """An autoencoder of given weights."""
    model = sparse.SparseAutoencoder(atoms.shape[1], sparse.Config(len(atoms), kind, n_active)).eval()
    with torch.no_grad():
        model.atoms.copy_(atoms)
        model.encoder.copy_(atoms if encoder is None else encoder)
        if bias is not None:
            model.encoder_bias.copy_(bias)
    return model


# ---------------------------------------------------------------------------------------------------- absorption


@pytest.fixture
def hierarchy(generator):
    """A parent and three children that come with it alone, orthogonal in 8 dims: (inputs, present, axes)."""
    axes = rotation(8, generator)[:4]
    parent = torch.rand(600, generator=generator) < 0.5
    child = torch.randint(0, 6, (600,), generator=generator)  # 0 to 2: that child, if the parent is there
    present = torch.stack([parent, *(parent & (child == i) for i in range(3))], 1)
    return present.float() @ axes, present, axes


def test_what_children_carry_of_a_parent_is_absorbed_and_nothing_else_is(hierarchy):
    inputs, present, axes = hierarchy
    honest = absorption.absorption(dictionary(axes), inputs, present, axes)
    assert float(honest.fraction.max()) < 1e-6 and honest.main[0] == (0,)
    # A parent that each child switches off, and children that write parent and child.
    encoder = axes.clone()
    encoder[0] = axes[0] - axes[1:].sum(0)
    greedy = dictionary(torch.cat([axes[:1], (axes[1:] + axes[0])]), encoder, torch.full((4,), -1e-4))
    torch.testing.assert_close(greedy(inputs), inputs, atol=1e-3, rtol=1e-3)
    found = absorption.absorption(greedy, inputs, present, axes, n_main=1)
    with_child = float(present[:, 1:].any(1)[present[:, 0]].double().mean())
    assert 0.3 < with_child < 0.7
    assert float(found.full[0]) == pytest.approx(with_child)
    assert float(found.fraction[0]) == pytest.approx(with_child, abs=1e-3)
    assert float(found.f1[0]) == pytest.approx(2 * (1 - with_child) / (2 - with_child))
    assert float(found.fraction[1:].max()) < 1e-6
    assert int(found.n[0]) == int(present[:, 0].sum())


def test_half_a_part_absorbed_counts_as_half(hierarchy):
    inputs, present, axes = hierarchy
    encoder = axes.clone()
    encoder[0] = axes[0] - 0.5 * axes[1:].sum(0)  # half as loud beside a child, which writes the other half
    model = dictionary(torch.cat([axes[:1], axes[1:] + 0.5 * axes[0]]), encoder)
    torch.testing.assert_close(model(inputs), inputs)
    found = absorption.absorption(model, inputs, present, axes)
    with_child = float(present[:, 1:].any(1)[present[:, 0]].double().mean())
    assert float(found.fraction[0]) == pytest.approx(0.5 * with_child, abs=1e-6)
    assert float(found.full[0]) == 0.0


def test_absorption_is_that_of_a_loop_over_stimuli(generator):
    atoms = torch.randn(9, 6, generator=generator)
    model = dictionary(atoms, bias=torch.linspace(-1, 0.3, 9))
    inputs = torch.randn(80, 6, generator=generator) + 0.4
    present = torch.rand(80, 2, generator=generator) < 0.4
    along = torch.nn.functional.normalize(torch.randn(2, 6, generator=generator), dim=1)
    found = absorption.absorption(model, inputs, present, along)
    f = model.encode(inputs).dense().detach().double().numpy()
    d, p = atoms.double().numpy(), along.double().numpy()
    for k in range(2):
        shares, full = [], []
        for i in np.flatnonzero(present[:, k].numpy()):
            carried = f[i] * (d @ p[k])
            cosine = d @ p[k] / np.linalg.norm(d, axis=1)
            main = carried[list(found.main[k])].sum()
            rest = sorted(
                (
                    carried[j]
                    for j in range(9)
                    if j not in found.main[k] and cosine[j] >= 0.1 and carried[j] > 0
                ),
                reverse=True,
            )
            x, a = float(inputs[i].double().numpy() @ p[k]), sum(rest[:3])
            none = x <= 0 or main >= x or a < 0.4 * x
            shares.append(0.0 if none else 1.0 if main <= 0 else min(a, x - main) / (min(a, x - main) + main))
            full.append(not none and all(f[i, j] == 0 for j in found.main[k]))
        assert float(found.fraction[k]) == pytest.approx(np.mean(shares), abs=1e-6)
        assert float(found.full[k]) == pytest.approx(np.mean(full))
    assert 0 < float(found.fraction.max()) < 1


def test_a_split_factor_is_told_by_both_parts_when_more_than_one_may_stand_for_it(generator):
    axes = rotation(6, generator)[:2]
    which = torch.randint(0, 3, (300,), generator=generator)
    inputs = (which > 0).float()[:, None] * axes[0] + 0.5 * (which == 1).float()[:, None] * axes[1]
    inputs = inputs - 0.5 * (which == 2).float()[:, None] * axes[1]
    split = dictionary(torch.stack([axes[0] + axes[1] / 2, axes[0] - axes[1] / 2]))
    with torch.no_grad():
        split.encoder.copy_(torch.stack([axes[0] + axes[1], axes[0] - axes[1]]))
        split.encoder_bias.fill_(-0.5)
    present = (which > 0)[:, None]
    both = absorption.absorption(split, inputs, present, axes[:1])
    assert (
        sorted(both.main[0]) == [0, 1] and float(both.f1[0]) == pytest.approx(1) and float(both.full[0]) == 0
    )
    assert len(absorption.absorption(split, inputs, present, axes[:1], n_main=1).main[0]) == 1


def test_directions_are_what_factors_add_and_not_what_goes_with_them(hierarchy, generator):
    inputs, present, axes = hierarchy
    noisy = inputs + 0.3 * torch.randn(inputs.shape, generator=generator)
    found = absorption.directions(noisy, present)
    assert float((found * axes).sum(1).min()) > 0.97
    apart = torch.nn.functional.normalize(noisy[present[:, 1]].mean(0) - noisy[~present[:, 1]].mean(0), dim=0)
    assert float(apart @ axes[0]) > 0.4  # a difference of means leans towards the parent
    assert float((found[1] @ axes[0]).abs()) < 0.15


# --------------------------------------------------------------------------------------------------- description


@pytest.mark.parametrize("error", [0.01, 1.0, 4.0, 11.0])
def test_the_rate_of_a_gaussian_is_reverse_water_filling(error, generator):
    variances = torch.cat([torch.zeros(1), torch.rand(7, generator=generator) * 3]).double()
    v = variances.numpy()
    total = v.sum()
    if error >= total:
        assert description.rate(variances, error) == 0.0
        return
    level = brentq(lambda w: np.minimum(v, w).sum() - error, 0, v.max(), xtol=1e-14)
    expected = sum(0.5 * math.log2(x / level) for x in v if x > level)
    assert description.rate(variances, error) == pytest.approx(expected, rel=1e-9)


def test_the_bits_of_a_code_are_scipy_s_entropies_and_what_is_left_is_told_at_its_rate(generator):
    atoms = torch.randn(5, 4, generator=generator)
    model = dictionary(atoms, bias=torch.full((5,), -0.5))
    inputs = torch.randn(400, 4, generator=generator)
    found = description.describe(model, inputs, tolerance=0.3, steps=(2.0,))
    x = inputs.double().numpy()
    error = 0.3 * x.var(0).sum()
    assert found.error == pytest.approx(error)
    width = 2.0 * math.sqrt(error / 4)
    assert found.step == pytest.approx(width)
    norms = atoms.double().norm(dim=1).numpy()
    levels = np.round(model.encode(inputs).dense().detach().double().numpy() * norms / width)
    counts = [np.unique(column, return_counts=True)[1] for column in levels.T]
    assert found.code == pytest.approx(sum(stats.entropy(c, base=2) for c in counts))
    left = x - levels * width / norms @ atoms.double().numpy()
    spread = np.linalg.eigvalsh(np.cov(left.T, bias=True))
    assert found.rest == pytest.approx(description.rate(torch.from_numpy(spread), error), rel=1e-5)
    n_parameters = 20 + sum(len(c) - 1 for c in counts) + 4 * 7 / 2
    assert found.parameters == pytest.approx(n_parameters * 0.5 * math.log2(400) / 400)
    assert found.total == found.code + found.rest + found.parameters == found.plain - found.saved


def planted(generator, n=6000, n_atoms=12, dims=8):
    """Few of 12 atoms in 8 dims, and the dictionary that knows them by matching pursuit."""
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, dims, generator=generator), dim=1)
    present = torch.rand(n, n_atoms, generator=generator) < 0.08
    return (present * (1 + torch.rand(n, n_atoms, generator=generator))) @ atoms, atoms


def test_the_dictionary_that_made_the_data_tells_them_shortest(generator):
    inputs, atoms = planted(generator)
    turned = atoms @ rotation(8, generator)
    doubled = torch.nn.functional.normalize(
        atoms.repeat_interleave(2, 0) + 0.15 * torch.randn(24, 8, generator=generator), dim=1
    )
    told = {
        name: description.describe(dictionary(found, kind="matching_pursuit", n_active=3), inputs)
        for name, found in {"true": atoms, "split": doubled, "fewer": atoms[:6], "turned": turned}.items()
    }
    assert told["true"].saved > 1.0
    for other in ("split", "fewer", "turned"):
        assert told["true"].total < told[other].total - 0.5, other


def test_no_dictionary_saves_bits_of_a_gaussian(generator):
    inputs = torch.randn(3000, 8, generator=generator)
    atoms = torch.nn.functional.normalize(torch.randn(12, 8, generator=generator), dim=1)
    for model in (dictionary(atoms, kind="matching_pursuit", n_active=3), dictionary(torch.eye(8))):
        assert description.describe(model, inputs).saved < 0


def test_a_tolerance_that_allows_nothing_or_everything_is_refused(generator):
    inputs, atoms = planted(generator, n=10)
    for tolerance in (0.0, 1.0):
        with pytest.raises(ValueError, match="tolerance"):
            description.describe(dictionary(atoms), inputs, tolerance=tolerance)


# ------------------------------------------------------------------------------------------- quasi-orthogonality


def test_codes_of_orthogonal_atoms_are_as_long_as_their_inputs_and_as_many_as_were_planted(generator):
    axes = rotation(20, generator)
    present = torch.rand(300, 20, generator=generator) < 0.2
    inputs = (present * (0.5 + torch.rand(300, 20, generator=generator))) @ axes + 3.0
    model = dictionary(2.0 * axes, encoder=axes / 2)  # loud atoms: what they add counts, not their activation
    with torch.no_grad():
        model.bias.fill_(3.0)
    found = quasi_orthogonality.norms(model, inputs)
    torch.testing.assert_close(found.sparse, found.dense, rtol=1e-3, atol=1e-4)
    assert float(found.least[~found.least.isnan()].max()) < 1e-4
    assert torch.equal(found.least.isnan(), present.sum(1) < 2)
    needed = quasi_orthogonality.n_needed(model, inputs)
    assert float((needed == present.sum(1)).double().mean()) > 0.99
    assert torch.equal(
        quasi_orthogonality.n_needed(model, inputs[:1] * 0 + 3.0), torch.zeros(1, dtype=torch.int64)
    )


def test_a_code_that_tells_its_input_fully_needs_no_larger_cosine_than_its_atoms_have(generator):
    atoms = torch.nn.functional.normalize(torch.randn(30, 10, generator=generator), dim=1)
    code = torch.rand(200, 30, generator=generator) * (torch.rand(200, 30, generator=generator) < 0.15)

    class Told:
        """Codes as they were planted."""

        n_latents, atoms, encoder = 30, None, None

        def encode(self, inputs):
            return codes.from_dense(code)

        def decode(self, found):
            return found.dense() @ self.atoms

    Told.atoms = atoms
    largest = quasi_orthogonality.coherence(atoms, generator=generator, n_draws=3).largest
    least = quasi_orthogonality.norms(Told(), code @ atoms).least
    assert float(least[~least.isnan()].max()) <= largest + 1e-5
    f, x = code[0].double().numpy(), (code[0] @ atoms).double().numpy()
    expected = abs(x @ x - f @ f) / (f.sum() ** 2 - f @ f)
    assert float(least[0]) == pytest.approx(expected, rel=1e-4)


def test_coherence_is_the_largest_cosine_and_never_below_welch_s(generator):
    atoms = torch.randn(30, 10, generator=generator)
    found = quasi_orthogonality.coherence(atoms, generator=generator, n_draws=5)
    unit = atoms.numpy() / np.linalg.norm(atoms.numpy(), axis=1, keepdims=True)
    pairs = np.abs(unit @ unit.T)[np.triu_indices(30, 1)]
    assert found.largest == pytest.approx(pairs.max(), rel=1e-5)
    assert found.root_mean_square == pytest.approx(np.sqrt((pairs**2).mean()), rel=1e-5)
    assert found.welch <= min(found.largest, float(found.random.min()))
    # Three directions of a plane at 120 degrees reach the bound.
    angles = torch.tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3])
    best = quasi_orthogonality.coherence(torch.stack([angles.cos(), angles.sin()], 1), generator=generator)
    assert best.largest == pytest.approx(best.welch, abs=1e-6) == pytest.approx(0.5)
    square = quasi_orthogonality.coherence(rotation(10, generator), generator=generator, n_draws=2)
    assert square.welch == 0 and square.largest < 1e-5 < float(square.random.min())


# ------------------------------------------------------------------------------------------------------ circular


def two(kind, generator, n=1500):
    """Points of a plane: a circle, two independent features, one feature at a time, or a Gaussian."""
    if kind == "circle":
        angle = 2 * math.pi * torch.rand(n, generator=generator)
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2, generator=generator)
    if kind == "gaussian":
        return torch.randn(n, 2, generator=generator)
    strength = 0.5 + torch.rand(n, 2, generator=generator)
    slanted = torch.tensor([[1.0, 0.0], [0.5, 0.8]])
    if kind == "independent":
        return strength @ slanted
    first = torch.rand(n, generator=generator) < 0.5
    return (strength * torch.stack([first, ~first], 1)) @ slanted


def test_a_circle_is_neither_separable_nor_a_mixture_and_all_else_is_one_of_them(generator):
    found = {
        kind: (circular.separability(points, generator), circular.mixture(points))
        for kind in ("circle", "independent", "exclusive", "gaussian")
        for points in (two(kind, generator),)
    }
    index = {kind: separable * max(0, 1 - 2 * mixed) for kind, (separable, mixed) in found.items()}
    assert index["circle"] > 0.6
    assert max(index[k] for k in index if k != "circle") < 0.1
    assert found["independent"][0] < 0.05 and found["gaussian"][0] < 0.05
    assert found["exclusive"][1] > 0.45 > 0.3 > found["circle"][1]
    assert found["gaussian"][1] == pytest.approx(0.08, abs=0.02)


def test_separability_does_not_depend_on_how_the_plane_is_turned_or_stretched(generator):
    points = two("circle", generator)
    turned = points @ torch.tensor([[0.8, 0.6], [-0.6, 0.8]]) * torch.tensor([3.0, 0.5])
    a, b = (circular.separability(x, generator) for x in (points, turned))
    assert a == pytest.approx(b, abs=0.15)


def test_latents_that_tile_a_circle_are_one_group_whose_plane_is_that_circle(generator):
    plane = rotation(12, generator)
    angles = torch.arange(7) * 2 * math.pi / 7
    tiles = torch.stack([angles.cos(), angles.sin()], 1) @ plane[:2]
    atoms = torch.cat([tiles, plane[2:6]])
    model = dictionary(atoms, bias=torch.cat([torch.full((7,), -0.3), torch.zeros(4)]))
    (members,) = circular.groups(atoms, least=0.5)
    assert members == tuple(range(7))
    angle = 2 * math.pi * torch.rand(1500, generator=generator)
    inputs = torch.stack([angle.cos(), angle.sin()], 1) @ plane[:2]
    inputs = inputs + (torch.rand(1500, 4, generator=generator) < 0.2).float() @ plane[2:6]
    (found,) = circular.planes(model, inputs, [members], generator=generator)
    assert found.share > 0.99 and len(found.rows) == 1500
    assert found.irreducible > 0.5
    (lines,) = circular.planes(model, inputs, [(7, 8)], generator=generator)
    assert lines.irreducible < 0.2 * found.irreducible
    assert circular.planes(model, inputs[:20], [members], generator=generator) == []


def test_few_latents_of_one_circle_are_found_as_a_crowded_plane_though_they_lie_apart(generator):
    plane = rotation(10, generator)
    angles = torch.tensor([0.0, 0.5, 1.0, 1.5]) * math.pi
    atoms = torch.cat([torch.stack([angles.cos(), angles.sin()], 1) @ plane[:2], plane[2:7]])
    order = torch.randperm(9, generator=generator)
    circle = tuple(sorted(torch.argsort(order)[:4].tolist()))
    assert circular.groups(atoms[order]) == []
    assert circular.crowded(atoms[order]) == [circle]
    # The share of an atom in the plane of two others, by projection on an orthonormal basis of them.
    some = torch.nn.functional.normalize(torch.randn(6, 5, generator=generator, dtype=torch.float64), dim=1)
    basis = torch.linalg.qr(some[[1, 4]].T)[0]
    torch.testing.assert_close(circular._planes_of(some, 1)[4], (some @ basis).square().sum(1))
    drawn = torch.randn(30, 12, generator=generator)
    assert circular.crowded(drawn) == []
