"""What arrives in blocks becomes, to the bit, what the whole recording gives."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from braindec import checks
from braindec.data import bids_meeg
from braindec.data.bids_settings import MeegSettings
from braindec.data.causal import CausalFilter
from braindec.data.meeg import cut_epochs
from braindec.evaluate.online import cut
from braindec.protocols import Windows
from braindec.stream import EventWindows, Preparation, SlidingWindows, from_lsl, play
from braindec.types import ArraySpace, Recording, Table

SFREQ = 200.0


def recording(n_s: float = 6.0, n_channels: int = 5) -> Recording:
    rng = np.random.default_rng(0)
    events = Table({
        "onset_s": np.array([0.7, 1.31, 2.0, 3.9]), "duration_s": np.full(4, 0.2),
        "trial_type": np.array(["a", "b", "a", "b"]),
    })  # fmt: skip
    signal = (1e-5 * rng.standard_normal((n_channels, int(n_s * SFREQ))) + 3e-5).astype(np.float32)
    return Recording(signal, SFREQ, "V", events, ArraySpace(n_channels), 1, "1", "1", "eeg")


def prepared(whole: Recording, block_s: float, **settings) -> np.ndarray:
    prepare = Preparation(whole.sfreq, **settings)
    return np.concatenate([prepare(block.signal) for block in play(whole, block_s)], axis=1)


@pytest.mark.parametrize("block_s", [0.005, 0.035, 1.0, 60.0])
def test_blocks_of_any_length_give_the_bits_of_the_preparation_on_disk(block_s):
    whole = recording()
    settings = MeegSettings(
        reference="average", high_pass_hz=0.5, low_pass_hz=15.0, causal=True, detrend=False, decimate=4
    )
    offline = bids_meeg._signal(whole, settings).signal
    live = prepared(whole, block_s, reference="average", high_pass_hz=0.5, low_pass_hz=15.0, decimate=4)
    assert live.dtype == offline.dtype and np.array_equal(live, offline)


def test_the_filter_looks_only_back():
    whole = recording()
    later = whole.signal.copy()
    later[:, 600:] += 1.0
    before, after = (CausalFilter(SFREQ, 1.0, 30.0)(x)[:, :600] for x in (whole.signal, later))
    assert np.array_equal(before, after)


def test_the_filter_passes_and_stops_what_it_says():
    t = np.arange(int(30 * SFREQ)) / SFREQ
    slow, inside, fast = (np.sin(2 * np.pi * hz * t)[None] for hz in (0.05, 10.0, 80.0))
    kept = [
        float(np.std(CausalFilter(SFREQ, 1.0, 30.0)(x)[:, len(t) // 2 :]) / np.std(x))
        for x in (slow, inside, fast)
    ]
    assert kept[0] < 0.01 and kept[1] == pytest.approx(1.0, abs=0.02) and kept[2] < 0.02


@pytest.mark.parametrize("band", [(0.0, 10.0), (10.0, 5.0), (None, 100.0), (5.0, 5.0)])
def test_a_band_that_cannot_be_filtered_is_refused(band):
    with pytest.raises(checks.ConfigError, match="pass band"):
        CausalFilter(SFREQ, *band)


def test_decimation_that_would_alias_is_refused():
    with pytest.raises(checks.ConfigError, match=r"decimate=4 leaves 50 Hz and needs low_pass_hz"):
        Preparation(SFREQ, decimate=4)


@pytest.mark.parametrize(("length_s", "step_s"), [(1.0, 0.1), (0.25, 0.5), (0.3, 0.3)])
@pytest.mark.parametrize("block_s", [0.005, 0.17, 9.0])
def test_sliding_windows_are_those_of_the_protocol(length_s, step_s, block_s):
    whole = recording()
    offline = cut(whole, Windows(length_s, step_s, 0.5), ("idle", "a", "b"))
    sliding = SlidingWindows(SFREQ, length_s, step_s)
    live = [w for block in play(whole, block_s) for w in sliding.push(block.signal)]
    assert np.array_equal([w.end_s for w in live], offline.end_s)
    assert all(np.array_equal(w.signal, o) for w, o in zip(live, offline.signal, strict=True))
    assert all(w.signal.flags.c_contiguous for w in live)


@pytest.mark.parametrize("block_s", [0.005, 0.4, 9.0])
def test_windows_around_events_are_those_of_epochs(block_s):
    whole = recording()
    offline = cut_epochs([whole], -0.2, 0.6)
    windows = EventWindows(SFREQ, -0.2, 0.6)
    for onset in whole.events["onset_s"].tolist():
        windows.expect(onset, f"at {onset}")
    live = [w for block in play(whole, block_s) for w in windows.push(block.signal)]
    assert [w.event for w in live] == [f"at {o}" for o in whole.events["onset_s"].tolist()]
    assert np.array_equal(np.stack([w.signal for w in live]), offline.responses)


def test_an_event_told_late_is_cut_from_what_is_kept_and_refused_beyond_it():
    whole = recording()
    windows = EventWindows(SFREQ, 0.0, 0.5, keep_s=2.0)
    for block in play(whole, 0.1):
        windows.push(block.signal)
    windows.expect(4.2, "late")
    found = windows.push(whole.signal[:, :1])
    assert np.array_equal(found[0].signal, whole.signal[:, 840:941])
    with pytest.raises(ValueError, match=r"'forgotten' at 1.000 s begins before what is kept"):
        windows.expect(1.0, "forgotten")


def test_a_recording_is_played_in_its_own_time():
    whole = recording(0.3)
    began = time.monotonic()
    blocks = list(play(whole, 0.1, speed=1.0))
    assert time.monotonic() - began >= 0.3
    assert [b.first for b in blocks] == [0, 20, 40]
    with pytest.raises(ValueError, match="speed must be above 0"):
        next(play(whole, 0.1, speed=0.0))


def stream(monkeypatch, units):
    """A stream of the lab streaming layer that sends one block, (2 samples, 2 channels) of 50."""
    about = SimpleNamespace(sfreq=100.0, n_channels=2, get_channel_units=lambda: units)
    blocks = [np.full((2, 2), 50.0, dtype=np.float32)]
    inlet = SimpleNamespace(
        open_stream=lambda timeout: None, close_stream=lambda: None, get_sinfo=lambda: about,
        pull_chunk=lambda timeout: (blocks.pop() if blocks else np.zeros((0, 2)), None),
    )  # fmt: skip
    lsl = SimpleNamespace(StreamInlet=lambda _: inlet, resolve_streams=lambda **_: [about])
    monkeypatch.setitem(sys.modules, "mne_lsl", SimpleNamespace(lsl=lsl))
    monkeypatch.setitem(sys.modules, "mne_lsl.lsl", lsl)
    return from_lsl("amplifier", sfreq=100.0, n_channels=2, units="V", silence_s=0.01)


@pytest.mark.parametrize(
    ("units", "sizes"),
    [
        (["microvolts", "uV"], (50e-6, 50e-6)),
        (["µV", "mV"], (50e-6, 50e-3)),
        (["-6", "0"], (50e-6, 50.0)),
        (["volts", "none"], (50.0, 50.0)),
        (None, (50.0, 50.0)),
    ],
)
def test_what_an_amplifier_sends_comes_in_the_decoder_s_units(monkeypatch, units, sizes):
    (block,) = stream(monkeypatch, units)
    assert block.signal == pytest.approx(np.repeat(np.array(sizes)[:, None], 2, axis=1))


def test_a_stream_of_another_measure_is_refused(monkeypatch):
    with pytest.raises(checks.ConfigError, match="is in T, the decoder was fitted on V"):
        list(stream(monkeypatch, ["fT", "fT"]))
