"""Words that nobody said and waves that no brain made, for the miniatures of speech datasets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SYLLABLES = ("ba", "co", "di", "fu", "ge", "ho", "ka", "lu", "mi", "no", "pe", "ru", "sa", "ti", "vo", "zu")
WORDS_A_SENTENCE = 9


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
