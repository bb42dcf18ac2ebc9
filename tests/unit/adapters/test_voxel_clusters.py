"""Functional clusters shared across subjects: found from maps, attention within them, a new subject's place."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from braindec import seeding
from braindec.adapters import voxel_clusters
from braindec.adapters._cgls import fit_linear, iterates
from braindec.adapters._clustering import nearest_centre, spherical_k_means
from braindec.backbones import linear as linear_backbone
from braindec.backbones import mlp
from braindec.encoder import Encoder
from braindec.maths.folds import folds_by_count
from braindec.types import ArraySpace, SignalInfo, SubjectSignal


def signal(subject, n_voxels):
    return SubjectSignal(subject, "fmri", (n_voxels,), ArraySpace(n_voxels))


def encoder(assignment, *voxels, n_clusters=4, backbone=None):
    signals = [signal(i + 1, n) for i, n in enumerate(voxels)]
    config = voxel_clusters.Config(n_clusters=n_clusters, width=8, dim=6, assignment=assignment)
    info = SignalInfo({s.key: s for s in signals})
    return Encoder.build(info, {"main": (2, 8)}, config, backbone or linear_backbone.Config(), seed=0).eval()


def planted(generator, n_voxels, kinds):
    """Maps whose voxels are of four kinds, each with a direction of its own, and the kind of each voxel."""
    member = torch.randint(4, (n_voxels,), generator=generator)
    weight = kinds[:, member] * (0.5 + torch.rand(n_voxels, generator=generator))
    return weight + 0.05 * torch.randn(16, n_voxels, generator=generator), member


def same_partition(a, b):
    return len(torch.stack([a, b]).unique(dim=1).T) == len(a.unique()) == len(b.unique())


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_voxels_of_one_kind_meet_in_one_cluster_whoever_they_belong_to(assignment, generator):
    both = encoder(assignment, 80, 60)
    kinds = torch.randn(16, 4, generator=generator)
    maps, truth = zip(*(planted(generator, n, kinds) for n in (80, 60)), strict=True)
    given = {k: (w, torch.zeros(16)) for k, w in zip(both.keys, maps, strict=True)}
    assert both.start_from_ridge_(given) == both.keys
    centres = both.shared["voxel_clusters_fmri"].centres
    found = torch.cat([(both.adapter(key).places @ centres.T).argmax(1) for key in both.keys])
    assert same_partition(found, torch.cat(truth))


def test_hard_clusters_of_few_directions_begin_as_the_closed_form_maps(generator):
    both = encoder("hard", 80, 60, n_clusters=8)
    kinds = torch.randn(16, 4, generator=generator)
    maps = [kinds @ torch.randn(4, n, generator=generator) for n in (80, 60)]
    given = {k: (w, torch.randn(16, generator=generator)) for k, w in zip(both.keys, maps, strict=True)}
    assert both.start_from_ridge_(given) == both.keys
    x = {key: torch.randn(5, w.shape[1], generator=generator) for key, (w, _) in given.items()}
    for key, (weight, bias) in given.items():
        expected = (x[key] @ weight.T + bias).unflatten(1, (2, 8))
        torch.testing.assert_close(both(x)[key]["main"], expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("n_clusters", "most"), [(4, 0.05), (8, 0.3)])
def test_soft_clusters_begin_close_to_the_closed_form_maps(n_clusters, most, generator):
    """Closest where there are no two clusters of one kind, between which voxels are divided."""
    both = encoder("soft", 80, 60, n_clusters=n_clusters)
    kinds = torch.randn(16, 4, generator=generator)
    maps = [planted(generator, n, kinds)[0] for n in (80, 60)]
    given = {k: (w, torch.randn(16, generator=generator)) for k, w in zip(both.keys, maps, strict=True)}
    both.start_from_ridge_(given)
    for key, (weight, bias) in given.items():
        x = torch.randn(50, weight.shape[1], generator=generator)
        expected = (x @ weight.T + bias).unflatten(1, (2, 8))
        error = (both({key: x})[key]["main"] - expected).square().mean()
        assert error < most * (expected - expected.mean(0)).square().mean()


def test_clusters_are_found_where_the_backbone_has_no_place_for_maps_too(generator):
    both = encoder("soft", 80, backbone=mlp.Config(width=8, n_blocks=1, skip_linear=False))
    assert both.backbone.linear_path("main") is None
    assert both.wants_maps("main")
    before = both.adapter("sub-01_fmri").places.clone()
    both.start_from_ridge_({"sub-01_fmri": (torch.randn(16, 80, generator=generator), torch.zeros(16))})
    assert not torch.equal(both.adapter("sub-01_fmri").places, before)


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_a_token_is_the_attention_weighted_sum_of_what_its_voxels_contribute(assignment, generator):
    adapter = encoder(assignment, 30).adapter("sub-01_fmri")
    x, shares = torch.randn(3, 30, generator=generator), adapter.shares()
    for k, token in enumerate(adapter(x).unbind(1)):
        share = shares[k] / shares[k].norm().clamp_min(1e-12)
        summed = sum(x[:, v, None] * share[v] * adapter.contributions[v] for v in range(30))
        torch.testing.assert_close(
            token, summed @ adapter.shared.maps[k] + adapter.bias[k], atol=1e-4, rtol=1e-4
        )


def test_shares_sum_to_one_and_a_hard_cluster_without_voxels_is_silent(generator):
    soft = encoder("soft", 30).adapter("sub-01_fmri")
    torch.testing.assert_close(soft.shares().sum(1), torch.ones(4))
    hard = encoder("hard", 5, n_clusters=12).adapter("sub-01_fmri")
    total = hard.shares().sum(1)
    assert set(total.round(decimals=4).tolist()) == {0.0, 1.0}
    assert (hard.shares() > 0).sum(0).tolist() == [1] * 5
    silent = hard(torch.randn(2, 5, generator=generator))[:, total == 0]
    assert torch.equal(silent, torch.zeros_like(silent))


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_a_gradient_reaches_what_is_learned_and_clusters_are_learned_where_soft(assignment, generator):
    both = encoder(assignment, 60)
    both({"sub-01_fmri": torch.randn(5, 60, generator=generator)})["sub-01_fmri"][
        "main"
    ].square().sum().backward()
    names = {
        name for name, p in both.named_parameters() if p.grad is not None and float(p.grad.abs().max()) > 0
    }
    assert names == {name for name, _ in both.named_parameters()}
    assert ("shared.voxel_clusters_fmri.centres" in names) == (assignment == "soft")


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_a_new_subject_s_voxels_go_to_the_tokens_they_drive(assignment, generator):
    both = encoder(assignment, 40)
    adapter = both.adapter("sub-01_fmri")
    x, member = torch.randn(200, 40, generator=generator), torch.arange(40) % 4
    wanted = torch.stack([(x * (member == k)).sum(1, keepdim=True) * torch.ones(6) for k in range(4)], dim=1)
    assert adapter.start_from_pairs_(x, wanted, folds_by_count(200, 5, generator))
    assert adapter.shares().argmax(0).tolist() == member.tolist()
    fresh = torch.randn(100, 40, generator=generator)
    expected = torch.stack(
        [(fresh * (member == k)).sum(1, keepdim=True) * torch.ones(6) for k in range(4)], dim=1
    )
    error = (adapter(fresh) - expected).square().mean() / expected.square().mean()
    assert error < 0.05


def test_k_means_finds_planted_directions_and_the_mass_decides_what_counts(generator):
    truth = normalize(torch.randn(3, 10, generator=generator), dim=1)
    member = torch.randint(3, (300,), generator=generator)
    directions = normalize(truth[member] + 0.05 * torch.randn(300, 10, generator=generator), dim=1)
    centres = spherical_k_means(directions, torch.ones(300), 3, torch.Generator().manual_seed(0))
    assert same_partition(nearest_centre(directions, centres), member)
    only = spherical_k_means(directions, (member == 1).float(), 1, torch.Generator().manual_seed(0))
    assert float(only[0] @ truth[1]) > 0.99
    assert spherical_k_means(directions[:2], torch.ones(2), 5, torch.Generator().manual_seed(0)).shape == (
        5,
        10,
    )


def test_conjugate_gradients_end_in_the_least_squares_solution(generator):
    x = torch.randn(50, 7, generator=generator, dtype=torch.float64)
    y = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    found = iterates(lambda weight, rows: rows @ weight, torch.Size([7, 3]), x, y, 40)
    torch.testing.assert_close(found[-1], torch.linalg.lstsq(x, y).solution, atol=1e-8, rtol=1e-8)
    assert torch.equal(found[0], torch.zeros(7, 3, dtype=torch.float64))


def test_held_out_rows_stop_them_early_where_there_is_only_noise(generator):
    x, y = torch.randn(40, 30, generator=generator), torch.randn(40, 2, generator=generator)
    folds = folds_by_count(40, 5, generator)
    found = fit_linear(lambda weight, rows: rows @ weight, torch.Size([30, 2]), x, y, folds)
    whole = torch.linalg.lstsq(x, y).solution
    assert found.norm() < 0.5 * whole.norm()


def test_the_same_seed_gives_the_same_clusters(generator):
    maps = {"sub-01_fmri": (torch.randn(16, 30, generator=generator), torch.zeros(16))}
    first, second = encoder("hard", 30), encoder("hard", 30)
    for one in (first, second):
        with seeding.seeded(1, "elsewhere"):
            one.start_from_ridge_(maps)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
