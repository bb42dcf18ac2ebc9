"""Natural speech of Broderick et al.: MATLAB files of 19 people's EEG to segments of an audio book."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from scipy.io import savemat, whosmat

from braindec import checks, seeding
from braindec.data import large, mat5, public, speech_miniature
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.sensors import sensor_space
from braindec.data.speech import Windows
from braindec.data.speech_dataset import SpeechChoice, whole
from braindec.data.speech_runs import Run
from braindec.types import Table

SUBJECTS = tuple(range(1, 20))
N_RUNS, N_CHANNELS, SFREQ = 20, 128, 128.0
NAMES = tuple(f"{bank}{i}" for bank in "ABCD" for i in range(1, 33))  # BioSemi's order
FILE = re.compile(r"Subject(\d+)_Run(\d+)\.mat")
REFERENCES = ("mastoids", "none")
SECONDS_BEYOND = 2.0  # a word may end this long after the recording, which is cut with the sound


@dataclass(frozen=True)
class Choice(SpeechChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    reference : str
        ``"mastoids"`` subtracts their mean; ``"none"`` leaves the recording as it is.
    every_word, bad_channels, keep_sound
        See `braindec.data.speech_dataset.SpeechChoice`.
    """

    reference: str = "mastoids"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("reference", self.reference, REFERENCES)


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The paths of the recordings; Dryad gives no fixed addresses to programs, so missing ones are named."""
    folder, numbers = raw / "Natural Speech", range(1, N_RUNS + 1)
    paths = [folder / "EEG" / f"Subject{s}" / f"Subject{s}_Run{r}.mat" for s in subjects for r in numbers]
    paths += [folder / "Stimuli" / "Text" / f"Run{r}.mat" for r in numbers]
    return paths, (
        "Download 'Natural Speech.zip' in a browser from https://datadryad.org/stash/dataset/doi:10.5061/dryad.070jc "
        "and unpack it there."
    )


@public.preparing(Choice, "EEG/Subject*/Subject*_Run*.mat", "Natural Speech")
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads recordings and word times, and cuts 3 s segments of speech at 128 Hz."""
    recordings = _recordings(raw)
    files = {s: recordings.get(s, {}) for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, raw, "EEG/Subject{}/*.mat")
    said = list(missing)
    for s, own in chosen.items():
        lacking = [str(r) for r in range(1, N_RUNS + 1) if r not in own]
        said += [f"sub-{s:02d}: no recording of run {', '.join(lacking)}"] if lacking else []
    words = {r: _words(raw, r) for r in sorted({r for own in chosen.values() for r in own})}
    runs = {
        s: [_run(path, r, words[r], choice.reference) for r, path in sorted(own.items())]
        for s, own in chosen.items()
    }
    return whole(
        "broderick2019", "CC0 1.0", "https://doi.org/10.5061/dryad.070jc; doi:10.1016/j.cub.2018.01.080", raw, runs,
        Windows(every_word=choice.every_word), modality="eeg", units="uV", missing=said,
        notes={
            "transductive": "nothing; recordings were filtered and brought to 128 Hz by the authors, without labels",
            "reference": choice.reference,
        },
        settings={"reference": choice.reference}, bad_channels=choice.bad_channels,
        keep_sound=choice.keep_sound,
    )  # fmt: skip


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 2),
    n_runs: int = 2,
    seconds: float = 40.0,
) -> Truth:
    """Runs of 128 channels in MATLAB files of version 5, and the words of each.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    n_runs : int
    seconds : float
        Of each run.

    Returns
    -------
    Truth
        `details["eeg"]` and `details["mastoids"]` by (subject, run): (n_times, n_channels) as written;
        `details["words"]` by run.
    """
    raw = Path(raw) / "Natural Speech"
    n_times = round(seconds * SFREQ)
    eeg, mastoids, words = {}, {}, {}
    for run in range(1, n_runs + 1):
        rng = seeding.numpy_generator(seed, "broderick2019", "run", run)
        words[run] = speech_miniature.spoken(rng, seconds)
        _write_words(raw / "Stimuli", run, words[run], rng, n_times)
        for subject in subjects:
            mine = seeding.numpy_generator(seed, "broderick2019", subject, run)
            eeg[subject, run] = speech_miniature.waves(mine, N_CHANNELS, n_times, SFREQ, 30.0).T.astype(
                np.float32
            )
            mastoids[subject, run] = speech_miniature.waves(mine, 2, n_times, SFREQ, 5.0).T.astype(np.float32)
            path = raw / "EEG" / f"Subject{subject}" / f"Subject{subject}_Run{run}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            held = {
                "eegData": eeg[subject, run],
                "mastoids": mastoids[subject, run],
                "fs": np.array([[128]], np.uint8),
            }
            savemat(path, held, do_compression=True)
    return Truth({}, {}, {"eeg": eeg, "mastoids": mastoids, "words": words})


