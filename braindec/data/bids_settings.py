"""What a user may choose when preparing a BIDS folder, each setting with its default and what it is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from braindec import checks
from braindec.data.glm_choices import GlmConfig

Policy = Literal["refuse", "drop"]


@dataclass(frozen=True)
class FmriSettings:
    """fMRIPrep derivatives to single-trial responses.

    Parameters
    ----------
    derivatives : str
        Folder of fMRIPrep's output, absolute or below the BIDS root.
    space : str or None
        E.g. ``"T1w"`` or ``"MNI152NLin2009cAsym"``; None where there is one only.
    mask : str or None
        Own mask (NIfTI, absolute or below the BIDS root): only its voxels are read. None: voxels inside the brain masks
        of all of a subject's runs. It is only ever read.
    values : str
        What the responses are: ``"beta"`` (percent signal change at the peak) or ``"t"``; the maps file has the other.
    glm : GlmConfig
        Method, noise, HRF, components, ridge.
    high_pass_hz : float
        Drift up to this frequency is modelled by cosines.
    motion : int
        6, 12 (with derivatives) or 24 (and squares) motion columns; 0 none.
    n_acompcor : int
        How many anatomical noise components enter the model.
    fd_mm : float or None
        Volumes with more framewise displacement are taken out by a column each; None keeps all.
    max_censored : float
        A run with a larger share of such volumes is refused.
    t_r : float or None
        Seconds a volume; None: as sidecar and header agree.
    bad_voxels : str
        What to do with voxels that are constant, not positive or NaN in a run.
    """

    derivatives: str = "derivatives/fmriprep"
    space: str | None = None
    mask: str | None = None
    values: Literal["beta", "t"] = "beta"
    glm: GlmConfig = field(default_factory=GlmConfig)
    high_pass_hz: float = 1 / 128
    motion: int = 6
    n_acompcor: int = 5
    fd_mm: float | None = 0.5
    max_censored: float = 0.3
    t_r: float | None = None
    bad_voxels: Policy = "refuse"

    def __post_init__(self) -> None:
        checks.one_of("fmri.motion", self.motion, (0, 6, 12, 24))
        checks.in_range("fmri.high_pass_hz", self.high_pass_hz, 0.0, 0.1, unit="Hz")
        checks.at_least("fmri.n_acompcor", self.n_acompcor, 0)


@dataclass(frozen=True)
class MeegSettings:
    """EEG, MEG and iEEG to epochs.

    Parameters
    ----------
    tmin, tmax : float
        Window in seconds from the event.
    high_pass_hz, low_pass_hz : float or None
        Of the filter over the whole recording. A zero-phase high-pass carries a response to before its cause: 14 % of
        the height of a wave of 0.35 s at 1 Hz, 2 % at 0.1 Hz (`tests/datasets/test_bids_meeg.py`). So none is the
        default, and more than 0.1 Hz is refused unless `causal` or `allow_high_pass`.
    causal : bool
        A filter that looks at the past only: for claims about when something begins.
    allow_high_pass : bool
        Accepts a zero-phase high-pass above 0.1 Hz.
    detrend : bool
        Removes each channel's straight line over the recording, which moves no response. Slower waves that remain are
        taken away by a recipe's `Baseline`.
    decimate : int
        Keeps every n-th sample; needs a low-pass of at most a third of the new rate.
    reference : str
        ``"as_recorded"`` or ``"average"`` (of the good channels; the data then have a dimension less than channels).
    bad_channels : str
        ``"drop"`` those that any run marks, or ``"keep"``.
    montage : str or None
        Positions of EEG channels without electrodes.tsv, by name.
    truncated : bool
        Accepts EDF and BDF files that are shorter than their header says.
    whole_runs : bool
        Whole runs in stretches of a second (`data.continuous`), for decoders that answer all the time, in place of
        windows around events; `tmin` and `tmax` then say nothing.
    """

    tmin: float = -0.2
    tmax: float = 0.8
    high_pass_hz: float | None = None
    low_pass_hz: float | None = None
    causal: bool = False
    allow_high_pass: bool = False
    detrend: bool = True
    decimate: int = 1
    reference: Literal["as_recorded", "average"] = "as_recorded"
    bad_channels: Literal["drop", "keep"] = "drop"
    montage: str | None = "standard_1005"
    truncated: bool = False
    whole_runs: bool = False

    def __post_init__(self) -> None:
        checks.at_least("meeg.decimate", self.decimate, 1)
        if self.tmax <= self.tmin:
            raise checks.ConfigError(f"meeg.tmax must lie after meeg.tmin, got {self.tmin} to {self.tmax}.")
        if (self.high_pass_hz or 0) > 0.1 and not (self.causal or self.allow_high_pass):
            raise checks.ConfigError(
                f"meeg.high_pass_hz is {self.high_pass_hz}: a zero-phase high-pass above 0.1 Hz makes responses begin "
                "before their cause. Use 0.1 or none, or --set meeg.causal=true; "
                "--set meeg.allow_high_pass=true where time does not matter."
            )


@dataclass(frozen=True)
class BidsSettings:
    """What to read of a BIDS folder and how.

    Parameters
    ----------
    task : str or None
        None where there is one only.
    modalities : tuple of str
        Of ``fmri``, ``eeg``, ``meg``, ``ieeg``; empty: all that are there.
    stimulus : str or None
        Column of events.tsv that names the stimulus; None: the first of stimulus_id, stim_id, stim_file, trial_type.
    keep : tuple of str
        Values of trial_type that are trials; empty: every event with a stimulus. Other events are modelled (fMRI)
        or left out (M/EEG).
    stimuli : str
        Folder with the pictures that the stimulus column names, absolute or below the BIDS root.
    image_size : int
        Pixels; pictures are cut to a square and scaled.
    bad_events : str
        What to do with events before the first or after the last sample, or whose window or response does not fit.
    split : str
        ``"run"``, ``"session"`` or ``"stimulus"``: what the default split holds out.
    test : tuple of str
        Values of that unit that are tested; empty: the last that every signal has.
    within_run : bool
        Accepts a split by stimulus, whose test trials lie in the runs of training trials.
    fmri : FmriSettings
    meeg : MeegSettings
    """

    task: str | None = None
    modalities: tuple[str, ...] = ()
    stimulus: str | None = None
    keep: tuple[str, ...] = ()
    stimuli: str = "stimuli"
    image_size: int = 224
    bad_events: Policy = "refuse"
    split: Literal["run", "session", "stimulus"] = "run"
    test: tuple[str, ...] = ()
    within_run: bool = False
    fmri: FmriSettings = field(default_factory=FmriSettings)
    meeg: MeegSettings = field(default_factory=MeegSettings)

    def __post_init__(self) -> None:
        for modality in self.modalities:
            checks.one_of("modalities", modality, ("fmri", "eeg", "meg", "ieeg"))
        if self.split == "stimulus" and not self.within_run:
            raise checks.ConfigError(
                "split=stimulus tests trials in the runs that are trained on: neighbouring responses overlap and share "
                "slow noise. Use split=run; or --set within_run=true, where every stimulus has runs of its own."
            )
        if self.split == "stimulus" and self.fmri.glm.chooses:
            raise checks.ConfigError(
                "HRF, components and ridge are chosen on whole training runs: use split=run."
            )
