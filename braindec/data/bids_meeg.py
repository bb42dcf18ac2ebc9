"""EEG, MEG and iEEG recordings of a BIDS folder to epochs: whole recordings are filtered, never epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import bids, bids_events, continuous, meeg, whole
from braindec.data.bids_settings import BidsSettings, MeegSettings
from braindec.data.causal import CausalFilter
from braindec.data.damage import finite, reading
from braindec.data.sensors import positions_of, sensor_space
from braindec.types import Recording, SensorSpace, Table, Trials

KINDS = {"eeg": ("eeg",), "meg": ("mag", "grad"), "ieeg": ("seeg", "ecog")}
BIDS_KINDS = {
    "EEG": "eeg", "MEGMAG": "mag", "MEGGRADAXIAL": "mag", "MEGGRADPLANAR": "grad", "SEEG": "seeg", "ECOG": "ecog",
    "DBS": "dbs",
}  # fmt: skip
METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
UNITS = {"eeg": "V", "meg": "T", "ieeg": "V"}


def recordings(root: Path, label: str, modality: str, settings: BidsSettings) -> list[bids.BidsFile]:
    """The recordings of a subject in the chosen task; the first part only of a recording that was split."""
    found = [
        f
        for f in bids.files(root, label, modality)
        if f.suffix == modality
        and f.extension in bids.EXTENSIONS
        and f.entities.get("split", "01") in ("01", "1")
    ]
    return bids.of_task(found, settings.task, root / f"sub-{label}") if found else []


def files_of(root: Path, file: bids.BidsFile) -> tuple[Path, ...]:
    """Every file that decides what is made of a recording."""
    tables = [
        bids.of_recording(root, file, suffix, ".tsv") for suffix in ("events", "channels", "electrodes")
    ]
    places = bids.of_recording(root, file, "coordsystem", ".json")
    return tuple(dict.fromkeys((*parts(file), *(p for found in tables for p in found), *places)))


def parts(file: bids.BidsFile) -> list[Path]:
    """The files of a recording: BrainVision's header, markers and samples are three, CTF's are those of a folder."""
    found = sorted(file.path.parent.glob(f"{file.path.name.partition('.')[0]}.*"))
    return [
        p for path in found for p in (sorted(path.rglob("*")) if path.is_dir() else [path]) if p.is_file()
    ]


def bad_channels(root: Path, files: Sequence[bids.BidsFile], settings: BidsSettings) -> list[str]:
    """Sorted names of the channels that any of these recordings marks as bad; empty where they are to be kept."""
    if settings.meeg.bad_channels == "keep":
        return []
    return sorted({name for f in files for name in _bad_names(root, f)})


def read_trials(
    root: Path,
    files: Sequence[bids.BidsFile],
    modality: str,
    subject: int,
    bad: Sequence[str],
    settings: BidsSettings,
) -> tuple[Trials, list[int]]:
    """The epochs of recordings of one subject and modality, and how many events of each were dropped.

    Parameters
    ----------
    bad : sequence of str
        Channels that are left out.

    Raises
    ------
    DataFileError
        If a recording is damaged, or contradicts its channels, electrodes or events.
    """
    runs = [_read_run(root, f, modality, subject, set(bad), settings) for f in files]
    first = runs[0][0]
    for file, (recording, _) in zip(files, runs, strict=True):
        alike(file, _sensors(recording), recording.sfreq, _sensors(first), first.sfreq)
    shared = [n for n in first.events if all(n in r.events for r, _ in runs)]
    prepared = [
        _signal(replace(r, events=Table({n: r.events[n] for n in shared})), settings.meeg) for r, _ in runs
    ]
    dropped = [n for _, n in runs]
    if settings.meeg.whole_runs:
        return continuous.tiled(prepared), dropped
    return meeg.cut_epochs(prepared, settings.meeg.tmin, settings.meeg.tmax), dropped


def alike(
    file: bids.BidsFile, space: SensorSpace, sfreq: float, first: SensorSpace, first_sfreq: float
) -> None:
    """Refuses a recording whose channels or rate are not those of the first one."""
    if space.names != first.names or sfreq != first_sfreq:
        said = (
            f"has {len(space.names)} channels at {sfreq:g} Hz, the first run {len(first.names)} at "
            f"{first_sfreq:g}"
        )
        raise checks.DataFileError(file.path, said, "Prepare runs of one set of channels and one rate only.")


def said_of(
    trials: Trials, bad: Sequence[str], dropped: Sequence[int], settings: MeegSettings
) -> dict[str, Any]:
    """What dataset.json says of a subject's recordings."""
    space = checks.of_type("space", trials.space, SensorSpace)
    return {
        "channels": len(space.names),
        "bad_channels": list(bad),
        "sfreq_hz": trials.sfreq,
        "events_dropped": list(dropped),
        "filter": _filter_words(settings),
        "reference": settings.reference,
        "positions_known": int(np.isfinite(space.positions).all(1).sum()),
    }


