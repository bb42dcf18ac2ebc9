"""MOUS: CTF recordings of people who heard Dutch sentences and word lists, to segments of speech."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks
from braindec.data import large, public, text_tables
from braindec.data.catalogue import Truth
from braindec.data.ctf import open_ctf
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.speech import Windows
from braindec.data.speech_dataset import ResampledChoice, whole
from braindec.data.speech_runs import Run
from braindec.types import Table

HERE = Path(__file__).resolve().parent
ABSENT = (
    2012, 2018, 2022, 2023, 2026, 2043, 2044, 2045, 2048, 2054, 2060, 2074, 2081, 2082, 2087, 2093, 2100, 2107, 2112,
    2115, 2118, 2123,
)  # fmt: skip
SUBJECTS = tuple(s for s in range(2002, 2126) if s not in ABSENT)
N_SOUNDS = 240
COLUMNS = ("onset", "type", "value")
CONDITIONS = {"ZINNEN": "sentence", "WOORDEN": "word_list"}
ANCHORS = ("fixed", "words")
STEM = "EQ_Ramp_Int2_Int1LPF"
FIXED_S = 3.0
ADDRESS = "https://data.ru.nl/collections/di/dccn/DSC_3011020.09_236"
TASK = re.compile(r"sub-A(\d{4})_task-auditory(?:_run-(\d+))?_meg\.(ds|fif)")
START = re.compile(r"Start File\s+(\d+)\.wav")
INTERVAL = re.compile(r'xmin\s*=\s*([\d.]+)\s+xmax\s*=\s*([\d.]+)\s+text\s*=\s*"((?:[^"]|"")*)"')


@dataclass(frozen=True)
class Choice(ResampledChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    anchors : str
        ``"fixed"`` cuts every 3 s from the beginning of a sound; ``"words"`` needs forced alignments.
    every_word, bad_channels, keep_sound, sfreq
        See `braindec.data.speech_dataset.ResampledChoice`; `every_word` is for ``"words"``.
    """

    anchors: str = "fixed"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("anchors", self.anchors, ANCHORS)
        if self.every_word and self.anchors == "fixed":
            raise checks.ConfigError("every_word needs anchors='words'; fixed windows follow each other.")


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The paths of the recordings; the repository asks for a signed agreement, so missing ones are named."""
    stems = [raw / f"sub-A{s}" / "meg" / f"sub-A{s}_task-auditory" for s in subjects]
    paths = [stem.with_name(f"{stem.name}_{end}") for stem in stems for end in ("meg.ds", "events.tsv")]
    paths.append(raw / "stimuli" / "stimuli.txt")
    return paths, f"Sign the agreement at {ADDRESS} and copy them by WebDAV."


@public.preparing(Choice, "sub-A*/meg/sub-A*_task-auditory*_meg.*", "download")
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> large.Whole:
    """Reads recordings and their events, and cuts 3 s segments of speech; subjects are 2002 .. 2125."""
    sentences = _sentences(raw / "stimuli" / "stimuli.txt")
    recordings = _recordings(raw)
    found = {s: recordings.get(s, []) for s in SUBJECTS}
    chosen, missing = public.there(subjects, found, raw, "sub-A{}/meg/*_task-auditory_meg.ds")
    said = list(missing)
    runs: dict[int, list[Run]] = {}
    compensation: dict[str, int] = {}
    aligned: dict[int, list[tuple[float, float, str]]] = {}
    for s, own in chosen.items():
        runs[s] = []
        n_sounds = 0
        for path, number in own:
            sounds = _sounds(path.with_name(path.name.rsplit("_", 1)[0] + "_events.tsv"), sentences)
            if choice.anchors == "words":
                for n in {sound["number"] for sound in sounds} - set(aligned):
                    aligned[n] = _aligned(raw, n)
            header = open_ctf(path)
            words = _words(sounds, aligned if choice.anchors == "words" else None)
            _inside(path, sounds, header.n_times / header.sfreq)
            files = _files(path)
            runs[s].append(
                Run(path, files, "1", number, header.sfreq, header.n_times, header.space, words, header.load)
            )
            compensation[f"sub-{s}/{number}"] = header.compensation
            n_sounds += len(sounds)
        said += [f"sub-{s}: {N_SOUNDS - n_sounds} of {N_SOUNDS} sounds"] if n_sounds < N_SOUNDS else []
    windows = Windows(0.0 if choice.anchors == "fixed" else -0.5, FIXED_S, choice.sfreq, choice.every_word)
    return whole(
        "schoffelen2019", "RU-DI-HD-1.0 (Donders Repository)",
        f"{ADDRESS}; doi:10.1038/s41597-019-0020-y", raw, runs, windows,
        modality="meg", units="T", missing=said, script_files=(raw / "stimuli" / "stimuli.txt",),
        notes={
            "transductive": "nothing; recordings were only low-passed and resampled", "compensation": compensation,
        },
        settings={"anchors": choice.anchors}, bad_channels=choice.bad_channels,
        keep_sound=choice.keep_sound,
    )  # fmt: skip


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (2002,),
    n_sounds: int = 12,
    n_channels: int = 5,
) -> Truth:
    """Recordings of 1200 Hz with CTF's channel names as FIF (not .ds, which nothing at hand writes), events and texts.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    n_sounds : int
    n_channels : int

    Returns
    -------
    Truth
        `details["signals"]` by subject: tesla, (n_channels, n_times); `details["onsets"]` by subject: seconds of each
        sound by its number; `details["words"]` by number: `speech_miniature.Spoken`.
    """
    made: Truth = runpy.run_path(str(HERE / "_synthetic.py"))["synthetic"](
        Path(raw), seed, tuple(subjects), n_sounds, n_channels
    )
    return made


def _recordings(raw: Path) -> dict[int, list[tuple[Path, str]]]:
    """(recording, run) by subject, in order."""
    found: dict[int, list[tuple[Path, str]]] = {}
    for path in sorted(raw.glob("sub-A*/meg/sub-A*_task-auditory*_meg.*")):
        named = TASK.fullmatch(path.name)
        if named is None:
            continue
        if path.parts[-3] != f"sub-A{named[1]}":
            raise checks.DataFileError(
                path, "lies in the folder of another subject", "Keep the folders as they come."
            )
        subject = checks.one_of("subject", int(named[1]), SUBJECTS)
        found.setdefault(subject, []).append((path, named[2] or "1"))
    return found


def _files(path: Path) -> tuple[Path, ...]:
    """All raw files of a recording: those in a folder .ds, and its events."""
    events = path.with_name(path.name.rsplit("_", 1)[0] + "_events.tsv")
    own = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return (*own, events)


def _sentences(path: Path) -> dict[int, str]:
    """Text by number."""
    checks.existing_file(path, "It is part of the release: stimuli/stimuli.txt.")
    found: dict[int, str] = {}
    with reading(path):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for i, line in enumerate(lines, start=1):
        number, _, text = line.strip().partition(" ")
        if line.strip() and (not number.isdigit() or not text):
            raise checks.DataFileError(
                path, f"line {i} is {line[:40]!r}, expected a number and a text", COPY_AGAIN
            )
        if line.strip():
            found[int(number)] = text.strip()
    return found


def _sounds(path: Path, sentences: Mapping[int, str]) -> list[dict[str, Any]]:
    """Each sound that was played: number, onset_s, end_s, condition, sentence."""
    checks.existing_file(path, "Every recording has its events beside it.")
    rows = text_tables.rows(path, COLUMNS, delimiter="\t")
    sounds: list[dict[str, Any]] = []
    condition = "unknown"
    for line, row in enumerate(rows, start=2):
        value = (row["value"] or "").strip()
        started = START.search(value)
        condition = CONDITIONS.get(value, condition)
        if started:
            number = int(started[1])
            if number not in sentences:
                raise checks.DataFileError(
                    path, f"line {line} plays {number}.wav, which stimuli.txt lacks", COPY_AGAIN
                )
            onset = text_tables.seconds(path, line, row, "onset")
            sounds.append(
                {"number": number, "onset_s": onset, "end_s": np.inf, "condition": condition,
                 "sentence": sentences[number]}
            )  # fmt: skip
        elif sounds and value == "Audio onset":
            sounds[-1]["onset_s"] = text_tables.seconds(path, line, row, "onset")
        elif sounds and "End of file" in value:
            sounds[-1]["end_s"] = text_tables.seconds(path, line, row, "onset")
    endless = [s["number"] for s in sounds if not np.isfinite(s["end_s"])]
    if not sounds or endless:
        found = (
            f"has no end of the sound {endless[0]}.wav" if endless else "plays no sound ('Start File N.wav')"
        )
        raise checks.DataFileError(path, found, COPY_AGAIN)
    return sounds


def _inside(path: Path, sounds: list[dict[str, Any]], seconds: float) -> None:
    beyond = [s for s in sounds if s["onset_s"] > seconds]
    if beyond:
        found = f"lasts {seconds:.1f} s but {len(beyond)} sounds begin later, first at {beyond[0]['onset_s']:.1f} s"
        raise checks.DataFileError(
            path, found, "The recording is cut, or the events are another one's: get both again."
        )


def _words(
    sounds: list[dict[str, Any]], aligned: Mapping[int, list[tuple[float, float, str]]] | None
) -> Table:
    """The words of all sounds, or, without word times, a row every 3 s of each."""
    columns: dict[str, list[Any]] = {
        n: [] for n in ("onset_s", "duration_s", "word", "wav", "wav_onset_s", "condition", "sentence")
    }
    for sound in sounds:
        if aligned is None:
            n = max(1, int((sound["end_s"] - sound["onset_s"]) // FIXED_S))
            said = [(FIXED_S * k, FIXED_S * (k + 1), "n/a") for k in range(n)]
        else:
            said = aligned[sound["number"]]
        for start, stop, word in said:
            values = (
                sound["onset_s"] + start, stop - start, word, f"stimuli/audio_files/{STEM}{sound['number']:03d}.wav",
                start, sound["condition"], sound["sentence"],
            )  # fmt: skip
            for name, value in zip(columns, values, strict=True):
                columns[name].append(value)
    return Table(columns)


def _aligned(raw: Path, number: int) -> list[tuple[float, float, str]]:
    """(start, stop, word) of a sound, from the tier ORT-MAU of its TextGrid."""
    path = raw / "derivatives" / "phonemes" / f"{STEM}{number:03d}.TextGrid"
    checks.existing_file(path, "Word times need forced alignments; without them take anchors='fixed'.")
    with reading(path):
        text = path.read_text(encoding="utf-8")
    tiers = re.split(r"item\s*\[\d+\]:", text)
    tier = next((t for t in tiers if re.search(r'name\s*=\s*"ORT-MAU"', t)), None)
    if tier is None:
        names = re.findall(r'name\s*=\s*"([^"]*)"', text)
        raise checks.DataFileError(path, f"has no tier 'ORT-MAU'; it has {names}", "Align it with MAUS.")
    found = [(float(a), float(b), w.strip()) for a, b, w in INTERVAL.findall(tier)]
    words = [i for i in found if i[2] and i[2] != "<p:>"]
    if not words:
        raise checks.DataFileError(path, "has no word in the tier 'ORT-MAU'", "Align it again.")
    return words
