"""Miniatures of Alice: FieldTrip structs or BrainVision files, word times and the table of the story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from braindec import seeding
from braindec.data import speech_miniature
from braindec.data.catalogue import Truth

SFREQ = 500.0
N_FILES, GAP_S, LEAD_S = 3, 4.0, 6.0
LABELS = [str(i) for i in range(1, 62) if i != 29] + ["VEOG", "AUD"]
EPOCH = (-150, 500)  # samples of the authors' epochs from the word
STEP_UV = 0.1  # of a BrainVision count
HEADER = (
    "Word,Segment,onset,offset,Order,LogFreq,LogFreq_Prev,LogFreq_Next,SndPower,Length,Position,Sentence,IsLexical,"
    "NGRAM,RNN,CFG"
)


def synthetic(
    raw: str | Path, *, seed: int, subjects: tuple[int, ...], container: str, seconds: float
) -> Truth:
    """See prepare.py."""
    raw = Path(raw)
    (raw / "audio").mkdir(parents=True, exist_ok=True)
    story = _story(seeding.numpy_generator(seed, "brennan2019", "story"), seconds)
    _write_story(raw / "AliceChapterOne-EEG.csv", story)
    eeg, onsets = {}, {}
    for number, subject in enumerate(subjects):
        rng = seeding.numpy_generator(seed, "brennan2019", subject)
        n_times = round((LEAD_S + N_FILES * (seconds + GAP_S) + 3) * SFREQ)
        lag = rng.uniform(0, 0.8, N_FILES)  # the sound files begin at times of their own
        heard = [w for w in story if number == 0 or w["order"] % 7]
        starts = {w["order"]: round((_begin(w["file"], seconds, lag) + w["onset"]) * SFREQ) for w in heard}
        onsets[subject] = {order: sample / SFREQ for order, sample in starts.items()}
        x = speech_miniature.waves(rng, len(LABELS), n_times, SFREQ, 40.0)
        folder = raw / ("proc" if container == "mat" else "timelock-preprocessing")
        folder.mkdir(exist_ok=True)
        _write_times(folder / f"S{subject:02d}.mat", heard, starts)
        write = _write_mat if container == "mat" else _write_vhdr
        eeg[subject] = 1e-6 * write(raw / f"S{subject:02d}.{container}", x)[:60]
    return Truth({}, {}, {"eeg": eeg, "onsets": onsets, "words": {w["order"]: w for w in story}})


def _begin(file: int, seconds: float, lag: np.ndarray) -> float:
    return LEAD_S + (file - 1) * (seconds + GAP_S) + float(lag[file - 1])


def _story(rng: np.random.Generator, seconds: float) -> list[dict[str, Any]]:
    words: list[dict[str, Any]] = []
    sentence = 1
    for file in range(1, N_FILES + 1):
        said = speech_miniature.spoken(rng, seconds)
        for i, word in enumerate(said.word):
            words.append(
                {
                    "word": word, "file": file, "onset": float(said.onset_s[i]), "offset": float(said.offset_s[i]),
                    "order": len(words) + 1, "position": int(said.index[i]) + 1,
                    "sentence": sentence + int(said.sentence[i]), "frequency": round(float(rng.uniform(0, 16)), 3),
                }
            )  # fmt: skip
        sentence = words[-1]["sentence"] + 1
    return words


def _write_story(path: Path, story: list[dict[str, Any]]) -> None:
    lines = [HEADER]
    for w in story:
        lines.append(
            f"{w['word']},{w['file']},{w['onset']},{w['offset']},{w['order']},{w['frequency']},0,0,0.01,"
            f"{len(w['word'])},{w['position']},{w['sentence']},{w['order'] % 2},1.5,1.5,1.5"
        )
    path.write_text("\n".join(lines) + "\n")


def _write_times(path: Path, heard: list[dict[str, Any]], starts: dict[int, int]) -> None:
    """proc.trl: a row a word, samples from 1."""
    rows = []
    for w in heard:
        begin = starts[w["order"]] + 1
        rows.append([begin + EPOCH[0], begin + EPOCH[1], EPOCH[0], w["file"], w["onset"], w["order"]])
    trl = np.array(rows, dtype=np.float64)
    cells = np.empty((1, 3), dtype=object)
    cells[0] = ["segment", "tmin", "Order"]
    proc = {
        "subject": path.stem, "trl": trl, "varnames": cells, "tot_trials": float(len(heard)), "tot_chans": 61.0,
        "impedence": {"bads": np.empty((0, 0), object)}, "rejections": {"badchans": np.empty((0, 0), object)},
    }  # fmt: skip
    savemat(path, {"proc": proc})


def _cells(texts: list[str]) -> np.ndarray:
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells


def _write_mat(path: Path, x: np.ndarray) -> np.ndarray:
    n_channels, n_times = x.shape
    trial, time = np.empty((1, 1), dtype=object), np.empty((1, 1), dtype=object)
    trial[0, 0], time[0, 0] = x, np.arange(n_times)[None] / SFREQ
    header = {
        "Fs": SFREQ, "nChans": float(n_channels), "nSamples": float(n_times), "nSamplesPre": 0.0, "nTrials": 1.0,
        "label": _cells(LABELS), "chantype": _cells(["eeg"] * n_channels), "chanunit": _cells(["uV"] * n_channels),
    }  # fmt: skip
    raw = {
        "hdr": header, "label": _cells(LABELS), "time": time, "trial": trial, "fsample": SFREQ,
        "sampleinfo": np.array([[1.0, n_times]]),
    }  # fmt: skip
    savemat(path, {"raw": raw}, do_compression=True)
    return x


def _write_vhdr(path: Path, x: np.ndarray) -> np.ndarray:
    """The header, the markers, and samples as whole numbers of 0.1 microvolt, channel by channel at each time."""
    counts = np.round(x / STEP_UV).astype("<i2")
    path.with_suffix(".eeg").write_bytes(counts.T.tobytes())
    channels = "\n".join(f"Ch{i + 1}={name},,{STEP_UV},µV" for i, name in enumerate(LABELS))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(LABELS)}\nSamplingInterval={1e6 / SFREQ:g}\n\n[Binary Infos]\nBinaryFormat=INT_16\n\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0\n",
        encoding="utf-8",
    )
    return counts * STEP_UV
