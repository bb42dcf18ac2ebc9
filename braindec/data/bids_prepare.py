"""Brings one's own recordings (a BIDS folder, or arrays with a table) into the prepared form, whole or not at all."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from braindec import __version__, checks, config, store
from braindec.data import (
    bids,
    bids_fmri,
    bids_jobs,
    bids_join,
    bids_meeg,
    bids_plain,
    bids_plan,
    bids_staging,
    bids_stimuli,
    download,
    layout,
    plausible,
    staging,
)
from braindec.data.bids_plan import Job
from braindec.data.bids_settings import BidsSettings
from braindec.data.catalogue import Counts
from braindec.data.dataset import NeuralDataset
from braindec.data.splits import Split, last_of_each, leave_one_out, one_sided, own_values
from braindec.types import Trials

MODALITIES = ("fmri", "eeg", "meg", "ieeg")


def prepare(
    raw: str | Path,
    out: str | Path,
    *,
    name: str,
    subjects: Iterable[int] | None = None,
    dry_run: bool = False,
    n_jobs: int = 1,
    settings: BidsSettings | None = None,
) -> Counts:
    """Reads `raw` and writes the prepared folder `out`; what fails leaves no `out`, or the one that was there.

    Parameters
    ----------
    raw : path
        Root of a BIDS dataset, or a folder as `bids_plain.read_trials` reads it.
    out : path
        New, empty, or a prepared folder, which is replaced.
    name : str
        Of the dataset.
    subjects : iterable of int, optional
        Numbers, as `bids.numbered` gives them; None prepares all.
    dry_run : bool
        Reads every table and header, and no signal; writes nothing.
    n_jobs : int
        Sessions at a time, by joblib's current backend. Those that are done are kept beside `out` until all are, so
        that a run that was stopped goes on; where raw files and settings are those `out` was made of, nothing is done.
    settings : BidsSettings, optional

    Raises
    ------
    DataFileError, ConfigError, FileNotFoundError
        Naming the file and the way out.
    """
    settings = settings or BidsSettings()
    raw = checks.existing_folder(raw, "Point --raw at the root of a BIDS dataset.").resolve()
    checks.at_least("n_jobs", n_jobs, 1)
    plain = bids_plain.folders(raw)
    labels = {n: p.name for n, p in plain.items()} if plain else bids.numbered(bids.labels(raw))
    chosen = (
        sorted(labels)
        if subjects is None
        else [checks.one_of("subjects", s, sorted(labels)) for s in subjects]
    )
    checks.at_least("number of subjects", len(chosen), 1)
    if plain:
        return _prepare_plain({n: plain[n] for n in chosen}, raw, Path(out), name, settings, dry_run)
    jobs = [job for n in chosen for job in _jobs(raw, n, labels[n], settings)]
    if not jobs:
        raise FileNotFoundError(
            f"no recording of {[f'sub-{labels[n]}' for n in chosen]} in {raw}: neither "
            f"{settings.fmri.derivatives}/sub-*/func/*_desc-preproc_bold.nii.gz nor sub-*/eeg, meg or ieeg."
        )
    if dry_run:
        return bids_plan.counted(raw, jobs, settings)
    out = Path(out)
    bids_staging.check(out)
    files = [path for job in jobs for path in bids_jobs.files_of(job, raw, settings)]
    said = {"subject_labels": {str(n): labels[n] for n in chosen}}
    if not _is_there(out, raw, settings, said, [job.key for job in jobs], files):
        train = bids_jobs.training_units(jobs, settings)
        staged = bids_jobs.staged(jobs, raw, out, settings, train, n_jobs)
        with bids_staging.staged(out) as folder:
            made = [
                bids_join.join(job, raw, folder, settings, train, paths)
                for job, paths in zip(jobs, staged, strict=True)
            ]
            _finish(folder, raw, name, settings, made, said, files)
        shutil.rmtree(staging.folder_of(out))
    return _counts(out)


def _jobs(raw: Path, subject: int, label: str, settings: BidsSettings) -> list[Job]:
    jobs = []
    for modality in settings.modalities or MODALITIES:
        if modality == "fmri":
            files = bids_fmri.bold_files(raw, label, settings)
        else:
            files = bids_meeg.recordings(raw, label, modality, settings)
        if files:
            jobs.append(Job(subject, modality, files))
    return jobs


def _is_there(
    out: Path,
    raw: Path,
    settings: BidsSettings,
    said: Mapping[str, Any],
    keys: list[str],
    files: list[Path],
) -> bool:
    """Whether `out` was made by this version of these files and settings."""
    if not (out / layout.MANIFEST).is_file():
        return False
    held = layout.read_manifest(out)
    entries = [*held["recordings"], held["stimuli"], *held.get("maps", {}).values()]
    if (
        held.get("made_by") != __version__
        or held.get("settings") != json.loads(json.dumps(config.to_json(settings)))
        or any(held.get(name) != value for name, value in said.items())
        or [e["key"] for e in held["recordings"]] != keys
        or not all(
            (out / e["file"]).is_file() and store.sha256_of(out / e["file"]) == e["sha256"] for e in entries
        )
    ):
        return False
    ids = layout.read_stimuli(out / layout.STIMULI).ids
    pictures = bids_stimuli.pictures(raw, settings.stimuli, ids, settings.image_size)[1]
    return bool(held.get("raw_files") == _hashes(raw, [*files, *pictures]))


def _finish(
    folder: Path,
    raw: Path,
    name: str,
    settings: BidsSettings,
    made: Sequence[bids_join.Made],
    said: Mapping[str, Any],
    read: list[Path],
) -> None:
    """Stimuli and dataset.json over the recordings that lie in `folder`."""
    trials = [layout.read_trials(m.path) for m in made]
    keys = [t.key for t in trials]
    bases = {
        m: path.name for m, path in ((k, x.maps) for k, x in zip(keys, made, strict=True)) if path is not None
    }
    chosen = {k: x.chosen_on for k, x in zip(keys, made, strict=True) if x.chosen_on is not None}
    glm = settings.fmri.glm
    notes: dict[str, Any] = {
        "settings": config.to_json(settings),
        **said,
        "processing": {k: x.about for k, x in zip(keys, made, strict=True)},
        "features": {"selected_on": "none", "aligned_on": "none"},
        "transductive": "nothing here: each run is modelled or filtered by itself",
    }
    if any(t.modality == "fmri" for t in trials):
        notes["betas"] = {
            "hrf_chosen_on": chosen if glm.hrf == "library" else "none",
            "noise_regressors_on": chosen if glm.max_components else "none",
            "ridge_chosen_on": chosen if glm.ridge else "none",
            "z_scored_on": "none",
            # In LSS the others share one regressor, so how a neighbour differs from their mean stays in a trial's beta.
            "overlap": "modelled" if glm.method == "lsa" else "kept",
        }
        notes["maps"] = {
            key: {"file": file, "sha256": store.sha256_of(folder / file)} for key, file in bases.items()
        }
    if any(t.modality != "fmri" for t in trials):
        notes["epochs"] = {"whitened_on": "none", "ica_fitted_on": "none", "z_scored_on": "none"}
    _write(folder, raw, name, settings, trials, [m.path for m in made], read, notes)


def _write(
    folder: Path, raw: Path, name: str, settings: BidsSettings, trials: Sequence[Trials], paths: Sequence[Path],
    read: list[Path], notes: dict[str, Any],
) -> None:  # fmt: skip
    for recording in trials:
        for said in plausible.of_values(recording):
            warnings.warn(f"{recording.key}: {said}", stacklevel=2)
    ids, table = bids_stimuli.stimuli_of(trials)
    images, pictures = bids_stimuli.pictures(raw, settings.stimuli, ids, settings.image_size)
    layout.write_stimuli(folder, ids, kind="none" if images is None else "image", images=images, table=table)
    dataset = NeuralDataset.from_trials(trials, bids_stimuli.dataset_stimuli(ids, table), name=name)
    splits = _splits(dataset, settings)
    alone = (
        f"a split, as there is one {settings.split} alone: a recipe may make one, or --set split=stimulus --set "
        "within_run=true"
    )
    layout.write_manifest(
        folder,
        name=name,
        licence="the owner's",
        source="own recordings",
        splits={s.name: s for s in splits},
        recordings=paths,
        **({"label": "category"} if "category" in table else {}),
        **notes,
        missing=[] if splits else [alone],
        raw_files=_hashes(raw, [*read, *pictures]),
        made_by=__version__,
    )


def _splits(dataset: NeuralDataset, settings: BidsSettings) -> list[Split]:
    """The default split; and, where nothing was chosen on its training runs, one for each unit left out.

    One run (or session) alone cannot be split by it: there is no split then.
    """
    values = dataset.unit_values(settings.split)
    named = tuple(checks.one_of(f"test ({settings.split})", v, list(values)) for v in settings.test)
    test = named or _last(dataset, settings)
    if not test:
        return []
    train = tuple(v for v in values if v not in test)
    default = Split("default", settings.split, {"train": train, "test": test})
    if settings.fmri.glm.chooses or settings.split == "stimulus":
        return [default]
    return [default, *leave_one_out(dataset, settings.split)]


def _last(dataset: NeuralDataset, settings: BidsSettings) -> tuple[str, ...]:
    """The last runs or sessions, so that every signal is tested; of stimuli the last fifth, or that of each signal."""
    own = own_values(dataset, settings.split)
    if settings.split != "stimulus":
        return last_of_each(own, bids.natural)
    last = _last_fifth(dataset.unit_values("stimulus"))
    if one_sided(own, last):
        last = {v for values in own.values() for v in _last_fifth(values)}
    return tuple(sorted(last, key=bids.natural))


def _last_fifth(values: Sequence[str]) -> set[str]:
    found = sorted(values, key=bids.natural)
    return set(found[-max(1, len(found) // 5) :]) if len(found) > 1 else set()


def _prepare_plain(
    folders: Mapping[int, Path], raw: Path, out: Path, name: str, settings: BidsSettings, dry_run: bool
) -> Counts:
    trials = [bids_plain.read_trials(folder, n) for n, folder in folders.items()]
    ids, _ = bids_stimuli.stimuli_of(trials)
    if dry_run:
        return bids_plan.counted_plain(trials, folders.values(), len(ids))
    unknown = {"selected_on": "unknown", "aligned_on": "unknown"}
    notes = {
        "settings": config.to_json(settings),
        "features": unknown,
        "betas": dict.fromkeys(
            ("hrf_chosen_on", "noise_regressors_on", "ridge_chosen_on", "z_scored_on"), "unknown"
        ),
        "epochs": dict.fromkeys(("whitened_on", "ica_fitted_on", "z_scored_on"), "unknown"),
    }
    read = [path for f in folders.values() for path in bids_plain.files(f)]
    if not _is_there(out, raw, settings, {}, [t.key for t in trials], read):
        with bids_staging.staged(out) as folder:
            paths = [layout.write_trials(folder, t) for t in trials]
            _write(folder, raw, name, settings, trials, paths, read, notes)
    return _counts(out)


def _counts(out: Path) -> Counts:
    from braindec.data.catalogue import counts

    return counts(out)


def _hashes(raw: Path, paths: Iterable[Path]) -> dict[str, str]:
    """sha256 of what was read, by path below `raw`, or by name where it lies elsewhere."""
    inside = sorted({p for p in paths if p.is_relative_to(raw)})
    outside = sorted({p for p in paths if not p.is_relative_to(raw)})
    return download.hashes(raw, inside) | {p.name: store.sha256_of(p) for p in outside}
