"""The prepared form of a dataset: dataset.json, stimuli.h5 and one file for each subject and modality."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, store
from braindec.data import spaces
from braindec.data.sounds import Sounds, StoredSounds
from braindec.data.splits import Split
from braindec.types import StimulusSet, Table, Trials

MANIFEST = "dataset.json"
STIMULI = "stimuli.h5"
SCHEMA = 1
BULK = ("responses", "images", "sounds")  # arrays that are read by row
WAY_OUT = "Prepare it with: braindec prepare NAME --raw DIR --out DIR."
CHUNK_BYTES = 64 << 20  # responses and images are copied in pieces of about this size


def write_trials(folder: str | Path, trials: Trials) -> Path:
    """Writes `<folder>/<key>.h5`, reading the responses in pieces, and returns its path.

    Parameters
    ----------
    folder : path
    trials : Trials
        Responses are stored as float32; NaN and infinities are refused.

    Raises
    ------
    ValueError
        If a response is not finite.
    """
    path = Path(folder) / f"{trials.key}.h5"
    with store.writer(path) as out:
        out.attributes(fill_trials(out, trials))
    return path


def fill_trials(out: store.Writer, trials: Trials) -> dict[str, Any]:
    """Writes what `write_trials` writes into a file that is open, but for the attributes, which it returns."""
    config, arrays = spaces.to_arrays(trials.space)
    bulk = out.bulk("responses", tuple(trials.responses.shape), np.float32)
    for piece in _pieces(trials.responses):
        bulk.append(checks.finite("responses", piece))
    for name, values in arrays.items():
        if values.size:
            out.array(f"space/{name}", values)
    _write_table(out, trials.table)
    return {
        "content": "trials",
        "columns": list(trials.table),
        "space": config | {"empty": [n for n, v in arrays.items() if not v.size]},
        "units": trials.units,
        "subject": int(trials.subject),
        "modality": trials.modality,
        "sfreq": None if trials.sfreq is None else float(trials.sfreq),
        "tmin": None if trials.tmin is None else float(trials.tmin),
    }


def read_trials(path: str | Path) -> Trials:
    """The trials of one file; responses are read by rows on demand (`store.Rows`)."""
    stored = _stored(path, "trials")
    about = stored.attributes
    arrays = stored.group("space") | {n: np.empty(0, dtype=np.int64) for n in about["space"].get("empty", [])}
    return Trials(
        responses=stored.rows("responses"),
        table=_read_table(stored, about["columns"]),
        space=spaces.from_arrays(about["space"], arrays),
        units=about["units"],
        subject=about["subject"],
        modality=about["modality"],
        sfreq=about["sfreq"],
        tmin=about["tmin"],
    )


def write_stimuli(
    folder: str | Path,
    ids: Sequence[str],
    *,
    kind: str,
    images: Any = None,
    sounds: Sounds | None = None,
    captions: Mapping[str, str] | None = None,
    table: Table | Mapping[str, Any] | None = None,
) -> Path:
    """Writes `<folder>/stimuli.h5` and returns its path.

    Parameters
    ----------
    folder : path
    ids : sequence of str
        Unique.
    kind : str
        ``"image"``, ``"video"``, ``"audio"``, or ``"none"`` when only labels are known.
    images : uint8 array (n_stimuli, height, width, 3), or an iterable of such batches, or None
        0..255, in the order of `ids`; of video (n_stimuli, n_frames, height, width, 3).
    sounds : Sounds, optional
        In the order of `ids`.
    captions : mapping of str to str, optional
        By id, where known.
    table : Table or mapping of columns, optional
        A row a stimulus, in the order of `ids`.
    """
    path = Path(folder) / STIMULI
    ids = checks.unique("stimulus ids", [str(i) for i in ids])
    checks.one_of("kind", kind, ("image", "video", "audio", "none"))
    for media, given, kinds in (("images", images, ("image", "video")), ("sounds", sounds, ("audio",))):
        if (kind in kinds) != (given is not None):
            raise ValueError(f"kind {kind!r} {'needs' if kind in kinds else 'takes no'} {media}.")
    columns = table if isinstance(table, Table) else Table(table or {})
    if columns and columns.n_rows != len(ids):
        raise ValueError(
            f"table has {columns.n_rows} along axis 'stimulus' but ids has {len(ids)}; they must match."
        )
    with store.writer(path) as out:
        out.array("ids", np.array(ids, dtype=str))
        if images is not None:
            _write_images(out, len(ids), images, kind)
        if sounds is not None:
            sounds.write(out, len(ids))
        if captions:
            known = [i for i in ids if i in captions]
            out.array("captions/ids", np.array(known, dtype=str))
            out.array("captions/text", np.array([captions[i] for i in known], dtype=str))
        _write_table(out, columns)
        rate = {} if sounds is None else {"sfreq": float(sounds.sfreq)}
        out.attributes({"content": "stimuli", "kind": kind, "columns": list(columns)} | rate)
    return path


def read_stimuli(path: str | Path) -> StimulusSet:
    """The stimuli of one file; images and sounds are read by id on demand."""
    stored = _stored(path, "stimuli")
    ids = tuple(str(i) for i in stored.array("ids"))
    captions = stored.group("captions")
    known = zip(captions["ids"].tolist(), captions["text"].tolist(), strict=True) if captions else ()
    columns = stored.attributes["columns"]
    return StimulusSet(
        ids=ids,
        kind=stored.attributes["kind"],
        read=_reader(stored, ids),
        captions=dict(known),
        table=_read_table(stored, columns) if columns else None,
    )


def _reader(stored: store.Stored, ids: Sequence[str]) -> Any:
    """What reads the media by id; None where only labels are known."""
    if "sounds" in stored.names:
        return StoredSounds(ids, stored.rows("sounds"), float(stored.attributes["sfreq"]))
    return StoredImages(ids, stored.rows("images")) if "images" in stored.names else None


class StoredImages:
    """Reads uint8 (n, height, width, 3), or clips (n, n_frames, height, width, 3), by stimulus id; may be pickled."""

    def __init__(self, ids: Sequence[str], rows: store.Rows):
        self._row = {key: i for i, key in enumerate(ids)}
        self._rows = rows

    def __call__(self, ids: Sequence[str]) -> np.ndarray:
        """The images of these ids, in that order, repeats allowed."""
        missing = [i for i in ids if i not in self._row]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(ids)} ids are not in {self._rows.path}, first {missing[0]!r}."
            )
        return self._rows[np.array([self._row[i] for i in ids], dtype=np.int64)]


def write_manifest(
    folder: str | Path,
    *,
    name: str,
    licence: str,
    source: str,
    splits: Mapping[str, Split],
    recordings: Iterable[str | Path],
    default: str | None = None,
    **notes: Any,
) -> Path:
    """Writes dataset.json over the files already there: the last step of preparing.

    Parameters
    ----------
    folder : path
    name, licence, source : str
    splits : mapping of str to Split
        Named splits; `default` (or else the first) is used when a reader names none.
    recordings : iterable of path
        What `write_trials` returned.
    default : str, optional
    **notes : JSON values
        Anything further, e.g. ``transductive="detrended and z-scored within each run"``.
    """
    folder = Path(folder)
    if default is not None:
        checks.known_key("default split", default, splits)
    entries = [_recording_entry(Path(path)) for path in recordings]
    checks.unique("recordings", [entry["key"] for entry in entries])
    first = default or next(iter(splits), None)
    stimuli = folder / STIMULI
    manifest = {
        "schema": SCHEMA,
        "name": name,
        "licence": licence,
        "source": source,
        "recordings": entries,
        "stimuli": {
            "file": STIMULI,
            "sha256": store.sha256_of(stimuli),
            "content": content_of(store.Stored(stimuli)),
        },
        "default_split": first,
        "splits": {key: split.to_json() for key, split in splits.items()},
    }
    clash = sorted(set(notes) & set(manifest))
    if clash:
        raise ValueError(f"notes may not be named {clash}: dataset.json has these already.")
    path = folder / MANIFEST
    store.write_json(path, manifest | notes)
    return path


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The content of dataset.json; a folder without one is refused with the command that prepares it."""
    folder = checks.existing_folder(folder, WAY_OUT)
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {MANIFEST}, so it is no prepared dataset{_what_it_is(folder)}. {WAY_OUT}"
        )
    manifest = store.read_json(folder / MANIFEST, WAY_OUT)
    keys = ("schema", "name", "recordings", "stimuli", "splits")
    missing = [key for key in keys if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise checks.DataFileError(folder / MANIFEST, f"lacks {missing}", "Prepare it again.")
    if manifest["schema"] != SCHEMA:
        found = f"has schema {manifest['schema']}, this version reads {SCHEMA}"
        raise checks.DataFileError(folder / MANIFEST, found, "Prepare it again.")
    return manifest


def _what_it_is(folder: Path) -> str:
    """What else a folder seems to be that was given for a prepared one; empty where it cannot be told."""
    known = {
        "config.json": "a saved decoder",
        "report.json": "the folder of a run",
        "dataset_description.json": "a raw BIDS dataset",
        "arrays.npy": "raw arrays",
    }
    said = next((what for name, what in known.items() if (folder / name).exists()), "")
    return (
        f" (but {said})" if said else f" (it has {sorted(p.name for p in folder.iterdir())[:4] or 'nothing'})"
    )


def content_of(stored: store.Stored) -> str:
    """sha256 over attributes, small arrays and the digests of the bulk arrays: cheap even for large files."""
    small = {n: stored.array(n) for n in stored.names if n not in BULK}
    with store.open_readonly(stored.path) as file, store.damage_named(stored.path):
        digests = {f"{n}.sha256": file[f"{n}.sha256"][()] for n in BULK if n in stored.names}
    return store.content_hash(**{"json of the file": stored.attributes}, **small, **digests)


def checked(folder: Path, entry: Mapping[str, Any]) -> Path:
    """The path of a file that dataset.json lists, refused when it is not the file that was listed."""
    path = folder / str(entry["file"])
    if path.resolve().parent != folder.resolve():
        raise checks.DataFileError(
            folder / MANIFEST, f"lists {entry['file']!r} outside of its folder", "Prepare it again."
        )
    if content_of(store.Stored(path)) != entry["content"]:
        raise checks.DataFileError(
            path, "is not the file that dataset.json lists", "Prepare the dataset again."
        )
    return path


def verify(folder: str | Path) -> None:
    """Reads every byte of a prepared folder and refuses any file whose sha256 is not the listed one."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    for entry in [*manifest["recordings"], manifest["stimuli"]]:
        path = checks.existing_file(folder / entry["file"], WAY_OUT)
        if store.sha256_of(path) != entry["sha256"]:
            raise checks.DataFileError(
                path, "does not have the sha256 that dataset.json lists", "Prepare it again."
            )


def _recording_entry(path: Path) -> dict[str, Any]:
    trials = read_trials(path)
    return {
        "key": trials.key,
        "file": path.name,
        "sha256": store.sha256_of(path),
        "content": content_of(store.Stored(path)),
        "n_trials": trials.n_trials,
        "shape": [int(n) for n in trials.responses.shape[1:]],
    }


def _stored(path: str | Path, content: str) -> store.Stored:
    stored = store.Stored(path)
    if stored.attributes.get("content") != content:
        raise checks.DataFileError(
            path, f"holds {stored.attributes.get('content')!r}, not {content}", WAY_OUT
        )
    return stored


def _pieces(rows: Any) -> Iterator[np.ndarray]:
    row_bytes = 4 * int(np.prod(rows.shape[1:]))
    step = max(1, CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, rows.shape[0], step):
        yield np.asarray(rows[np.arange(start, min(start + step, rows.shape[0]))], dtype=np.float32)


def _write_table(out: store.Writer, table: Table) -> None:
    for name, column in table.items():
        out.array(f"table/{name}", column)


def _read_table(stored: store.Stored, columns: Sequence[str]) -> Table:
    return Table({name: stored.array(f"table/{name}") for name in columns})


def _write_images(out: store.Writer, n_images: int, images: Any, kind: str) -> None:
    axes = ("stimulus", *(("frame",) if kind == "video" else ()), "height", "width", "channel")
    batches = [images] if hasattr(images, "shape") else images
    bulk: store.BulkWriter | None = None
    for batch in batches:
        batch = np.asarray(batch)
        checks.n_axes("images", batch, axes)
        if batch.dtype != np.uint8 or batch.shape[-1] != 3:
            raise ValueError(f"images must be uint8 with 3 channels, got {batch.dtype} {batch.shape}.")
        if bulk is None:
            bulk = out.bulk("images", (n_images, *batch.shape[1:]), np.uint8)
        bulk.append(batch)
    if bulk is None:
        raise ValueError("images holds no batch.")


def chosen(
    entries: Sequence[Mapping[str, Any]], subjects: Iterable[int] | None, modalities: Iterable[str] | None
) -> list[Mapping[str, Any]]:
    """Entries of a manifest's recordings with these subjects and modalities; one that is not there is refused."""
    subjects = None if subjects is None else tuple(subjects)
    if modalities is not None:
        modalities = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    named = [(e, int(e["key"].split("_")[0].removeprefix("sub-")), e["key"].split("_")[1]) for e in entries]
    for what, wanted, place in (("subjects", subjects, 1), ("modalities", modalities, 2)):
        if wanted is not None:
            for value in wanted:
                checks.one_of(what, value, sorted({row[place] for row in named}))
    return [
        entry
        for entry, subject, modality in named
        if (subjects is None or subject in subjects) and (modalities is None or modality in modalities)
    ]
