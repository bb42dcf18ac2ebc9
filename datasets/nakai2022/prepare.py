"""Music of ten genres (Nakai et al., OpenNeuro ds003720, read by Brain2Music): a trial a clip of 15 s, or a volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, music_miniature, played, public, safe_npy, text_tables
from braindec.data.assembly import Assembly, Signal
from braindec.data.catalogue import Truth
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.staging import Job
from braindec.data.tables import repeats
from braindec.types import ArraySpace, Table

SUBJECTS = (1, 2, 3, 4, 5)
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
N_RUNS = {"Training": 12, "Test": 6}
T_R, CLIP_S, N_CLIPS = 1.5, 15.0, 40  # clips of a run; one more before them is not in the responses
A_CLIP = 10  # volumes
A_RUN = A_CLIP * N_CLIPS
LAGS = tuple(T_R * i for i in range(6))
COLUMNS = ("onset", "duration", "genre", "track", "start", "end")
RESPONSES = Path("derivative") / "preprocessed_data"
BUCKET = "s3://openneuro.org/ds003720"
BLOCK = 4096  # voxels read at a time
N_TRACKS = 60  # of a genre, that `synthetic` plays


@dataclass(frozen=True)
class Choice(public.VoxelChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        What is done about voxels with NaN or without variance: ``"drop"`` or ``"refuse"``.
    lag_s : float
        Seconds by which a clip's volumes follow it: 0, 1.5, .. 7.5.
    per : str
        ``"clip"``: a trial is the mean of a clip's volumes; ``"volume"``: a trial is a volume of 1.5 s.
    """

    lag_s: float = 4.5
    per: str = "clip"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("lag_s", self.lag_s, LAGS)
        checks.one_of("per", self.per, ("clip", "volume"))


@public.by_hand(SUBJECTS)
def fetch(raw: Path, subjects: tuple[int, ...]) -> tuple[list[Path], str]:
    """Responses and events of each subject; what is absent has to be synchronised by hand."""
    raw, paths = raw / "ds003720", list[Path]()
    for s in subjects:
        for task, n in N_RUNS.items():
            paths.append(_responses(raw, s, task) or raw / RESPONSES / _person(s) / _name(s, task))
            paths += [_events_file(raw, s, task, run) for run in range(1, n + 1)]
    return paths, (
        f"aws s3 sync --no-sign-request {BUCKET} {raw} --exclude '*' --include '*_events.tsv' --include "
        "'derivative/preprocessed_data/*'; the music (GTZAN) has terms of its own and is not needed."
    )


@public.preparing(Choice, f"{RESPONSES.as_posix()}/**/sub-*_Resp_T*.npy", "ds003720")
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> Assembly:
    """Reads preprocessed responses and events."""
    files = {s: _there(raw, s) for s in SUBJECTS}
    chosen, missing = public.there(subjects, files, raw / RESPONSES, "sub-00{}_Resp_Training.npy")
    return _content(raw, chosen, choice, missing)


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    subjects: Iterable[int] = (1,),
    n_voxels: int = 12,
    voxels_first: bool = False,
    music: bool = False,
) -> Truth:
    """All 18 runs of 41 clips on a few voxels: .npy of float32, events with genres in single quotes.

    Parameters
    ----------
    raw : path
    seed : int
    subjects : iterable of int
    n_voxels : int
        Half of them follow how loud each band of a clip's track is, a quarter its genre alone, the rest nothing.
    voxels_first : bool
        Whether arrays are (voxel, volume); else (volume, voxel).
    music : bool
        Whether the tracks are written as well: noise of 30 s at 1000 Hz, WAV, where GTZAN has them.

    Returns
    -------
    Truth
        The mean of the volumes 4.5 s after each clip. `details["volumes"]` by (subject, task), `details["loudness"]` by
        (genre, track), see `data.music_miniature`; `details["follows"]`: what each voxel follows.
    """
    raw = Path(raw) / "ds003720"
    responses, tables, volumes = {}, {}, {}
    rng = seeding.numpy_generator(seed, "nakai2022", "music")
    loudness, follows = music_miniature.loudness(GENRES, N_TRACKS, rng), music_miniature.follows(n_voxels)
    played = set[tuple[str, int]]()
    for s in subjects:
        rng = seeding.numpy_generator(seed, "nakai2022", s)
        own_rng = seeding.numpy_generator(seed, "nakai2022", "voxels", s)
        respond = music_miniature.responses(follows, loudness, own_rng)
        means, ids = [], []
        for task, n_runs in N_RUNS.items():
            shown = _write_events(raw, s, task, rng)
            x = rng.standard_normal((A_RUN * n_runs, n_voxels)).astype(np.float32)
            for run, clips in enumerate(shown):
                own = x[A_RUN * run : A_RUN * (run + 1)]  # a view: the runs of `x` are written
                for c, clip in enumerate(clips):
                    own[A_CLIP * c + 3 : A_CLIP * c + 13] += respond[_track(clip)]
                    means.append(own[A_CLIP * c + 3 : A_CLIP * c + 13].astype(np.float64).mean(0))
                ids += clips
                played |= {_track(clip) for clip in clips}
            path = raw / RESPONSES / _person(s) / _name(s, task)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.ascontiguousarray(x.T) if voxels_first else x)
            volumes[s, task] = x
        responses[f"sub-{s:02d}_fmri"] = np.array(means)
        tables[f"sub-{s:02d}_fmri"] = Table({"stimulus_id": np.array(ids)})
    if music:
        rng = seeding.numpy_generator(seed, "nakai2022", "tracks")
        for genre, k in sorted(played):
            path = raw / "genres" / genre / f"{genre}.{k:05d}.wav"
            music_miniature.write(path, loudness[genre, k], rng)
    return Truth(responses, tables, {"volumes": volumes, "loudness": loudness, "follows": np.array(follows)})


