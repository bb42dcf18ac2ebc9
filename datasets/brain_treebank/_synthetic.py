"""A miniature of Brain Treebank: a film with words, seen with a pause, and sines that differ between electrodes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from braindec import seeding
from braindec.data.catalogue import Truth
from braindec.data.speech_miniature import Spoken, spoken, waves

SFREQ, FILM = 2048.0, "ant-man"
LEAD_S, PAUSE_S, TRIGGER_S, TAIL_S = 5.0, 7.5, 0.5, 4.0
PEAK = 60.0
UNTIMED = 4  # the place of a word without a time


def synthetic(raw: Path, seed: int, subjects: tuple[int, ...], n_electrodes: int, seconds: float) -> Truth:
    """See prepare.py."""
    said = spoken(seeding.numpy_generator(seed, "brain_treebank", "film"), seconds)
    _write_transcript(raw / "transcripts" / FILM / "features.csv", said)
    signal, onset = {}, {}
    corrupted = {}
    for subject in subjects:
        rng = seeding.numpy_generator(seed, "brain_treebank", subject)
        pause = float(rng.uniform(0.3, 0.6) * seconds)
        names = [f"T1aIb{i + 1}" for i in range(n_electrodes)]
        _write_tables(raw, subject, names, rng)
        corrupted[f"sub_{subject}"] = ["F3b#9"]
        # The triggers' clock of the film stands still while the recording goes on.
        at = np.sort(np.concatenate([np.arange(0, seconds, TRIGGER_S), [pause, pause, seconds]]))
        later = np.concatenate([[False], at[1:] == at[:-1]]) | (at > pause)
        index = np.round((LEAD_S + at + PAUSE_S * later) * SFREQ).astype(int)
        _write_timings(raw / "subject_timings" / f"sub_{subject}_trial000_timings.csv", at, index)
        n_times = int((LEAD_S + seconds + PAUSE_S + TAIL_S) * SFREQ)
        x = waves(rng, n_electrodes, n_times, SFREQ, PEAK).astype(np.float32)
        _write_h5(raw / f"sub_{subject}_trial000.h5", x, rng)
        signal[subject] = x
        onset[subject] = LEAD_S + said.onset_s + PAUSE_S * (said.onset_s >= pause)
    (raw / "corrupted_elec.json").write_text(json.dumps(corrupted))
    return Truth({}, {}, {"signal": signal, "onset_s": onset, "words": said.word, "film_s": said.onset_s})


def _write_transcript(path: Path, said: Spoken) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",text,start,end,is_onset,word_diff"]
    for i, word in enumerate(said.word):
        times = "," if i == UNTIMED else f"{said.onset_s[i]:.3f},{said.offset_s[i]:.3f}"
        lines.append(f"{i},{word},{times},{int(said.index[i] == 0)},")
    path.write_text("\n".join(lines) + "\n")


def _write_timings(path: Path, at: np.ndarray, index: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["type,movie_time,index"]
    lines += [f"trigger,{t:.6f},{i}" for t, i in zip(at.tolist(), index.tolist(), strict=True)]
    path.write_text("\n".join(lines) + "\n")


def _write_tables(raw: Path, subject: int, names: list[str], rng: np.random.Generator) -> None:
    labels = raw / "electrode_labels" / f"sub_{subject}" / "electrode_labels.json"
    located = raw / "localization" / f"sub_{subject}" / "depth-wm.csv"
    about = raw / "subject_metadata" / f"sub_{subject}_trial000_metadata.json"
    for path in (labels, located, about):
        path.parent.mkdir(parents=True, exist_ok=True)
    # A corrupted one and a trigger lie among the sound ones; some names are marked.
    labels.write_text(json.dumps([f"*{names[0]}", "F3b9", *names[1:], "DC10"]))
    rows = ["ID,Electrode,L,P,I,DesikanKilliany"]
    for i, name in enumerate(names[:-1]):  # the last one is not located
        place = ",".join(f"{v:.2f}" for v in rng.uniform(50, 200, 3))
        rows.append(f"{i},{name},{place},{'ctx-lh-superiortemporal' if i % 2 else 'ctx-lh-insula'}")
    located.write_text("\n".join(rows) + "\n")
    about.write_text(json.dumps({"title": "Ant-Man", "filename": FILM}))


def _write_h5(path: Path, x: np.ndarray, rng: np.random.Generator) -> None:
    bad = rng.standard_normal((2, x.shape[1])).astype(np.float32)
    rows = [x[0], bad[0], *x[1:], bad[1]]
    with h5py.File(path, "w") as file:
        for i, row in enumerate(rows):
            file.create_dataset(f"data/electrode_{i}", data=row)
