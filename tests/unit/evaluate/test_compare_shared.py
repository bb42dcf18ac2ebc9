"""Pictures matched between people: where responses share courses, not where they do not, and against a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset
from braindec.evaluate import compare_shared as shared
from braindec.types import StimulusSet, Table, Trials, VoxelSpace

IDS = tuple(f"s{i:02d}" for i in range(48))
QUICK = shared.Settings(sizes=(2, 4), n_folds=4, n_null=5)


def people(rng, signal, n_people=3, n_voxels=15, noise=0.5, n_repeats=2):
    row = np.tile(np.arange(len(IDS)), n_repeats)
    n = len(row)
    table = Table({
        "stimulus_id": np.array(IDS)[row], "session": np.full(n, "1"),
        "run": np.repeat(np.arange(n_repeats), len(IDS)).astype(str),
        "repeat": np.repeat(np.arange(n_repeats), len(IDS)), "onset_s": 4.0 * np.arange(n),
        "acquisition_order": np.arange(n), "exchangeability_block": np.full(n, "1"),
    })  # fmt: skip
    space = VoxelSpace(np.ones((n_voxels, 1, 1), bool), np.eye(4), {})
    trials = []
    for subject in range(1, n_people + 1):
        own = rng.standard_normal((len(IDS), 4)) if signal is None else signal
        x = (own @ rng.standard_normal((4, n_voxels)))[row] + noise * rng.standard_normal((n, n_voxels))
        trials.append(Trials(x.astype(np.float32), table, space, "a.u.", subject=subject, modality="fmri"))
    return NeuralDataset.from_trials(trials, StimulusSet(IDS, "none"))


def values(report, system="braindec"):
    return np.array([s.value for s in report.scores if s.system == system])


def test_pictures_of_people_who_share_courses_are_matched_and_own_components_do_not_do_it(rng):
    report = shared.shared_study(people(rng, rng.standard_normal((len(IDS), 4))), QUICK)
    assert len(values(report)) == 3
    assert values(report).min() > 0.7
    assert values(report, "shuffled").max() < 0.25  # a fold has twelve
    for s in report.scores[::2]:
        assert s.chance == pytest.approx(1 / 12) and s.p == pytest.approx(1 / 6)
        assert s.interval[0] > s.chance and s.details["own_components"] < 0.4
    sizes = next(p for t, _, p in report.panels if t.startswith("Pictures matched, by size"))
    assert sizes["step"].tolist() == [2, 4]
    assert sizes["series"]["shared"][1] > sizes["series"]["shared"][0]


def test_people_who_share_nothing_are_at_chance(rng):
    found = np.mean([values(shared.shared_study(people(rng, None), QUICK)).mean() for _ in range(3)])
    assert found == pytest.approx(1 / 12, abs=0.05)


def test_a_picture_is_matched_when_no_other_of_its_fold_is_nearer(generator):
    a = torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=1)
    b = torch.nn.functional.normalize(a + 0.7 * torch.randn(20, 3, generator=generator), dim=1)
    expected = [float((a[i] @ b.T).argmax() == i) for i in range(20)]
    assert shared._first(a, b).tolist() == expected
    assert 0 < sum(expected) < 20


def test_one_person_shares_with_nobody(rng):
    with pytest.raises(ValueError, match="number of people"):
        shared.shared_study(people(rng, None, n_people=1), QUICK)


def test_a_subject_of_three_digits_keeps_its_number(rng):
    first, *rest = people(rng, rng.standard_normal((len(IDS), 4))).trials.values()
    dataset = NeuralDataset.from_trials([replace(first, subject=104), *rest], StimulusSet(IDS, "none"))
    assert {s.subject for s in shared.shared_study(dataset, QUICK).scores} == {104, 2, 3}