def _recordings(raw: Path) -> dict[int, dict[int, Path]]:
    found: dict[int, dict[int, Path]] = {}
    for path in sorted(raw.glob("EEG/Subject*/Subject*_Run*.mat")):
        named = FILE.fullmatch(path.name)
        if named is None or path.parent.name != f"Subject{named[1]}" or not 1 <= int(named[2]) <= N_RUNS:
            way_out = "Keep the folders as they are distributed: EEG/Subject1/Subject1_Run1.mat."
            raise checks.DataFileError(
                path, "lies in the folder of another subject, or is no run of 1 to 20", way_out
            )
        found.setdefault(checks.one_of("subject", int(named[1]), SUBJECTS), {})[int(named[2])] = path
    return found


def _words(raw: Path, run: int) -> tuple[Table, tuple[Path, ...]]:
    """The words of a run, and the files that say them."""
    path = raw / "Stimuli" / "Text" / f"Run{run}.mat"
    held = mat5.load(path, ("wordVec", "onset_time", "offset_time"), optional=("sentence_boundaries",))
    word = mat5.texts(path, "wordVec", held["wordVec"])
    onset = mat5.numbers(path, "onset_time", held["onset_time"], (len(word),))
    offset = mat5.numbers(path, "offset_time", held["offset_time"], (len(word),))
    if not (
        np.isfinite(onset).all() and (offset >= onset).all() and (np.diff(onset) >= 0).all() and onset[0] >= 0
    ):
        found = "has word times that are no seconds in ascending order, each offset after its onset"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    borders = np.sort(np.ravel(np.asarray(held.get("sentence_boundaries", []), dtype=np.float64)))
    sequence = np.searchsorted(borders, onset + 1e-3, side="right")
    _, first = np.unique(sequence, return_index=True)
    index = np.arange(len(word)) - first[np.searchsorted(first, np.arange(len(word)), side="right") - 1]
    table = Table(
        {
            "onset_s": onset, "duration_s": offset - onset, "word": np.array(word, dtype=str),
            "wav": np.full(len(word), f"audio/audio{run}.wav"), "wav_onset_s": onset, "sequence_id": sequence,
            "word_index": index,
        }
    )  # fmt: skip
    return table, (path,)


def _run(path: Path, run: int, said: tuple[Table, tuple[Path, ...]], reference: str) -> Run:
    """A recording by the shapes of its variables; its samples are read whole when they are asked for."""
    with reading(path):
        shapes = {name: shape for name, shape, _ in whosmat(path)}
    lacking = [n for n in ("eegData", "mastoids", "fs") if n not in shapes]
    if lacking:
        raise checks.DataFileError(path, f"lacks {lacking}; it has {sorted(shapes)}", COPY_AGAIN)
    n_times = shapes["eegData"][0]
    for name, n in (("eegData", N_CHANNELS), ("mastoids", 2)):
        if shapes[name] != (n_times, n):
            found = f"holds {name!r} of shape {shapes[name]}, expected {(n_times, n)} (time, channel)"
            raise checks.DataFileError(path, found, COPY_AGAIN)
    words, files = said
    last = float(words["onset_s"][-1])
    if last > n_times / SFREQ + SECONDS_BEYOND:
        found = f"lasts {n_times / SFREQ:.1f} s but {files[0].name} has a word at {last:.1f} s"
        raise checks.DataFileError(
            path, found, "Get the recording and its words again; one belongs to another run."
        )
    space = sensor_space(NAMES, "eeg", "biosemi128")
    load = partial(_load, path, reference)
    return Run(path, (path, *files), "1", str(run), SFREQ, n_times, space, words, load)


def _load(path: Path, reference: str, positions: np.ndarray) -> np.ndarray:
    return _signal(path, path.stat().st_mtime_ns, reference)[positions]


@lru_cache(maxsize=1)
def _signal(path: Path, stamp: int, reference: str) -> np.ndarray:
    """Microvolts, float64 (128, n_times); kept until another file, or a changed one, is asked for."""
    held = mat5.load(path, ("eegData", "mastoids", "fs"))
    rate = mat5.numbers(path, "fs", held["fs"], ())
    if float(rate) != SFREQ:
        raise checks.DataFileError(path, f"holds fs = {float(rate):g}, expected {SFREQ:g} Hz", COPY_AGAIN)
    x = mat5.numbers(path, "eegData", held["eegData"], (None, N_CHANNELS))
    if reference == "mastoids":
        x = x - mat5.numbers(path, "mastoids", held["mastoids"], (len(x), 2)).mean(1, keepdims=True)
    return np.ascontiguousarray(x.T)


def _write_words(
    folder: Path, run: int, said: speech_miniature.Spoken, rng: np.random.Generator, n_times: int
) -> None:
    for name in ("Text", "Envelopes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cells = np.empty((len(said.word), 1), dtype=object)
    cells[:, 0] = said.word
    ends = said.offset_s[np.append(np.diff(said.sentence) > 0, True)]
    held = {
        "wordVec": cells, "onset_time": said.onset_s[:, None], "offset_time": said.offset_s[:, None],
        "sentence_boundaries": ends[None],
    }  # fmt: skip
    savemat(folder / "Text" / f"Run{run}.mat", held)
    envelope = {"env": np.abs(rng.standard_normal((n_times, 1))), "fsEnv": np.array([[128.0]])}
    savemat(folder / "Envelopes" / f"audio{run}_128Hz.mat", envelope)
