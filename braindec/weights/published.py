"""The one table of published weights that braindec works with: where they lie, how large they are, under which licence.

The table is `published.json`. What nobody could know without downloading (a commit, a size, a sha256) is null in it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from braindec import checks

TABLE = Path(__file__).parent / "published.json"
BY_HAND = "by-hand"  # a snapshot's folder for files that a person puts there
PICKLES = (".bin", ".ckpt", ".joblib", ".npy", ".pickle", ".pkl", ".pt", ".pth")
# A pickle's name, and what it is called once written again: the names that transformers and diffusers look for.
WRITTEN_AGAIN = {"pytorch_model.bin": "model.safetensors"}


@dataclass(frozen=True)
class File:
    """One file of weights: its path in the repository, its size (10^6 bytes, about) and sha256, where known."""

    path: str
    megabytes: int | None
    sha256: str | None

    @property
    def is_pickle(self) -> bool:
        """Whether opening it could run code."""
        return self.path.endswith(PICKLES)


@dataclass(frozen=True)
class Published:
    """Published weights.

    Parameters
    ----------
    name : str
        What `braindec pull` calls them.
    what : str
        In words.
    repository : str
        ``owner/name`` on huggingface.co.
    kind : str
        ``"model"`` or ``"dataset"``: the kind of repository.
    revision : str or None
        Commit of 40 hex digits; None where none was recorded.
    revision_from, sizes_from : str
        Where commit and sizes were read.
    licence : str
        As the owner states it.
    files : tuple of File
        Weights.
    also : tuple of str
        Patterns of the small files that belong to them: settings, tokenizers.
    convert : str or None
        Who takes over pickles on arrival: ``"safetensors"`` (written again as they are) or a format of
        `braindec.convert`; None: pickles are refused.
    used_by : tuple of str
        Rooms or members.
    notes : str
    """

    name: str
    what: str
    repository: str
    kind: str
    revision: str | None
    revision_from: str
    licence: str
    files: tuple[File, ...]
    also: tuple[str, ...]
    convert: str | None
    used_by: tuple[str, ...]
    sizes_from: str
    notes: str

    @property
    def megabytes(self) -> int | None:
        """Of all weights; None where one is not known."""
        sizes = [file.megabytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def kept(self, file: File) -> str:
        """The path under which a file lies once it was pulled: pickles that are written again change their names."""
        return written_again(file.path) if self.convert == "safetensors" and file.is_pickle else file.path


@lru_cache(maxsize=1)
def table() -> dict[str, Published]:
    """Everything the table holds, by name."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["weights"]
    found = [
        Published(**{**row, **{key: tuple(row[key]) for key in ("also", "used_by")}, "files": _files(row)})
        for row in rows
    ]
    checks.unique("names of published weights", [entry.name for entry in found])
    return {entry.name: entry for entry in found}


def named(name: str) -> Published:
    """One entry, by its name or by its repository where that has one entry only.

    Raises
    ------
    ConfigError
        If there is none (with the closest name), or a repository has several.
    """
    entries = table()
    if name in entries:
        return entries[name]
    same = [entry for entry in entries.values() if entry.repository == name]
    if len(same) > 1:
        raise checks.ConfigError(f"{name!r} has several entries; name one of {[e.name for e in same]}.")
    return same[0] if same else checks.known_key("published weights", name, entries)


def folder_of(name: str) -> Path:
    """Where pulled weights lie: a folder as `save_pretrained` writes it, or the one that a converter wrote.

    Raises
    ------
    DownloadError
        If they are not all on this machine; it says which command fetches them, their size and licence.
    """
    entry = named(name)
    found = here(entry)
    if found is not None:
        return found
    size = "of unknown size" if entry.megabytes is None else f"about {entry.megabytes} MB"
    raise checks.DownloadError(
        f"{entry.what} ({entry.repository}, {size}, licence {entry.licence}) is not on this machine; nothing is "
        f"downloaded unasked. Get it once with: braindec pull {entry.name}"
    )


def here(entry: Published) -> Path | None:
    """The folder that holds all of an entry's weights, the newest one; None where there is none."""
    if entry.convert not in (None, "safetensors"):
        folder = converted_folder(entry.name)
        written = any((folder / name).is_file() for name in ("config.json", "model_index.json"))
        return folder if written else None
    found = [
        folder
        for folder in repository_folder(entry.repository, entry.kind).glob("snapshots/*")
        if folder.name in (entry.revision or folder.name, BY_HAND)
        and all((folder / entry.kept(file)).is_file() for file in entry.files)
    ]
    return max(found, key=lambda folder: folder.stat().st_mtime, default=None)


def converted_folder(name: str) -> Path:
    """Where `braindec pull` puts what a converter makes of weights, beside the hub's cache."""
    return hub_cache().parent / "braindec" / name


def hub_cache() -> Path:
    """The folder in which huggingface_hub keeps repositories, by its own environment variables."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(home).expanduser() / "hub"


def repository_folder(repository: str, kind: str = "model") -> Path:
    """Where ``owner/name`` lies in `hub_cache`, whether it is there or not."""
    return hub_cache() / f"{kind}s--{repository.replace('/', '--')}"


def written_again(path: str) -> str:
    """The name under which the tensors of a pickle are kept as safetensors."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{WRITTEN_AGAIN.get(name, name.rpartition('.')[0] + '.safetensors')}"


def _files(row: dict[str, list[dict[str, str | int | None]]]) -> tuple[File, ...]:
    return tuple(File(**file) for file in row["files"])  # type: ignore[arg-type]  # values of JSON
