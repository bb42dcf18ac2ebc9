"""A public dataset of people who listened, put together: what every prepare.py of one has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from braindec import checks
from braindec.data import large, sounds, speech, speech_runs
from braindec.data.speech import Segments, Windows
from braindec.data.speech_runs import Run
from braindec.types import Table

PARTS = (
    "windows over sound that is half tested and half trained are in neither part; the media are the sound files named "
    "in the column wav of the stimuli, from wav_start_s for length_s"
)


@dataclass(frozen=True)
class SpeechChoice:
    """What every `prepare` of such a dataset can be asked for.

    Parameters
    ----------
    every_word : bool
        See `braindec.data.speech.Windows`.
    bad_channels : str
        What is done about channels that are constant or hold NaN: ``"refuse"`` or ``"drop"``.
    keep_sound : bool
        Keep the sound of every segment beside the responses, 16 kHz; the sound files must be there.
    """

    every_word: bool = False
    bad_channels: str = "refuse"
    keep_sound: bool = False

    def __post_init__(self) -> None:
        checks.one_of("bad_channels", self.bad_channels, speech_runs.POLICIES)


@dataclass(frozen=True)
class ResampledChoice(SpeechChoice):
    """What `prepare` can be asked for where recordings are resampled.

    Parameters
    ----------
    every_word, bad_channels, keep_sound
        See `SpeechChoice`.
    sfreq : float or None
        Hz after resampling; None keeps the recordings' own. 120: Defossez et al. 2023, doi:10.1038/s42256-023-00714-5.
    """

    sfreq: float | None = 120.0


def whole(
    name: str,
    licence: str,
    source: str,
    raw: Path,
    runs: Mapping[int, Sequence[Run]],
    windows: Windows,
    *,
    modality: str,
    units: str,
    notes: Mapping[str, Any],
    scripts: Mapping[str, Table] | None = None,
    script_files: Sequence[Path] = (),
    missing: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    bad_channels: str = "refuse",
    keep_sound: bool = False,
) -> large.Whole:
    """The dataset about to be prepared.

    Parameters
    ----------
    name, licence, source : str
        As dataset.json names them.
    raw : Path
    runs : mapping of int to sequence of Run
        By subject, in order of acquisition.
    windows : Windows
    modality, units : str
    notes : mapping
        Further entries of dataset.json.
    scripts : mapping of str to Table, optional
        All words of every sound file; None takes those of the recordings.
    script_files : sequence of Path
        Where scripts are read from.
    missing : sequence of str
        What the complete dataset holds and these raw files do not.
    settings : mapping, optional
        Further JSON values that decide what is written.
    bad_channels : str
        ``"refuse"`` or ``"drop"``.
    keep_sound : bool
        See `SpeechChoice`.
    """
    checks.one_of("bad_channels", bad_channels, speech_runs.POLICIES)
    every = [run for subject in runs.values() for run in subject]
    heard = speech.segments(scripts or speech.scripts_of([run.words for run in every]), windows)
    sources, said = [], list(missing)
    for subject, its in runs.items():
        read = partial(
            speech_runs.trials, tuple(its), heard, windows, subject=subject, modality=modality, units=units,
            bad_channels=bad_channels,
        )  # fmt: skip
        files = tuple(dict.fromkeys(path for run in its for path in run.files))
        sources.append(large.Source(f"sub-{subject:02d}_{modality}", files, read, by_session=True))
        said += _outside(subject, its, heard, windows)
    kept = sounds.windows(raw, heard.table) if keep_sound else None
    if kept is not None:
        script_files = [*script_files, *sounds.files(raw, heard.table)]
    selected = "all_unlabelled" if bad_channels == "drop" else "none"
    about: dict[str, Any] = {
        "epochs": {"whitened_on": "none", "ica_fitted_on": "none", "z_scored_on": "none"},
        "features": {"selected_on": selected, "aligned_on": "none"},
        "windows": {
            "tmin_s": windows.tmin, "length_s": windows.length_s, "sfreq_hz": windows.sfreq,
            "every_word": windows.every_word,
        },
        "segments": PARTS,
    }  # fmt: skip
    return large.Whole(
        name=name, licence=licence, source=source, raw=raw, sources=tuple(sources),
        pictures=large.Pictures(heard.ids, heard.table, files=tuple(script_files), sounds=kept), splits=speech.splits,
        notes=about | dict(notes), missing=tuple(said),
        settings={**about["windows"], "bad_channels": bad_channels, "keep_sound": keep_sound, **(settings or {})},
    )  # fmt: skip


def _outside(subject: int, runs: Sequence[Run], heard: Segments, windows: Windows) -> list[str]:
    n = sum(speech_runs.cut(run, heard, windows).n_outside for run in runs)
    said = f"sub-{subject:02d}: {n} windows that reach beyond a recording left out"
    return [said] if n else []
