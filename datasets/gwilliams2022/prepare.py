"""MEG-MASC: KIT recordings of 27 people who heard four stories twice, to segments of speech."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from braindec import checks
from braindec.data import download, large, public, text_tables
from braindec.data.catalogue import Truth
from braindec.data.kit import open_kit
from braindec.data.speech import Windows
from braindec.data.speech_dataset import ResampledChoice, whole
from braindec.data.speech_runs import Run
from braindec.types import Table

HERE = Path(__file__).resolve().parent
SUBJECTS = tuple(range(1, 28))
SESSIONS, TASKS = ("0", "1"), ("0", "1", "2", "3")
PROJECTS = ("ag3kj", "h2tzn", "u5327", "dr4wy")  # OSF splits the files over these
N_CHANNELS = 208
COLUMNS = ("onset", "duration", "trial_type")
WORD = {  # what is taken of a word's dictionary
    "word": str, "start": float, "sound": str, "story": str, "word_index": float, "sequence_id": float,
    "condition": str,
}  # fmt: skip
OPTIONAL = {"word_index": -1.0, "sequence_id": -1.0, "condition": "unknown"}
SOUND = re.compile(r"stimuli/audio/\w+_\d+\.wav")
FILE = re.compile(r"sub-(?P<subject>\d+)_ses-(?P<session>\d+)_task-(?P<task>\d+)_meg\.con")
AGAIN = "Download the file again from https://osf.io/ag3kj."


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """Downloads the four OSF projects that hold the dataset, each as one zip to unpack into `raw`.

    OSF deals subjects out to projects as space allowed, so that `subjects` is only checked.
    """
    public.asked(subjects, SUBJECTS)
    urls = {f"{p}.zip": f"https://files.osf.io/v1/resources/{p}/providers/osfstorage/?zip=" for p in PROJECTS}
    return download.fetch_unlisted(urls, raw, dry_run=dry_run)


@public.preparing(ResampledChoice, "sub-*/ses-*/meg/*_meg.con", "download", "bids_anonym")
def prepare(raw: Path, subjects: public.Subjects, choice: ResampledChoice) -> large.Whole:
    """Reads recordings and their events, and cuts 3 s segments of speech."""
    recordings = _recordings(raw)
    files = {s: recordings.get(s, {}) for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, raw, "sub-{}/ses-*/meg/*_meg.con")
    said = list(missing)
    for subject, own in chosen.items():
        lacking = [f"ses-{s} task-{t}" for s in SESSIONS for t in TASKS if (s, t) not in own]
        said += [f"sub-{subject:02d}: no recording of {', '.join(lacking)}"] if lacking else []
    runs = {s: [_run(path, *key) for key, path in sorted(own.items())] for s, own in chosen.items()}
    return whole(
        "gwilliams2022", "CC0 1.0 (recordings); the stories are of the Manually Annotated Sub-Corpus",
        "https://osf.io/ag3kj; doi:10.1038/s41597-023-02752-5", raw, runs,
        Windows(sfreq=choice.sfreq, every_word=choice.every_word), modality="meg", units="T", missing=said,
        notes={"transductive": "nothing; recordings were only low-passed and resampled"},
        bad_channels=choice.bad_channels, keep_sound=choice.keep_sound,
    )  # fmt: skip


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1,),
    tasks: tuple[str, ...] = ("0", "1"),
    n_channels: int = 6,
    seconds: float = 70.0,
    noise: float | None = None,
) -> Truth:
    """A small dataset in its own containers: KIT recordings of 1000 Hz, 32 bits, and events with dictionaries.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
        Each with two sessions.
    tasks : tuple of str
        Stories.
    n_channels : int
        Sensors; the recordings hold two reference and two trigger channels besides.
    seconds : float
        Of each story.
    noise : float, optional
        Sounds are written, and recordings respond to how loud they are in six bands, each of 1 pT; noise of so many
        pT is added. None: no sound, and waves alone.

    Returns
    -------
    Truth
        `details["signals"]` by (subject, session, task): (n_channels, n_times) tesla as written.
    """
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"](
        raw,
        seed=seed,
        subjects=tuple(subjects),
        tasks=tasks,
        n_channels=n_channels,
        seconds=seconds,
        noise=noise,
    )
    return made


def _recordings(raw: Path) -> dict[int, dict[tuple[str, str], Path]]:
    """Paths by subject, then by session and task."""
    found: dict[int, dict[tuple[str, str], Path]] = {}
    for path in sorted(raw.glob("sub-*/ses-*/meg/*_meg.con")):
        named = FILE.fullmatch(path.name)
        if (
            named is None
            or f"sub-{named['subject']}" != path.parts[-4]
            or f"ses-{named['session']}" != path.parts[-3]
        ):
            way_out = (
                "Keep the folders as they are distributed: sub-01/ses-0/meg/sub-01_ses-0_task-0_meg.con."
            )
            raise checks.DataFileError(path, "lies in the folder of another subject or session", way_out)
        subject = checks.one_of("subject", int(named["subject"]), SUBJECTS)
        found.setdefault(subject, {})[named["session"], named["task"]] = path
    return found


def _run(path: Path, session: str, task: str) -> Run:
    events = path.with_name(path.name.replace("_meg.con", "_events.tsv"))
    checks.existing_file(events, "Every recording has its events beside it. " + AGAIN)
    header = open_kit(path)
    words = _words(events)
    return Run(
        path, (path, events), session, f"{session}/{task}", header.sfreq, header.n_times, header.space, words,
        header.load,
    )  # fmt: skip


def _words(path: Path) -> Table:
    """The words of an events file; each row's trial_type is a dictionary written as text."""
    rows = text_tables.rows(path, COLUMNS, delimiter="\t", way_out=AGAIN)
    columns: dict[str, list[Any]] = {}
    for number, row in enumerate(rows, start=2):
        said = _dictionary(path, number, row["trial_type"])
        if said.get("kind") != "word":
            continue
        values = {key: _value(path, number, said, key) for key in WORD}
        values["wav"] = _sound(path, number, values.pop("sound"))
        values["wav_onset_s"] = values.pop("start")
        values["onset_s"] = text_tables.seconds(path, number, row, "onset", way_out=AGAIN)
        values["duration_s"] = text_tables.seconds(path, number, row, "duration", way_out=AGAIN)
        for key, value in values.items():
            columns.setdefault(key, []).append(value)
    if not columns:
        raise checks.DataFileError(path, "holds no event of the kind 'word'", AGAIN)
    return Table(columns)


