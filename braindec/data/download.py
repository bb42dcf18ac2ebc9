"""Fetches the listed files of a dataset and verifies each one's sha256."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urljoin, urlsplit

from braindec import checks, store

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SECONDS = 60  # without an answer


def listed(path: str | Path) -> list[tuple[str, str, str]]:
    """(path below the raw folder, URL, sha256) of every file that a dataset's files.tsv lists."""
    lines = (
        checks.existing_file(path, "A dataset that can be fetched lists its files there.")
        .read_text()
        .splitlines()
    )
    rows = [tuple(line.split("\t")) for line in lines[1:] if line]
    if lines[:1] != ["path\turl\tsha256"] or any(len(row) != 3 or len(row[2]) != 64 for row in rows):
        raise checks.DataFileError(path, "is not a table of path, url and sha256", "Correct it.")
    for relative, _, _ in rows:
        place = PurePosixPath(relative)
        if place.is_absolute() or ".." in place.parts or "\\" in relative:
            raise checks.DataFileError(
                path, f"lists {relative!r}, which lies outside of its folder", "Correct it."
            )
    return [(row[0], row[1], row[2]) for row in rows]


def fetch(files: str | Path, raw: str | Path, *, dry_run: bool = False) -> list[Path]:
    """Downloads what is not there yet into `raw` and returns the paths of all listed files.

    Parameters
    ----------
    files : path
        The dataset's files.tsv.
    raw : path
    dry_run : bool
        Download nothing.

    Raises
    ------
    DownloadError
        If a file cannot be had, or what came does not have the listed sha256.
    """
    raw, rows = Path(raw), listed(files)
    for relative, url, sha256 in rows if not dry_run else []:
        target = raw / relative
        if not target.is_file() or store.sha256_of(target) != sha256:
            _download(url, sha256, target)
    return [raw / relative for relative, _, _ in rows]


def fetch_unlisted(urls: dict[str, str], raw: str | Path, *, dry_run: bool = False) -> list[Path]:
    """Downloads what is not there yet of files whose sha256 their owner does not publish, and returns all paths.

    Parameters
    ----------
    urls : dict
        By path below `raw`.
    raw : path
    dry_run : bool
        Download nothing.

    Raises
    ------
    DownloadError
        If a file cannot be had.
    """
    raw = Path(raw)
    for relative, url in urls.items() if not dry_run else ():
        if not (raw / relative).is_file():
            _download(url, None, raw / relative)
    return [raw / relative for relative in urls]


def hashes(raw: str | Path, paths: list[Path]) -> dict[str, str]:
    """sha256 of each raw file by its path below `raw`: what a prepared dataset was made from."""
    return {str(path.relative_to(raw)): store.sha256_of(path) for path in sorted(paths)}


def retrieve(url: str, known: str | None, target: Path, way_out: str) -> None:
    """Downloads one file, over https at every step of the way, whole or not at all.

    Parameters
    ----------
    url : str
        https; http is taken from this machine itself alone.
    known : str or None
        ``sha256:...`` or ``md5:...`` of the content.
    target : Path
    way_out : str

    Raises
    ------
    DownloadError
        If an address, also one that another leads to, is not https, the disk is too small, the file does not come
        whole, or it has another hash.
    """
    import pooch
    from requests.exceptions import RequestException

    _checked(url, url)
    target.parent.mkdir(parents=True, exist_ok=True)

    def see(answer: Any, *_: Any, **__: Any) -> None:
        """Called with every answer, those that lead elsewhere included."""
        _checked(answer.url, url)
        if answer.is_redirect:
            _checked(urljoin(answer.url, answer.headers["location"]), url)
        _room(answer.headers.get("content-length", ""), target, url)

    downloader = pooch.HTTPDownloader(progressbar=True, hooks={"response": see}, timeout=SECONDS)
    try:
        pooch.retrieve(url, known, fname=target.name, path=target.parent, downloader=downloader)
    except (RequestException, OSError, ValueError) as error:  # ValueError: pooch's word for another hash
        if isinstance(error, checks.DownloadError):
            raise
        raise checks.DownloadError(f"{url} could not be fetched ({error}). {way_out}") from error


def _download(url: str, sha256: str | None, target: Path) -> None:
    known = None if sha256 is None else f"sha256:{sha256}"
    retrieve(url, known, target, "The dataset's card names other sources.")


def _checked(address: str, first: str) -> None:
    """Refuses an address that others on the way could read or answer for, or that leads into this machine."""
    parts, asked = urlsplit(address), urlsplit(first)
    local = asked.hostname in LOOPBACK
    if parts.hostname in LOOPBACK and not local:
        raise checks.DownloadError(f"{first} leads into this machine ({address}); it is not followed.")
    if parts.scheme != "https" and not (parts.scheme == "http" and local and parts.hostname in LOOPBACK):
        led = "" if address == first else f", to which {first} leads,"
        raise checks.DownloadError(f"{address}{led} is not https; it is not asked.")


def _room(said: str, target: Path, url: str) -> None:
    free = shutil.disk_usage(target.parent).free
    if said.isdigit() and int(said) > free:
        raise checks.DownloadError(
            f"{url} has {int(said) / 1e9:.1f} GB, but {target.parent} has {free / 1e9:.1f} GB free. Make room."
        )
