"""Tracks of music that are noise, for synthetic datasets: how loud each band is tells genre and track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.io import wavfile

SFREQ, TRACK_S = 1000, 30.0  # Hz, seconds
BAND_HZ = (40.0, 80.0, 130.0, 190.0, 270.0, 380.0)
OWN = 0.7  # standard deviation of a track's loudness about its genre's, which has 1
SIGNAL = 0.2  # of a voxel's response, in standard deviations of a volume's noise
FOLLOWED = ("sound", "genre", "nothing")
Track = tuple[str, int]


def loudness(genres: Sequence[str], n_tracks: int, rng: np.random.Generator) -> dict[Track, np.ndarray]:
    """Logarithm of the power in each of `BAND_HZ`, (n_bands,), by genre and number of the track; its mean is 0.

    Parameters
    ----------
    genres : sequence of str
    n_tracks : int
        Of each genre.
    rng : numpy Generator
    """
    middle = rng.standard_normal((len(genres), 1, len(BAND_HZ)))
    values = middle + OWN * rng.standard_normal((len(genres), n_tracks, len(BAND_HZ)))
    values -= values.mean(2, keepdims=True)  # a file's own level is not kept
    return {(genre, k): values[g, k] for g, genre in enumerate(genres) for k in range(n_tracks)}


def follows(n_voxels: int) -> list[str]:
    """What each voxel follows: half of them the sound, a quarter the genre alone, the rest nothing."""
    n_sound, n_genre = n_voxels // 2, n_voxels // 4
    counts = (n_sound, n_genre, n_voxels - n_sound - n_genre)
    return [name for name, n in zip(FOLLOWED, counts, strict=True) for _ in range(n)]


def responses(
    followed: Sequence[str], tracks: Mapping[Track, np.ndarray], rng: np.random.Generator
) -> dict[Track, np.ndarray]:
    """What a track adds to each volume, float32 (n_voxels,), by track.

    Parameters
    ----------
    followed : sequence of str
        Of each voxel, of `FOLLOWED`.
    tracks : mapping
        As `loudness` makes it.
    rng : numpy Generator
    """
    by_band = rng.standard_normal((len(BAND_HZ), len(followed)))
    by_band /= np.linalg.norm(by_band, axis=0)
    genres = list(dict.fromkeys(genre for genre, _ in tracks))
    by_genre = dict(zip(genres, rng.standard_normal((len(genres), len(followed))), strict=True))
    heard, named = (np.array([f == name for f in followed]) for name in FOLLOWED[:2])
    return {
        track: (SIGNAL * (bands @ by_band * heard + by_genre[track[0]] * named)).astype(np.float32)
        for track, bands in tracks.items()
    }


def write(path: Path, bands: np.ndarray, rng: np.random.Generator) -> None:
    """A track of noise as WAV of 16 bits; its spectrum goes from band to band."""
    n = round(SFREQ * TRACK_S)
    hz = np.fft.rfftfreq(n, 1 / SFREQ)
    shape = np.exp(np.interp(hz, BAND_HZ, bands) / 2)
    sound = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * shape, n)
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, SFREQ, np.round(0.9 * 32767 * sound / np.abs(sound).max()).astype(np.int16))
