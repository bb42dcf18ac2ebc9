"""Fetches the listed files of a dataset and verifies each one's sha256."""

from __future__ import annotations

from pathlib import Path

from braindec import checks, store


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


def _download(url: str, sha256: str | None, target: Path) -> None:
    import pooch
    from requests.exceptions import RequestException

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        known = None if sha256 is None else f"sha256:{sha256}"
        pooch.retrieve(url, known, fname=target.name, path=target.parent, progressbar=True)
    except (RequestException, OSError, ValueError) as error:  # ValueError: pooch's word for another hash
        raise checks.DownloadError(
            f"{url} could not be fetched ({error}). The dataset's card names other sources."
        ) from error
