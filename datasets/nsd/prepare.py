"""The Natural Scenes Dataset as distributed, or as MindEye2 repacked it, to single trials; session by session."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, config, store
from braindec.data import download, layout, mindeye, mindeye1, nsd, nsd_further, spaces, staging
from braindec.data.catalogue import Counts, Truth, counts
from braindec.types import Trials

HERE = Path(__file__).resolve().parent
SUBJECTS = range(1, 9)
PER_SESSION = 750
BETAS = ("betas_assumehrf", "betas_fithrf", nsd.BETAS)
SPACES = ("func1pt8mm", "func1mm", "fsaverage")
EXPERIMENTS = ("nsd", *nsd_further.EXPERIMENTS)
LICENCE = "NSD terms and conditions (signed agreement; no redistribution)"
SOURCE = "naturalscenesdataset.org; Allen et al. 2022, doi:10.1038/s41593-021-00962-x"
STIMULI = Path("nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5")
INFO = Path("nsddata/experiments/nsd/nsd_stim_info_merged.csv")
CAPTIONS = "COCO_73k_annots_curated.npy"
READERS = {"nsd": "distributed", "mindeye2": "packed", "mindeye1": "averaged"}  # in _sources.py
SYNTHETIC = {"nsd": "synthetic", "mindeye2": "synthetic_mindeye", "mindeye1": "synthetic_mindeye1"}
MARK = "synthetic.json"  # what `synthetic` leaves in a raw folder: nothing was ever estimated there


@dataclass(frozen=True)
class Choice:
    """What of the raw files is prepared; see `prepare`."""

    subjects: tuple[int, ...]
    sessions: tuple[int, ...] | None
    betas: str
    space: str
    roi: str
    experiments: tuple[str, ...]
    image_side: int
    invalid: str

    def __post_init__(self) -> None:
        for name, values, allowed in (
            ("subjects", self.subjects, SUBJECTS), ("sessions", self.sessions or (), range(1, 41)),
            ("experiments", self.experiments, EXPERIMENTS), ("betas", (self.betas,), BETAS),
            ("space", (self.space,), SPACES), ("invalid", (self.invalid,), ("refuse", "drop")),
        ):  # fmt: skip
            for value in checks.unique(name, values):
                checks.one_of(name, value, list(allowed))
        checks.in_range("image_side", self.image_side, 16, 425, unit="pixels")
        if "nsd" not in self.experiments:
            raise checks.ConfigError(
                "experiments must hold 'nsd': the others are tested with decoders of it."
            )


def prepare(
    raw: str | Path,
    out: str | Path,
    *,
    subjects: Iterable[int] | None = None,
    dry_run: bool = False,
    n_jobs: int = 1,
    sessions: Iterable[int] | None = None,
    betas: str = nsd.BETAS,
    space: str = "func1pt8mm",
    roi: str = "nsdgeneral",
    experiments: Iterable[str] = ("nsd",),
    image_side: int = 256,
    invalid: str = "refuse",
    sets: Iterable[str] = (),
) -> Counts:
    """Reads the raw files, a job a session, and writes the prepared dataset; a run that was stopped goes on.

    Parameters
    ----------
    raw, out : path
        `raw` is NSD's root, or a folder of MindEye2's files (known by ``betas_all_subjXX_fp32_renorm.hdf5``) or of
        MindEye1's (known by ``webdataset_avg_split``).
    subjects : iterable of int, optional
        None prepares all whose betas are there.
    dry_run : bool
        Says what would be read, written and needed, and what is missing; writes nothing.
    n_jobs : int
        Sessions read at once.
    sessions : iterable of int, optional
        From 1; None prepares all that are there. (1 to 37 are those of the 982 test images.)
    betas : str
        ``"betas_assumehrf"``, ``"betas_fithrf"`` or ``"betas_fithrf_GLMdenoise_RR"``.
    space : str
        ``"func1pt8mm"``, ``"func1mm"`` or ``"fsaverage"``.
    roi : str
        ROI file whose voxels > 0 are kept; ``"all"`` is the brain mask. The others become regions.
    experiments : iterable of str
        ``"nsd"``, and further ``"nsdimagery"``, ``"nsdsynthetic"``.
    image_side : int
        Pixels; pictures are cropped to a central square and resized.
    invalid : str
        Of voxels that are NaN or constant in a session: ``"refuse"`` or ``"drop"``.
    sets : iterable of str
        The same from a command line: ``"betas=betas_fithrf"``, ``"sessions=[1,2]"``; they win.

    Returns
    -------
    Counts

    Raises
    ------
    DataFileError
        If files are damaged or contradict each other; `out` is then as it was.
    """
    raw, out = checks.existing_folder(raw, "Point --raw at NSD's root folder, or MindEye's."), Path(out)
    checks.at_least("n_jobs", n_jobs, 1)
    form, there = _form(raw)
    chosen = Choice(
        tuple(there if subjects is None else subjects), None if sessions is None else tuple(sessions), betas, space,
        roi, tuple(experiments), image_side, invalid,
    )  # fmt: skip
    chosen = config.override(chosen, sets)
    _is_there(raw, chosen.subjects, there)
    _beside("pictures")["check"](raw, form)
    read = _beside("sources")[READERS[form]]
    sources = [read(raw, subject, chosen) for subject in chosen.subjects]
    shown = _shown(sources)
    missing = _missing(raw, sources, form)
    if dry_run:
        trials = {f"sub-{s.subject:02d}_fmri": s.table.n_rows for s in sources}
        return Counts(
            trials,
            len(shown),
            missing,
            _plan(sources, len(shown), mindeye.SIDE if form == "mindeye2" else chosen.image_side),
        )
    record = _record(raw, sources, chosen, form)
    if (out / layout.MANIFEST).is_file() and layout.read_manifest(out).get("made_from") == record:
        return counts(out)  # made from these files already
    staged = staging.stage(out, [job for s in sources for job in s.jobs], n_jobs)
    made = staging.folder_of(out) / "whole"
    _write(raw, made, sources, staged, shown, chosen, form, missing=list(missing), made_from=record)
    staging.finish(out, made)
    return counts(out)


def fetch(
    raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False, accept_terms: bool = False,
    sessions: Iterable[int] | None = None, betas: str = nsd.BETAS, space: str = "func1pt8mm",
) -> list[Path]:  # fmt: skip
    """Says what is needed, from where and how large; downloads from NSD's public bucket after you signed its terms.

    Parameters
    ----------
    raw : path
    subjects, sessions : iterable of int, optional
        None: subject 1, all of its sessions.
    dry_run : bool
        Lists addresses and sizes only.
    accept_terms : bool
        Whether you agreed to NSD's terms (https://naturalscenesdataset.org): without, nothing is downloaded.
    betas, space : str
        As in `prepare`; volumes only.

    Raises
    ------
    DownloadError
        If the terms are not accepted, or a file cannot be had.
    """
    wanted = _beside("files")["listed"](
        tuple(subjects or (1,)), None if sessions is None else tuple(sessions), betas, space
    )
    for path, (url, n_bytes) in wanted.items():
        if dry_run:
            print(f"{n_bytes / 1e6:>9,.1f} MB  {url}  ->  {Path(raw) / path}")
    if dry_run:
        total = sum(n for _, n in wanted.values()) / 1e9
        print(
            f"{len(wanted)} files, about {total:,.0f} GB. Sign the terms first: https://naturalscenesdataset.org"
        )
    elif not accept_terms:
        raise checks.DownloadError(
            "NSD is shared under terms that every user signs (https://naturalscenesdataset.org, 'Data access'). Having "
            "signed: catalogue.load('nsd')['fetch'](raw, subjects=[1], accept_terms=True), or copy what a dry run "
            "lists: aws s3 cp --no-sign-request s3://natural-scenes-dataset/..."
        )
    return download.fetch_unlisted({p: url for p, (url, _) in wanted.items()}, raw, dry_run=dry_run)


def synthetic(raw: str | Path, *, seed: int = 0, layout: str = "nsd") -> Truth:
    """Miniature raw files with planted responses: the files' form is real, what they hold is noise around a truth.

    Parameters
    ----------
    raw : path
    seed : int
    layout : str
        ``"nsd"``: as distributed, two subjects, two sessions of 750 trials; ``"mindeye2"``, ``"mindeye1"``: as MindEye2
        and MindEye1 repacked it.

    Returns
    -------
    Truth
        Responses and tables that `prepare` should give (of every experiment).
    """
    name = checks.known_key("layout", layout, SYNTHETIC)
    made: Truth = _beside(name)["write"](Path(raw), seed)
    store.write_json(Path(raw) / MARK, {"synthetic": True, "seed": seed})
    return made


def _beside(name: str) -> dict[str, Any]:
    """What a file of this folder defines: run, like this one, and not imported."""
    return runpy.run_path(str(HERE / f"_{name}.py"))


def _subjects_there(raw: Path) -> list[int]:
    folder = raw / "nsddata_betas" / "ppdata"
    found = sorted(int(path.name[4:]) for path in folder.glob("subj[0-9][0-9]"))
    if not found:
        raise FileNotFoundError(
            f"{raw} holds neither nsddata_betas/ppdata/subjXX nor betas_all_subjXX_fp32_renorm.hdf5. Point --raw at "
            "the folder with NSD's files; what is needed: braindec prepare nsd --raw DIR --out DIR --fetch --dry-run"
        )
    return found


def _form(raw: Path) -> tuple[str, list[int]]:
    """How the files are laid out, and the subjects whose betas are there."""
    for form, subjects in (("mindeye2", mindeye.subjects_of(raw)), ("mindeye1", mindeye1.subjects_of(raw))):
        if subjects:
            return form, subjects
    return "nsd", _subjects_there(raw)


def _is_there(raw: Path, subjects: tuple[int, ...], there: list[int]) -> None:
    missing = sorted(set(subjects) - set(there))
    if missing:
        raise FileNotFoundError(
            f"{raw} holds betas of subjects {there}, not of {missing}. Get theirs, or leave them out."
        )


def _shown(sources: list[Any]) -> list[str]:
    return sorted({i for s in sources for i in np.unique(s.table["stimulus_id"]).tolist()})


def _record(raw: Path, sources: list[Any], chosen: Choice, form: str) -> dict[str, Any]:
    """What the prepared folder is made from: settings, and size and time of every file."""
    files = [path for s in sources for path in (*s.read, *(f for job in s.jobs for f in job.files))]
    files += [
        p
        for p in (raw / INFO, raw / CAPTIONS, raw / (mindeye.IMAGES if form == "mindeye2" else STIMULI))
        if p.is_file()
    ]
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(chosen).items()}
    return {
        "settings": settings,
        "spaces": [s.space_hash for s in sources],
        "files": staging.stamps(sorted(set(files))),
    }


def _plan(sources: list[Any], n_pictures: int, side: int) -> tuple[str, ...]:
    """What would be read, written and needed, a sentence each."""
    said = []
    for s in sources:
        n, v = s.table.n_rows, s.space.n_features
        size = sum(f.stat().st_size for job in s.jobs for f in job.files)
        shared = len(np.unique(s.table["stimulus_id"][s.table["shared"]]))
        said.append(f"subject {s.subject}: {n} trials x {v} features, {shared} of {nsd.SHARED} shared images")
        said.append(
            f"subject {s.subject}: reads {size / 1e9:.2f} GB, writes {4 * n * v / 1e9:.2f} GB (twice while at work)"
        )
    largest = max(4 * PER_SESSION * s.space.n_features for s in sources) / 1e9
    pictures = f"{n_pictures} pictures of {side} x {side}: writes {n_pictures * side * side * 3 / 1e9:.2f} GB"
    return (*said, pictures, f"memory: about {0.3 + largest:.1f} GB a job")


def _missing(raw: Path, sources: list[Any], form: str) -> tuple[str, ...]:
    lists = {CAPTIONS: "captions"} if form != "nsd" else {str(INFO): "COCO ids", CAPTIONS: "captions"}
    absent = [f"{name} ({what})" for name, what in lists.items() if not (raw / name).is_file()]
    return (*(f"subject {s.subject}: {what}" for s in sources for what in s.missing), *absent)


def _write(
    raw: Path, made: Path, sources: list[Any], staged: dict[str, Path], shown: list[str], chosen: Choice,
    form: str, **notes: Any,
) -> None:  # fmt: skip
    pictures, about = _beside("pictures"), _beside("about")
    trials: list[Trials] = []
    hashes: dict[str, str] = {}
    dropped: dict[str, int] = {}
    for s in sources:
        rows = staging.Staged([staged[job.name] for job in s.jobs])
        hashes |= rows.raw_files
        space = _valid(rows, s, chosen.invalid)
        dropped[f"sub-{s.subject:02d}_fmri"] = int((~rows.members).sum())
        trials.append(Trials(rows, s.table, space, s.units, s.subject, "fmri"))
        if s.ncsnr is not None:
            with store.writer(made / f"ncsnr_{trials[-1].key}.h5") as file:
                file.array("ncsnr", s.ncsnr()[rows.members])
    layout.write_stimuli(
        made, shown, kind="image", images=pictures["pictures_of"](raw, shown, form, chosen.image_side),
        captions=pictures["captions_of"](raw, shown), table=pictures["table_of"](raw, shown),
    )  # fmt: skip
    small = [Path(f) for f in notes["made_from"]["files"] if f not in hashes]
    hashes |= {str(path): store.sha256_of(path) for path in small}
    layout.write_manifest(
        made, name="nsd", licence=LICENCE, source=SOURCE, splits=about["splits_of"]([s.table for s in sources]),
        recordings=[layout.write_trials(made, t) for t in trials], default="shared1000",
        raw_files={str(Path(p).relative_to(raw)): sha for p, sha in sorted(hashes.items())}, **notes,
        dropped_features=dropped, layout=form,
        **about["provenance_of"](chosen.betas, chosen.roi, packed=form != "nsd", synthetic=(raw / MARK).is_file()),
    )  # fmt: skip


def _valid(rows: staging.Staged, source: Any, invalid: str) -> Any:
    """The space without NaN and constant features, where these may be dropped."""
    bad = np.asarray(rows.flags.any(0), dtype=bool)
    if not bad.any():
        return source.space
    if invalid == "refuse":
        first = source.jobs[int(np.flatnonzero(rows.flags.any(1))[0])]
        nan, constant = (int((rows.flags & f).any(0).sum()) for f in (staging.NOT_FINITE, staging.CONSTANT))
        found = (
            f"and other sessions hold 'betas' with {nan} NaN and {constant} constant of {len(bad)} features"
        )
        raise checks.DataFileError(first.files[0], found, "Prepare with --set invalid=drop, or another roi.")
    print(
        f"subject {source.subject}: {int(bad.sum())} of {len(bad)} features are NaN or constant in a session: dropped"
    )
    rows.members = ~bad
    return spaces.restrict(source.space, ~bad)
