"""What preparing a BIDS folder would read and write, by tables and headers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindec.data import bids, bids_bold, bids_events, bids_fmri, bids_meeg, bids_plain
from braindec.data.bids_settings import BidsSettings
from braindec.data.catalogue import Counts
from braindec.types import Trials


@dataclass(frozen=True, eq=False)
class Job:
    """One subject in one modality.

    Parameters
    ----------
    subject : int
    modality : str
    files : list of BidsFile
        Its recordings in the order of acquisition.
    """

    subject: int
    modality: str
    files: list[bids.BidsFile]

    @property
    def key(self) -> str:
        """``sub-01_fmri``."""
        return f"sub-{self.subject:02d}_{self.modality}"

    @property
    def sessions(self) -> dict[str, tuple[bids.BidsFile, ...]]:
        """``sub-01_fmri_ses-1`` and the recordings of that session, in the order of acquisition."""
        found: dict[str, tuple[bids.BidsFile, ...]] = {}
        for file in self.files:
            name = f"{self.key}_ses-{file.session}"
            found[name] = (*found.get(name, ()), file)
        return found


def counted(raw: Path, jobs: Sequence[Job], settings: BidsSettings) -> Counts:
    """Trials and stimuli as the tables and headers say, and what would be read and written."""
    n_trials, ids, plan = {}, set(), []
    for job in jobs:
        files = bids_bold.images if job.modality == "fmri" else bids_meeg.parts
        size = sum(p.stat().st_size for f in job.files for p in files(f)) / 1e6
        plan.append(f"{job.key}: would read {len(job.files)} recordings of {size:,.1f} MB")
        if job.modality == "fmri":
            events = [run.events for run in bids_fmri.read_runs(raw, job.files, settings)]
            space = bids_bold.space_of(raw, job.files, settings.fmri)
            written = 8 * space.n_features * sum(len(e.onset_s) for e in events) / 1e6
            what = f"betas and t values of {space.n_features} {space.kind}"
            plan[-1] += f" and write about {written:,.1f} MB ({what})"
        else:
            paths = [(bids.of_recording(raw, f, "events", ".tsv"), f.path) for f in job.files]
            events = [bids_events.read(tables, path, settings) for tables, path in paths]
            channels, times = bids_meeg.epoch_shape(raw, job.files, job.modality, settings)
            written = 4 * channels * times * sum(len(e.onset_s) for e in events) / 1e6
            plan[-1] += (
                f" and write about {written:,.1f} MB (epochs of {channels} channels x {times} samples)"
            )
        n_trials[job.key] = sum(len(e.onset_s) for e in events)
        ids |= {i for e in events for i in e.stimulus_id.tolist()}
    return Counts(n_trials, len(ids), plan=tuple(plan))


def counted_plain(trials: Sequence[Trials], folders: Iterable[Path], n_stimuli: int) -> Counts:
    """The same of plain arrays."""
    plan = []
    for t, folder in zip(trials, folders, strict=True):
        size = sum(path.stat().st_size for path in bids_plain.files(folder)) / 1e6
        written = 4 * int(np.prod(t.responses.shape, dtype=np.int64)) / 1e6
        plan.append(f"{t.key}: would read {size:,.1f} MB and write about {written:,.1f} MB")
    return Counts({t.key: t.n_trials for t in trials}, n_stimuli, plan=tuple(plan))