def _dictionary(path: Path, number: int, text: str | None) -> dict[str, Any]:
    try:
        said = ast.literal_eval(re.sub(r"\bnan\b(?=\s*[,}])", "None", text or ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        said = None
    if not isinstance(said, dict):
        found = f"line {number}: trial_type is {str(text)[:60]!r}, expected a dictionary"
        raise checks.DataFileError(path, found, AGAIN)
    return said


def _value(path: Path, number: int, said: dict[str, Any], key: str) -> Any:
    value = said.get(key)
    if value is None and key in OPTIONAL:
        return OPTIONAL[key]
    if WORD[key] is float and isinstance(value, int | float):
        return float(value)
    if WORD[key] is str and isinstance(value, str):
        return value
    found = f"line {number}: the word's {key!r} is {value!r}, expected {WORD[key].__name__}; it has {sorted(said)}"
    raise checks.DataFileError(path, found, AGAIN)


def _sound(path: Path, number: int, name: str) -> str:
    """The file's path below the raw folder; events say stimuli/audio/LW1_0.0.wav of stimuli/audio/lw1_0.wav."""
    wav = re.sub(r"_(\d+)\.0\.wav$", r"_\1.wav", name.lower())
    if not SOUND.fullmatch(wav):
        found = f"line {number}: the word's 'sound' is {name!r}, expected stimuli/audio/lw1_0.wav or the like"
        raise checks.DataFileError(path, found, AGAIN)
    return wav
