"""Alice: FieldTrip or BrainVision recordings of 49 people's EEG to segments of the story's first chapter."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from braindec import checks
from braindec.data import large, mat5, public, text_tables
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.sensors import sensor_space
from braindec.data.speech import Windows
from braindec.data.speech_dataset import ResampledChoice, whole
from braindec.data.speech_runs import Run
from braindec.types import Table

HERE = Path(__file__).resolve().parent
SUBJECTS = tuple(range(1, 50))
LEFT_OUT = (2, 24, 26, 27, 30, 32, 34, 35, 36)
NO_TIMES = (28, 29, 31, 33, 46, 47, 49)
N_WORDS, RECORDED_HZ = 2129, 500.0
NAMES = tuple(str(i) for i in range(1, 62) if i != 29)
STORY = "AliceChapterOne-EEG.csv"
TIMES = ("proc", "timelock-preprocessing")  # v1, v2
COLUMNS = {
    "onset": "onset_s", "offset": "offset_s", "LogFreq": "log_frequency", "Position": "word_index",
    "Sentence": "sequence_id", "IsLexical": "lexical", "Segment": "segment", "Order": "order",
}  # fmt: skip
TRL = ("first", "last", "offset", "segment", "tmin", "order")
TOLERANCE_S = 0.02
CONTAINERS = ("mat", "vhdr")


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """The paths of the second release; Deep Blue Data gives files through Globus alone, so missing ones are named."""
    raw = Path(raw)
    usual = [s for s in SUBJECTS if s not in LEFT_OUT + NO_TIMES]
    chosen = usual if subjects is None else public.asked(subjects, SUBJECTS)
    paths = [raw / f"S{s:02d}.{suffix}" for s in chosen for suffix in ("vhdr", "eeg", "vmrk")]
    paths += [raw / TIMES[1] / f"S{s:02d}.mat" for s in chosen] + [raw / STORY]
    where = (
        "Transfer them with Globus from https://deepblue.lib.umich.edu/data/concern/data_sets/bn999738r and unpack "
        "proc.zip there."
    )
    return public.all_there(paths, where, dry_run)


@public.preparing(ResampledChoice, STORY, "download")
def prepare(raw: Path, subjects: public.Subjects, choice: ResampledChoice) -> large.Whole:
    """Reads recordings and word times, and cuts 3 s segments of speech; None prepares those of the paper with files."""
    story = _story(raw / STORY)
    recordings = _recordings(raw)
    usual = [s for s in SUBJECTS if subjects is not None or s not in LEFT_OUT]
    files = {s: recordings.get(s) if s in usual else None for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, raw, "recording S{} with its word times")
    said, runs = list(missing), {}
    for s, own in chosen.items():
        run, remarks = _run(own, story)
        runs[s] = [run]
        said += [f"sub-{s:02d}: {remark}" for remark in remarks]
    return whole(
        "brennan2019", "CC BY 4.0", "https://doi.org/10.7302/Z29C6VNH; doi:10.1371/journal.pone.0207741", raw, runs,
        Windows(sfreq=choice.sfreq, every_word=choice.every_word), modality="eeg", units="V", missing=said,
        scripts=_scripts(story), script_files=(raw / STORY,), bad_channels=choice.bad_channels,
        keep_sound=choice.keep_sound,
        notes={"transductive": "nothing; recordings were only low-passed and resampled"},
    )  # fmt: skip


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 3),
    container: str = "mat",
    seconds: float = 30.0,
) -> Truth:
    """Recordings of 62 channels with the word times of a story in three sound files.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
        The second lacks some words.
    container : str
        ``"mat"`` (v1) or ``"vhdr"`` (v2).
    seconds : float
        Of each sound file.

    Returns
    -------
    Truth
        `details["eeg"]` by subject: volt, (60, n_times) as written; `details["onsets"]` by subject: seconds of each
        word in the recording by its Order; `details["words"]` by Order.
    """
    checks.one_of("container", container, CONTAINERS)
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"](
        raw, seed=seed, subjects=tuple(subjects), container=container, seconds=seconds
    )
    return made


def _recordings(raw: Path) -> dict[int, tuple[Path, Path]]:
    """Recording and word times of every subject that has both."""
    found = {}
    for s in SUBJECTS:
        recordings = [
            raw / f"S{s:02d}.{suffix}" for suffix in CONTAINERS if (raw / f"S{s:02d}.{suffix}").is_file()
        ]
        times = [
            raw / folder / f"S{s:02d}.mat" for folder in TIMES if (raw / folder / f"S{s:02d}.mat").is_file()
        ]
        if recordings and times:
            found[s] = recordings[-1], times[-1]
    return found


def _story(path: Path) -> Table:
    """The words of the story by their Order."""
    rows = text_tables.rows(path, ("Word", *COLUMNS))
    with reading(path):
        columns = {name: np.array([float(row[c]) for row in rows]) for c, name in COLUMNS.items()}
    if len(set(columns["order"].tolist())) != len(rows) or not np.isfinite(columns["onset_s"]).all():
        raise checks.DataFileError(path, "names an Order twice, or a word has no onset", COPY_AGAIN)
    whole_numbers = {n: columns[n].astype(np.int64) for n in ("segment", "order")}
    return Table({"word": np.array([row["Word"] for row in rows], dtype=str)} | columns | whole_numbers)


def _scripts(story: Table) -> dict[str, Table]:
    own = Table({n: story[n] for n in story if n not in ("segment", "order", "offset_s")})
    own = own.replace(duration_s=story["offset_s"] - story["onset_s"])
    return {_wav(s): own.take(story["segment"] == s) for s in sorted(set(story["segment"].tolist()))}


def _wav(segment: int) -> str:
    return f"audio/DownTheRabbitHoleFinal_SoundFile{segment}.wav"


def _run(paths: tuple[Path, Path], story: Table) -> tuple[Run, list[str]]:
    """A recording by its header, and remarks on its words."""
    path, times = paths
    rows, sample = _times(times, story)
    words = story.take(rows)
    onset = (sample - 1) / RECORDED_HZ  # MATLAB counts from 1
    remarks = [f"{N_WORDS - len(rows)} of {N_WORDS} words have no time"] if len(rows) < N_WORDS else []
    for segment in sorted(set(words["segment"].tolist())):
        here = words["segment"] == segment
        distance = onset[here] - words["onset_s"][here]
        if np.ptp(distance) > TOLERANCE_S:
            apart = 1000 * np.ptp(distance)
            remarks.append(f"words of sound file {segment} drift by {apart:.0f} ms against the sound")
    n_times, load = _open_mat(path) if path.suffix == ".mat" else _open_vhdr(path)
    if sample.max() > n_times:
        found = f"has {n_times} samples but {times.name} has a word at sample {sample.max():.0f}"
        raise checks.DataFileError(path, found, "Get the recording and its word times again.")
    table = Table(
        {
            "onset_s": onset, "duration_s": words["offset_s"] - words["onset_s"], "wav_onset_s": words["onset_s"],
            "wav": np.array([_wav(s) for s in words["segment"].tolist()], dtype=str),
        }
        | {n: words[n] for n in ("word", "word_index", "sequence_id", "log_frequency", "lexical")}
    )  # fmt: skip
    space = sensor_space(NAMES, "eeg", "easycap-M10")
    files = (path, times) if path.suffix == ".mat" else (path, path.with_suffix(".eeg"), times)
    return Run(path, files, "1", "1", RECORDED_HZ, n_times, space, table, load), remarks


def _times(path: Path, story: Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the story that were heard, and the sample (from 1) at which each word begins."""
    proc = mat5.load(path, ("proc",))["proc"]
    trl = mat5.numbers(path, "proc.trl", mat5.field(path, proc, "trl"), (None, len(TRL)))
    column = dict(zip(TRL, trl.T, strict=True))
    row = {order: i for i, order in enumerate(story["order"].tolist())}
    unknown = [o for o in column["order"].tolist() if o not in row]
    if unknown:
        found = f"names {len(unknown)} words that {STORY} lacks, first of Order {unknown[0]:g}"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    rows = np.array([row[o] for o in column["order"].tolist()], dtype=np.int64)
    if len(set(rows.tolist())) != len(rows) or (story["segment"][rows] != column["segment"]).any():
        found = f"has a word twice, or in another sound file than {STORY} says"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return rows, column["first"] - column["offset"]


