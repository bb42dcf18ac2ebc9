"""Responses of one subject in one modality, a row a trial."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braindec import checks, outlines
from braindec.types.signal import SubjectSignal, signal_key
from braindec.types.space import Space
from braindec.types.table import Table

UNKNOWN = "unknown"  # stimulus_id of a trial whose stimulus is not recorded

REQUIRED = (
    "stimulus_id",
    "session",
    "run",
    "repeat",
    "onset_s",
    "acquisition_order",
    "exchangeability_block",
)


@dataclass(frozen=True, eq=False, repr=False)
class Trials:
    """One subject's responses in one modality.

    Parameters
    ----------
    responses : array-like, shape (n_trials, n_voxels) or (n_trials, n_channels, n_times)
        Betas or epochs; a numpy array, or anything that reads rows on demand by ``[rows]`` and has ``shape``.
    table : Table
        A row a trial: stimulus_id (text), session, run, repeat (0 for the first presentation), onset_s (seconds in
        the run), acquisition_order (0.., or -1 where not known), exchangeability_block (trials that may be permuted
        among each other share it) and any further columns.
    space : Space
        Where the values of axis 1 come from.
    units : str
        E.g. ``"percent signal change"``, ``"V"``.
    subject : int
        1 is sub-01.
    modality : str
        ``"fmri"``, ``"eeg"`` or ``"meg"``.
    sfreq : float or None
        Hz, for epochs.
    tmin : float or None
        Seconds from the event to the first time sample, for epochs.
    """

    responses: Any
    table: Table
    space: Space
    units: str
    subject: int
    modality: str
    sfreq: float | None = None
    tmin: float | None = None

    def __post_init__(self) -> None:
        for column in REQUIRED:
            if column not in self.table:
                raise ValueError(
                    f"the trial table needs the columns {list(REQUIRED)}; {column!r} is missing."
                )
        if self.responses.shape[0] != self.table.n_rows:
            raise ValueError(
                f"responses has {self.responses.shape[0]} along axis 'trial' but table has {self.table.n_rows}; "
                "they must match."
            )
        if self.responses.shape[1] != self.space.n_features:
            raise ValueError(
                f"responses has {self.responses.shape[1]} along axis 1 but space has {self.space.n_features}; "
                "they must match."
            )
        checks.one_of("modality", self.modality, ("fmri", "eeg", "meg", "ieeg", "ecog", "array"))
        if len(self.responses.shape) == 3 and (self.sfreq is None or self.tmin is None):
            raise ValueError("epochs (trial, channel, time) need sfreq (Hz) and tmin (s).")

    def __repr__(self) -> str:
        said = "; ".join(f"{name} {outlines.words(value)}" for name, value in self._outline().items())
        return f"Trials({self.key}; {said})"

    def _repr_html_(self) -> str:
        return outlines.pairs(f"Trials {self.key}", self._outline())

    def _outline(self) -> dict[str, Any]:
        """What is known without reading a response."""
        shown = np.unique(self.table["stimulus_id"].astype(str))
        axes = ("trial", "channel", "time") if len(self.responses.shape) == 3 else ("trial", "voxel")
        if self.space.kind not in ("voxels", "sensors"):
            axes = (axes[0], "feature", *axes[2:])
        runs = set(zip(*(self.table[c].tolist() for c in ("session", "run")), strict=True))
        told: dict[str, Any] = {
            "responses": " x ".join(
                f"{n:,} {axis}s" for n, axis in zip(self.responses.shape, axes, strict=True)
            ),
            "units": self.units,
            "stimuli": int((shown != UNKNOWN).sum()),
            "runs": len(runs),
        }
        if self.sfreq is not None and self.times is not None:
            told["times"] = f"{self.times[0]:g} to {self.times[-1]:g} s at {self.sfreq:g} Hz"
        return told | {"columns": list(self.table)}

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self.table.n_rows

    @property
    def key(self) -> str:
        """``sub-01_fmri``: names this signal in adapters and files."""
        return signal_key(self.subject, self.modality)

    @property
    def times(self) -> np.ndarray | None:
        """Seconds from the event, shape (n_times,), for epochs."""
        if self.sfreq is None or self.tmin is None:
            return None
        return self.tmin + np.arange(self.responses.shape[2]) / self.sfreq

    @property
    def signal(self) -> SubjectSignal:
        """What an adapter must know of this subject."""
        return SubjectSignal(
            self.subject,
            self.modality,
            tuple(self.responses.shape[1:]),
            self.space,
            self.sfreq,
            self.tmin,
            self.units,
        )

    def take(self, rows: np.ndarray) -> Trials:
        """The trials at these rows (mask or positions), read into memory."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return replace(self, responses=np.asarray(self.responses[rows]), table=self.table.take(rows))
