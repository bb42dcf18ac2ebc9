"""fMRIPrep derivatives to single-trial betas and t values: one design per run holds everything that is modelled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import bids, bids_bold, bids_confounds, bids_events, glm_choices, glm_design
from braindec.data.bids_bold import Place
from braindec.data.bids_confounds import confounds
from braindec.data.bids_events import Events
from braindec.data.bids_settings import BidsSettings, FmriSettings
from braindec.data.glm import Estimates
from braindec.data.glm_choices import Choices, Run
from braindec.data.tables import repeats
from braindec.types import Table, VertexSpace

SAME_T_R = 1e-3  # s
SEEN = 0.1  # a trial is estimated if its expected response reaches this share of its peak in a volume that is kept
RESPONSE_S = 12.0  # framewise displacement of a trial is the mean over this time from its onset


@dataclass(frozen=True, eq=False)
class BoldRun:
    """A run of BOLD with all that is known of it but the signal.

    Parameters
    ----------
    file : BidsFile
        The preprocessed BOLD image.
    events : Events
    t_r, start_s : float
        Seconds a volume, and from the first volume's start to the time that its values stand for (slice timing).
    n_times : int
    confounds : float array, shape (n_times, n_columns)
        Motion and anatomical components.
    fd_mm : float array, shape (n_times,)
        Framewise displacement; 0 for the first volume.
    censored : bool array, shape (n_times,)
    """

    file: bids.BidsFile
    events: Events
    t_r: float
    start_s: float
    n_times: int
    confounds: np.ndarray
    fd_mm: np.ndarray
    censored: np.ndarray

    @property
    def times_s(self) -> np.ndarray:
        """When each volume was taken."""
        return self.start_s + self.t_r * np.arange(self.n_times)

    def nuisance(self, high_pass_hz: float) -> np.ndarray:
        """Drift, confounds, censored volumes and events that are no trials: (n_times, n_columns)."""
        others = [
            glm_design.responses(onset, duration, self.times_s).sum(1)
            for onset, duration in self.events.others.values()
        ]
        return np.concatenate(
            [
                glm_design.drift(self.times_s, high_pass_hz),
                glm_design.standardised(self.confounds),
                glm_design.spikes(self.censored),
                *(o[:, None] for o in others),
            ],
            axis=1,
        )


def bold_files(root: Path, label: str, settings: BidsSettings) -> list[bids.BidsFile]:
    """The preprocessed BOLD images of a subject in the chosen task and space; empty without derivatives.

    Of surfaces the left files, each of which stands for both. They are read where their space is chosen, or where there
    is no volume.

    Raises
    ------
    ConfigError
        If there are several spaces and none is chosen.
    """
    derived = derivatives(root, settings.fmri)
    if not derived.is_dir():
        return []
    every = bids.files(derived, label, "func")
    found = [
        f
        for f in every
        if f.suffix == "bold" and f.extension in (".nii.gz", ".nii") and f.entities.get("desc") == "preproc"
    ]
    if settings.fmri.space is not None or not found:
        found += [f for f in every if bids_bold.on_surface(f)]
    spaces = sorted({f.entities.get("space", "") for f in found})
    if settings.fmri.space is not None and found:
        checks.one_of("fmri.space", settings.fmri.space, spaces)
        found = [f for f in found if f.entities.get("space", "") == settings.fmri.space]
    elif len(spaces) > 1:
        raise checks.ConfigError(f"{derived} holds the spaces {spaces}: choose one with --set fmri.space=...")
    return bids.of_task(found, settings.task, derived) if found else []


def derivatives(root: Path, settings: FmriSettings) -> Path:
    """Where fMRIPrep's output lies."""
    return root / settings.derivatives  # an absolute path stays itself


def read_runs(root: Path, files: Sequence[bids.BidsFile], settings: BidsSettings) -> list[BoldRun]:
    """Everything but the signals of a subject's runs, checked.

    Raises
    ------
    DataFileError
        If events, sidecar, confounds and image of a run contradict each other.
    """
    return [_read_run(root, file, settings) for file in files]


def files_of(root: Path, run: bids.BidsFile, settings: FmriSettings) -> tuple[Path, ...]:
    """Every file there is that decides what is made of a run: images, sidecars, confounds, events, mask."""
    confound = bids_confounds.derived(run, "desc-confounds_timeseries", ".tsv", spaceless=True)
    own = bids_confounds.derived(run, "desc-brain_mask")
    mask = () if bids_bold.on_surface(run) else (own if settings.mask is None else root / settings.mask,)
    events = bids.of_recording(root, run, "events", ".tsv")
    every = (*bids_bold.images(run), *_sidecars(root, run), confound, *events, *mask)
    return tuple(path for path in every if path.is_file())


