"""Preprocessing for a first look, set by what is known of each modality before any score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from braindec.data.preprocessing import AverageTime, ClipMad, Crop, Standardise
from braindec.types import SignalInfo

SENSORS = ("eeg", "meg")
LIMIT = 5.0  # median absolute deviations, 3.4 standard deviations: of Gaussian noise 0.07 % lies beyond
SFREQ = 64.0  # Hz that are kept: evoked responses have little above 30 Hz


def usual_steps(info: SignalInfo) -> dict[str, tuple[Any, ...]]:
    """Steps by modality for a first look, set by what is known of each modality and by no score.

    All signals are standardised with training statistics. Epochs of EEG and MEG before that: only samples from onset on
    are kept (before it nothing is known of the stimulus), values beyond 5 median absolute deviations of the
    training trials are clipped (blinks and movements are many times as large as responses, and squares weigh them
    most), and neighbouring samples are averaged down to 64 Hz or a little more. Epochs around an act of the person, or
    of fast oscillations, need other steps.

    Parameters
    ----------
    info : SignalInfo
        ``dataset.info``.
    """
    modalities = {s.modality for s in info.signals.values()}
    out: dict[str, tuple[Any, ...]] = {m: (Standardise(),) for m in modalities}
    for modality in modalities.intersection(SENSORS):
        clocks = [  # seconds of the first sample, Hz, samples
            (s.tmin, s.sfreq, s.shape[-1])
            for s in info.signals.values()
            if s.modality == modality and s.sfreq is not None and s.tmin is not None
        ]
        out[modality] = (*_of_epochs(clocks), Standardise())
    return out


def _of_epochs(clocks: Sequence[tuple[float, float, int]]) -> list[Any]:
    """Window, limits and averaging that suit all of these subjects' clocks."""
    if not clocks:
        return []
    ends = [tmin + (n - 1) / sfreq for tmin, sfreq, n in clocks]
    crop = any(tmin < 0 for tmin, *_ in clocks) and min(ends) > 0
    left = [
        int(end * sfreq) + 1 if crop and tmin < 0 else n
        for (tmin, sfreq, n), end in zip(clocks, ends, strict=True)
    ]
    n_averaged = min(int(min(sfreq for _, sfreq, _ in clocks) // SFREQ), *left)
    steps: list[Any] = [Crop(0.0, max(ends))] if crop else []
    steps.append(ClipMad(LIMIT))
    return [*steps, AverageTime(n_averaged)] if n_averaged > 1 else steps
