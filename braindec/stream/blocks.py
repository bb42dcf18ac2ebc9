"""Where blocks of samples come from: a recording that is played, or a stream of the lab streaming layer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks
from braindec.types import Recording

LSL_FIX = "Install it: pip install mne-lsl."


@dataclass(frozen=True, eq=False)
class Block:
    """Samples that arrived together.

    Parameters
    ----------
    signal : array, shape (n_channels, n_samples)
    first : int
        Number of the first sample, counted from the beginning of the stream.
    """

    signal: np.ndarray
    first: int


def play(recording: Recording, block_s: float, *, speed: float | None = None) -> Iterator[Block]:
    """A recording's samples in blocks, as if it were being made; the last block may be shorter.

    Parameters
    ----------
    recording : Recording
        Channels or voxels over time; of a volume at a time, let `block_s` be the time from one volume to the next.
    block_s : float
        Seconds of signal in a block.
    speed : float or None
        1: a block is handed over when its last sample would have been recorded; 2: twice as fast; None: at once.

    Raises
    ------
    ValueError
        If a block would hold no sample, or `speed` is not above 0.
    """
    n = round(block_s * recording.sfreq)
    checks.at_least("samples in a block (block_s * sfreq)", n, 1)
    if speed is not None and speed <= 0:
        raise ValueError(f"speed must be above 0, or None for as fast as blocks are taken; got {speed}.")
    began = time.monotonic()
    for first in range(0, recording.signal.shape[1], n):
        block = Block(np.asarray(recording.signal[:, first : first + n]), first)
        if speed is not None:
            due = began + (first + block.signal.shape[1]) / recording.sfreq / speed
            time.sleep(max(0.0, due - time.monotonic()))  # samples have a time: that is what playing is
        yield block


def from_lsl(
    name: str, *, sfreq: float, n_channels: int, timeout_s: float = 10.0, silence_s: float = 5.0
) -> Iterator[Block]:
    """Blocks of a stream of the lab streaming layer, as they arrive, until it falls silent.

    Parameters
    ----------
    name : str
        Of the stream.
    sfreq : float
        Hz, that the decoder expects; a stream of another rate is refused.
    n_channels : int
        That the decoder expects, in its order.
    timeout_s : float
        How long to look for the stream, in seconds.
    silence_s : float
        A stream that sends nothing for so many seconds has ended.

    Raises
    ------
    ConfigError
        If mne-lsl is not installed, no such stream is found, or it has another rate or number of channels.
    """
    inlet = _inlet(name, sfreq, n_channels, timeout_s)
    first, heard = 0, time.monotonic()
    try:
        while time.monotonic() - heard < silence_s:
            samples, _ = inlet.pull_chunk(timeout=0.05)
            if not len(samples):
                continue
            heard = time.monotonic()
            yield Block(np.ascontiguousarray(np.asarray(samples).T), first)
            first += len(samples)
    finally:
        inlet.close_stream()


def _inlet(name: str, sfreq: float, n_channels: int, timeout_s: float) -> Any:
    try:
        from mne_lsl.lsl import StreamInlet, resolve_streams
    except ImportError as error:
        raise checks.ConfigError(
            f"streams of the lab streaming layer need mne-lsl, which is not installed. {LSL_FIX}"
        ) from error
    found = resolve_streams(timeout=timeout_s, name=name, minimum=1)
    if not found:
        raise checks.ConfigError(
            f"no stream is called {name!r} after {timeout_s:g} s. Start it, or name one of those that are there: "
            f"{sorted(s.name for s in resolve_streams(timeout=1.0))}."
        )
    about = found[0]
    if about.sfreq != sfreq or about.n_channels != n_channels:
        raise checks.ConfigError(
            f"stream {name!r} has {about.n_channels} channels at {about.sfreq:g} Hz, the decoder was fitted on "
            f"{n_channels} at {sfreq:g} Hz; send it what the decoder knows."
        )
    inlet = StreamInlet(about)
    inlet.open_stream(timeout=timeout_s)
    return inlet