class _Means:
    """Means of stretches of volumes, float32 (n_trials, n_voxels) by row; read some voxels at a time.

    Parameters
    ----------
    path : Path
    time_axis : int
        Of the array in the file.
    stretches : int array, shape (n_trials, 2)
        First volume, and the one after the last.
    n_voxels : int
    """

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path, time_axis: int, stretches: np.ndarray, n_voxels: int):
        self.path, self.time_axis, self.stretches = path, time_axis, stretches
        self.shape = (len(stretches), n_voxels)
        self._held: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if self._held is None:
            self._held = self._read()
        return self._held[rows]

    def _read(self) -> np.ndarray:
        out = np.empty(self.shape, dtype=np.float32)
        array = safe_npy.load(self.path)
        with reading(self.path), np.errstate(over="ignore", invalid="ignore"):  # infinities are counted later
            for first in range(0, self.shape[1], BLOCK):
                part = slice(first, first + BLOCK)
                x = np.asarray(array[:, part] if self.time_axis == 0 else array[part].T, dtype=np.float64)
                for i, (a, b) in enumerate(self.stretches.tolist()):
                    out[i, part] = x[a:b].mean(0)
        return out


def _content(
    raw: Path, files: Mapping[int, Mapping[str, Path]], choice: Choice, absent: tuple[str, ...]
) -> Assembly:
    signals, events, missing = [], [], list(absent)
    clips: dict[str, dict[str, Any]] = {}
    lag = round(choice.lag_s / T_R)
    for s, own in files.items():
        missing += [f"sub-{s:02d}: {_name(s, task)}" for task in N_RUNS if task not in own]
        tables, jobs, sizes = [], [], {}
        for task, path in own.items():
            time_axis, sizes[path] = _axes(path, task)
            table, stretches, used, said = _trials(raw, s, task, lag, choice.per, clips)
            if table.n_rows:
                read = partial(_Means, path, time_axis, stretches, sizes[path])
                settings = {"lag": lag, "per": choice.per, "events": [p.name for p in used]}
                jobs.append(Job(f"sub-{s:02d}_{task}", (path,), settings, read))
                tables.append(table)
            events += used
            missing += said
        first = next(iter(sizes))
        for path, n in sizes.items():
            if n != sizes[first]:
                raise checks.DataFileError(path, f"holds {n} voxels, {first.name} {sizes[first]}", COPY_AGAIN)
        if not tables:
            raise FileNotFoundError(f"{raw / _person(s) / 'func'} holds no events. See the card.")
        signals.append(_signal(s, tables, sizes[first], tuple(jobs)))
    ids = tuple(clips)
    columns = {name: np.array([row[name] for row in clips.values()]) for name in next(iter(clips.values()))}
    return Assembly(
        name="nakai2022",
        licence="CC0 (OpenNeuro); its README allows research use only and forbids re-identification",
        source="https://openneuro.org/datasets/ds003720; doi:10.1016/j.dib.2021.107675",
        signals=tuple(signals),
        ids=ids,
        table=Table(columns),
        splits=_splits,
        files=tuple(events),
        missing=tuple(missing),
        notes={
            "label": "category",
            "hrf_lag_s": choice.lag_s,
            "t_r": T_R,
            "per": choice.per,
            "transductive": "preprocessed by the authors (drifts removed), without labels",
            **played.SINGLE_VOLUMES,
            "betas": {**played.SINGLE_VOLUMES["betas"], "z_scored_on": "unknown"},
            "media": "the sound is GTZAN's track named in wav, from onset_s for length_s, with fades of 2 s",
        },
    )


