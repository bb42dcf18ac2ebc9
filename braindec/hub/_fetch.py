"""Files of one commit of a repository: fetched by the hub's own client, verified by us, fetched again where damaged.

The client resumes what was cut off, but takes any file of the right size for the right one; so every file is hashed
here, against what the hub lists for the commit and against what our own table knows.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from braindec import checks, store
from braindec.weights import published, reach

HUB = "https://huggingface.co"
COMMIT = re.compile(r"[0-9a-f]{40}")
RECORD = (
    ".braindec.json"  # beside the files: what was verified, so that a machine without network can do it again
)
ATTEMPTS = 3
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


@dataclass(frozen=True)
class _Listed:
    """A file as the hub lists it: bytes, and its sha256 (large files) or the sha1 of git's blob (small ones)."""

    path: str
    n_bytes: int
    sha256: str | None
    blob: str


def fetch(
    repository: str,
    patterns: Sequence[str],
    *,
    revision: str | None,
    kind: str = "model",
    known: Mapping[str, str] | None = None,
    needed: Sequence[str] = (),
    pickles: bool = False,
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

    Raises
    ------
    DownloadError
        See `pull`.
    """
    if revision is not None:
        found = _verified_before(repository, revision, kind, patterns, needed, known or {})
        if found is not None:
            return found
    hub = _Hub.reached(repository, kind)
    commit = hub.commit(revision)
    chosen = _chosen(repository, hub.listed(commit), patterns, needed, pickles)
    _room_for(chosen, repository, commit, kind)
    files = {one.path: hub.file(one, commit, (known or {}).get(one.path)) for one in chosen}
    folder = _folder(repository, commit, kind)
    return _recorded(Snapshot(folder, repository, commit, files))


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
    made = _recorded(Snapshot(snapshot.folder, snapshot.repository, snapshot.revision, files))
    for pickle in written:
        (snapshot.folder / pickle).resolve().unlink(missing_ok=True)
        (snapshot.folder / pickle).unlink(missing_ok=True)
    return made


def verified(folder: Path) -> bool:
    """Whether every file that was recorded in a snapshot still is what it was; False where nothing was."""
    if not (folder / RECORD).is_file():
        return False
    files = store.read_json(folder / RECORD, "Delete this file and pull again.")["files"]
    return all(
        (folder / path).is_file() and store.sha256_of(folder / path) == digest
        for path, digest in files.items()
    )


def _recorded(snapshot: Snapshot) -> Snapshot:
    content = {
        "repository": snapshot.repository,
        "revision": snapshot.revision,
        "files": dict(snapshot.files),
    }
    store.write_json(snapshot.folder / RECORD, {"format": 1} | content)
    return snapshot


def endpoint() -> str:
    """Where the hub is: huggingface.co, or what HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def why_unreachable() -> str:
    """What stands between this machine and the hub, found out within seconds; empty where it answers."""
    return reach.why_unreachable(endpoint())


def _folder(repository: str, commit: str, kind: str) -> Path:
    return published.repository_folder(repository, kind) / "snapshots" / commit


def _verified_before(
    repository: str, revision: str, kind: str, patterns: Sequence[str], needed: Sequence[str], known: Mapping[str, str]
) -> Snapshot | None:  # fmt: skip
    """What an earlier fetch left, hashed once more; None where something lacks or is not what it was."""
    folder = _folder(repository, revision, kind)
    if not (folder / RECORD).is_file():
        return None
    files = store.read_json(folder / RECORD, "Delete this file and pull again.")["files"]
    wanted = {path: digest for path, digest in files.items() if _matches(path, patterns)}
    if not wanted or any(path not in files for path in needed):
        return None
    for path, digest in wanted.items():
        file = folder / path
        if not file.is_file() or store.sha256_of(file) != digest or known.get(path, digest) != digest:
            return None
    return Snapshot(folder, repository, revision, wanted)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _chosen(
    repository: str, listed: Sequence[_Listed], patterns: Sequence[str], needed: Sequence[str], pickles: bool
) -> list[_Listed]:
    paths = [one.path for one in listed]
    for path in paths:
        _refuse_outside(repository, path)
    lacking = [path for path in needed if path not in paths]
    if lacking:
        raise checks.DownloadError(
            f"{repository!r} has no {', '.join(lacking)} at this commit; it has {', '.join(sorted(paths)[:20])}. "
            "Name another commit with --revision."
        )
    chosen = [one for one in listed if _matches(one.path, patterns)]
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


def _room_for(chosen: Sequence[_Listed], repository: str, commit: str, kind: str) -> None:
    """Refuses before the first byte where the disk cannot take all of them."""
    folder = _folder(repository, commit, kind)
    lacking = sum(one.n_bytes for one in chosen if not (folder / one.path).is_file())
    place = published.hub_cache()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if lacking + MARGIN > free:
        raise checks.DownloadError(
            f"{repository!r} needs {lacking / 1e9:.1f} GB, but {place} has {free / 1e9:.1f} GB free. Make room, or "
            "name another place with HF_HOME."
        )


@dataclass(frozen=True)
class _Hub:
    """The hub's client for one repository; whatever it raises becomes a `DownloadError`."""

    repository: str
    kind: str
    api: Any
    problems: tuple[type[BaseException], ...]

    @classmethod
    def reached(cls, repository: str, kind: str) -> _Hub:
        try:
            from huggingface_hub import HfApi, errors
        except ImportError as error:
            raise checks.needs_package("huggingface-hub", None, f"downloading {repository!r}") from error
        # What the client's transport raises (httpx, or requests in older ones) is the base of its own errors.
        transport = tuple(base for base in errors.HfHubHTTPError.__bases__ if issubclass(base, Exception))
        problems = (
            *transport,
            errors.HFValidationError,
            errors.EntryNotFoundError,
            OSError,
            KeyError,
            ValueError,
        )
        why = why_unreachable()
        if why:
            raise _no_download(repository, why)
        return cls(repository, kind, HfApi(endpoint=endpoint()), problems)

    def commit(self, revision: str | None) -> str:
        """The 40 digits of the commit; another than the one that was asked for is refused."""
        try:
            found = str(
                self.api.repo_info(self.repository, revision=revision or "main", repo_type=self.kind).sha
            )
        except self.problems as error:
            raise _no_download(self.repository, error) from error
        if not COMMIT.fullmatch(found) or (revision is not None and found != revision):
            raise _no_download(
                self.repository, f"asked for commit {revision}, the hub answered for {found!r}"
            )
        return found

    def listed(self, commit: str) -> list[_Listed]:
        """All files of the commit."""
        try:
            tree = list(
                self.api.list_repo_tree(self.repository, revision=commit, recursive=True, repo_type=self.kind)
            )
            return [
                _Listed(f.path, int(f.size), None if f.lfs is None else f.lfs.sha256, f.blob_id)
                for f in tree
                if hasattr(f, "blob_id")  # folders have none
            ]
        except self.problems as error:
            raise _no_download(self.repository, error) from error

    def file(self, listed: _Listed, commit: str, known: str | None) -> str:
        """sha256 of a file that is in the cache now, and is what hub and table say."""
        said = ""
        for _ in range(ATTEMPTS):
            try:
                path = Path(self._download(listed.path, commit))
            except self.problems as error:
                said = f"came not: {_line(error)}"
                continue
            if path != _folder(self.repository, commit, self.kind) / listed.path:
                raise _no_download(
                    self.repository, f"{listed.path} came from another commit than {commit[:12]}"
                )
            found = store.sha256_of(path)
            said = _wrong(path, listed, found, known)
            if not said:
                return found
            path.resolve().unlink()  # or the client would take it for done
            path.unlink(missing_ok=True)
        raise _no_download(self.repository, f"{listed.path} {said} ({ATTEMPTS} attempts)")

    def _download(self, path: str, commit: str) -> str:
        place = published.hub_cache()
        return str(
            self.api.hf_hub_download(
                self.repository, path, revision=commit, repo_type=self.kind, cache_dir=place
            )
        )


def _wrong(path: Path, listed: _Listed, found: str, known: str | None) -> str:
    """What is wrong with a file; empty where it is what it should be."""
    if known is not None and found != known:
        return f"has sha256 {found[:12]}..., braindec's table says {known[:12]}..."
    if listed.sha256 is not None:
        return (
            ""
            if found == listed.sha256
            else f"has sha256 {found[:12]}..., the hub lists {listed.sha256[:12]}..."
        )
    blob = hashlib.sha1(
        b"blob %d\0" % path.stat().st_size + path.read_bytes(), usedforsecurity=False
    ).hexdigest()
    return "" if blob == listed.blob else f"is git blob {blob[:12]}..., the hub lists {listed.blob[:12]}..."


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _no_download(repository: str, why: BaseException | str) -> checks.DownloadError:
    reason = why if isinstance(why, str) else _line(why)
    return checks.DownloadError(
        f"{repository!r} could not be downloaded from {urlsplit(endpoint()).netloc}: {reason.rstrip('.')}. Check the "
        "name, the commit and the connection; what came so far is kept, and the same command goes on from there."
    )
