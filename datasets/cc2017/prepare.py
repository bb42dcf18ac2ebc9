"""CC2017 (Wen et al.): CIFTI runs of three subjects watching films, to a trial a clip of two seconds."""

from __future__ import annotations

import itertools
import runpy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split, clips, public, spaces
from braindec.data.assembly import Assembly, Pictures, Signal
from braindec.data.catalogue import Truth
from braindec.data.cifti import DenseSeries
from braindec.data.staging import Job
from braindec.types import Table, VertexSpace

HERE = Path(__file__).resolve().parent
SUBJECTS = (1, 2, 3)
FILMS = {f"seg{i}": 2 for i in range(1, 19)} | {f"test{i}": 10 for i in range(1, 6)}  # and repeats
N_VERTICES = dict.fromkeys(SUBJECTS, 59_412)  # of 91,282 grayordinates: the cortex of HCP's standard mesh
N_CLIPS, T_R = 240, 2.0
TAIL = 4  # volumes after the film
N_VOLUMES = {N_CLIPS + TAIL + 1, N_CLIPS + TAIL + 2}  # 1 before it for seg* and test1, 2 for the other tests
UNSET_T_R = 1.0  # what wb_command writes when nobody tells it
SIDE = 256  # pixels
PLACES = (
    "Subject{s:02d}/video_fmri_dataset/subject{s}/fmri",
    "video_fmri_dataset/subject{s}/fmri",
    "subject{s}/fmri",
)
SERVED = {
    1: "ftp://purr.purdue.edu/10_4231_R7X63K3M.zip", 2: "ftp://purr.purdue.edu/10_4231_R7NS0S1F.zip",
    3: "ftp://purr.purdue.edu/10_4231_R7J101BV.zip",
}  # fmt: skip
FILMS_URL = "https://purr.purdue.edu/publications/2808/serve/1?render=archive"