def _open_mat(path: Path) -> tuple[int, partial[np.ndarray]]:
    return _mat_signal(path, path.stat().st_mtime_ns).shape[1], partial(_load_mat, path)


def _load_mat(path: Path, positions: np.ndarray) -> np.ndarray:
    return _mat_signal(path, path.stat().st_mtime_ns)[positions]


@lru_cache(maxsize=1)
def _mat_signal(path: Path, stamp: int) -> np.ndarray:
    """Volt, float64 (60, n_times), of a FieldTrip struct; kept until another file, or a changed one, is asked for."""
    raw = mat5.load(path, ("raw",))["raw"]
    rate = float(mat5.numbers(path, "raw.fsample", mat5.field(path, raw, "fsample"), ()))
    units = set(mat5.texts(path, "raw.hdr.chanunit", mat5.field(path, raw, "hdr", "chanunit")))
    labels = mat5.texts(path, "raw.hdr.label", mat5.field(path, raw, "hdr", "label"))
    if rate != RECORDED_HZ or units != {"uV"}:
        found = f"holds {rate:g} Hz in {sorted(units)}, expected {RECORDED_HZ:g} Hz in ['uV']"
        raise checks.DataFileError(path, found, COPY_AGAIN)
    _all_there(path, labels)
    x = mat5.numbers(path, "raw.trial", mat5.field(path, raw, "trial"), (len(labels), None))
    return np.asarray(1e-6 * x[[labels.index(n) for n in NAMES]])


def _open_vhdr(path: Path) -> tuple[int, partial[np.ndarray]]:
    import mne

    with reading(path, Exception):  # mne raises bare Exceptions
        raw = mne.io.read_raw_brainvision(path, verbose="error")
        rate, names, n_times = float(raw.info["sfreq"]), list(raw.ch_names), int(raw.n_times)
    if rate != RECORDED_HZ:
        raise checks.DataFileError(path, f"holds {rate:g} Hz, expected {RECORDED_HZ:g}", COPY_AGAIN)
    _all_there(path, names)
    return n_times, partial(_load_vhdr, path)


def _load_vhdr(path: Path, positions: np.ndarray) -> np.ndarray:
    import mne

    with reading(path, Exception):
        raw = mne.io.read_raw_brainvision(path, verbose="error")
        return np.asarray(raw.get_data(picks=[NAMES[i] for i in positions.tolist()], verbose="error"))


def _all_there(path: Path, names: list[str]) -> None:
    lacking = [n for n in NAMES if n not in names]
    if lacking:
        raise checks.DataFileError(
            path, f"lacks {len(lacking)} of 60 channels, first {lacking[0]!r}", COPY_AGAIN
        )
