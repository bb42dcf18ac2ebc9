"""Brings one's own recordings (a BIDS folder, or arrays with a table) into the prepared form, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from braindec import checks, config, store
from braindec.data import (
    bids,
    bids_bold,
    bids_fmri,
    bids_meeg,
    bids_plain,
    bids_plan,
    bids_stimuli,
    download,
    glm_choices,
    layout,
)
from braindec.data.bids_plan import Job
from braindec.data.bids_settings import BidsSettings
from braindec.data.bids_staging import staged
from braindec.data.catalogue import Counts
from braindec.data.dataset import NeuralDataset, view
from braindec.data.glm_choices import Choices
from braindec.data.glm_design import LIBRARY
from braindec.data.leakage.provenance import rows_record
from braindec.data.splits import Split, leave_one_out
from braindec.types import Trials

MODALITIES = ("fmri", "eeg", "meg", "ieeg")


@dataclass(frozen=True, eq=False)
class Made:
    """What a job wrote, and what is to be said of it in dataset.json."""

    path: Path
    read: tuple[Path, ...]
    about: dict[str, Any]
    chosen_on: dict[str, Any] | None = None
    maps: Path | None = None


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
        Subjects at a time, by joblib's current backend.
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
    train = _training_units(jobs, settings)
    with staged(Path(out)) as folder:
        made = Parallel(n_jobs=n_jobs)(delayed(_do)(job, raw, folder, settings, train) for job in jobs)
        _finish(folder, raw, name, settings, made, {n: labels[n] for n in chosen})
    return _counts(Path(out))


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


def _do(job: Job, raw: Path, folder: Path, settings: BidsSettings, train: frozenset[str] | None) -> Made:
    if job.modality == "fmri":
        return _do_fmri(job, raw, folder, settings, train)
    trials, about = bids_meeg.read_trials(raw, job.files, job.modality, job.subject, settings)
    tables = [p for f in job.files for s in ("events", "channels", "electrodes") for p in _tables(raw, f, s)]
    read = (*(p for f in job.files for p in bids_plan.parts(f)), *tables)
    return Made(layout.write_trials(folder, trials), read, about)


def _do_fmri(job: Job, raw: Path, folder: Path, settings: BidsSettings, train: frozenset[str] | None) -> Made:
    fmri = settings.fmri
    runs = bids_fmri.read_runs(raw, job.files, settings)
    space = bids_bold.space_of(raw, job.files, fmri)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        signals, tsnr, space = bids_fmri.read_signals(runs, space, fmri, Path(scratch))
        models = bids_fmri.model_runs(runs, signals, fmri.high_pass_hz)
        training = [_unit(run.file, settings.split) in train if train else True for run in runs]
        if fmri.glm.chooses and not any(training):
            raise checks.ConfigError(
                f"{job.key} has no training run to choose HRF, components or ridge on; see test=."
            )
        choices = (
            glm_choices.choose([m for m, kept in zip(models, training, strict=True) if kept], fmri.glm)
            if fmri.glm.chooses
            else Choices.none(space.n_features)
        )
        place = Path(scratch)
        trials, other, about = bids_fmri.estimated(
            runs, models, choices, fmri, space, job.subject, tsnr, place
        )
        path = layout.write_trials(folder, trials)
        maps = _write_maps(folder, trials, other, choices, tsnr, fmri.values)
    chosen_on = None
    if fmri.glm.chooses:
        units = [_unit(run.file, settings.split) for run in runs for _ in run.events.onset_s]
        kept = np.array([u in train if train else True for u in units])
        chosen_on = rows_record(view(layout.read_trials(path), kept))
        about["chosen"] = _chosen_words(choices)
    tables = [run.events.path for run in runs]
    images = [path for f in job.files for path in bids_bold.images(f)]
    return Made(path, (*images, *tables), about, chosen_on, maps)


def _write_maps(
    folder: Path, trials: Trials, other: np.ndarray, choices: Choices, tsnr: np.ndarray, values: str
) -> Path:
    """What is known of each voxel, and the values that are not the responses."""
    path = folder / f"{trials.key}_maps.h5"
    with store.writer(path) as out:
        bulk = out.bulk("t" if values == "beta" else "beta", other.shape, np.float32)
        for start in range(0, len(other), 64):
            bulk.append(other[start : start + 64])
        out.array("tsnr", tsnr)
        out.array("hrf_index", choices.hrf)
        out.array("ridge_fraction", choices.fraction)
        out.array("noise_pool", choices.pool)
        out.array("hrf_library", np.array([[h.peak_s, h.dispersion] for h in LIBRARY]))
        out.attributes(
            {
                "content": "maps",
                "rows": "runs (tsnr), trials (t or beta)",
                "columns": "voxels or vertices of the space",
            }
        )
    return path


def _chosen_words(choices: Choices) -> dict[str, Any]:
    return {
        "noise_components": choices.n_components,
        "noise_pool_voxels": int(choices.pool.sum()),
        "hrf_voxels": np.bincount(choices.hrf, minlength=len(LIBRARY)).tolist(),
        "ridge_fraction_median": round(float(np.median(choices.fraction)), 2),
    }


def _finish(
    folder: Path,
    raw: Path,
    name: str,
    settings: BidsSettings,
    made: Sequence[Made],
    labels: Mapping[int, str],
) -> None:
    """Stimuli and dataset.json over the recordings that lie in `folder`."""
    trials = [layout.read_trials(m.path) for m in made]
    read = [path for m in made for path in m.read]
    keys = [t.key for t in trials]
    bases = {
        m: path.name for m, path in ((k, x.maps) for k, x in zip(keys, made, strict=True)) if path is not None
    }
    chosen = {k: x.chosen_on for k, x in zip(keys, made, strict=True) if x.chosen_on is not None}
    glm = settings.fmri.glm
    notes: dict[str, Any] = {
        "settings": config.to_json(settings),
        "subject_labels": {str(n): label for n, label in labels.items()},
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
    )


def _splits(dataset: NeuralDataset, settings: BidsSettings) -> list[Split]:
    """The default split; and, where nothing was chosen on its training runs, one for each unit left out.

    One run (or session) alone cannot be split by it: there is no split then.
    """
    values = dataset.unit_values(settings.split)
    if len(values) < 2 and not settings.test:
        return []
    test = tuple(checks.one_of(f"test ({settings.split})", v, list(values)) for v in settings.test) or _last(
        values, settings
    )
    train = tuple(v for v in values if v not in test)
    default = Split("default", settings.split, {"train": train, "test": test})
    if settings.fmri.glm.chooses or settings.split == "stimulus":
        return [default]
    return [default, *leave_one_out(dataset, settings.split)]


def _last(values: Sequence[str], settings: BidsSettings) -> tuple[str, ...]:
    n = 1 if settings.split != "stimulus" else max(1, len(values) // 5)
    return tuple(sorted(values, key=bids.natural)[-n:])


def _unit(file: bids.BidsFile, split: str) -> str:
    return file.session if split == "session" else file.run


def _training_units(jobs: Sequence[Job], settings: BidsSettings) -> frozenset[str] | None:
    """Runs (or sessions) of the default split's train part; None where there is no split."""
    if settings.split == "stimulus":
        return None
    values = sorted({_unit(f, settings.split) for job in jobs for f in job.files}, key=bids.natural)
    for value in settings.test:
        checks.one_of(f"test ({settings.split})", value, values)
    test = settings.test or (tuple(values[-1:]) if len(values) > 1 else ())
    train = frozenset(v for v in values if v not in test)
    if not train:
        raise checks.ConfigError(
            f"test={list(test)} leaves no {settings.split} to train on; there are {values}."
        )
    return train


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
    with staged(out) as folder:
        paths = [layout.write_trials(folder, t) for t in trials]
        read = [path for f in folders.values() for path in bids_plain.files(f)]
        _write(folder, raw, name, settings, trials, paths, read, notes)
    return _counts(out)


def _counts(out: Path) -> Counts:
    from braindec.data.catalogue import counts

    return counts(out)


def _tables(raw: Path, file: bids.BidsFile, suffix: str) -> list[Path]:
    return bids.of_recording(raw, file, suffix, ".tsv")[-1:]


def _hashes(raw: Path, paths: Iterable[Path]) -> dict[str, str]:
    """sha256 of what was read, by path below `raw`, or by name where it lies elsewhere."""
    inside = sorted({p for p in paths if p.is_relative_to(raw)})
    outside = sorted({p for p in paths if not p.is_relative_to(raw)})
    return download.hashes(raw, inside) | {p.name: store.sha256_of(p) for p in outside}
