"""Natural stories of LeBel et al. (OpenNeuro ds003020): an HDF5 file a story, to a trial a volume beside its words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, hdf5, played, public, speech_miniature, textgrid
from braindec.data.assembly import Assembly
from braindec.data.catalogue import Truth
from braindec.data.region_files import RegionRows
from braindec.types import ArraySpace, Table

SUBJECTS = tuple(range(1, 9))  # UTS01 .. UTS08
TEST_STORY = "wheretheressmoke"
STORIES = (  # of all eight: the first five sessions
    "alternateithicatom", "souls", "avatar", "legacy", "odetostepfather", "undertheinfluence", "howtodraw",
    "myfirstdaywiththeyankees", "naked", "life", "stagefright", "tildeath", "fromboyhoodtofatherhood", "sloth",
    "exorcism", "haveyoumethimyet", "adollshouse", "inamoment", "theclosetthatateeverything",
    "adventuresinsayingyes", "buck", "swimmingwithastronauts", "thatthingonmyarm", "eyespy", "itsabox", "hangtime",
    TEST_STORY,
)  # fmt: skip
N_STORIES = {s: 84 if s <= 3 else 27 for s in SUBJECTS}
T_R = 2.0  # as the authors' programs count; the scanner's is 2.0045 s
FIRST_S = 10.0  # into the story, of the first volume that is kept
LAGS = tuple(T_R * i for i in range(6))
NO_WORDS = {
    "",
    "sentence_start",
    "sentence_end",
    "br",
    "lg",
    "ls",
    "ns",
    "sp",
}  # breaths, laughter, noise, pauses
RESPONSES, GRIDS = Path("derivative") / "preprocessed_data", Path("derivative") / "TextGrids"
BUCKET = "s3://openneuro.org/ds003020"
UNITS = "z-score of each story"
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FELT = {1: 0.15, 2: 0.4, 3: 0.3, 4: 0.15}  # of the miniature: weights of stretches so many volumes before


@dataclass(frozen=True)
class Choice(public.VoxelChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        ``"drop"`` (stories hold NaN in some voxels) or ``"refuse"``.
    lag_s : float
        Seconds from the begin of a stretch of 2 s to the volume that is its trial: 0, 2, .. 10.
    """

    lag_s: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("lag_s", self.lag_s, LAGS)


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """The stories that all subjects heard, and their words; what is absent has to be synchronised by hand."""
    raw = raw / "ds003020"
    paths = [raw / RESPONSES / f"UTS{s:02d}" / f"{story}.hf5" for s in subjects for story in STORIES]
    paths += [raw / GRIDS / f"{story}.TextGrid" for story in STORIES]
    return paths, (
        f"For each subject: aws s3 sync --no-sign-request {BUCKET}/{RESPONSES.as_posix()}/UTS01 "
        f"{raw / RESPONSES / 'UTS01'}; and {BUCKET}/{GRIDS.as_posix()} to {raw / GRIDS} (sound: {BUCKET}/stimuli)."
    )


