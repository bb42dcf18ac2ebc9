"""Miniatures of MOUS: recordings with CTF's channel names as FIF, events, sentences and forced alignments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from braindec import seeding
from braindec.data import speech_miniature
from braindec.data.catalogue import Truth

STEM = "EQ_Ramp_Int2_Int1LPF"


def synthetic(raw: Path, seed: int, subjects: tuple[int, ...], n_sounds: int, n_channels: int) -> Truth:
    """See prepare.py."""
    rng = seeding.numpy_generator(seed, "schoffelen2019")
    numbers = sorted(rng.choice(np.arange(1, 361), n_sounds, replace=False).tolist())
    spoken = {n: speech_miniature.spoken(rng, float(rng.uniform(3.2, 6.8))) for n in numbers}
    (raw / "stimuli").mkdir(parents=True, exist_ok=True)
    lines = [f"{n} {' '.join(said.word)}" for n, said in spoken.items()]
    (raw / "stimuli" / "stimuli.txt").write_text("\n".join(lines) + "\n")
    for n, said in spoken.items():
        _write_grid(raw / "derivatives" / "phonemes" / f"{STEM}{n:03d}.TextGrid", said)
    signals, onsets = {}, {}
    for subject in subjects:
        mine = seeding.numpy_generator(seed, "schoffelen2019", subject)
        folder = raw / f"sub-A{subject}" / "meg"
        folder.mkdir(parents=True, exist_ok=True)
        order = mine.permutation(numbers).tolist()
        onsets[subject] = _write_events(folder / f"sub-A{subject}_task-auditory_events.tsv", order, spoken)
        n_times = round((max(onsets[subject].values()) + 12) * 1200)
        signals[subject] = speech_miniature.waves(mine, n_channels, n_times, 1200.0, 1e-12)
        _write_fif(folder / f"sub-A{subject}_task-auditory_meg.fif", signals[subject])
    return Truth({}, {}, {"signals": signals, "onsets": onsets, "words": spoken})


def _write_events(
    path: Path, order: list[int], spoken: Mapping[int, speech_miniature.Spoken]
) -> dict[int, float]:
    rows, at, onsets = ["onset\tduration\ttype\tvalue\tsample"], 5.0, {}

    def add(onset: float, kind: str, value: str) -> None:
        rows.append(f"{onset:.4f}\tn/a\t{kind}\t{value}\t{round(onset * 1200)}")

    for i, number in enumerate(order):
        if i % 4 == 0:
            add(at - 2.0, "Picture", "WOORDEN" if (i // 4) % 2 else "ZINNEN")
        add(at, "Sound", f"Start File {number:03d}.wav")
        onsets[number] = round(at + 0.01, 4)
        add(onsets[number], "Nothing", "Audio onset")
        end = onsets[number] + float(spoken[number].offset_s[-1]) + 0.3
        add(end, "Nothing", "End of file")
        at = round(end + 1.5, 2)
    path.write_text("\n".join(rows) + "\n")
    return onsets


def _write_grid(path: Path, said: speech_miniature.Spoken) -> None:
    """Two tiers: words and pauses (ORT-MAU), and one segment for each (MAU)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    intervals, last = [], 0.0
    for word, on, off in zip(said.word, said.onset_s.tolist(), said.offset_s.tolist(), strict=True):
        intervals += [(last, on, "")] if on > last else []
        intervals.append((on, off, word))
        last = off
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {last}",
        "item []:",
    ]
    for i, (tier, mapped) in enumerate((("ORT-MAU", False), ("MAU", True)), start=1):
        lines += [
            f"    item [{i}]:",
            '        class = "IntervalTier"',
            f'        name = "{tier}"',
            "        xmin = 0",
        ]
        lines += [f"        xmax = {last}", f"        intervals: size = {len(intervals)}"]
        for k, (start, stop, word) in enumerate(intervals, start=1):
            text = ("a" if word else "<p:>") if mapped else word
            lines += [
                f"        intervals [{k}]:",
                f"            xmin = {start}",
                f"            xmax = {stop}",
            ]
            lines.append(f'            text = "{text}"')
    path.write_text("\n".join(lines) + "\n")


def _write_fif(path: Path, signal: np.ndarray) -> None:
    import mne

    names = [f"MLC{11 + i}-2908" for i in range(len(signal))] + ["BG1-2908"]
    info = mne.create_info(names, 1200.0, ["mag"] * len(signal) + ["ref_meg"], verbose="error")
    held = np.concatenate([signal, np.zeros((1, signal.shape[1]))])
    mne.io.RawArray(held, info, verbose="error").save(path, fmt="double", overwrite=True, verbose="error")
