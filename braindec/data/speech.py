"""Speech that was heard, cut into segments: which windows of which sound file, and which of them are tested."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from braindec import checks
from braindec.data.dataset import NeuralDataset
from braindec.data.splits import Split
from braindec.types import Table

SCRIPT = ("word", "onset_s", "duration_s")  # columns of a script; onset_s in the sound file
BLOCK_S = 30.0  # sound is dealt into parts in stretches of this length
TESTED = 0.2  # share of the stretches
SLACK_S = 1e-6


@dataclass(frozen=True)
class Windows:
    """Which stretches of a recording are trials.

    Parameters
    ----------
    tmin : float
        Seconds from the word that a window is anchored at to its beginning.
    length_s : float
        Seconds, > 0. From -0.5 for 3 s: Defossez et al. 2023, doi:10.1038/s42256-023-00714-5.
    sfreq : float or None
        Hz after resampling of the whole recording; None keeps the rate of the file.
    every_word : bool
        A window at every word, as published: neighbours hold the same sound. Else a window begins at the first word
        that leaves no overlap with the window before.
    """

    tmin: float = -0.5
    length_s: float = 3.0
    sfreq: float | None = None
    every_word: bool = False

    def __post_init__(self) -> None:
        if not self.length_s > 0 or not (self.sfreq is None or self.sfreq > 0):
            raise checks.ConfigError(
                f"length_s and sfreq must be positive, got {self.length_s} s and {self.sfreq} Hz."
            )

    def anchors(self, onset_s: np.ndarray) -> np.ndarray:
        """Positions of the words at which a window is anchored; `onset_s` ascends."""
        if self.every_word:
            return np.arange(len(onset_s))
        kept: list[int] = []
        for i, onset in enumerate(onset_s.tolist()):
            if not kept or onset >= onset_s[kept[-1]] + self.length_s - SLACK_S:
                kept.append(i)
        return np.array(kept, dtype=np.int64)

    def n_times(self, sfreq: float) -> int:
        """Samples of a window at this rate."""
        return round(self.length_s * sfreq)


@dataclass(frozen=True, eq=False)
class Segments:
    """The stimuli: windows of sound files.

    Parameters
    ----------
    ids : tuple of str
        ``"<sound file>_<milliseconds of its word>"``.
    table : Table
        wav (path below the raw folder), wav_start_s (of the window; before the file's beginning it is negative),
        wav_onset_s (of the word), length_s, word (the anchor), words (all that begin in the window) and any columns of
        the script.
    """

    ids: tuple[str, ...]
    table: Table


def segment_id(wav: str, onset_s: float) -> str:
    """``"lw1_0_0012340"``: the same sound has the same id in every recording."""
    return f"{PurePosixPath(wav).stem}_{round(1000 * onset_s):07d}"


def segments(scripts: Mapping[str, Table], windows: Windows) -> Segments:
    """The windows of every sound file.

    Parameters
    ----------
    scripts : mapping of str to Table
        By sound file (path below the raw folder, as text): columns `SCRIPT` and any further ones, a row a word.
    windows : Windows

    Raises
    ------
    ValueError
        If two sound files have one name, so that their segments could not be told apart.
    """
    checks.unique("names of sound files", [PurePosixPath(wav).stem for wav in scripts])
    rows: list[dict[str, object]] = []
    for wav in sorted(scripts):
        rows += _of_file(wav, scripts[wav], windows)
    names = list(rows[0]) if rows else []
    columns = {name: [row[name] for row in rows] for name in names if name != "id"}
    return Segments(tuple(str(row["id"]) for row in rows), Table(columns))


def _of_file(wav: str, script: Table, windows: Windows) -> list[dict[str, object]]:
    _, first = np.unique(np.round(1000 * script["onset_s"]), return_index=True)
    script = script.take(first)  # ascending, one word a millisecond
    onset = script["onset_s"]
    rows = []
    for i in windows.anchors(onset).tolist():
        start = float(onset[i]) + windows.tmin
        heard = (onset >= start - SLACK_S) & (onset < start + windows.length_s - SLACK_S)
        further = {name: script[name][i] for name in script if name not in SCRIPT}
        rows.append(
            {
                "id": segment_id(wav, float(onset[i])), "wav": wav, "wav_start_s": start,
                "wav_onset_s": float(onset[i]), "length_s": windows.length_s, "word": str(script["word"][i]),
                "words": " ".join(script["word"][heard].tolist()),
            }
            | further
        )  # fmt: skip
    return rows


def splits(dataset: NeuralDataset) -> list[Split]:
    """A fifth of the sound in stretches of 30 s is tested; windows that reach into sound of the other part are in none.

    Which stretches depends on the sound file's name and the time in it alone, so that it is the same for every choice
    of subjects. Sound of less than two stretches gives no split.
    """
    table = checks.of_type("table", dataset.stimuli.table, Table)
    heard = {i for trials in dataset.trials.values() for i in trials.table["stimulus_id"].tolist()}
    spans = {
        key: _stretches(wav, start, start + length)
        for key, wav, start, length in zip(
            dataset.stimuli.ids, table["wav"].tolist(), table["wav_start_s"].tolist(), table["length_s"].tolist(),
            strict=True,
        )
        if key in heard
    }  # fmt: skip
    every = sorted({stretch for span in spans.values() for stretch in span}, key=_draw)
    n_tested = sum(_draw(stretch) < TESTED for stretch in every)
    for n in range(max(1, n_tested), len(every)):  # one more where no window fits into those drawn
        parts = _parts(spans, set(every[:n]))
        if all(parts.values()):
            return [Split("default", "stimulus", parts)]
    return []


def _parts(
    spans: Mapping[str, tuple[tuple[str, int], ...]], tested: set[tuple[str, int]]
) -> dict[str, tuple[str, ...]]:
    inside = {key: sum(s in tested for s in span) for key, span in spans.items()}
    return {
        "train": tuple(key for key, n in inside.items() if n == 0),
        "test": tuple(key for key, n in inside.items() if n == len(spans[key])),
    }


def _stretches(wav: str, start_s: float, stop_s: float) -> tuple[tuple[str, int], ...]:
    """The stretches of 30 s that a window touches; what lies before the sound counts as the first one."""
    first = int(max(0.0, start_s) // BLOCK_S)
    last = int(max(0.0, stop_s - SLACK_S) // BLOCK_S)
    return tuple((PurePosixPath(wav).stem, k) for k in range(first, last + 1))


def _draw(stretch: tuple[str, int]) -> float:
    """A number in [0, 1) that only the stretch decides."""
    digest = hashlib.sha256(f"{stretch[0]}:{stretch[1]}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def scripts_of(words: Sequence[Table]) -> dict[str, Table]:
    """Scripts by sound file, from the words of recordings (columns wav, wav_onset_s, word, duration_s, ...).

    Columns of one recording alone (its onset_s) are left out; a word that several recordings hold is taken once.
    """
    own = ("onset_s", "wav", "wav_onset_s")
    found: dict[str, dict[int, dict[str, object]]] = {}
    for table in words:
        shared = [name for name in table if name not in own]
        columns = {name: table[name].tolist() for name in shared}
        for i, (wav, onset) in enumerate(
            zip(table["wav"].tolist(), table["wav_onset_s"].tolist(), strict=True)
        ):
            row = {"onset_s": onset} | {name: columns[name][i] for name in shared}
            found.setdefault(wav, {}).setdefault(round(1000 * onset), row)
    return {
        wav: Table({name: [row[name] for row in rows.values()] for name in next(iter(rows.values()))})
        for wav, rows in found.items()
    }
