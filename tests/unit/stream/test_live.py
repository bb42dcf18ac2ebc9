"""A decoder that answers while it is recorded gives what the protocol gives afterwards, and says how long it took."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from braindec import checks
from braindec.evaluate.online import pseudo_online
from braindec.protocols.continuous import PROTOCOLS
from braindec.stream import Block, Live, Preparation, SlidingWindows, play
from braindec.types import ArraySpace, Recording, Table

SFREQ = 50.0
WINDOWS = PROTOCOLS["pseudo_online"].windows


def run(number: int, rng: np.random.Generator) -> Recording:
    onsets = 6.0 + 10.0 * np.arange(6) + rng.uniform(0, 2, 6)
    kinds = rng.permutation(np.repeat(["hand", "foot"], 3))
    signal = rng.standard_normal((4, int(72 * SFREQ)))
    for onset, kind in zip(onsets, kinds):
        signal[int(kind == "hand"), int(onset * SFREQ) : int((onset + 4) * SFREQ)] += 1.5
    events = Table({"onset_s": onsets, "duration_s": np.full(6, 4.0), "trial_type": kinds})
    return Recording(
        signal.astype(np.float32), SFREQ, "a.u.", events, ArraySpace(4), 1, "1", str(number), "eeg"
    )


def network(windows, labels):
    """A small network whose products depend, in their last bits, on how many rows are multiplied at once."""
    generator = torch.Generator().manual_seed(0)
    x = torch.from_numpy(np.ascontiguousarray(windows)).flatten(1)
    mixed = torch.randn(x.shape[1], 64, generator=generator) / x.shape[1] ** 0.5
    readout = torch.linalg.lstsq(
        x @ mixed, torch.nn.functional.one_hot(torch.from_numpy(labels)).float()
    ).solution
    return lambda new: (torch.from_numpy(new).flatten(1) @ mixed @ readout).numpy()


@pytest.mark.parametrize("block_s", [0.02, 0.1, 3.7])
def test_answers_are_to_the_bit_those_of_the_protocol(block_s):
    rng = np.random.default_rng(0)
    train, test = run(0, rng), run(1, rng)
    fitted = []

    def fit(windows, labels):
        fitted.append(network(windows, labels))
        return fitted[-1]

    offline = pseudo_online(fit, [train], [test])
    scores = []

    def answer(windows):
        scores.append(fitted[0](windows))
        return scores[-1]

    live = Live(answer, offline.classes, SlidingWindows(SFREQ, WINDOWS.length_s, WINDOWS.step_s))
    found = [a for block in play(test, block_s) for a in live.push(block)]
    assert [a.name for a in found] == offline.answers["answered"].tolist()
    assert [a.window.end_s for a in found] == offline.answers["end_s"].tolist()
    again = []
    pseudo_online(lambda *_: lambda new: again.append(fitted[0](new)) or again[-1], [train], [test])
    assert len(again) == len(scores) and all(np.array_equal(a, b) for a, b in zip(again, scores))


def test_how_long_answers_took_is_said():
    live = Live(lambda w: np.zeros((1, 2)), ("idle", "a"), SlidingWindows(SFREQ, 1.0, 0.5))
    assert live.summary() == {"n": 0}
    for block in play(run(0, np.random.default_rng(0)), 0.2):
        live.push(block)
    said = live.summary()
    assert said["n"] == 143 and 0 < said["p50_ms"] <= said["p99_ms"] <= said["max_ms"]


def test_lost_samples_are_no_answer():
    live = Live(lambda w: np.zeros((1, 2)), ("idle", "a"), SlidingWindows(SFREQ, 1.0, 0.5))
    live.push(Block(np.zeros((4, 10)), 0))
    with pytest.raises(ValueError, match="sample 20 arrived where sample 10 was due"):
        live.push(Block(np.zeros((4, 10)), 20))


def test_scores_of_another_number_of_classes_and_another_rate_are_refused():
    live = Live(lambda w: np.zeros((1, 3)), ("idle", "a"), SlidingWindows(SFREQ, 1.0, 0.5))
    with pytest.raises(ValueError, match=r"shape \(1, 3\); expected \(1, 2\)"):
        live.push(Block(np.zeros((4, 60)), 0))
    with pytest.raises(checks.ConfigError, match="windows are cut at 50 Hz, what is prepared has 25 Hz"):
        Live(
            lambda w: np.zeros((1, 2)), ("idle", "a"), SlidingWindows(SFREQ, 1.0, 0.5),
            Preparation(SFREQ, low_pass_hz=8.0, decimate=2),
        )  # fmt: skip
