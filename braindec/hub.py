"""Folders of saved decoders: the card a person reads, the manifest of hashes, and downloads pinned to one commit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from braindec import __version__, checks, store

if TYPE_CHECKING:
    from braindec.types import Report, Score

MANIFEST = "manifest.json"
FORMAT = 1
WANTED = ("*.json", "*.safetensors", "*.h5", "README.md")  # nothing that could run code is ever downloaded
PICKLES = (".bin", ".ckpt", ".joblib", ".npy", ".pickle", ".pkl", ".pt", ".pth")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def write_manifest(folder: str | Path, files: Iterable[str] | None = None) -> Path:
    """Writes manifest.json: size and sha256 of each file, for `verify`.

    Parameters
    ----------
    folder : path
    files : iterable of str, optional
        Names relative to the folder; by default every file in it that is not hidden.

    Returns
    -------
    Path
        Of manifest.json.
    """
    folder = checks.existing_folder(folder, "Save a decoder there first: decoder.save_pretrained(folder).")
    names = list(files) if files is not None else [p.name for p in folder.iterdir() if p.is_file()]
    chosen = sorted(name for name in names if name != MANIFEST and not name.startswith("."))
    entries = {
        name: {"sha256": store.sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
        for name in chosen
    }
    store.write_json(folder / MANIFEST, {"format": FORMAT, "braindec": __version__, "files": entries})
    return folder / MANIFEST


def verify(folder: str | Path) -> None:
    """Checks every file that manifest.json names.

    Raises
    ------
    FileNotFoundError
        If there is no manifest.
    DataFileError
        If a file is missing, or is not the one that was saved.
    """
    folder = checks.existing_folder(
        folder, "A saved decoder is a folder; write one with decoder.save_pretrained(folder)."
    )
    path = folder / MANIFEST
    content = store.read_json(
        path, "A decoder is saved with decoder.save_pretrained(folder); copy its folder whole."
    )
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files:
        raise checks.DataFileError(path, "names no files", "Save the decoder again.")
    for name, entry in files.items():
        _check_inside(path, name)
        if not (folder / name).is_file():
            raise checks.DataFileError(
                folder / name, "is missing", "Copy the folder of the decoder again, whole."
            )
        found = store.sha256_of(folder / name)
        if found != entry["sha256"]:
            said = f"has sha256 {found[:12]}..., its manifest says {entry['sha256'][:12]}..."
            raise checks.DataFileError(
                folder / name, said, "It was changed or damaged; copy the folder again."
            )


def local_or_download(name: str, revision: str | None = None) -> Path:
    """The folder of a saved decoder, brought here from the hub where it is not one already.

    Parameters
    ----------
    name : str
        A folder, or ``owner/name`` on huggingface.co.
    revision : str, optional
        Commit of 40 hex digits; needed for a download, so that the same name is the same decoder tomorrow.

    Returns
    -------
    Path
        Not verified yet; see `verify`.

    Raises
    ------
    FileNotFoundError
        If it is neither a folder nor ``owner/name``.
    ConfigError
        If a download is asked for without a commit.
    DownloadError
        If the hub does not answer, or the repository holds pickled weights alone.
    """
    if Path(name).is_dir():
        return Path(name)
    if not _REPOSITORY.fullmatch(name):
        return checks.existing_folder(
            name, "Name the folder of a saved decoder, or owner/name on huggingface.co."
        )
    if revision is None or not _COMMIT.fullmatch(revision):
        raise checks.ConfigError(
            f"there is no folder {name!r}; to download it from huggingface.co, revision must be a commit of 40 hex "
            f"digits, got {revision!r}."
        )
    return _download(name, revision)


def model_card(config: Mapping[str, Any], report: Report | None) -> str:
    """README.md of a saved decoder: what it decodes, how well, how to load it.

    Parameters
    ----------
    config : mapping
        What config.json holds: ``signals``, ``outputs``, ``settings``, ``training``.
    report : Report or None
        Its scores make the table.
    """
    signals, outputs = sorted(config.get("signals", {})), config.get("outputs", {})
    spaces = sorted({str(info["space"]) for info in outputs.values()})
    subjects = ", ".join(f"`{key}`" for key in signals) or "no subject yet"
    dataset = (config.get("training") or {}).get("dataset") or {}
    front = {
        "library_name": "braindec",
        "tags": ["braindec", "brain-decoding", *sorted({key.rpartition("_")[2] for key in signals})],
        "braindec_version": __version__,
        "target_spaces": spaces,
    }
    if dataset.get("name"):
        front["datasets"] = [str(dataset["name"])]
    head = "\n".join(f"{key}: {json.dumps(value)}" for key, value in front.items())  # JSON is YAML
    lines = [
        f"---\n{head}\n---",
        "# Brain decoder",
        f"Decodes {subjects} into {', '.join(f'`{space}`' for space in spaces)}. "
        f"Made by braindec {__version__}.",
        "```python\nfrom braindec import BrainDecoder\n\ndecoder = BrainDecoder.from_pretrained(FOLDER)\n"
        "prediction = decoder.predict(trials)\n```",
        "## Scores",
        _scores(report.scores if report is not None else ()),
        "## Limits",
        "It decodes the people and the recordings it was fitted on, not other ones. Predictions of a new subject need "
        "`decoder.adapt`. What the scores stand on (gallery, repeats, preprocessing) is in the protocol they name and "
        "in report.json.",
    ]
    return "\n\n".join(lines) + "\n"


def _scores(scores: Iterable[Score]) -> str:
    """A table a person can believe: interval, chance, null, ceiling and n beside each value."""
    rows = [
        f"| {s.name} | {s.system} | {s.subject} | {s.modality} | {s.value:.3f} | {s.interval[0]:.3f} to "
        f"{s.interval[1]:.3f} | {s.chance:.3g} | {s.null:.3g} | "
        f"{'' if s.ceiling is None else f'{s.ceiling:.3f} ({s.ceiling_kind})'} | {s.n} | {s.protocol} |"
        for s in scores
    ]
    if not rows:
        return "Not evaluated yet."
    head = "| metric | system | subject | modality | value | 95 % interval | chance | null | ceiling | n | protocol |"
    return "\n".join([head, "|" + " --- |" * 11, *rows])


def _check_inside(manifest: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise checks.DataFileError(
            manifest, f"names {name!r}, which lies outside its folder", "Do not use this folder."
        )


def _download(name: str, revision: str) -> Path:
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise checks.needs_package("huggingface-hub", None, f"downloading {name!r}") from error
    problems = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError)
    try:
        files = HfApi().list_repo_files(name, revision=revision)
    except problems as error:
        raise _no_download(name, revision, error) from error
    _refuse_pickles(name, files)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(WANTED)))
    except problems as error:
        raise _no_download(name, revision, error) from error


def _no_download(name: str, revision: str, error: Exception) -> checks.DownloadError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return checks.DownloadError(
        f"{name!r} at {revision[:12]} could not be downloaded from huggingface.co: {reason}. "
        "Check the name, the commit and the connection, or copy the folder here by other means."
    )


def _refuse_pickles(name: str, files: Iterable[str]) -> None:
    """Weights are safetensors or not loaded at all: a pickle runs code when it is opened."""
    files = list(files)
    pickled = [file for file in files if file.endswith(PICKLES)]
    if pickled and not any(file.endswith(".safetensors") for file in files):
        raise checks.DownloadError(
            f"{name!r} holds its weights as pickles alone ({', '.join(pickled[:3])}), which run code when opened; "
            "braindec loads safetensors. Ask its authors for them."
        )
