"""Sliding windows over continuous runs: a planted answer is found, and nothing is found where nothing was planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from braindec import checks
from braindec.evaluate.online import cut, pseudo_online
from braindec.metrics.online import information_transfer_rate
from braindec.protocols import Windows
from braindec.protocols.continuous import PROTOCOLS
from braindec.types import ArraySpace, Recording, Table

SFREQ, EVENT_S, PERIOD_S = 20.0, 4.0, 9.0
WINDOWS = PROTOCOLS["pseudo_online"].windows


def run(number: int, effect: float, rng: np.random.Generator, n_events: int = 10) -> Recording:
    """One run of noise in which each class raises its own channel while it lasts; the gaps are uneven."""
    onsets = np.cumsum(PERIOD_S + rng.uniform(-1, 3, n_events)) - 5.0
    kinds = rng.permutation(np.repeat(["hand", "foot"], n_events // 2))
    n = int((onsets[-1] + PERIOD_S) * SFREQ)
    signal = rng.standard_normal((4, n))
    for onset, kind in zip(onsets, kinds):
        rows = slice(int(onset * SFREQ), int((onset + EVENT_S) * SFREQ))
        signal[int(kind == "hand"), rows] += effect
    events = Table({"onset_s": onsets, "duration_s": np.full(n_events, EVENT_S), "trial_type": kinds})
    return Recording(signal, SFREQ, "a.u.", events, ArraySpace(4), 1, "1", str(number), "eeg")


def fit(windows, labels):
    """Linear discriminant of the channels' means."""
    model = LinearDiscriminantAnalysis().fit(windows.mean(2), labels)
    known = model.classes_

    def answer(new):
        scores = np.full((len(new), labels.max() + 1), -np.inf)
        scores[:, known] = model.predict_log_proba(new.mean(2))
        return np.nan_to_num(scores, neginf=-1e9)

    return answer


def judged(effect: float, seed: int = 0, **options):
    rng = np.random.default_rng(seed)
    runs = [run(i, effect, rng) for i in range(4)]
    return pseudo_online(fit, runs[:3], runs[3:], **options)


def test_planted_answers_are_found_with_interval_null_and_latency():
    found = judged(1.5, n_null=19)
    mcc, rate = found.scores
    assert mcc.value > 0.85 and mcc.interval[0] < mcc.value < mcc.interval[1]
    assert mcc.p == pytest.approx(1 / 20) and 0.35 < mcc.null < 0.65
    assert rate.value > 10 and rate.details["unit"] == "bits/min"
    assert found.classes == ("idle", "foot", "hand")
    latency = found.latency_s[~np.isnan(found.latency_s)]
    assert len(latency) >= 9
    assert 0.9 <= np.median(latency) <= 2.6  # half a window of 2 s is the earliest that counts as the event


def test_without_a_planted_answer_the_score_is_at_chance_and_no_bits_get_through():
    values = [judged(0.0, seed).scores for seed in range(8)]
    mcc = [scores[0].value for scores in values]
    assert np.mean(mcc) == pytest.approx(0.5, abs=4 * np.std(mcc) / len(mcc) ** 0.5 + 1e-3)
    assert np.mean([scores[1].value for scores in values]) < 1.0
    assert sum(s[0].interval[0] <= 0.5 <= s[0].interval[1] for s in values) >= 6


@pytest.mark.parametrize("effect", [0.0, 0.4, 4.0])
def test_intervals_hold_the_value_and_nothing_that_cannot_be(effect):
    mcc, rate = judged(effect).scores
    most = information_transfer_rate(1.0, 3, 60 / WINDOWS.length_s)
    for score, highest in ((mcc, 1.0), (rate, most)):
        low, high = score.interval
        assert 0.0 <= low <= score.value <= high <= highest and low < high


def test_always_idle_is_chance_however_rare_events_are():
    def idle(windows, labels):
        return lambda new: np.tile([1.0, 0.0, 0.0], (len(new), 1))

    rng = np.random.default_rng(0)
    runs = [run(i, 1.0, rng) for i in range(2)]
    mcc, rate = pseudo_online(idle, runs[:1], runs[1:]).scores
    assert (mcc.value, rate.value) == (0.5, 0.0)
    assert np.mean(pseudo_online(idle, runs[:1], runs[1:]).answers["true"] == "idle") > 0.4


def test_a_window_has_the_class_that_fills_its_share_and_holds_no_later_sample():
    recording = run(0, 0.0, np.random.default_rng(0))
    windows = Windows(length_s=2.0, step_s=0.5, share=0.5)
    found = cut(recording, windows, ("idle", "foot", "hand"))
    events = [recording.events[c] for c in ("onset_s", "duration_s", "trial_type")]
    for signal, label, end in zip(found.signal, found.label, found.end_s):
        expected = 0
        for onset, duration, kind in zip(*events):
            inside = min(end, onset + duration) - max(end - 2.0, onset)
            expected = ["idle", "foot", "hand"].index(kind) if inside >= 1.0 else expected
        assert label == expected
        last = round(end * SFREQ)
        np.testing.assert_array_equal(signal, recording.signal[:, last - 40 : last].astype(np.float32))


def test_a_run_in_training_and_test_is_refused():
    rng = np.random.default_rng(0)
    runs = [run(i, 1.0, rng) for i in range(2)]
    with pytest.raises(checks.LeakageError, match="runs are in training and in test"):
        pseudo_online(fit, runs, runs[1:])


def test_wolpaws_rate_is_the_formula_and_nothing_below_chance():
    assert information_transfer_rate(1.0, 4, 30.0) == pytest.approx(60.0)
    p, n = 0.8, 3
    bits = np.log2(n) + p * np.log2(p) + (1 - p) * np.log2((1 - p) / (n - 1))
    assert information_transfer_rate(p, n, 30.0) == pytest.approx(30 * bits)
    assert information_transfer_rate(0.2, 4, 30.0) == 0.0
