"""The staged files of a BIDS folder: a session of a subject each, and what is chosen on a subject's training runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from braindec import __version__, checks, config, store
from braindec.data import bids, bids_fmri, bids_meeg, glm_choices, layout, spaces, staging
from braindec.data.bids_bold import Place
from braindec.data.bids_fmri import BoldRun
from braindec.data.bids_settings import BidsSettings
from braindec.data.glm_choices import Choices
from braindec.data.joined import JoinedRows
from braindec.data.rows import RowsView
from braindec.data.tables import repeats
from braindec.types import SensorSpace, Table, Trials

READ = ("task", "stimulus", "keep", "bad_events")  # settings that decide how any recording is read


@dataclass(frozen=True, eq=False)
class Bold(staging.Task):
    """A session's runs of BOLD; see `Signals` and `Estimates`.

    Parameters
    ----------
    root : Path
    runs : tuple of BidsFile
    space : VoxelSpace or VertexSpace
    chosen : BidsSettings
    """

    root: Path
    runs: tuple[bids.BidsFile, ...]
    space: Place
    chosen: BidsSettings

    def read(self) -> list[BoldRun]:
        """All of the runs but their signals."""
        return bids_fmri.read_runs(self.root, self.runs, self.chosen)


@dataclass(frozen=True, eq=False)
class Signals(Bold):
    """Time courses in percent, kept until HRF, components and ridge are chosen on all training runs."""

    def write(self, out: store.Writer) -> Mapping[str, Any]:
        """Writes ``signal`` (the runs one after the other), ``tsnr`` and ``flags``."""
        read = self.read()
        shape = (sum(run.n_times for run in read) * self.space.n_features,)
        bulk = out.bulk("signal", shape, np.float32)
        tsnr, flags = [], np.zeros(self.space.n_features, dtype=np.uint8)
        for run in read:
            signal, snr, bad = bids_fmri.percent(run, self.space, self.chosen.fmri)
            bulk.append(signal.ravel())
            tsnr.append(snr)
            flags[bad] = 1
        out.array("tsnr", np.stack(tsnr))
        out.array("flags", flags)
        return {"n_times": [run.n_times for run in read]}


@dataclass(frozen=True, eq=False)
class Chosen(Bold):
    """HRF, noise components and ridge, chosen on a subject's training runs.

    Parameters
    ----------
    kept : tuple of Path
        The staged `Signals` of all sessions; voxels that are bad in any are left out of every choice.
    training : tuple of bool
        Which of `runs` (those of all sessions) may be looked at.
    """

    kept: tuple[Path, ...]
    training: tuple[bool, ...]

    def write(self, out: store.Writer) -> Mapping[str, Any]:
        """Writes the choices; bad voxels have the canonical shape and are not shrunk."""
        flags = np.stack([store.Stored(path).array("flags") for path in self.kept])
        good = np.flatnonzero(~flags.any(0))
        signals = (s for path in self.kept for s in _signals(path, self.space.n_features))
        models = [
            bids_fmri.model_run(run, RowsView(signal, good), self.chosen.fmri.high_pass_hz)
            for run, signal, used in zip(self.read(), signals, self.training, strict=True)
            if used
        ]
        everywhere = Choices.none(self.space.n_features)
        if len(good):
            found = glm_choices.choose(models, self.chosen.fmri.glm)
            for name in ("hrf", "fraction", "pool", "reliability"):
                getattr(everywhere, name)[good] = getattr(found, name)
        for name in ("hrf", "fraction", "pool", "reliability"):
            out.array(name, getattr(everywhere, name))
        return {"n_components": found.n_components if len(good) else 0}


@dataclass(frozen=True, eq=False)
class Estimates(Bold):
    """Betas and t values of a session's trials.

    Parameters
    ----------
    kept : Path or None
        The session's staged `Signals`; None: they are read again.
    choices : Path or None
        The staged `Chosen`; None: nothing is chosen.
    """

    kept: Path | None = None
    choices: Path | None = None

    def write(self, out: store.Writer) -> Mapping[str, Any]:
        """Writes ``beta``, ``t``, ``tsnr``, ``autocorrelation`` and ``flags``; a run's lie in memory at a time."""
        read, n_features = self.read(), self.space.n_features
        shape = (sum(len(run.events.onset_s) for run in read), n_features)
        beta, t = (out.bulk(name, shape, np.float32) for name in ("beta", "t"))
        choices = Choices.none(n_features) if self.choices is None else read_choices(self.choices)
        tsnr, rho, dof, flags = [], [], [], np.zeros(n_features, dtype=np.uint8)
        for run, (signal, snr, bad) in zip(read, self._percent(read), strict=True):
            model = bids_fmri.model_run(run, signal, self.chosen.fmri.high_pass_hz)
            found = bids_fmri.estimated(run, model, choices, self.chosen.fmri)
            beta.append(found.beta)
            t.append(found.t)
            tsnr.append(snr)
            rho.append(found.autocorrelation)
            dof.append(found.dof)
            flags[bad] = 1
        out.array("tsnr", np.stack(tsnr))
        out.array("autocorrelation", np.stack(rho))
        out.array("flags", flags)
        return {"dof": dof}

    def _percent(self, read: Sequence[BoldRun]) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        if self.kept is None:
            for run in read:
                yield bids_fmri.percent(run, self.space, self.chosen.fmri)
            return
        stored = store.Stored(self.kept)
        bad = stored.array("flags") > 0
        for signal, tsnr in zip(
            _signals(self.kept, self.space.n_features), stored.array("tsnr"), strict=True
        ):
            yield signal, tsnr, bad


