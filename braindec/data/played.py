"""Runs of fMRI while a film, a story or music was played: a trial a volume, named by the stretch that it answers to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from braindec.data.assembly import Signal
from braindec.data.staging import Job
from braindec.types import Space, Table

# What the audit wants to know of responses that are single volumes, as they were distributed.
SINGLE_VOLUMES: Mapping[str, Any] = MappingProxyType(
    {
        "betas": {
            "hrf_chosen_on": "none", "noise_regressors_on": "none", "ridge_chosen_on": "none",
            "z_scored_on": "none", "overlap": "kept",
        },
        "features": {"selected_on": "none", "aligned_on": "none"},
    }
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Run:
    """One run of one subject before it is read.

    Parameters
    ----------
    name : str
        Of the run, unique for the subject.
    medium : str
        The film, story or scan that was played.
    path : Path
    read : callable () -> rows (n_volumes, n_features)
    volumes : int array, shape (n_trials,)
        Which volumes are trials.
    first : int
        Number, from the beginning of the medium, of the stretch that the first trial answers to.
    repeat : int
        0 the first time that the medium was played.
    session : str
    settings : mapping
        JSON values that decide, beside the file, what is read.
    """

    name: str
    medium: str
    path: Path
    read: Callable[[], Any]
    volumes: np.ndarray
    first: int = 0
    repeat: int = 0
    session: str = "1"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def numbers(self) -> np.ndarray:
        """Of the stretches, one a trial."""
        return self.first + np.arange(len(self.volumes))


def stretch_id(medium: str, number: int) -> str:
    """``"avatar-0012"``: the thirteenth stretch of a medium."""
    return f"{medium}-{number:04d}"


def signal(subject: int, runs: Sequence[Run], space: Space, units: str, step_s: float) -> Signal:
    """The runs of a subject, one after the other, a trial a volume.

    Parameters
    ----------
    subject : int
    runs : sequence of Run
    space : Space
        Of every run.
    units : str
    step_s : float
        Length of a stretch, which is the time from one volume to the next, in seconds.
    """
    sizes = [len(run.volumes) for run in runs]
    numbers = np.concatenate([run.numbers for run in runs])
    medium = np.repeat([run.medium for run in runs], sizes)
    name = np.repeat([run.name for run in runs], sizes)
    table = Table(
        {
            "stimulus_id": np.array(
                [stretch_id(m, n) for m, n in zip(medium.tolist(), numbers.tolist(), strict=True)]
            ),
            "session": np.repeat([run.session for run in runs], sizes),
            "run": name,
            "repeat": np.repeat([run.repeat for run in runs], sizes),
            "onset_s": step_s * numbers,  # of the stretch in its medium
            "acquisition_order": np.full(len(name), -1),  # of the runs: not recorded
            "exchangeability_block": name,
            "run_position": np.concatenate([np.arange(n) for n in sizes]),
            "medium": medium,
        }
    )
    jobs = tuple(
        Job(
            f"sub-{subject:02d}_{r.name}",
            (r.path,),
            {"first": r.first, **r.settings},
            r.read,
            index=r.volumes,
        )
        for r in runs
    )
    return Signal(subject, table, space, units, jobs)


def stretches(runs: Iterable[Run], step_s: float) -> tuple[tuple[str, ...], Table]:
    """Ids of all stretches that any run answers to, and their table: medium, onset_s, length_s.

    Parameters
    ----------
    runs : iterable of Run
        Of all subjects.
    step_s : float
        Seconds.
    """
    found: dict[str, set[int]] = {}
    for run in runs:
        found.setdefault(run.medium, set()).update(run.numbers.tolist())
    pairs = [(medium, n) for medium in sorted(found) for n in sorted(found[medium])]
    table = Table(
        {
            "medium": np.array([m for m, _ in pairs]),
            "onset_s": step_s * np.array([n for _, n in pairs], dtype=np.float64),
            "length_s": np.full(len(pairs), step_s),
        }
    )
    return tuple(stretch_id(m, n) for m, n in pairs), table
