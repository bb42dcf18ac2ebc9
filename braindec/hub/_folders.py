"""Folders of saved decoders: the manifest of hashes, and whether a folder still is what was saved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from braindec import __version__, checks, store

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"  # as the hub's own mixin calls it
EARLIER_WEIGHTS = "weights.safetensors"  # as braindec called it before
FORMAT = 1


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


def weights_of(folder: Path) -> Path:
    """The file of weights in a saved folder, under its name or the one it had before."""
    earlier = folder / EARLIER_WEIGHTS
    return earlier if earlier.is_file() and not (folder / WEIGHTS).is_file() else folder / WEIGHTS


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
        found, told = store.sha256_of(folder / name), entry.get("sha256") if isinstance(entry, dict) else None
        if found != told:
            said = f"has sha256 {found[:12]}..., its manifest says {str(told)[:12]}..."
            raise checks.DataFileError(
                folder / name, said, "It was changed or damaged; copy the folder again."
            )


def _check_inside(manifest: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise checks.DataFileError(
            manifest, f"names {name!r}, which lies outside its folder", "Do not use this folder."
        )
