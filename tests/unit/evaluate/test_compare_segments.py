"""Segments of a film: against a double loop, at chance where nothing is shared, above it where courses are shared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from braindec.data import NeuralDataset, Split
from braindec.evaluate import compare_segments as segments
from braindec.types import StimulusSet, Table, Trials, VoxelSpace

N, GAP = 160, 6
QUICK = segments.Settings(sizes=(2, 3), length=5, lengths=(1, 5), n_null=5)


def a_film(rng, shared, n_people=4, n_voxels=10, noise=0.7):
    """People who mix `shared` (time, courses) in voxels of their own, halves apart."""
    ids = tuple(f"movie-{i:04d}" for i in range(N))
    table = Table({
        "stimulus_id": np.array(ids), "session": np.full(N, "1"), "run": np.full(N, "movie"),
        "repeat": np.zeros(N, int),
        "onset_s": 3.0 * np.arange(N), "acquisition_order": np.arange(N), "exchangeability_block": np.full(N, "movie"),
    })  # fmt: skip
    space = VoxelSpace(np.ones((n_voxels, 1, 1), bool), np.eye(4), {})
    trials = []
    for subject in range(1, n_people + 1):
        x = noise * rng.standard_normal((N, n_voxels))
        if shared is not None:
            x = x + shared @ rng.standard_normal((shared.shape[1], n_voxels))
        trials.append(Trials(x.astype(np.float32), table, space, "a.u.", subject=subject, modality="fmri"))
    split = Split("halves", "stimulus", {"train": ids[: N // 2], "test": ids[N // 2 + GAP :]})
    return NeuralDataset.from_trials(trials, StimulusSet(ids, "none"), split)


def slow(rng, n_courses=3):
    return np.stack(
        [np.convolve(rng.standard_normal(N + 2), [0.6, 0.6, 0.6], "valid") for _ in range(n_courses)], 1
    )


def test_first_places_are_those_of_a_double_loop(rng):
    a = rng.standard_normal((40, 3))
    b = a + 0.9 * rng.standard_normal((40, 3))
    run = np.repeat(["one", "two"], 20)
    starts = segments.segment_starts(run, 4)
    assert starts.tolist() == [*range(17), *range(20, 37)]
    found = segments.first_places(torch.tensor(a), torch.tensor(b), starts, 4)
    for row, s in enumerate(starts):
        own = np.corrcoef(a[s : s + 4].ravel(), b[s : s + 4].ravel())[0, 1]
        others = [
            np.corrcoef(a[s : s + 4].ravel(), b[t : t + 4].ravel())[0, 1] for t in starts if abs(t - s) >= 4
        ]
        assert found[row] == (own > max(others))
    assert 0 < found.mean() < 1


def test_a_film_that_people_share_is_matched_and_one_that_was_shifted_is_not(rng):
    report = segments.segments_study(a_film(rng, slow(rng)), QUICK)
    ours = [s for s in report.scores if s.system == "braindec"]
    assert len(ours) == 4
    for s in ours:
        assert s.value > 0.6 and s.interval[0] > s.chance
        assert s.null < 0.15 and s.p == pytest.approx(1 / 6)
        assert s.details["own_components"] < s.value - 0.2


def test_people_who_share_nothing_are_at_chance(rng):
    values = [
        np.mean(
            [
                s.value
                for s in segments.segments_study(a_film(rng, None), QUICK).scores
                if s.system == "braindec"
            ]
        )
        for _ in range(2)
    ]
    chance = segments.segments_study(a_film(rng, None), QUICK).scores[0].chance
    assert np.mean(values) == pytest.approx(chance, abs=0.04)


def test_voxels_that_never_vary_and_volumes_that_somebody_lacks_take_no_part(rng):
    dataset = a_film(rng, slow(rng), n_people=2)
    trials = dict(dataset.trials)
    first, second = trials.values()
    first.responses[:, 3] = 1.0
    trials[second.key] = second.take(np.arange(N) != 7)
    found = segments.film(
        NeuralDataset.from_trials(list(trials.values()), dataset.stimuli, dataset.split), "train"
    )
    assert [x.shape[1] for x in found.people] == [9, 10]
    assert "movie-0007" not in found.ids and len(found.ids) == N // 2 - 1
    torch.testing.assert_close(found.people[0].mean(0), torch.zeros(9), atol=1e-5, rtol=0)


def in_runs(dataset, session, run, onset_s):
    """The same volumes in other runs."""
    table = {
        "session": session,
        "run": run,
        "onset_s": onset_s,
        "exchangeability_block": np.char.add(session, run),
    }
    moved = [replace(t, table=Table({**t.table, **table})) for t in dataset.trials.values()]
    return NeuralDataset.from_trials(moved, dataset.stimuli, dataset.split)


def test_runs_of_two_sessions_with_one_name_are_two_runs(rng):
    dataset, quarter = a_film(rng, slow(rng)), N // 4
    session, onset = np.repeat(["1", "2", "1", "2"], quarter), 3.0 * np.tile(np.arange(quarter), 4)
    named, unnamed = (
        segments.film(in_runs(dataset, session, np.repeat(list(runs), quarter), onset), "train")
        for runs in ("abcd", "aacc")
    )
    assert unnamed.ids == named.ids == tuple(f"movie-{i:04d}" for i in range(N // 2))
    np.testing.assert_array_equal(
        segments.segment_starts(unnamed.run, 5), segments.segment_starts(named.run, 5)
    )


def test_few_segments_have_an_interval_of_their_own_and_one_segment_is_refused(rng):
    dataset = a_film(rng, slow(rng))
    runs, onset = np.repeat([f"{i:02d}" for i in range(N // 8)], 8), 3.0 * np.tile(np.arange(8), N // 8)
    short = in_runs(dataset, np.full(N, "1"), runs, onset)
    quick = replace(QUICK, length=8, lengths=(1, 8))
    first = segments.segments_study(short, quick).scores[0]
    assert first.n == 10 + 9 and first.details["blocks"] == 10 + 9
    assert np.isfinite(first.interval).all() and first.interval[0] < first.value
    with pytest.raises(ValueError, match="segments of 9 volumes within a run must be at least 2, got 0"):
        segments.segments_study(short, replace(quick, length=9))