def epoch_shape(
    root: Path, files: Sequence[bids.BidsFile], modality: str, settings: BidsSettings
) -> tuple[int, int]:
    """(n_channels, n_times) of the epochs, as the first header and the tables of bad channels say."""
    raw = open_raw(files[0].path, truncated=settings.meeg.truncated)
    bad = bad_channels(root, files, settings)
    kept = [n for n in _kinds(root, files[0], raw, modality) if n not in bad]
    rate = float(raw.info["sfreq"]) / settings.meeg.decimate
    if settings.meeg.whole_runs:
        return len(kept), round(continuous.TILE_S * rate)
    start, stop = (round(s * rate) for s in (settings.meeg.tmin, settings.meeg.tmax))
    return len(kept), stop - start + 1


def filtered(recording: Recording, settings: MeegSettings) -> Recording:
    """The whole recording, detrended and filtered as the settings say.

    Parameters
    ----------
    recording : Recording
    settings : MeegSettings
        `causal`: `data.causal.CausalFilter`, what a live decoder sees; else mne's zero-phase FIR.
    """
    import mne
    from scipy.signal import detrend

    x = np.asarray(recording.signal, dtype=np.float64)
    if settings.detrend:
        x = detrend(x, axis=1)
    low, high = settings.high_pass_hz, settings.low_pass_hz
    if settings.causal:
        x = CausalFilter(recording.sfreq, low, high)(x)
    elif low is not None or high is not None:
        x = mne.filter.filter_data(
            x, recording.sfreq, low, high, phase="zero", fir_design="firwin", verbose="error"
        )
    return replace(recording, signal=x.astype(np.float32))


def _signal(recording: Recording, settings: MeegSettings) -> Recording:
    """Referenced, filtered and decimated."""
    if settings.reference == "average":
        x = np.asarray(recording.signal, dtype=np.float64)
        recording = replace(recording, signal=x - x.mean(0))
    out = filtered(recording, settings)
    if settings.decimate == 1:
        return out
    rate = out.sfreq / settings.decimate
    if settings.low_pass_hz is None or settings.low_pass_hz > rate / 3 + 1e-9:
        raise checks.ConfigError(
            f"meeg.decimate={settings.decimate} leaves {rate:g} Hz and needs meeg.low_pass_hz of at most {rate / 3:g}, "
            f"got {settings.low_pass_hz}."
        )
    return replace(out, signal=np.ascontiguousarray(out.signal[:, :: settings.decimate]), sfreq=rate)


def _read_run(
    root: Path, file: bids.BidsFile, modality: str, subject: int, bad: set[str], settings: BidsSettings
) -> tuple[Recording, int]:
    """A run's good channels and events, and how many events were dropped."""
    raw = open_raw(file.path, truncated=settings.meeg.truncated)
    kinds = _kinds(root, file, raw, modality)
    names = tuple(n for n in kinds if n not in bad)
    if not names:
        raise checks.DataFileError(file.path, f"has no good {modality} channel", "Check channels.tsv.")
    with reading(file.path, Exception):  # mne reads the samples now
        signal = raw.get_data(picks=list(names), verbose="error")
        at = positions_of(raw.copy().pick(list(names), verbose="error").info)
    finite(file.path, signal)
    _not_flat(file.path, signal, names)
    sfreq = float(raw.info["sfreq"])
    events = bids_events.read(bids.of_recording(root, file, "events", ".tsv"), file.path, settings)
    fits, span = _fitting(events.onset_s, signal.shape[1], sfreq, settings.meeg)
    events = bids_events.within(events, fits, span, settings.bad_events)
    table = Table(
        {"onset_s": events.onset_s, "duration_s": events.duration_s, "stimulus_id": events.stimulus_id}
        | events.columns
    )
    space = SensorSpace(
        names, _positions(root, file, names, at, modality, settings.meeg), tuple(kinds[n] for n in names)
    )
    return Recording(
        signal, sfreq, UNITS[modality], table, space, subject, file.session, file.run, modality
    ), events.dropped


