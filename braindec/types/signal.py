"""What a model must know of the signals it will be given, before it sees them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral

from braindec.types.space import Space


def signal_key(subject: int, modality: str) -> str:
    """``sub-01_fmri`` for subject 1: the name of one subject's signal in adapters, files and reports.

    Raises
    ------
    TypeError
        If the subject is no whole number.
    """
    if isinstance(subject, bool) or not isinstance(subject, Integral):
        digits = re.search(r"\d+$", str(subject))
        way_out = f" Say subject={int(digits.group())}." if digits else " Number your subjects from 1 on."
        raise TypeError(f"subject must be a whole number, 1 for sub-01, got {subject!r}.{way_out}")
    return f"sub-{subject:02d}_{modality}"


@dataclass(frozen=True, eq=False)
class SubjectSignal:
    """Shape and place of one subject's signal.

    Parameters
    ----------
    subject, modality, sfreq, tmin, units
        As in `Trials`.
    shape : tuple of int
        (n_voxels,) or (n_channels, n_times): one trial.
    space : Space
    """

    subject: int
    modality: str
    shape: tuple[int, ...]
    space: Space
    sfreq: float | None = None
    tmin: float | None = None
    units: str = ""

    @property
    def key(self) -> str:
        """``sub-01_fmri``."""
        return signal_key(self.subject, self.modality)


@dataclass(frozen=True, eq=False)
class SignalInfo:
    """The signals of several subjects, by key (``sub-01_fmri``)."""

    signals: Mapping[str, SubjectSignal]

    def of(self, key: str) -> SubjectSignal:
        """The signal with this key; an unknown key is refused with the keys there are."""
        from braindec import checks

        return checks.known_key("signal", key, dict(self.signals))
