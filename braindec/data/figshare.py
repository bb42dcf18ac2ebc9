"""Files of a figshare article, found by name through its public interface and verified by the checksum stated there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from braindec import checks
from braindec.data import download

API = "https://api.figshare.com/v2"  # docs.figshare.com, "List article files"


def fetch(article: int, names: Sequence[str], raw: str | Path, *, dry_run: bool = False) -> list[Path]:
    """Downloads the named files that are not in `raw` yet and returns the paths of all.

    Parameters
    ----------
    article : int
        Number of the article.
    names : sequence of str
        Of its files.
    raw : path
    dry_run : bool
        Download nothing and ask nobody.

    Raises
    ------
    DownloadError
        If the article or a file cannot be had, or what came does not have the stated MD5.
    """
    paths = [Path(raw) / name for name in names]
    missing = [path for path in paths if not path.is_file()]
    if dry_run or not missing:
        return paths
    listed = _listed(article)
    unknown = [path.name for path in missing if path.name not in listed]
    if unknown:
        raise checks.DownloadError(
            f"figshare article {article} has no file {unknown[0]!r}; it has {sorted(listed)[:10]}. Its files may have "
            "been renamed: download them by hand into the raw folder."
        )
    for path in missing:
        url, md5 = listed[path.name]
        download.retrieve(url, f"md5:{md5}", path, f"Download {path.name} by hand.")
    return paths


def _listed(article: int) -> dict[str, tuple[str, str]]:
    """(address, MD5) of the files of an article, by name."""
    import requests

    address = f"{API}/articles/{article}/files"
    try:
        answer = requests.get(address, params={"page_size": 1000}, timeout=60)
        answer.raise_for_status()
        return {f["name"]: (f["download_url"], f["computed_md5"]) for f in answer.json()}
    except (requests.RequestException, ValueError, KeyError, TypeError) as error:
        raise checks.DownloadError(
            f"{address} could not be asked ({error}). Download the files by hand; the dataset's card names them."
        ) from error
