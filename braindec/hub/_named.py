"""What a name stands for: a folder, a decoder on the hub, an entry of the table of published weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from braindec import checks
from braindec.hub._client import COMMIT, PLAIN, REPOSITORY, Access
from braindec.hub._fetch import Snapshot, fetch
from braindec.weights import published

WANTED = ("*.json", "*.safetensors", "*.h5", "README.md")  # nothing that could run code is ever downloaded
SETTINGS = (
    "*.json",
    "*.txt",
    "*.model",
    "README.md",
)  # of a model: tokenizers are text, JSON or sentencepiece


@dataclass(frozen=True)
class Pulled:
    """Weights that were fetched and verified.

    Parameters
    ----------
    snapshot : Snapshot
    entry : Published or None
        Of the table; None for a repository that is not in it.
    pinned : bool
        Whether the commit was named beforehand, by the table or by the caller.
    """

    snapshot: Snapshot
    entry: published.Published | None
    pinned: bool


def local_or_download(name: str, revision: str | None = None, access: Access = PLAIN) -> Path:
    """The folder of a saved decoder, brought here from the hub where it is not one already.

    Parameters
    ----------
    name : str
        A folder, or ``owner/name`` on huggingface.co.
    revision : str, optional
        Commit of 40 hex digits; needed for a download, so that the same name is the same decoder tomorrow. Of a
        folder it says nothing, and there is a warning.
    access : Access

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
        if revision is not None:
            warnings.warn(
                f"{name} is a folder here and is taken as it is: revision {revision!r} says nothing of it. Leave "
                "revision out, or start where no such folder lies.",
                stacklevel=3,
            )
        return Path(name)
    if not REPOSITORY.fullmatch(name):
        return checks.existing_folder(
            name, "Name the folder of a saved decoder, or owner/name on huggingface.co."
        )
    if revision is None or not COMMIT.fullmatch(revision):
        raise checks.ConfigError(
            f"there is no folder {name!r}; to download it from huggingface.co, revision must be a commit of 40 hex "
            f"digits, got {revision!r}."
        )
    return fetch(name, WANTED, revision=revision, access=access).folder


def pull(name: str, *, revision: str | None = None) -> Pulled:
    """Published weights, brought into the cache that targets and generators read, every byte verified.

    What was cut off is resumed; what lies in the cache already is verified and not fetched again.

    Parameters
    ----------
    name : str
        Of an entry of `braindec.weights.published`, or ``owner/name`` of any repository of safetensors.
    revision : str, optional
        Commit of 40 hex digits. The table's own by default; where the table knows none, the newest is taken and named.

    Raises
    ------
    ConfigError
        If the name is unknown, or a repository that is not in the table is named without a commit.
    DownloadError
        If weights are pickles and no converter takes them over, the hub does not answer, the disk is too small, or
        what came is not what the hub or the table says it is.
    """
    if revision is not None and not COMMIT.fullmatch(revision):
        raise checks.ConfigError(f"revision must be a commit of 40 hex digits, got {revision!r}.")
    in_table = name in published.table() or name in {e.repository for e in published.table().values()}
    if not in_table and REPOSITORY.fullmatch(name):
        if revision is None:
            raise checks.ConfigError(
                f"{name!r} is not in braindec's table of weights; name a commit: --revision with 40 hex digits."
            )
        return Pulled(fetch(name, ("*.safetensors", *SETTINGS), revision=revision), None, True)
    entry = published.named(name)
    refuse_pickles(entry)
    known = {file.path: file.sha256 for file in entry.files if file.sha256 is not None}
    chosen = revision or entry.revision
    own = chosen == entry.revision  # of another commit the table knows no hashes
    patterns = (*(file.path for file in entry.files), *entry.also)
    needed = [file.path for file in entry.files]
    found = fetch(
        entry.repository, patterns, revision=chosen, kind=entry.kind, known=known if own else {}, needed=needed,
        pickles=entry.convert is not None,
    )  # fmt: skip
    return Pulled(found, entry, chosen is not None)


def refuse_pickles(entry: published.Published) -> None:
    """Weights are safetensors, or a converter of ours reads them as numbers alone: a pickle runs code when opened."""
    pickled = [file.path for file in entry.files if file.is_pickle]
    if pickled and entry.convert is None:
        raise checks.DownloadError(
            f"{entry.name!r} holds its weights as pickles ({', '.join(pickled[:3])}), which run code when opened, and "
            f"braindec has no converter for them. {entry.notes}".rstrip()
        )