@dataclass(frozen=True)
class Choice(public.PictureChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        ``"refuse"`` or ``"drop"`` vertices that hold NaN or never vary in a run.
    image_side : int
        Pixels of the clips' frames.
    lag_s : float
        Seconds from a clip's onset to the volume that is its trial: 0, 2, 4, 6 or 8; recorded in dataset.json.
    n_frames : int
        Of each clip, at equal steps; 1 is its middle frame alone, a picture.
    """

    lag_s: float = 4.0
    n_frames: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("lag_s", self.lag_s, tuple(T_R * i for i in range(TAIL + 1)))
        checks.in_range("n_frames", self.n_frames, 1, 60)


def fetch(raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False) -> list[Path]:
    """The runs that there should be; what is absent has to be got by hand, which the error says how.

    Raises
    ------
    DownloadError
        If a subject is not there: PURR serves one archive of 15 GB a subject, an archive inside it, no checksum.
    """
    raw, chosen = Path(raw), public.asked(subjects, SUBJECTS)
    folders = {s: _folder(raw, s) or raw / PLACES[0].format(s=s) for s in chosen}
    absent = [s for s, folder in folders.items() if not folder.is_dir()]
    if absent and not dry_run:
        raise checks.DownloadError(
            f"get {', '.join(SERVED[s] for s in absent)} by hand, unpack it and the bundle.zip inside so that "
            f"{folders[absent[0]]} is there; films: {FILMS_URL}, as {raw / 'stimuli'}/seg1.mp4 and so on."
        )
    return [
        _run(folder, film, r)
        for folder in folders.values()
        for film, n in FILMS.items()
        for r in range(1, n + 1)
    ]


@public.preparing(Choice)
def prepare(raw: Path, subjects: public.Subjects, choice: Choice) -> Assembly:
    """Reads the runs of the subjects whose folder is there."""
    folders = {s: _folder(raw, s) for s in SUBJECTS}
    chosen, missing = public.there(
        subjects, folders, raw, PLACES[0].replace("{s:02d}", "*").replace("{s}", "{}")
    )
    return _content(raw, chosen, choice, missing)


def synthetic(
    raw: str | Path,
    *,
    seed: int = 0,
    frames: bool = False,
    films: Iterable[str] | None = None,
    moving: bool = False,
    n_vertices: int = 36,
) -> Truth:
    """Subject 3 with all 85 runs that there are, on few vertices and a few voxels below them.

    Parameters
    ----------
    raw : path
    seed : int
    frames : bool
        Whether the films are there, as a folder of frames each, one a clip.
    films : iterable of str, optional
        Only the runs of these; None takes all.
    moving : bool
        The films are there as scenes that move, four frames a clip. A third of the vertices each knows what is seen,
        how it looks, and how it moves; a response lasts over the next volume too, half as strong.
    n_vertices : int

    Returns
    -------
    Truth
        Responses at the default lag: a clip's pattern, in the volume 4 s after its onset, plus noise.
    """
    raw = Path(raw)
    rng = seeding.numpy_generator(seed, "cc2017", "synthetic")
    n_left = n_vertices * 5 // 9
    left, right = (np.sort(rng.choice(32492, n, replace=False)) for n in (n_left, n_vertices - n_left))
    folder = raw / PLACES[0].format(s=3)
    responses, ids, runs = [], [], []
    chosen = list(FILMS) if films is None else [checks.one_of("films", f, list(FILMS)) for f in films]
    made, clips_made = runpy.run_path(str(HERE / "_clips.py")) if moving else {}, np.empty(0)
    if moving:
        clips_made, known = made["films"](len(chosen), N_CLIPS, rng)
        planted = made["patterns"](known, n_vertices, rng)
    for number, film in enumerate(chosen):
        n_repeats = FILMS[film]
        patterns = planted[number] if moving else rng.standard_normal((N_CLIPS, n_vertices))
        before = 2 if film in ("test2", "test3", "test4", "test5") else 1
        for repeat in range(1, n_repeats + 1):
            if (film, repeat) == ("test2", 9):
                continue
            volumes = rng.normal(10_000, 50, (before + N_CLIPS + TAIL, n_vertices + 8))
            volumes[before + 2 : before + 2 + N_CLIPS, :n_vertices] += 200 * patterns
            if moving:
                volumes[before + 3 : before + 3 + N_CLIPS, :n_vertices] += 100 * patterns
            volumes = volumes.astype(np.float32)
            _write_run(_run(folder, film, repeat), volumes, left, right)
            responses.append(volumes[before + 2 : before + 2 + N_CLIPS, :n_vertices])
            ids += [f"{film}-{i:03d}" for i in range(N_CLIPS)]
            runs += [f"{film}-{repeat}"] * N_CLIPS
    details: dict[str, np.ndarray] = {"left": left, "right": right}
    if moving:
        made["write"](raw / "stimuli", chosen, clips_made)
        details |= {"clips": clips_made, **known}
    elif frames:
        details["colours"] = _write_frames(raw / "stimuli", chosen, rng)
    table = Table({"stimulus_id": np.array(ids), "run": np.array(runs)})
    return Truth({"sub-03_fmri": np.concatenate(responses)}, {"sub-03_fmri": table}, details)


def _content(raw: Path, folders: dict[int, Path], choice: Choice, absent: tuple[str, ...]) -> Assembly:
    signals, missing = [], list(absent)
    lag, side, n_frames = round(choice.lag_s / T_R), choice.image_side, choice.n_frames
    for s, folder in folders.items():
        runs = {(f, r): _run(folder, f, r) for f, n in FILMS.items() for r in range(1, n + 1)}
        there = {key: path for key, path in runs.items() if path.is_file()}
        if not there:
            raise FileNotFoundError(
                f"{folder} holds no */cifti/*_Atlas.dtseries.nii. Unpack its bundle.zip again."
            )
        gone = [f"{film}_{repeat}" for film, repeat in runs if (film, repeat) not in there]
        missing += [f"sub-{s:02d}: {len(gone)} of {len(runs)} runs ({', '.join(gone[:6])})"] if gone else []
        signals.append(_signal(s, there, lag))
    shown = {f for s in signals for f in np.unique(s.table["film"]).tolist()}
    films = [f for f in FILMS if f in shown]
    ids = tuple(f"{f}-{i:03d}" for f in films for i in range(N_CLIPS))
    found = clips.find_films(raw / "stimuli", films)
    if found is None:
        missing.append(f"all {len(films)} films (stimuli/); without them only the names of clips are known")
    missing += public.counted_elsewhere(signals, N_VERTICES, "all", "vertices of the cortex")
    files = () if found is None else tuple(p for p in found if p.is_file())
    return Assembly(
        name="cc2017",
        licence="as PURR states for each publication (doi:10.4231/R7X63K3M and others)",
        source="https://purr.purdue.edu, doi:10.4231/R7X63K3M, R7NS0S1F, R7J101BV; films doi:10.4231/R71Z42KK",
        signals=tuple(signals),
        ids=ids,
        table=Table({"film": np.repeat(films, N_CLIPS), "onset_s": np.tile(T_R * np.arange(N_CLIPS), len(films))}),
        splits=_splits,
        pictures=None
        if found is None
        else Pictures(partial(_frames, found, side, n_frames), side, n_frames if n_frames > 1 else None),
        files=files,
        missing=tuple(missing),
        notes={
            "hrf_lag_s": lag * T_R,
            "t_r": T_R,
            "clip_s": T_R,
            "transductive": "nothing here; recipes remove drifts and standardise each run without its labels",
            "betas": {  # single volumes
                "hrf_chosen_on": "none", "noise_regressors_on": "none", "ridge_chosen_on": "none",
                "z_scored_on": "none", "overlap": "kept",
            },
            "features": {"selected_on": "none", "aligned_on": "none"},
            "pictures": (
                "the frame at the middle of each clip" if n_frames == 1 else f"{n_frames} frames of each clip"
            ) + f", central square, {side} x {side}, bicubic",
        },
    )  # fmt: skip


def _signal(s: int, there: dict[tuple[str, int], Path], lag: int) -> Signal:
    """The runs of one subject: of each, the volumes that follow the clips by the lag."""
    jobs: list[Job] = []
    space: VertexSpace | None = None
    for (name, number), path in there.items():
        series = DenseSeries(path)
        space = _same_vertices(path, series, space)
        first = series.shape[0] - N_CLIPS - TAIL + lag
        key = f"sub-{s:02d}_{name}_{number}"
        rows = first + np.arange(N_CLIPS)
        jobs.append(Job(key, (path,), {"first_volume": first}, partial(DenseSeries, path), rows))
    film = np.repeat([name for name, _ in there], N_CLIPS)
    repeat = np.repeat([number for _, number in there], N_CLIPS)
    clip = np.tile(np.arange(N_CLIPS), len(there))
    run = np.array([f"{f}-{r}" for f, r in zip(film, repeat, strict=True)])
    table = Table(
        {
            "stimulus_id": np.array([f"{f}-{i:03d}" for f, i in zip(film, clip, strict=True)]),
            "session": np.full(len(run), "1"),  # not recorded
            "run": run,
            "repeat": repeat - 1,
            "onset_s": T_R * clip,
            "acquisition_order": np.full(len(run), -1),  # of the runs: not recorded
            "exchangeability_block": run,
            "run_position": clip,
            "film": film,
        }
    )
    return Signal(s, table, _space(space), "scanner units", tuple(jobs))


def _same_vertices(path: Path, series: DenseSeries, space: VertexSpace | None) -> VertexSpace:
    if series.shape[0] not in N_VOLUMES:
        found = f"holds {series.shape[0]} volumes, expected {' or '.join(map(str, sorted(N_VOLUMES)))}"
        raise checks.DataFileError(path, found, "Get the run again.")
    if series.t_r not in (T_R, UNSET_T_R):
        raise checks.DataFileError(
            path, f"says {series.t_r} s a volume, expected {T_R}", "Get the run again."
        )
    if space is not None and not spaces.same(series.space, space):
        found = f"holds {series.space.n_features} vertices that are not the {space.n_features} of other runs"
        raise checks.DataFileError(path, found, "Check that all runs are of one release and mesh.")
    return series.space


def _space(space: VertexSpace | None) -> VertexSpace:
    return checks.of_type("space", space, VertexSpace)


def _splits(dataset: NeuralDataset) -> list[Split]:
    """Clips of the training films against those of the test films."""
    parts = {
        part: tuple(i for i in dataset.stimuli.ids if i.startswith(name))
        for part, name in (("train", "seg"), ("test", "test"))
    }
    return [Split("default", "stimulus", parts)] if all(parts.values()) else []


def _frames(films: list[Path], side: int, n_frames: int) -> Iterator[np.ndarray]:
    if n_frames == 1:
        return itertools.chain.from_iterable(clips.middle_frames(f, N_CLIPS, T_R, side) for f in films)
    return itertools.chain.from_iterable(clips.clip_frames(f, N_CLIPS, T_R, side, n_frames) for f in films)


def _folder(raw: Path, s: int) -> Path | None:
    return next((raw / p.format(s=s) for p in PLACES if (raw / p.format(s=s)).is_dir()), None)


def _run(folder: Path, film: str, repeat: int) -> Path:
    return folder / film / "cifti" / f"{film}_{repeat}_Atlas.dtseries.nii"


def _write_run(path: Path, volumes: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    """A CIFTI-2 file as HCP's pipelines write it: both cortices, then voxels of a structure below them."""
    import nibabel
    from nibabel.cifti2 import BrainModelAxis, SeriesAxis

    axes = [
        BrainModelAxis.from_surface(vertices, 32492, name)
        for vertices, name in ((left, "CORTEX_LEFT"), (right, "CORTEX_RIGHT"))
    ]
    below = BrainModelAxis.from_mask(
        np.ones((2, 2, 2), dtype=bool), "ACCUMBENS_LEFT", np.diag([2.0, 2, 2, 1])
    )
    series = SeriesAxis(0, T_R, len(volumes), "SECOND")
    image = nibabel.Cifti2Image(volumes, (series, axes[0] + axes[1] + below))
    image.nifti_header.set_intent("ConnDenseSeries")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def _write_frames(folder: Path, films: list[str], rng: np.random.Generator) -> np.ndarray:
    """A PNG of one colour for each clip of each film; the colours, uint8 (n_films, n_clips, 3)."""
    from PIL import Image

    colours = rng.integers(0, 256, (len(films), N_CLIPS, 3), dtype=np.uint8)
    for film, own in zip(films, colours, strict=True):
        (folder / film).mkdir(parents=True, exist_ok=True)
        for i, colour in enumerate(own):
            Image.new("RGB", (8, 8), tuple(colour.tolist())).save(folder / film / f"{i + 1:06d}.png")
    return colours
