"""Words that nobody said, their sound, and waves that no brain made, for the miniatures of speech datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import wavfile

SYLLABLES = ("ba", "co", "di", "fu", "ge", "ho", "ka", "lu", "mi", "no", "pe", "ru", "sa", "ti", "vo", "zu")
WORDS_A_SENTENCE = 9
SOUND_HZ = 16_000
LOUD_HZ = 100.0


@dataclass(frozen=True, eq=False)
class Spoken:
    """What is said in one sound file.

    Parameters
    ----------
    word : tuple of str
    onset_s, offset_s : float arrays
        In the file, to the millisecond.
    sentence, index : int arrays
        Number of the sentence, and of the word in it, from 0.
    """

    word: tuple[str, ...]
    onset_s: np.ndarray
    offset_s: np.ndarray
    sentence: np.ndarray
    index: np.ndarray


def spoken(rng: np.random.Generator, seconds: float) -> Spoken:
    """Words of two or three syllables at two to four a second, sentences of nine with pauses between them."""
    n = int(seconds * 4) + 1
    words = tuple("".join(rng.choice(SYLLABLES, rng.integers(2, 4)).tolist()) for _ in range(n))
    number = np.arange(n)
    duration, pause = rng.uniform(0.12, 0.4, n), rng.uniform(0.0, 0.1, n)
    pause += 0.4 * (number % WORDS_A_SENTENCE == WORDS_A_SENTENCE - 1)
    onset = 0.02 + np.concatenate([[0.0], np.cumsum(duration + pause)[:-1]])
    kept = onset + duration < seconds
    onset_s, offset_s = np.round(onset[kept], 3), np.round((onset + duration)[kept], 3)
    sentence, index = np.divmod(number[kept], WORDS_A_SENTENCE)
    return Spoken(words[: int(kept.sum())], onset_s, offset_s, sentence, index)


def waves(rng: np.random.Generator, n_channels: int, n_times: int, sfreq: float, peak: float) -> np.ndarray:
    """Sums of six sines from 0.5 to 18 Hz that differ between channels, float64 (n_channels, n_times).

    Parameters
    ----------
    rng : numpy Generator
    n_channels, n_times : int
    sfreq : float
        Hz.
    peak : float
        Of each channel, in the units wanted.
    """
    t = np.arange(n_times) / sfreq
    x = np.zeros((n_channels, n_times))
    for _ in range(6):
        rate, phase = rng.uniform(0.5, 18, (n_channels, 1)), rng.uniform(0, 2 * np.pi, (n_channels, 1))
        x += rng.uniform(0.2, 1.0, (n_channels, 1)) * np.sin(2 * np.pi * rate * t + phase)
    return np.asarray(peak * x / np.abs(x).max(1, keepdims=True))


def sound(rng: np.random.Generator, said: Spoken, seconds: float) -> np.ndarray:
    """What such words sound like, float64 (n_samples,) in [-1, 1] at `SOUND_HZ`: hums of a colour of their own.

    Each word is the sum of three sines between 150 and 5,000 Hz that swells and fades, of a loudness of its own.
    """
    heard = np.zeros(round(seconds * SOUND_HZ))
    for onset, offset in zip(said.onset_s, said.offset_s, strict=True):
        first, n = round(onset * SOUND_HZ), round((offset - onset) * SOUND_HZ)
        rates = np.exp(rng.uniform(np.log(150), np.log(5000), (3, 1)))
        hum = np.sin(2 * np.pi * rates * np.arange(n) / SOUND_HZ + rng.uniform(0, 2 * np.pi, (3, 1))).mean(0)
        piece = rng.uniform(0.2, 0.9) * np.sin(np.pi * np.arange(n) / n) ** 2 * hum
        heard[first : first + n] += piece[: len(heard) - first]
    return heard


def write_sound(path: Path, samples: np.ndarray) -> None:
    """A WAV file of 16 bits at `SOUND_HZ`, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, SOUND_HZ, np.round(32767 * samples).astype(np.int16))


def loudness(begun: Sequence[tuple[float, np.ndarray]], seconds: float, n_bands: int) -> np.ndarray:
    """How loud sounds are in bands, smoothed, float64 (n_bands, n_times) at `LOUD_HZ`, of standard deviation 1.

    Parameters
    ----------
    begun : sequence of (float, float array)
        Seconds in the recording at which a sound begins, and its samples at `SOUND_HZ`.
    seconds : float
        Of the recording.
    n_bands : int
        Equally wide in the logarithm of frequency, from 100 to 6,000 Hz.
    """
    n_window = round(2 * SOUND_HZ / LOUD_HZ)
    hz = np.fft.rfftfreq(n_window, 1 / SOUND_HZ)
    band = np.digitize(hz, np.geomspace(100, 6000, n_bands + 1)) - 1
    inside = (band[:, None] == np.arange(n_bands)).astype(float)
    smooth = np.hanning(7) / np.hanning(7).sum()
    loud = np.zeros((n_bands, int(seconds * LOUD_HZ) + 1))
    for begin_s, samples in begun:
        pieces = np.lib.stride_tricks.sliding_window_view(samples, n_window)[:: n_window // 2]
        power = np.abs(np.fft.rfft(pieces * np.hanning(n_window), axis=1)) ** 2
        level = np.log1p(power @ inside).T
        first = round(begin_s * LOUD_HZ)
        n = min(level.shape[1], loud.shape[1] - first)
        loud[:, first : first + n] = [np.convolve(row, smooth, mode="same")[:n] for row in level]
    return np.asarray((loud - loud.mean(1, keepdims=True)) / np.maximum(loud.std(1, keepdims=True), 1e-12))


def evoked(
    loud: np.ndarray, mixing: np.ndarray, n_times: int, sfreq: float, delay_s: float = 0.1
) -> np.ndarray:
    """What sensors record of `loudness`: each a mixture of all bands, a while later; float64 (n_channels, n_times).

    Parameters
    ----------
    loud : float array, shape (n_bands, n_loud)
        At `LOUD_HZ`.
    mixing : float array, shape (n_channels, n_bands)
    n_times : int
    sfreq : float
        Hz of the recording.
    delay_s : float
        Seconds from a sound to its response.
    """
    at = (np.arange(n_times) / sfreq - delay_s) * LOUD_HZ
    mixed = mixing @ loud
    return np.stack([np.interp(at, np.arange(loud.shape[1]), row) for row in mixed])