def percent(run: BoldRun, space: Place, settings: FmriSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A run's signal in percent of each voxel's mean, temporal SNR, and which voxels are bad.

    Returns
    -------
    signal : float32 array, shape (n_voxels, n_times)
        0 where a voxel is bad.
    tsnr : float32 array, shape (n_voxels,)
        Mean over standard deviation in time of the volumes that are not censored, nothing removed.
    bad : bool array, shape (n_voxels,)
        NaN, constant or without a positive mean.

    Raises
    ------
    DataFileError
        If voxels are bad and the policy is to refuse.
    """
    values = bids_bold.series(run.file, space)
    kept = values[:, ~run.censored].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean, sd = kept.mean(1), kept.std(1)
        finite = np.isfinite(values).all(1)
        bad = ~finite | ~(mean > 0) | ~(sd > 1e-6 * np.abs(mean))
        signal = (100.0 * (values / mean[:, None] - 1.0)).astype(np.float32)
        tsnr = (mean / sd).astype(np.float32)
    if bad.any() and settings.bad_voxels == "refuse":
        raise checks.DataFileError(run.file.path, *_bad_voxels(finite, mean, bad, space))
    signal[bad], tsnr[bad] = 0.0, 0.0
    return signal, tsnr, bad


def model_run(run: BoldRun, signal: Any, high_pass_hz: float) -> Run:
    """The run as the single-trial model sees it."""
    events = run.events
    return Run(
        signal,
        events.onset_s,
        events.duration_s,
        events.stimulus_id,
        run.times_s,
        run.nuisance(high_pass_hz),
    )


def estimated(run: BoldRun, model: Run, choices: Choices, settings: FmriSettings) -> Estimates:
    """Betas and t values of a run's trials.

    Raises
    ------
    DataFileError
        If the run's model cannot tell its trials apart, or leaves no noise to judge by.
    """
    try:
        return glm_choices.estimate(model, choices, settings.glm)
    except ValueError as error:
        way_out = "Censor less, model fewer confounds, or --set bad_events=drop."
        raise checks.DataFileError(run.events.path, f"cannot be estimated: {error}", way_out) from error


def said_of(
    runs: Sequence[BoldRun], tsnr: np.ndarray, noise: Sequence[tuple[int, float]], high_pass_hz: float
) -> dict[str, Any]:
    """What dataset.json says of a subject's runs; events whose responses the drift takes away are warned of.

    Parameters
    ----------
    runs : sequence of BoldRun
    tsnr : array, shape (n_runs, n_voxels)
    noise : sequence of (dof, autocorrelation)
        Degrees of freedom and the voxels' median, a run each.
    high_pass_hz : float
        Of the drift that was modelled.
    """
    shares = [_drift_share(run, high_pass_hz) for run in runs]
    worst = int(np.argmax(shares))
    lasts = float(np.median(runs[worst].events.duration_s))
    said = glm_design.slow_events(runs[worst].file.path.name, shares[worst], lasts, high_pass_hz)
    if said is not None:
        warnings.warn(f"{said}: --set fmri.high_pass_hz=0.002.", stacklevel=2)
    return {
        "dof": [dof for dof, _ in noise],
        "autocorrelation_median": [round(rho, 3) for _, rho in noise],
        "censored": [int(r.censored.sum()) for r in runs],
        "volumes": [r.n_times for r in runs],
        "t_r_s": runs[0].t_r,
        "fd_mm_mean": [round(float(r.fd_mm.mean()), 4) for r in runs],
        "tsnr_median": [round(float(np.median(v)), 2) for v in tsnr],
        "drift_share_median": [round(share, 4) for share in shares],
        "events_dropped": [r.events.dropped for r in runs],
        "other_events": sorted({name for r in runs for name in r.events.others}),
    }


def _drift_share(run: BoldRun, high_pass_hz: float) -> float:
    """Median over a run's trials of what the drift explains of their expected response."""
    expected = glm_design.responses(run.events.onset_s, run.events.duration_s, run.times_s)
    return float(np.median(glm_design.drift_share(expected, glm_design.drift(run.times_s, high_pass_hz))))


def trial_table(runs: Sequence[BoldRun], tsnr: np.ndarray) -> Table:
    """The trials of a subject's runs; `tsnr` is (n_runs, n_voxels)."""
    shared = [n for n in runs[0].events.columns if all(n in r.events.columns for r in runs)]
    parts: dict[str, list[np.ndarray]] = {}
    for run, snr in zip(runs, tsnr, strict=True):
        events, n = run.events, len(run.events.onset_s)
        window = (run.times_s[None] >= events.onset_s[:, None]) & (
            run.times_s[None] < events.onset_s[:, None] + RESPONSE_S
        )
        columns = {
            "stimulus_id": events.stimulus_id,
            "session": np.full(n, run.file.session),
            "run": np.full(n, run.file.run),
            "onset_s": events.onset_s,
            "duration_s": events.duration_s,
            "run_position": np.arange(n),
            "fd_mm": (window * run.fd_mm).sum(1) / np.maximum(window.sum(1), 1),
            "censored_share": (window * run.censored).sum(1) / np.maximum(window.sum(1), 1),
            "run_tsnr": np.full(n, float(np.median(snr))),
            **{name: events.columns[name] for name in shared},
        }
        for name, column in columns.items():
            parts.setdefault(name, []).append(column)
    table = {name: np.concatenate(column) for name, column in parts.items()}
    table["repeat"] = repeats(table["stimulus_id"].tolist())
    table["acquisition_order"] = np.arange(len(table["onset_s"]))
    table["exchangeability_block"] = np.char.add(np.char.add(table["session"], "/"), table["run"])
    return Table(table)


def _read_run(root: Path, file: bids.BidsFile, settings: BidsSettings) -> BoldRun:
    sidecars = _sidecars(root, file)
    about = bids.metadata(sidecars)
    n_times, header = bids_bold.header(file, settings.fmri)
    t_r = _t_r(header, file, about, sidecars, settings.fmri)
    fd, columns, unsteady = confounds(file, n_times, settings.fmri)
    censored = unsteady | (fd > settings.fmri.fd_mm if settings.fmri.fd_mm is not None else False)
    if censored.mean() > settings.fmri.max_censored:
        found = (
            f"has {int(censored.sum())} of {n_times} volumes above {settings.fmri.fd_mm} mm of displacement"
        )
        raise checks.DataFileError(
            file.path, found, "Remove the run, or raise --set fmri.fd_mm=.. or --set fmri.max_censored=.."
        )
    events = bids_events.read(bids.of_recording(root, file, "events", ".tsv"), file.path, settings)
    run = BoldRun(file, events, t_r, _start(about, sidecars), n_times, columns, fd, censored)
    length = n_times * t_r
    inside = (events.onset_s >= 0) & (events.onset_s < length)
    events = bids_events.within(
        events, inside, f"the run's {n_times} volumes of {t_r:g} s", settings.bad_events
    )
    seen = glm_design.responses(events.onset_s, events.duration_s, run.times_s)[~censored].max(0) > SEEN
    span = f"what was recorded and not censored of {length:g} s"
    return replace(run, events=bids_events.within(events, seen, span, settings.bad_events))


def _t_r(
    header: float | None,
    file: bids.BidsFile,
    about: dict[str, Any],
    sidecars: list[Path],
    settings: FmriSettings,
) -> float:
    """Seconds a volume, where header, sidecar and setting agree."""
    if settings.t_r is not None:
        return settings.t_r
    said = about.get("RepetitionTime")
    number = float(said) if isinstance(said, int | float) else None
    if header is None:
        if number is None or not 0.05 <= number <= 60:
            found = f"has no sidecar that says its RepetitionTime in seconds (found {said!r})"
            raise checks.DataFileError(file.path, found, "Add it, or say --set fmri.t_r=SECONDS.")
        return number
    if said is not None and (number is None or abs(number - header) > SAME_T_R):
        found = f"says RepetitionTime {said} but the header of {file.path.name} says {header:g} s"
        raise checks.DataFileError(
            sidecars[-1], found, "Correct the wrong one, or say --set fmri.t_r=SECONDS."
        )
    return header


def _start(about: dict[str, Any], sidecars: list[Path]) -> float:
    """Seconds from a volume's start to the time that its values stand for."""
    said = about.get("StartTime", 0.0)
    if not isinstance(said, int | float) or not 0 <= said <= 60:
        raise checks.DataFileError(
            sidecars[-1], f"says StartTime {said!r}, expected seconds", "Correct the sidecar."
        )
    return float(said)


def _sidecars(root: Path, file: bids.BidsFile) -> list[Path]:
    """Those of the recording, the most general first, and the derivative's own."""
    path = file.path.with_name(file.path.name.removesuffix(file.extension) + ".json")
    return [*bids.of_recording(root, file, "bold", ".json"), *([path] if path.is_file() else [])]


def _bad_voxels(finite: np.ndarray, mean: np.ndarray, wrong: np.ndarray, space: Place) -> tuple[str, str]:
    n_nan = int((~finite).sum())
    n_low = int((finite & ~(mean > 0)).sum())
    n_constant = int(wrong.sum()) - n_nan - n_low
    found = (
        f"holds {int(wrong.sum())} bad of {len(wrong)} {bids_bold.words(space)} ({n_nan} with NaN, {n_constant} "
        f"constant, {n_low} without a positive mean)"
    )
    if isinstance(space, VertexSpace):
        return found, "Check the surfaces, or --set fmri.bad_voxels=drop."
    return found, "Use a tighter mask (--set fmri.mask=PATH), or --set fmri.bad_voxels=drop."