@public.preparing(Choice, f"{RESPONSES.as_posix()}/UTS*/*.hf5", "ds003020")
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> Assembly:
    """Reads stories and words; subject 1 is UTS01."""
    there = {s: sorted((raw / RESPONSES / f"UTS{s:02d}").glob("*.hf5")) for s in SUBJECTS}
    chosen, missing = public.there(subjects, there, raw / RESPONSES, "UTS0{}/*.hf5")
    return _content(raw, chosen, choice.lag_s, missing)


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1, 2),
    stories: Iterable[str] = ("avatar", "souls", TEST_STORY),
    seconds: float = 180.0,
    n_voxels: int = 30,
) -> Truth:
    """Short stories: float64 (volume, voxel) under the key ``data``, and TextGrids of both formats.

    Two thirds of the voxels follow the letters of the words that began 2 to 8 s before, with noise of the same
    variance; the others are noise.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    stories : iterable of str
    seconds : float
        Of each story, at most; they differ.
    n_voxels : int
        Of the first subject; the second has one more, and so on.

    Returns
    -------
    Truth
        Responses at the default lag: what each file holds, volume by volume. `details["words"]` by story;
        `details["n_driven"]`: voxels, the first ones, that follow letters, by subject.
    """
    raw = Path(raw) / "ds003020"
    words, responses, tables, driven = {}, {}, {}, {}
    n_volumes = {}
    for i, story in enumerate(stories):
        rng = seeding.numpy_generator(seed, "lebel2023", story)
        length = seconds - 6.0 * i
        words[story] = speech_miniature.spoken(rng, length)
        n_volumes[story] = int((length - FIRST_S) // T_R) - 1
        _write_words(raw / GRIDS / f"{story}.TextGrid", words[story], length, short=i % 2 == 1)
    for subject in subjects:
        own = seeding.numpy_generator(seed, "lebel2023", subject)
        held = {s: own.standard_normal((n, n_voxels + subject - 1)) for s, n in n_volumes.items()}
        driven[subject] = 2 * (n_voxels + subject - 1) // 3
        weights = own.standard_normal((len(LETTERS), driven[subject]))
        for story, values in held.items():
            signal = _felt(words[story], len(values)) @ weights
            values[:, : driven[subject]] += (signal - signal.mean(0)) / signal.std(0)
        for story, values in held.items():
            path = raw / RESPONSES / f"UTS{subject:02d}" / f"{story}.hf5"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file["data"] = values
        key, order = f"sub-{subject:02d}_fmri", sorted(held)
        responses[key] = np.concatenate([held[s] for s in order]).astype(np.float32)
        onsets = np.concatenate([FIRST_S + T_R * np.arange(len(held[s])) - 4.0 for s in order])
        ids = np.repeat(order, [len(held[s]) for s in order])
        tables[key] = Table({"medium": ids, "onset_s": onsets})
    return Truth(responses, tables, {"words": words, "n_driven": driven})


def _felt(said: speech_miniature.Spoken, n_volumes: int) -> np.ndarray:
    """Letters of the words that began 2 to 8 s before each volume, as blood follows, (n_volumes, n_letters)."""
    heard = np.zeros((round(FIRST_S / T_R) + n_volumes, len(LETTERS)))
    for word, start in zip(said.word, said.onset_s.tolist(), strict=True):
        if int(start // T_R) < len(heard):
            heard[int(start // T_R)] += [word.count(letter) for letter in LETTERS]
    first = round(FIRST_S / T_R)
    return np.sum([w * heard[first - d : first - d + n_volumes] for d, w in FELT.items()], axis=0)


def _content(raw: Path, stories: dict[int, list[Path]], lag_s: float, absent: tuple[str, ...]) -> Assembly:
    runs, signals, missing = [], [], list(absent)
    for s, paths in stories.items():
        own, n_voxels = _runs(paths, lag_s)
        runs += own
        signals.append(played.signal(s, own, ArraySpace(n_voxels), UNITS, T_R))
        if len(paths) != N_STORIES[s]:
            missing.append(f"sub-{s:02d}: {len(paths)} of {N_STORIES[s]} stories are there")
        if all(path.stem != TEST_STORY for path in paths):
            missing.append(f"sub-{s:02d}: the test story {TEST_STORY}")
    ids, table = played.stretches(runs, T_R)
    heard = sorted(set(table["medium"].tolist()))
    grids = {story: raw / GRIDS / f"{story}.TextGrid" for story in heard}
    there = {story: path for story, path in grids.items() if path.is_file()}
    lacking = [story for story in heard if story not in there]
    missing += [f"words of {len(lacking)} stories ({', '.join(lacking[:6])}), in {GRIDS}"] if lacking else []
    return Assembly(
        name="lebel2023",
        licence="CC0 1.0",
        source="https://openneuro.org/datasets/ds003020; doi:10.1038/s41597-023-02437-z",
        signals=tuple(signals),
        ids=ids,
        table=_with_words(table, {story: _words(path) for story, path in there.items()}),
        splits=_splits,
        files=tuple(there.values()),
        missing=tuple(missing),
        notes={
            "hrf_lag_s": lag_s,
            "t_r": T_R,
            "transductive": "each story was detrended and z-scored by the authors, without its words",
            **played.SINGLE_VOLUMES,
            "betas": {**played.SINGLE_VOLUMES["betas"], "z_scored_on": "each_run"},
            "media": "the sound of a stretch is stimuli/<medium>.wav from onset_s for length_s",
        },
    )


def _runs(paths: list[Path], lag_s: float) -> tuple[list[played.Run], int]:
    """A run a story, and the number of voxels, which must be the same in all."""
    found, sizes = [], {}
    for path in paths:
        (n, n_voxels), _ = hdf5.require(path, "data", shape=(None, None), axes="volume, voxel")
        sizes[path] = n_voxels
        read = partial(RegionRows, {"cortex": (path, "data")}, n)
        first = round((FIRST_S - lag_s) / T_R)
        found.append(played.Run(path.stem, path.stem, path, read, np.arange(n), first))
    for path, n_voxels in sizes.items():
        if n_voxels != sizes[paths[0]]:
            said = f"holds {n_voxels} voxels, {paths[0].name} holds {sizes[paths[0]]}"
            raise checks.DataFileError(path, said, "Check that both are of one subject; get them again.")
    return found, sizes[paths[0]]


def _words(path: Path) -> Table:
    """start_s and text of what was said; breaths, laughter and pauses are left out."""
    tiers = textgrid.read(path)
    if "word" not in tiers:
        raise checks.DataFileError(path, f"lacks the tier 'word'; it has {sorted(tiers)}", "Get it again.")
    said = tiers["word"]
    text = np.char.strip(np.char.lower(said["text"]), "{} ")
    return said.take(~np.isin(text, list(NO_WORDS)))


def _with_words(table: Table, words: dict[str, Table]) -> Table:
    """The stretches with the words that begin in each, in lower case, and the sound file."""
    column = []
    for medium, onset in zip(table["medium"].tolist(), table["onset_s"].tolist(), strict=True):
        said = words.get(medium)
        if said is None:
            column.append("")
            continue
        heard = (said["start_s"] >= onset) & (said["start_s"] < onset + T_R)
        column.append(" ".join(said["text"][heard].tolist()).lower())
    wav = [f"stimuli/{medium}.wav" for medium in table["medium"].tolist()]
    columns = {name: table[name] for name in table}
    return Table(columns | {"words": np.array(column, dtype=str), "wav": np.array(wav)})


def _splits(dataset: NeuralDataset) -> list[Split]:
    """The story that the authors tested on against all others."""
    ids = dataset.stimuli.ids
    test = tuple(i for i in ids if i.startswith(f"{TEST_STORY}-"))
    parts = {"train": tuple(i for i in ids if i not in set(test)), "test": test}
    return [Split("default", "stimulus", parts)] if all(parts.values()) else []


def _write_words(path: Path, said: speech_miniature.Spoken, length: float, *, short: bool) -> None:
    """A TextGrid whose tier `word` holds every word, with ``sp`` between them, and a tier `phone`."""
    rows: list[tuple[float, float, str]] = []
    last = 0.0
    for word, start, stop in zip(said.word, said.onset_s.tolist(), said.offset_s.tolist(), strict=True):
        rows += [(last, start, "sp")] if start > last else []
        rows.append((start, stop, word.upper()))
        last = stop
    rows.append((last, length, "{BR}"))
    start_s, stop_s, text = (np.array(column) for column in zip(*rows, strict=True))
    words = Table({"start_s": start_s, "stop_s": stop_s, "text": text})
    textgrid.write(path, [("phone", words), ("word", words)], short=short)