def _trials(
    raw: Path, s: int, task: str, lag: int, per: str, clips: dict[str, dict[str, Any]]
) -> tuple[Table, np.ndarray, list[Path], list[str]]:
    """Trials of a task and their volumes; clips that are new are added. Runs without events are left out and named."""
    rows: list[dict[str, Any]] = []
    stretches: list[tuple[int, int]] = []
    files, gone, said, last = [], [], [], None
    for run in range(1, N_RUNS[task] + 1):
        path = _events_file(raw, s, task, run)
        if not path.is_file():
            gone.append(run)
            last = None
            continue
        files.append(path)
        shown = _events(path)
        before = last if task == "Training" else shown[-1]["id"]
        if before is not None and shown[0]["id"] != before:
            said.append(f"{path.name}: its first clip is not the one that the README says it repeats")
        last = shown[-1]["id"]
        for c, clip in enumerate(shown[1:]):
            steps = [(0, A_CLIP)] if per == "clip" else [(k, k + 1) for k in range(A_CLIP)]
            for a, b in steps:
                start, stop = A_CLIP * c + a + lag, min(A_RUN, A_CLIP * c + b + lag)
                if start >= stop:
                    continue  # volumes after the end of the run
                stimulus = _stimulus(clip, a, b - a)
                clips.setdefault(
                    stimulus["id"], {k: v for k, v in stimulus.items() if k != "id"} | {"task": task}
                )
                base = A_RUN * (run - 1)
                stretches.append((base + start, base + stop))
                rows.append(
                    {
                        "stimulus_id": stimulus["id"], "run": f"{task}-{run:02d}", "task": task,
                        "onset_s": CLIP_S * (c + 1) + T_R * a, "run_position": c,
                    }
                )  # fmt: skip
    said += [f"sub-{s:02d}: events of the {task} runs {gone}"] if gone else []
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    return Table(columns), np.array(stretches, dtype=int).reshape(-1, 2), files, said


def _signal(s: int, tables: list[Table], n_voxels: int, jobs: tuple[Job, ...]) -> Signal:
    columns = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    n = len(columns["run"])
    columns |= {
        "session": np.full(n, "1"), "repeat": repeats(columns["stimulus_id"].tolist()),
        "acquisition_order": np.full(n, -1), "exchangeability_block": columns["run"],
    }  # fmt: skip
    return Signal(s, Table(columns), ArraySpace(n_voxels), "authors' units", jobs)


def _events(path: Path) -> list[dict[str, Any]]:
    """The 41 clips of a run: id, genre, track, start and end in the track (s)."""
    table = text_tables.rows(path, COLUMNS, delimiter="\t")
    with reading(path):
        if len(table) != N_CLIPS + 1 or not set(COLUMNS) <= set(table[0]):
            found = f"holds {len(table)} clips with the columns {sorted(table[0]) if table else []}"
            raise checks.DataFileError(
                path, f"{found}, expected {N_CLIPS + 1} with {list(COLUMNS)}", COPY_AGAIN
            )
        shown = []
        for i, row in enumerate(table):
            genre, track = row["genre"].strip("' "), int(row["track"])
            onset, start, end = float(row["onset"]), float(row["start"]), float(row["end"])
            if genre not in GENRES or not 0 <= track < 100 or onset != CLIP_S * i or not 0 <= start < end:
                raise checks.DataFileError(
                    path, f"has a strange line {i + 2}: {list(row.values())}", COPY_AGAIN
                )
            clip = f"{genre}.{track:05d}@{start:05.2f}"
            shown.append({"id": clip, "genre": genre, "track": track, "start": start})
    return shown


