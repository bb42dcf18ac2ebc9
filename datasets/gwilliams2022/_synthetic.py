"""Miniatures of MEG-MASC: KIT recordings written byte by byte, and events whose trial_type is a dictionary."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from braindec import seeding
from braindec.data import speech_miniature
from braindec.data.catalogue import Truth

STORIES = {"0": "lw1", "1": "cable_spool_fort", "2": "easy_money", "3": "The_Black_Willow"}
SFREQ = 1000.0
LEAD_S = 4.0  # of silence before the first sound
GAP_S = 2.5  # between sound files
ADC_RANGE, ADC_BITS, GAIN = 20.0, 24, 1.0e-9  # V, bits, T/V
STEP_T = ADC_RANGE / 2**ADC_BITS * GAIN  # tesla of one count
AXIAL_GRADIOMETER, REFERENCE_MAGNETOMETER, TRIGGER = 2, 0x101, -1
N_REFERENCE, N_TRIGGER = 2, 2
N_BANDS = 6  # of sound that a recording responds to
STEADY = 25  # samples that noise stays the same for
N_ENTRIES = 29  # of the directory; entries that readers know are set


def synthetic(
    raw: str | Path,
    *,
    seed: int,
    subjects: tuple[int, ...],
    tasks: tuple[str, ...],
    n_channels: int,
    seconds: float,
    noise: float | None,
) -> Truth:
    """See prepare.py."""
    raw = Path(raw)
    signals, spoken, heard = {}, {}, {}
    for task in tasks:
        rng = seeding.numpy_generator(seed, "gwilliams2022", "story", task)
        spoken[task], parts = _story(rng, task, seconds)
        heard[task] = None if noise is None else _loudness(raw, rng, task, parts, seconds)
    for subject in subjects:
        own = seeding.numpy_generator(seed, "gwilliams2022", subject, "mixing")
        mixing = own.standard_normal((n_channels, N_BANDS))
        for session in ("0", "1"):
            for task in tasks:
                generator = seeding.numpy_generator(seed, "gwilliams2022", subject, session, task)
                folder = raw / f"sub-{subject:02d}" / f"ses-{session}" / "meg"
                stem = f"sub-{subject:02d}_ses-{session}_task-{task}"
                folder.mkdir(parents=True, exist_ok=True)
                n_times = round(_duration(seconds) * SFREQ)
                loud = heard[task]
                if noise is None or loud is None:
                    planted = speech_miniature.waves(generator, n_channels, n_times, SFREQ, 1e-12)
                else:
                    planted = 1e-12 * speech_miniature.evoked(loud, mixing, n_times, SFREQ)
                    rough = generator.standard_normal((n_channels, n_times // STEADY + 1))
                    planted += noise * 1e-12 * rough.repeat(STEADY, axis=1)[:, :n_times]
                counts = np.round(planted / STEP_T).astype(np.int32)
                write_kit(folder / f"{stem}_meg.con", counts)
                _write_events(folder / f"{stem}_events.tsv", task, spoken[task])
                signals[subject, session, task] = counts * STEP_T
    participants = "\n".join(["participant_id", *(f"sub-{s:02d}" for s in subjects)]) + "\n"
    (raw / "participants.tsv").write_text(participants)
    return Truth({}, {}, {"signals": signals, "words": spoken})


def _story(
    rng: np.random.Generator, task: str, seconds: float
) -> tuple[list[dict[str, Any]], list[speech_miniature.Spoken]]:
    """Words of two sound files, half of the story each, with their onset in the recording and in the file; and each
    file's own.
    """
    said, parts = [], []
    for part in (0, 1):
        begins = _begin(part, seconds)
        spoken = speech_miniature.spoken(rng, seconds / 2)
        parts.append(spoken)
        said += [
            {
                "word": spoken.word[i], "start": float(on), "onset": round(begins + float(on), 3), "part": part,
                "duration": round(float(off - on), 3), "sound": f"stimuli/audio/{STORIES[task]}_{part}.0.wav",
                "index": int(index), "sentence": int(sentence),
            }
            for i, (on, off, index, sentence) in enumerate(
                zip(spoken.onset_s, spoken.offset_s, spoken.index, spoken.sentence, strict=True)
            )
        ]  # fmt: skip
    return said, parts


def _duration(seconds: float) -> float:
    return LEAD_S + seconds + 2 * GAP_S + 3


def _begin(part: int, seconds: float) -> float:
    return LEAD_S + part * (seconds / 2 + GAP_S)


def _loudness(
    raw: Path, rng: np.random.Generator, task: str, parts: list[speech_miniature.Spoken], seconds: float
) -> np.ndarray:
    """Writes the two sound files of a story; how loud it is in bands during a recording."""
    begun = []
    for part, said in enumerate(parts):
        samples = speech_miniature.sound(rng, said, seconds / 2)
        folder = raw / "stimuli" / "audio"
        speech_miniature.write_sound(folder / f"{STORIES[task].lower()}_{part}.wav", samples)
        begun.append((_begin(part, seconds), samples))
    return speech_miniature.loudness(begun, _duration(seconds), N_BANDS)


def _write_events(path: Path, task: str, said: list[dict[str, Any]]) -> None:
    """Sounds, words and a phoneme of each word, as mne_bids wrote them."""
    rows, part = ["onset\tduration\ttrial_type\tvalue\tsample"], -1
    for w in said:
        common = {"story": STORIES[task].lower(), "story_uid": float(task), "sound_id": float(w["part"])}
        where = {"sound": w["sound"], "sequence_id": float(w["sentence"])}
        events = []
        if w["part"] != part:
            part = w["part"]
            events.append((w["onset"] - w["start"], 35.0, common | {"kind": "sound", "start": 0.0} | where))
        start = {"start": w["start"], "word_index": float(w["index"]), "condition": "sentence"}
        events.append(
            (w["onset"], w["duration"], common | {"kind": "word", "word": w["word"]} | start | where)
        )
        phoneme = {"kind": "phoneme", "phoneme": "t_B", "phoneme_id": 0.0}
        events.append((w["onset"], 0.08, common | phoneme | start | where))
        rows += [f"{on:.3f}\t{length}\t{about!r}\t1\t{round(on * SFREQ)}" for on, length, about in events]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8-sig")


def write_kit(path: Path, counts: np.ndarray) -> None:
    """A continuous recording of format V3R000 with these counts of the axial gradiometers.

    Parameters
    ----------
    path : Path
    counts : int32 array, shape (n_channels, n_times)
        `STEP_T` tesla each; reference and trigger channels after them are flat and small.
    """
    n_channels, n_times = counts.shape
    types = [AXIAL_GRADIOMETER] * n_channels + [REFERENCE_MAGNETOMETER] * N_REFERENCE + [TRIGGER] * N_TRIGGER
    n_all = len(types)
    blocks = {
        1: (_system(n_all), 1),
        4: (b"".join(_channel(kind, i) for i, kind in enumerate(types)), n_all),
        5: (np.tile([0.0, GAIN], n_all).astype("<f8").tobytes(), n_all),
        7: (struct.pack("<i", 0), 1),
        8: (struct.pack("<idii", 1, SFREQ, 0, n_times), 1),
        9: (_samples(counts, n_all), n_times * n_all),
    }
    offset = 16 * N_ENTRIES
    directory = [struct.pack("<Iiii", 0, 16, N_ENTRIES, N_ENTRIES)]
    body = b""
    for entry in range(1, N_ENTRIES):
        content, count = blocks.get(entry, (b"", 0))
        size = len(content) // count if count else 0
        directory.append(struct.pack("<Iiii", offset + len(body), size, count, count))
        body += content
    path.write_bytes(b"".join(directory) + body)


def _system(n_all: int) -> bytes:
    """Format version, system (NYU, 442), names, channels, converter; the flux-locked loop is of type 100."""
    head = (
        struct.pack("<iii", 3, 0, 442)
        + b"NYUAD 208ch System".ljust(128, b"\0")
        + b"EQ1208C".ljust(128, b"\0")
    )
    head += (
        struct.pack("<i", n_all) + b"".ljust(256, b"\0") + struct.pack("<ii", 1_400_000_000, 1_400_000_000)
    )
    head += struct.pack("<3i", 0, 0, 0) + struct.pack("<i3i", 0, 0, 0, 0)  # reserved; dewar style, spare
    head += struct.pack("<i3i", 100, 0, 0, 0) + struct.pack("<i3i", 0, 0, 0, 0)  # loop; trigger
    head += struct.pack("<i29i", 0, *[0] * 29) + struct.pack("<d", ADC_RANGE)  # converter board, reserved
    return head + struct.pack("<iii", 1, 32, ADC_BITS)


def _channel(kind: int, i: int) -> bytes:
    """One entry of 80 bytes: kind, then place (m) and direction (degrees) of a sensor, or number and name."""
    if kind == TRIGGER:
        return (struct.pack("<iii", kind, i, 0) + b"TRIGGER".ljust(32, b"\0")).ljust(80, b"\0")
    theta, phi = 20.0 + 7 * i, 50.0 * i
    a, b = np.radians([theta, phi]).tolist()
    x, y, z = (0.1 * np.array([np.sin(a) * np.cos(b), np.sin(a) * np.sin(b), np.cos(a)])).tolist()
    return struct.pack("<i5d", kind, x, y, z, theta, phi).ljust(80, b"\0")


def _samples(counts: np.ndarray, n_all: int) -> bytes:
    every = np.zeros((counts.shape[1], n_all), dtype="<i4")
    every[:, : len(counts)] = counts.T
    return every.tobytes()
