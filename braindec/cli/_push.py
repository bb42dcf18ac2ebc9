"""`braindec push`: a saved decoder, a sparse autoencoder or a prepared dataset goes to the hub in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="of a run, a saved decoder, an autoencoder or a prepared dataset",
    )
    parser.add_argument("repository", type=str, help="owner/name; made where it does not exist")
    parser.add_argument(
        "--public", action="store_true", help="everybody may see it; without it, the owner alone does"
    )
    parser.add_argument(
        "--licence",
        type=str,
        default=None,
        metavar="NAME",
        help="of one's own dataset or an autoencoder, as the hub spells it: cc-by-4.0 (a decoder's card has one)",
    )
    parser.add_argument("--branch", type=str, default=None, metavar="NAME", help="main by default")
    parser.add_argument("--pr", action="store_true", help="propose it in place of committing it")


def run(options: Any) -> None:
    """Pushes, and says how it is loaded."""
    from braindec import hub

    folder = options.folder
    if (folder / "decoder" / "config.json").is_file():  # of a run
        folder = folder / "decoder"
    said = {"private": not options.public, "branch": options.branch, "create_pr": options.pr}
    if (folder / "dataset.json").is_file():
        url = hub.push_dataset(folder, options.repository, licence=options.licence, **said)
    else:
        url = hub.push(folder, options.repository, licence=options.licence, **said)
    print(f"{'everybody sees' if options.public else 'only its owner sees'} {options.repository}: {url}")
    print(f"loaded with revision={url.rpartition('/')[2]!r}")