def _stimulus(clip: Mapping[str, Any], first: int, n: int) -> dict[str, Any]:
    """A clip, or a stretch of it (its name then ends with the number of the stretch)."""
    name = clip["id"] if n == A_CLIP else f"{clip['id']}-{first}"
    wav = f"genres/{clip['genre']}/{clip['genre']}.{clip['track']:05d}.wav"
    return {
        "id": name, "category": clip["genre"], "clip": clip["id"], "wav": wav,
        "onset_s": clip["start"] + T_R * first, "length_s": T_R * n,
    }  # fmt: skip


def _axes(path: Path, task: str) -> tuple[int, int]:
    """The axis of time of a file's array, and its number of voxels."""
    array = safe_npy.load(path)
    n = A_RUN * N_RUNS[task]
    shape: tuple[int, ...] = array.shape if isinstance(array, np.ndarray) else ()
    if len(shape) != 2 or array.dtype.kind != "f" or (shape[0] == n) == (shape[1] == n):
        found = f"holds {getattr(array, 'dtype', type(array).__name__)} {shape}"
        raise checks.DataFileError(path, f"{found}, expected {n} volumes along one of two axes", COPY_AGAIN)
    time_axis = 0 if shape[0] == n else 1
    return time_axis, int(shape[1 - time_axis])


def _splits(dataset: NeuralDataset) -> list[Split]:
    """Clips of the training runs against those of the test runs."""
    table = checks.of_type("table", dataset.stimuli.table, Table)
    ids, task = np.array(dataset.stimuli.ids), table["task"]
    parts = {"train": tuple(ids[task == "Training"].tolist()), "test": tuple(ids[task == "Test"].tolist())}
    return [Split("default", "stimulus", parts)] if all(parts.values()) else []


def _person(s: int) -> str:
    return f"sub-{s:03d}"


def _name(s: int, task: str) -> str:
    return f"{_person(s)}_Resp_{task}.npy"


def _responses(raw: Path, s: int, task: str) -> Path | None:
    places = (raw / RESPONSES / _person(s), raw / RESPONSES)
    return next((p / _name(s, task) for p in places if (p / _name(s, task)).is_file()), None)


def _there(raw: Path, s: int) -> dict[str, Path]:
    return {task: path for task in N_RUNS if (path := _responses(raw, s, task)) is not None}


def _events_file(raw: Path, s: int, task: str, run: int) -> Path:
    return raw / _person(s) / "func" / f"{_person(s)}_task-{task}_run-{run:02d}_events.tsv"


def _write_events(raw: Path, s: int, task: str, rng: np.random.Generator) -> list[list[str]]:
    """Events of all runs of a task; the ids of the 40 clips of each that responses hold."""
    every = [(g, t) for g in GENRES for t in range(N_TRACKS)]
    own = [every[i] for i in rng.permutation(len(every)).tolist()]
    own = [c for c in own if (c[1] < 48) == (task == "Training")]
    starts = np.round(rng.uniform(0, 14.9, len(own)), 2).tolist()
    last, shown = (*own[-1], starts[-1]), []
    for run in range(1, N_RUNS[task] + 1):
        n = N_CLIPS if task == "Training" else N_CLIPS // 4
        new = [(*own[i], starts[i]) for i in range(n * (run - 1), n * run)]
        clips = new if task == "Training" else new * 4
        rows = [last if task == "Training" else clips[-1], *clips]
        last = clips[-1]
        path = _events_file(raw, s, task, run)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ["\t".join(COLUMNS)]
        lines += [
            f"{15 * i}\t15\t'{genre}'\t{track}\t{start:g}\t{start + 15:g}"
            for i, (genre, track, start) in enumerate(rows)
        ]
        path.write_text("\n".join(lines), encoding="utf-8")
        shown.append([f"{genre}.{track:05d}@{start:05.2f}" for genre, track, start in clips])
    return shown


def _track(clip: str) -> tuple[str, int]:
    """Genre and track of ``reggae.00024@09.52``."""
    genre, number = clip.split("@")[0].split(".")
    return genre, int(number)