def _fitting(
    onset_s: np.ndarray, n_times: int, sfreq: float, settings: MeegSettings
) -> tuple[np.ndarray, str]:
    """Which events lie where `cut_epochs` and `tiled` will cut the decimated recording, bool, and that in words."""
    rate, n_kept = sfreq / settings.decimate, -(-n_times // settings.decimate)
    if settings.whole_runs:
        length = round(continuous.TILE_S * rate)
        stretch, n = np.floor(onset_s * rate / length + 1e-9), n_kept // length
        return (stretch >= 0) & (stretch < n), f"the recording's {n} whole stretches of {length / rate:g} s"
    start, stop = (round(s * rate) for s in (settings.tmin, settings.tmax))
    sample = np.round(onset_s * rate)
    span = f"windows of {settings.tmin:g} to {settings.tmax:g} s in the recording's {n_times / sfreq:g} s"
    return (sample + start >= 0) & (sample + stop < n_kept), span


def open_raw(path: Path, *, truncated: bool = False) -> Any:
    """An mne Raw of any container that BIDS allows, not yet loaded.

    Raises
    ------
    DataFileError
        If it cannot be read, or is not as long as its header says (unless `truncated`).
    """
    import mne

    readers: dict[str, Callable[..., Any]] = {
        ".vhdr": mne.io.read_raw_brainvision, ".edf": mne.io.read_raw_edf, ".bdf": mne.io.read_raw_bdf,
        ".set": mne.io.read_raw_eeglab, ".fif": mne.io.read_raw_fif, ".ds": mne.io.read_raw_ctf,
        ".sqd": mne.io.read_raw_kit, ".con": mne.io.read_raw_kit,
    }  # fmt: skip
    if not truncated or path.suffix in (".set", ".fif"):
        whole.check(path)
    read = readers[checks.one_of("container", path.suffix, list(readers))]
    try:
        with reading(path, Exception):  # mne raises bare Exceptions on unknown tags
            return read(path, verbose="error")
    except FileNotFoundError as error:
        found = f"cannot be read: it belongs with {error.filename}, which is not there"
        raise checks.DataFileError(path, found, "Copy the files of a recording together.") from error


def _kinds(root: Path, file: bids.BidsFile, raw: Any, modality: str) -> dict[str, str]:
    """The channels of this modality by name, each with its kind: by channels.tsv where there is one."""
    own = dict(zip(raw.ch_names, raw.get_channel_types(), strict=True))
    paths = bids.of_recording(root, file, "channels", ".tsv")
    if not paths:
        return {n: k for n, k in own.items() if k in KINDS[modality]}
    table = bids.read_tsv(paths[-1])
    names, types = (bids.column(table, c, paths[-1]).tolist() for c in ("name", "type"))
    wanted = {n: BIDS_KINDS[t.upper()] for n, t in zip(names, types, strict=True) if t.upper() in BIDS_KINDS}
    wanted = {n: k if modality != "meg" else own.get(n, k) for n, k in wanted.items() if k in KINDS[modality]}
    absent = [n for n in wanted if n not in own]
    if absent:
        found = f"names {len(absent)} channels that {file.path.name} lacks, first {absent[0]!r}"
        raise checks.DataFileError(
            paths[-1], found, f"The recording has {list(own)[:8]} ...; correct the table."
        )
    return wanted


def _bad_names(root: Path, file: bids.BidsFile) -> list[str]:
    """Channels that channels.tsv marks as bad, or a FIF file's own header."""
    own = list(open_raw(file.path).info["bads"]) if file.extension == ".fif" else []
    paths = bids.of_recording(root, file, "channels", ".tsv")
    if not paths:
        return own
    table = bids.read_tsv(paths[-1])
    names = bids.column(table, "name", paths[-1])
    return own + (names[table["status"] == "bad"].tolist() if "status" in table else [])


def _positions(
    root: Path,
    file: bids.BidsFile,
    names: tuple[str, ...],
    own: np.ndarray,
    modality: str,
    settings: MeegSettings,
) -> np.ndarray:
    """Metres, (n_channels, 3): electrodes.tsv, else the recording, else (EEG) a standard montage by name."""
    paths = bids.of_recording(root, file, "electrodes", ".tsv")
    if modality != "meg" and paths:
        about = bids.metadata(bids.of_recording(root, file, "coordsystem", ".json"))
        prefix = "iEEG" if modality == "ieeg" else "EEG"
        unit = str(about.get(f"{prefix}CoordinateUnits", "m"))
        if unit not in METRES:
            return np.full((len(names), 3), np.nan)  # pixels: positions in a picture, not in a head
        table = bids.read_tsv(paths[-1])
        rows = {n: i for i, n in enumerate(bids.column(table, "name", paths[-1]).tolist())}
        at = np.full((len(names), 3), np.nan)
        for axis, c in enumerate("xyz"):
            known = ~np.isin(bids.column(table, c, paths[-1]), bids.MISSING)
            metres = METRES[unit] * np.where(known, bids.numbers(table, c, paths[-1], missing=0.0), np.nan)
            at[:, axis] = [metres[rows[n]] if n in rows else np.nan for n in names]
        return at
    if np.isfinite(own).any() or modality != "eeg":
        return own
    return sensor_space(names, "eeg", settings.montage).positions


def _not_flat(path: Path, signal: np.ndarray, names: tuple[str, ...]) -> None:
    flat = [n for n, x in zip(names, signal, strict=True) if np.ptp(x) == 0]
    if flat:
        found = f"has {len(flat)} of {len(names)} channels that never change, first {flat[0]!r}"
        raise checks.DataFileError(
            path, found, "Mark them as bad in channels.tsv (status), or as another type."
        )


def _sensors(recording: Recording) -> SensorSpace:
    return checks.of_type("space", recording.space, SensorSpace)


def _filter_words(settings: MeegSettings) -> str:
    words = ["linear detrend"] if settings.detrend else []
    if settings.high_pass_hz is not None or settings.low_pass_hz is not None:
        band = f"{settings.high_pass_hz or 0:g} to {settings.low_pass_hz or 'Nyquist'} Hz"
        words += [band, "causal Butterworth, order 4" if settings.causal else "zero-phase FIR (mne, firwin)"]
    return f"{', '.join(words)}, over the whole recording" if words else "none"
