"""A pattern that stays is found across times, one that moves on is found at its own time alone, none before onset."""

from __future__ import annotations

import numpy as np

from braindec.data import NeuralDataset, splits
from braindec.data.preprocessing import Standardise
from braindec.evaluate import class_panels, temporal_generalisation, time_course
from braindec.report import _blocks
from braindec.types import ArraySpace, StimulusSet, Table, Trials

SFREQ, TMIN, N_RUNS, N_A_RUN = 100.0, -0.1, 5, 40


def epochs(pattern: np.ndarray, seed: int = 0) -> NeuralDataset:
    """Noise epochs of -0.1 to 0.39 s; class b adds the pattern (n_channels, n_times)."""
    rng = np.random.default_rng(seed)
    n = N_RUNS * N_A_RUN
    category = np.array(["a", "b"])[rng.integers(0, 2, n)]
    responses = rng.standard_normal((n, *pattern.shape)) + pattern * (category == "b")[:, None, None]
    ids, run = np.array([f"trial-{i:03d}" for i in range(n)]), (np.arange(n) // N_A_RUN).astype(str)
    table = Table({"stimulus_id": ids, "session": np.full(n, "1"), "run": run, "repeat": np.zeros(n, int),
                   "onset_s": np.arange(n) % N_A_RUN * 1.0, "acquisition_order": np.arange(n),
                   "exchangeability_block": run})  # fmt: skip
    trials = Trials(responses.astype(np.float32), table, ArraySpace(len(pattern)), "V", 1, "eeg", SFREQ, TMIN)
    stimuli = StimulusSet(tuple(ids.tolist()), "none", table=Table({"category": category}))
    return NeuralDataset.from_trials([trials], stimuli, name="epochs")


def pattern(*places: tuple[int, int, float]) -> np.ndarray:
    """(channel, first sample, strength) for 0.1 s each."""
    out = np.zeros((3, 50))
    for channel, start, strength in places:
        out[channel, start : start + 10] += strength
    return out


def found(dataset, **settings):
    settings = {"n_null": 39, "width_s": 0.05, "step_s": 0.05} | settings
    folds = splits.leave_one_out(dataset, "run")
    return temporal_generalisation(
        dataset, folds, label_column="category", preprocessing=(Standardise(),), **settings
    )


def at(result, *times: float) -> np.ndarray:
    return np.array([int(np.abs(result.windows[:, 0] - t).argmin()) for t in times])


def test_a_pattern_that_stays_generalises_and_one_that_turns_is_below_chance():
    result = found(epochs(pattern((0, 20, 1.0), (0, 30, 1.0), (0, 40, -1.0))))
    early, late, turned = at(result, 0.1, 0.2, 0.3)
    assert result.values[early, late] > 0.85 and result.values[late, early] > 0.85
    assert result.p[early, late] == result.p[late, early] == 1 / 40
    assert result.values[early, turned] < 0.2 and result.values[turned, turned] > 0.85


def test_a_pattern_that_moves_to_another_channel_is_found_at_its_own_times_alone():
    result = found(epochs(pattern((0, 20, 1.2), (1, 30, 1.2))))
    first, second = at(result, 0.1, 0.2)
    assert min(result.values[first, first], result.values[second, second]) > 0.85
    assert max(result.values[first, second], result.values[second, first]) < result.null_limit


def test_nothing_is_found_before_onset_nor_where_there_is_no_difference():
    result = found(epochs(pattern((0, 20, 1.2))))
    assert (result.p[result.before] > 0.05).all() and result.before.sum() > 10
    assert result.to_json()["before_onset_inside_null"]
    hits = [
        bool((found(epochs(pattern(), s), n_null=19, step_s=0.1, seed=s).p <= 0.05).any()) for s in range(12)
    ]
    assert sum(hits) <= 3  # 0.6 expected; four or more by chance three times in 1,000


def test_the_diagonal_is_the_time_course():
    dataset = epochs(pattern((0, 20, 0.5)))
    result = found(dataset)
    folds = splits.leave_one_out(dataset, "run")
    course = time_course(dataset, folds, label_column="category", preprocessing=(Standardise(),), step_s=0.05,
                         n_null=39)  # fmt: skip
    np.testing.assert_allclose(np.diag(result.values), course.values, atol=1e-9)
    np.testing.assert_allclose(result.null[:, range(len(course.values)), range(len(course.values))], course.null,
                               atol=1e-6)  # fmt: skip


def test_its_panel_is_drawn():
    result = found(epochs(pattern((0, 20, 1.0))), n_null=19, step_s=0.1)
    title, kind, payload = class_panels.over_two_times(result)
    drawn = _blocks.time_by_time(payload)
    assert kind == "time_by_time" and title and "trained at" in drawn


def test_rows_are_times_of_training_and_columns_times_of_testing():
    """Early weights know channel 0, which is there late too; late ones trust channel 1, which is noise early."""
    result = found(epochs(pattern((0, 20, 1.0), (0, 30, 0.7), (1, 30, 3.0))), n_null=19)
    early, late = at(result, 0.1, 0.2)
    assert result.values[early, late] > result.values[late, early] + 0.1
