"""The hub's own client for one repository: whatever it raises becomes a `DownloadError`, whatever comes is hashed."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from braindec import checks, store
from braindec.hub import _resume as resume
from braindec.weights import published, reach

HUB = "https://huggingface.co"
COMMIT = re.compile(r"[0-9a-f]{40}")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ATTEMPTS = 3
FROM, TO = "downloaded from", "pushed to"
ADVICE = {
    FROM: "Check the name, the commit and the connection; what came so far is kept, and the same command goes on from "
    "there.",
    TO: "Check the name, the token and the connection; the same command goes on, without sending again what arrived.",
}


@dataclass(frozen=True)
class Access:
    """How the hub is asked, by the names that huggingface_hub gives these.

    Parameters
    ----------
    token : str or None
        Of a hub account; None: the one that ``hf auth login`` keeps. It is sent to the hub alone, and never written.
    cache_dir : path or None
        Where what comes is kept; by default where huggingface_hub keeps it (HF_HUB_CACHE, HF_HOME).
    local_files_only : bool
        Ask nobody; what is not here is refused. So does HF_HUB_OFFLINE=1.
    force_download : bool
        Fetch what is here already, too.
    """

    token: str | None = field(default=None, repr=False)
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    force_download: bool = False

    @property
    def place(self) -> Path:
        """The cache."""
        return published.hub_cache() if self.cache_dir is None else Path(self.cache_dir).expanduser()

    def folder(self, repository: str, commit: str, kind: str) -> Path:
        """Where the files of a commit lie in the cache."""
        return self.place / published.repository_folder(repository, kind).name / "snapshots" / commit


PLAIN = Access()


def check_repository(name: str) -> str:
    """The name; what is no ``OWNER/NAME`` is refused before anybody is asked."""
    if not REPOSITORY.fullmatch(name):
        shown = f"OWNER/{name}" if REPOSITORY.fullmatch(f"a/{name}") else "OWNER/NAME"
        raise checks.ConfigError(
            f"a repository of the hub is named OWNER/NAME (letters, digits, '.', '_' and '-'), got {name!r}. Say "
            f"{shown}, the owner being your account there or an organisation's."
        )
    return name


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it: bytes, and its sha256 (large files) or the sha1 of git's blob (small ones)."""

    path: str
    n_bytes: int
    sha256: str | None
    blob: str

    def differs(self, path: Path, sha256: str) -> str:
        """What is wrong with a file of this sha256 that should be this one; empty where nothing is."""
        if self.sha256 is not None:
            said = f"has sha256 {sha256[:12]}..., the hub lists {self.sha256[:12]}..."
            return "" if sha256 == self.sha256 else said
        blob = git_blob(path)
        return "" if blob == self.blob else f"is git blob {blob[:12]}..., the hub lists {self.blob[:12]}..."


