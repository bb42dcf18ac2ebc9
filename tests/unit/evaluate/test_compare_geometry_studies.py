"""Studies of geometry on planted distances: regions recognised by their level, EEG fused with regions in time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from braindec import rdm
from braindec.evaluate import compare_fusion, compare_topology
from braindec.rdm import RDM

NAMES = tuple(f"s{i:02d}" for i in range(30))
REGIONS = ("early", "intermediate", "high")


def levels(generator):
    """Distances of three unrelated geometries, (model, pair)."""
    each = [
        rdm.dissimilarity(
            torch.randn(30, 8, generator=generator).double(), NAMES, measure="euclidean", conditions=NAMES
        )
        for _ in REGIONS
    ]
    return rdm.stack(each, "model", list(REGIONS))


def brains(made, generator, noise, n_subjects=3):
    """Each subject's regions: a level's distances and noise, (region, subject, pair)."""
    clean = made.distances[:, None].expand(-1, n_subjects, -1)
    draw = noise * clean.std() * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return RDM(clean + draw, NAMES, made.measure, ("region", "subject"))


@pytest.fixture
def topology(monkeypatch, generator):
    """The study on planted distances."""

    def study(noise, *, shared=True, **told):
        made = levels(generator)
        data = brains(made if shared else levels(generator), generator, noise)
        keys = [f"sub-0{i}_fmri" for i in (1, 2, 3)]
        monkeypatch.setattr(compare_topology, "_geometries", lambda folder, settings: (data, keys, made))
        settings = compare_topology.Settings(n_conditions=10, n_deals=9, geodesics=False, **told)
        return compare_topology.topology_study("nowhere", settings)

    return study


def recognised(report, system="braindec"):
    return [s for s in report.scores if s.system == system]


def test_regions_are_recognised_by_their_level_and_not_by_permuted_scenes(topology):
    report = topology(0.5)
    for ours in recognised(report):
        assert ours.value > 0.8 and ours.interval[0] > ours.chance
        assert ours.null == pytest.approx(1 / 3, abs=0.1) and ours.p == pytest.approx(0.1)
        assert ours.n == 9  # three sets that share no scene, of three regions
    confusion = next(p for t, k, p in report.panels if k == "confusion")
    assert np.array_equal(confusion["matrix"], 3 * np.eye(3))


def test_regions_of_other_geometries_are_guessed(topology):
    values = [s.value for _ in range(4) for s in recognised(topology(0.5, shared=False))]
    assert np.mean(values) == pytest.approx(1 / 3, abs=0.15)


def test_as_many_scenes_as_there_are_distances_must_be_given(topology):
    with pytest.raises(ValueError, match="conditions"):
        topology_few = compare_topology.Settings(n_conditions=5)
        data = levels(torch.Generator().manual_seed(0))
        compare_topology._questions(
            RDM(data.distances[:, None], NAMES, "euclidean", ("region", "subject")), data, topology_few
        )


def test_the_transform_is_chosen_on_the_other_subjects(topology):
    report = topology(3.0)
    told = {s.subject: s.details["transform"] for s in recognised(report)}
    shares = next(p for t, _, p in report.panels if t == "Regions recognised, by transform")
    assert set(told.values()) <= set(shares["regions"])
    assert all(0 <= v <= 1 for v in shares["series"]["as it is"])


# ----------------------------------------------------------------------------------------------------------- fusion


def over_time(made, generator, when, n_times=12, noise=0.6):
    """Distances of EEG: of level k at time `when[k]`, noise elsewhere."""
    values = made.distances.mean() + noise * torch.randn(
        n_times, made.distances.shape[1], generator=generator, dtype=torch.float64
    )
    for level, at in zip(made.distances, when, strict=True):
        values[at] += 2 * (level - level.mean()) / level.std()
    return RDM(
        values,
        NAMES,
        "euclidean",
        ("time",),
        coordinates={"time": tuple(np.linspace(0, 0.275, n_times).tolist())},
    )


@pytest.fixture
def fused(monkeypatch, generator):
    """The study on planted distances; levels are at 75, 150 and 225 ms."""

    def study(shared=True):
        made = levels(generator)
        eeg = over_time(made if shared else levels(generator), generator, (3, 6, 9))
        regional = RDM(made.distances, NAMES, "euclidean", ("region",), coordinates={"region": REGIONS})
        monkeypatch.setattr(
            compare_fusion, "_geometries", lambda folder, settings: (eeg, regional, made, "sub-05_eeg")
        )
        return (
            compare_fusion.fusion_study("nowhere", compare_fusion.Settings(n_permutations=99)),
            eeg,
            regional,
        )

    return study


def test_regions_are_found_when_they_were_planted(fused):
    report, eeg, regional = fused()
    found = next(p for t, _, p in report.panels if t == "When each region is found")
    np.testing.assert_allclose(found["series"]["found"], [75, 150, 225], atol=1)
    assert "planted order: yes" in " ".join(report.run["said"])
    course = next(p for t, _, p in report.panels if t == "When the EEG is like which region")
    for k, region in enumerate(REGIONS):
        expected = [spearmanr(row, regional.distances[k]).statistic for row in eeg.distances]
        np.testing.assert_allclose(course["series"][region], expected, atol=1e-9)
        assert course["significant"][region][3 * (k + 1)]
        assert sum(course["significant"][region]) <= 2
    ours = [s for s in report.scores if s.system == "braindec"]
    assert all(s.value > s.null + 0.03 and s.interval[0] < s.value < s.interval[1] for s in ours)


def test_unrelated_geometries_are_not_fused(fused):
    counts = []
    for _ in range(3):
        report, *_ = fused(shared=False)
        course = next(p for t, _, p in report.panels if t == "When the EEG is like which region")
        counts.append(sum(int(np.sum(v)) for v in course["significant"].values()))
    assert sum(c > 0 for c in counts) <= 1