@dataclass(frozen=True, eq=False)
class Epochs(staging.Task):
    """A session's EEG, MEG or iEEG, filtered and cut.

    Parameters
    ----------
    root : Path
    runs : tuple of BidsFile
    modality : str
    subject : int
    bad : tuple of str
        Channels that any recording of the subject marks as bad.
    chosen : BidsSettings
    """

    root: Path
    runs: tuple[bids.BidsFile, ...]
    modality: str
    subject: int
    bad: tuple[str, ...]
    chosen: BidsSettings

    def write(self, out: store.Writer) -> Mapping[str, Any]:
        """Writes the session's trials as a prepared dataset has them."""
        trials, dropped = bids_meeg.read_trials(
            self.root, self.runs, self.modality, self.subject, self.bad, self.chosen
        )
        return layout.fill_trials(out, trials) | {"dropped": dropped}


class Estimated:
    """The staged estimates of a subject's sessions, one after the other.

    Parameters
    ----------
    paths : sequence of Path
        Of `Estimates`, in the order of acquisition.
    """

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths
        self._stored = [store.Stored(path) for path in paths]

    @cached_property
    def good(self) -> np.ndarray:
        """Voxels that are good in all runs, bool (n_voxels,)."""
        return np.asarray(~np.stack([s.array("flags") for s in self._stored]).any(0))

    @property
    def tsnr(self) -> np.ndarray:
        """(n_runs, n_kept)."""
        return np.concatenate([s.array("tsnr") for s in self._stored])[:, self.good]

    @property
    def noise(self) -> list[tuple[int, float]]:
        """Degrees of freedom and the kept voxels' median autocorrelation, a run each."""
        dof = [n for s in self._stored for n in s.attributes["dof"]]
        rho = np.concatenate([s.array("autocorrelation") for s in self._stored])[:, self.good]
        return list(zip(dof, np.median(rho, axis=1).tolist(), strict=True))

    def rows(self, name: str) -> staging.Staged:
        """``"beta"`` or ``"t"`` of the kept voxels, read on demand."""
        rows = staging.Staged(self._paths, name)
        rows.members = self.good
        return rows


def decisive(settings: BidsSettings, modality: str, **further: Any) -> dict[str, Any]:
    """What decides, beside raw files, how a session of this modality is read: JSON values."""
    said = config.to_json(settings)
    kind = "fmri" if modality == "fmri" else "meeg"
    return {"version": __version__} | {name: said[name] for name in (*READ, kind)} | further


def place_hash(space: Place) -> str:
    """Which voxels or vertices there are, as one hash."""
    about, arrays = spaces.to_arrays(space)
    return store.content_hash(space=about, **arrays)


def read_choices(path: Path) -> Choices:
    """What `Chosen` wrote."""
    stored = store.Stored(path)
    hrf, fraction, pool, reliability = (stored.array(n) for n in ("hrf", "fraction", "pool", "reliability"))
    return Choices(hrf, fraction, pool, stored.attributes["n_components"], reliability)


def choices_hash(path: Path) -> str:
    """What was chosen, as one hash."""
    c = read_choices(path)
    return store.content_hash(n=c.n_components, hrf=c.hrf, fraction=c.fraction, pool=c.pool)


def joined_epochs(paths: Sequence[Path], firsts: Sequence[bids.BidsFile]) -> tuple[Trials, list[int]]:
    """The trials of a subject's sessions as one, still read on demand, and how many events each run lost.

    Parameters
    ----------
    paths : sequence of Path
        Of `Epochs`, in the order of acquisition.
    firsts : sequence of BidsFile
        A recording of each, to name it.

    Raises
    ------
    DataFileError
        If sessions have other channels or another rate.
    """
    parts = [layout.read_trials(path) for path in paths]
    first = parts[0]
    for part, file in zip(parts, firsts, strict=True):
        there, other = (checks.of_type("space", t.space, SensorSpace) for t in (first, part))
        bids_meeg.alike(file, other, part.sfreq or 0.0, there, first.sfreq or 0.0)
    names = [n for n in first.table if all(n in part.table for part in parts)]
    table = {n: np.concatenate([part.table[n] for part in parts]) for n in names}
    table["repeat"] = repeats(table["stimulus_id"].tolist())
    table["acquisition_order"] = np.arange(len(table["stimulus_id"]))
    rows = JoinedRows([part.responses for part in parts])
    dropped = [n for path in paths for n in store.Stored(path).attributes["dropped"]]
    return (
        Trials(
            rows,
            Table(table),
            first.space,
            first.units,
            first.subject,
            first.modality,
            first.sfreq,
            first.tmin,
        ),
        dropped,
    )


def _signals(path: Path, n_features: int) -> list[np.ndarray]:
    """The signals of a staged session, float32 (n_voxels, n_times) each, memory-mapped after one check of their sha256.

    Mapped, as a model reads voxels that lie apart, again and again.
    """
    stored = store.Stored(path)
    rows = stored.rows("signal")
    for start in range(0, len(rows), rows.block_rows):
        rows[start : start + rows.block_rows]
    offset, _ = rows.placed()
    flat = np.memmap(path, dtype=rows.dtype, mode="r", offset=offset, shape=rows.shape)
    lengths = [n * n_features for n in stored.attributes["n_times"]]
    stops = np.cumsum(lengths).tolist()
    return [flat[stop - n : stop].reshape(n_features, -1) for stop, n in zip(stops, lengths, strict=True)]