@dataclass(frozen=True)
class Client:
    """One repository, asked through huggingface_hub.

    Parameters
    ----------
    repository, kind : str
    access : Access
    api : huggingface_hub.HfApi
    problems : tuple of exception classes
        What the client and its transport raise.
    """

    repository: str
    kind: str
    access: Access
    api: Any
    problems: tuple[type[BaseException], ...]

    @classmethod
    def reached(cls, repository: str, kind: str, access: Access, doing: str = FROM) -> Client:
        """A client of a hub that answers."""
        try:
            from huggingface_hub import HfApi, errors
        except ImportError as error:
            raise checks.needs_package("huggingface-hub", None, f"what is {doing} the hub") from error
        # What the client's transport raises (httpx, or requests in older ones) is the base of its own errors.
        transport = tuple(base for base in errors.HfHubHTTPError.__bases__ if issubclass(base, Exception))
        problems = (
            *transport,
            errors.HFValidationError,
            errors.EntryNotFoundError,
            OSError,
            KeyError,
            ValueError,
            RuntimeError,  # of an upload's threads
        )
        api = HfApi(endpoint=endpoint(), token=access.token)
        client = cls(repository, kind, access, api, problems)
        why = "local_files_only was asked for" if access.local_files_only else why_unreachable()
        if why:
            raise client.refused(why, doing)
        return client

    def commit(self, revision: str | None) -> str:
        """The 40 digits of the commit; another than the one that was asked for is refused."""
        with self.worded():
            found = str(self._info(revision or "main").sha)
        pinned = revision is not None and COMMIT.fullmatch(revision)
        if not COMMIT.fullmatch(found) or (pinned and found != revision):
            raise self.refused(f"asked for commit {revision}, the hub answered for {found!r}")
        return found

    def is_private(self) -> bool:
        """Whether only its owner sees the repository."""
        with self.worded():
            return bool(self._info(None).private)

    def listed(self, commit: str) -> list[Listed]:
        """All files of the commit."""
        with self.worded():
            tree = self.api.list_repo_tree(
                self.repository, revision=commit, recursive=True, repo_type=self.kind
            )
            return [
                Listed(f.path, int(f.size), None if f.lfs is None else f.lfs.sha256, f.blob_id)
                for f in tree
                if hasattr(f, "blob_id")  # folders have none
            ]

    def file(self, listed: Listed, commit: str, known: str | None) -> str:
        """sha256 of a file that is in the cache now, and is what hub and table say."""
        folder = self.access.folder(self.repository, commit, self.kind)
        blob = folder.parents[1] / "blobs" / (listed.sha256 or listed.blob)
        part = blob.with_name(f"{blob.name}.braindec.incomplete")
        if self.access.force_download:
            blob.unlink(missing_ok=True)
        said, n_failed = "", 0
        while n_failed < ATTEMPTS:
            before = _size(part)
            try:
                if not blob.is_file() and before != listed.n_bytes:
                    resume.bring(self._url(listed.path, commit), self._headers(), part, listed.n_bytes)
            except self.problems as error:
                said = f"came not: {line(error)}"
                n_failed = (
                    1 if _size(part) > max(before, 0) else n_failed + 1
                )  # what goes on is no failure in a row
                if n_failed < ATTEMPTS:
                    time.sleep(2.0**n_failed)  # an overrun hub recovers when it is left alone
                continue
            found = store.sha256_of(part if part.is_file() else blob)
            said = self._wrong(listed, part if part.is_file() else blob, found, known)
            if not said:
                resume.settle(part, blob, folder / listed.path)
                return found
            part.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
            n_failed += 1
        raise self.refused(f"{listed.path} {said} ({ATTEMPTS} attempts)")

    @contextmanager
    def worded(self, doing: str = FROM) -> Iterator[None]:
        """Around what asks the hub: its client's errors become a `DownloadError`."""
        try:
            yield
        except checks.BraindecError:
            raise
        except self.problems as error:
            raise self.refused(error, doing) from error

    def refused(self, why: BaseException | str, doing: str = FROM) -> checks.DownloadError:
        """The error to raise for what could not be done."""
        reason = why if isinstance(why, str) else line(why)
        return checks.DownloadError(
            f"{self.repository!r} could not be {doing} {urlsplit(endpoint()).netloc}: {reason.rstrip('.')}. "
            f"{ADVICE[doing]}"
        )

    def _info(self, revision: str | None) -> Any:
        return self.api.repo_info(self.repository, revision=revision, repo_type=self.kind)

    def _url(self, path: str, commit: str) -> str:
        from huggingface_hub import hf_hub_url

        found: str = hf_hub_url(
            self.repository, path, repo_type=self.kind, revision=commit, endpoint=endpoint()
        )
        return found

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers

        found: dict[str, str] = build_hf_headers(token=self.access.token)
        return found

    def _wrong(self, listed: Listed, path: Path, found: str, known: str | None) -> str:
        """What is wrong with a file that came; empty where it is what it should be."""
        if known is not None and found != known:
            return f"has sha256 {found[:12]}..., braindec's table says {known[:12]}..."
        return listed.differs(path, found)


def _size(path: Path) -> int:
    """Bytes; -1 where there is no file."""
    return path.stat().st_size if path.is_file() else -1


def git_blob(path: Path) -> str:
    """The sha1 by which git knows a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def endpoint() -> str:
    """Where the hub is: huggingface.co, or what HF_ENDPOINT names."""
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def why_unreachable() -> str:
    """What stands between this machine and the hub, found out within seconds; empty where it answers."""
    return reach.why_unreachable(endpoint())


def line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
