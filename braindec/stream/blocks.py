"""Where blocks of samples come from: a recording that is played, or a stream of the lab streaming layer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks
from braindec.types import Recording

LSL_FIX = "Install it: pip install mne-lsl."
PREFIXES = {
    "": 1.0, "m": 1e-3, "milli": 1e-3, "u": 1e-6, "µ": 1e-6, "micro": 1e-6, "n": 1e-9, "nano": 1e-9,
    "p": 1e-12, "pico": 1e-12, "f": 1e-15, "femto": 1e-15,
}  # fmt: skip
UNITS = {"v": "V", "volt": "V", "volts": "V", "t": "T", "tesla": "T"}


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
    name: str,
    *,
    sfreq: float,
    n_channels: int,
    units: str = "",
    timeout_s: float = 10.0,
    silence_s: float = 5.0,
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
    units : str
        That the decoder expects: of a stream that says others (amplifiers send microvolts), values are brought into
        these. A stream that says none, and units that are neither of volt nor of tesla, are taken as they are.
    timeout_s : float
        How long to look for the stream, in seconds.
    silence_s : float
        A stream that sends nothing for so many seconds has ended.

    Raises
    ------
    ConfigError
        If mne-lsl is not installed, no such stream is found, or it has another rate or number of channels, or units
        of another kind.
    """
    inlet = _inlet(name, sfreq, n_channels, timeout_s)
    try:
        scale = _scale(name, inlet.get_sinfo().get_channel_units(), units)
        first, heard = 0, time.monotonic()
        while time.monotonic() - heard < silence_s:
            samples, _ = inlet.pull_chunk(timeout=0.05)
            if not len(samples):
                continue
            heard = time.monotonic()
            yield Block(np.ascontiguousarray(np.asarray(samples).T * scale), first)
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


def _scale(name: str, told: list[str | None] | None, units: str) -> Any:
    """What the values of each channel are multiplied by, (n_channels, 1); 1 where nothing is known."""
    wanted = _unit(units)
    if told is None or wanted is None:
        return 1
    known = [_unit(str(one)) or wanted for one in told]
    others = sorted({kind for kind, _ in known if kind not in ("", wanted[0])})
    if others:
        raise checks.ConfigError(
            f"stream {name!r} is in {', '.join(others)}, the decoder was fitted on {units}; send it what it knows."
        )
    return np.array([[size / wanted[1]] for _, size in known])


def _unit(text: str) -> tuple[str, float] | None:
    """("V", 1e-6) of "microvolts" or "uV", ("", 1e-6) of the power of ten "-6"; None of what is no such unit."""
    said = text.strip().replace("μ", "µ")
    if re.fullmatch(r"-?\d{1,2}", said):
        return "", 10.0 ** int(said)
    return next(
        ((kind, size) for word, kind in UNITS.items() for prefix, size in PREFIXES.items()
         if said.lower() == prefix + word), None,
    )  # fmt: skip
