"""Files of one commit of a repository: fetched by the hub's own client, verified by us, fetched again where damaged.

The client resumes what was cut off, but takes any file of the right size for the right one; so every file is hashed
here, against what the hub lists for the commit and against what our own table knows.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from braindec import checks, store
from braindec.hub._client import PLAIN, Access, Client, Listed
from braindec.weights import published

RECORD = (
    ".braindec.json"  # beside the files: what was verified, so that a machine without network can do it again
)
MARGIN = 200_000_000  # bytes that stay free on the disk


@dataclass(frozen=True)
class Snapshot:
    """Verified files of one commit.

    Parameters
    ----------
    folder : Path
        In the hub's cache.
    repository, revision : str
    files : mapping of str to str
        sha256 by path below the folder.
    """

    folder: Path
    repository: str
    revision: str
    files: Mapping[str, str]


def fetch(
    repository: str,
    patterns: Sequence[str],
    *,
    revision: str | None,
    kind: str = "model",
    known: Mapping[str, str] | None = None,
    needed: Sequence[str] = (),
    pickles: bool = False,
    access: Access = PLAIN,
) -> Snapshot:
    """The files of a commit that match any pattern.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    patterns : sequence of str
        Of `fnmatch`, over whole paths.
    revision : str or None
        Commit of 40 hex digits; None: the newest one.
    kind : str
        ``"model"`` or ``"dataset"``.
    known : mapping of str to str, optional
        sha256 by path, from elsewhere than the hub.
    needed : sequence of str
        Paths that must be among them.
    pickles : bool
        Whether files that could run code when opened may come; nothing here opens them.
    access : Access
        Token, cache, and whether to ask anybody at all.

    Raises
    ------
    DownloadError
        See `pull`.
    """
    if revision is not None and not access.force_download:
        folder = access.folder(repository, revision, kind)
        found = _verified_before(folder, repository, patterns, needed, known or {}, pickles)
        if found is not None:
            return found
    client = Client.reached(repository, kind, access)
    commit = client.commit(revision)
    folder = access.folder(repository, commit, kind)
    chosen = _chosen(repository, client.listed(commit), patterns, needed, pickles)
    _room_for(chosen, repository, folder, access.place)
    files = {one.path: client.file(one, commit, (known or {}).get(one.path)) for one in chosen}
    earlier = _record(folder)
    asked = sorted({*patterns, *earlier["patterns"]})
    return _recorded(Snapshot(folder, repository, commit, files), asked, earlier["files"])


def taken_over(snapshot: Snapshot, written: Mapping[str, str]) -> Snapshot:
    """The snapshot after pickles were written again: they are deleted, and what was written is hashed and recorded.

    Parameters
    ----------
    snapshot : Snapshot
    written : mapping of str to str
        Path of each pickle, and of what was made of it.
    """
    files = {path: digest for path, digest in snapshot.files.items() if path not in written}
    files |= {path: store.sha256_of(snapshot.folder / path) for path in written.values()}
    made = Snapshot(snapshot.folder, snapshot.repository, snapshot.revision, files)
    earlier = _record(snapshot.folder)
    others = {path: digest for path, digest in earlier["files"].items() if path not in written}
    _recorded(made, earlier["patterns"], others)
    for pickle in written:
        (snapshot.folder / pickle).resolve().unlink(missing_ok=True)
        (snapshot.folder / pickle).unlink(missing_ok=True)
    return made


def verified(folder: Path) -> bool:
    """Whether every file that was recorded in a snapshot still is what it was; False where nothing was."""
    files = _record(folder)["files"]
    return bool(files) and all(
        (folder / path).is_file() and store.sha256_of(folder / path) == digest
        for path, digest in files.items()
    )


def _recorded(snapshot: Snapshot, patterns: Sequence[str], others: Mapping[str, str]) -> Snapshot:
    """Writes down what was asked for and verified, beside what an earlier fetch of this commit verified."""
    content = {
        "repository": snapshot.repository,
        "revision": snapshot.revision,
        "patterns": list(patterns),
        "files": {**others, **snapshot.files},
    }
    store.write_json(snapshot.folder / RECORD, {"format": 1} | content)
    return snapshot


def _record(folder: Path) -> dict[str, Any]:
    """What `_recorded` wrote; nothing where it never did."""
    if not (folder / RECORD).is_file():
        return {"patterns": [], "files": {}}
    found = store.read_json(folder / RECORD, "Delete this file and pull again.")
    return {"patterns": found.get("patterns", []), "files": found["files"]}


def _verified_before(
    folder: Path,
    repository: str,
    patterns: Sequence[str],
    needed: Sequence[str],
    known: Mapping[str, str],
    pickles: bool,
) -> Snapshot | None:
    """What an earlier fetch left, hashed once more; None where something lacks or is not what it was."""
    record = _record(folder)
    files = record["files"]
    if not set(patterns) <= set(record["patterns"]):  # others were asked for then
        return None
    wanted = {path: digest for path, digest in files.items() if _matches(path, patterns)}
    safe = {path: digest for path, digest in wanted.items() if not path.endswith(published.PICKLES)}
    if not pickles and len(safe) < len(wanted):  # whoever asked then took them
        if not any(path.endswith(".safetensors") for path in safe):
            return None
        wanted = safe
    if not wanted or any(path not in files for path in needed):
        return None
    for path, digest in wanted.items():
        file = folder / path
        if not file.is_file() or store.sha256_of(file) != digest or known.get(path, digest) != digest:
            return None
    return Snapshot(folder, repository, folder.name, wanted)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _chosen(
    repository: str, listed: Sequence[Listed], patterns: Sequence[str], needed: Sequence[str], pickles: bool
) -> list[Listed]:
    paths = [one.path for one in listed]
    for path in paths:
        _refuse_outside(repository, path)
    lacking = [path for path in needed if path not in paths]
    if lacking:
        raise checks.DownloadError(
            f"{repository!r} has no {', '.join(lacking)} at this commit; it has {', '.join(sorted(paths)[:20])}. "
            "Name another commit with --revision."
        )
    chosen = [
        one for one in listed if _matches(one.path, patterns) and one.path != RECORD
    ]  # ours, not theirs
    weights = [one.path for one in listed if one.path.endswith(published.PICKLES)]
    safe = any(path.endswith(".safetensors") for path in paths)
    if not pickles and weights and not safe:
        raise checks.DownloadError(
            f"{repository!r} holds its weights as pickles alone ({', '.join(weights[:3])}), which run code when "
            "opened; braindec loads safetensors. Ask its authors for them."
        )
    if not pickles:
        chosen = [one for one in chosen if not one.path.endswith(published.PICKLES)]
    if not chosen:
        raise checks.DownloadError(f"{repository!r} holds none of {list(patterns)} at this commit.")
    return chosen


def _refuse_outside(repository: str, path: str) -> None:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\\" in path or not path:
        raise checks.DownloadError(
            f"{repository!r} lists {path!r}, which lies outside its folder. Do not use it."
        )


def _room_for(chosen: Sequence[Listed], repository: str, folder: Path, place: Path) -> None:
    """Refuses before the first byte where the disk cannot take all of them."""
    lacking = sum(one.n_bytes for one in chosen if not (folder / one.path).is_file())
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if lacking + MARGIN > free:
        raise checks.DownloadError(
            f"{repository!r} needs {lacking / 1e9:.1f} GB, but {place} has {free / 1e9:.1f} GB free. Make room, or "
            "name another place with HF_HOME."
        )
