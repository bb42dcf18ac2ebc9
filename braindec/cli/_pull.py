"""`braindec pull`: published weights, fetched at a commit, verified, and taken over where they came as pickles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braindec.hub import Pulled


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.add_argument(
        "name",
        type=str,
        nargs="?",
        default=None,
        help="of published weights, or owner/name of any repository of safetensors; without it, the table is shown",
    )
    parser.add_argument(
        "--revision",
        type=str,
        default=None,
        metavar="COMMIT",
        help="40 hex digits; the commit of braindec's table by default",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="DIR",
        help="where a converter writes (mindeye2-...); beside the hub's cache by default",
    )


def run(options: Any) -> None:
    """Fetches, verifies, converts, and says where it lies."""
    if options.name is None:
        print(listing())
        return
    from braindec import checks, hub

    entry = _in_table(options.name)
    before = _here(options, entry)
    if before is not None:
        print(f"{options.name} is here already: {before}")
        return
    if entry is not None:
        size = "of unknown size" if entry.megabytes is None else f"about {entry.megabytes} MB"
        print(f"{entry.what}: {entry.repository}, {size}, licence {entry.licence}")
    found = hub.pull(options.name, revision=options.revision)
    if not found.pinned:
        print(
            f"The table knows no commit of {found.snapshot.repository}: the newest one came. To get the same again: "
            f"braindec pull {options.name} --revision {found.snapshot.revision}"
        )
    print(f"{len(found.snapshot.files)} files of commit {found.snapshot.revision[:12]}, sha256 verified")
    if options.out is not None and (found.entry is None or found.entry.convert in (None, "safetensors")):
        raise checks.ConfigError(
            "--out is for weights that a converter writes; these lie in the hub's cache."
        )
    print(_taken_over(found, options.out))


def listing() -> str:
    """The table: name, size, licence, whether it is here, what it is."""
    from braindec.weights import published

    rows = [("name", "MB", "licence", "here", "what")]
    for entry in published.table().values():
        state = "yes" if published.here(entry) is not None else "refused" if _refused(entry) else "no"
        size = "?" if entry.megabytes is None else str(entry.megabytes)
        rows.append((entry.name, size, entry.licence.partition(" (")[0], state, entry.what))
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, width, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", "?: not known; refused: pickles that braindec has no converter for."])


def _in_table(name: str) -> Any:
    from braindec import checks
    from braindec.weights import published

    try:
        return published.named(name)
    except checks.ConfigError:
        if "/" in name:  # a repository of its own
            return None
        raise


def _here(options: Any, entry: Any) -> Path | None:
    """Where weights lie that were taken over before and are what they were; others are verified by pulling again."""
    from braindec import hub
    from braindec.weights import published

    if (
        entry is None
        or entry.convert is None
        or options.out
        or options.revision not in (None, entry.revision)
    ):
        return None
    folder = published.here(entry)
    if folder is not None and entry.convert == "safetensors":
        return folder if hub.verified(folder) else None
    if folder is not None:
        hub.verify(folder)  # the manifest that a converter writes
    return folder


def _refused(entry: Any) -> bool:
    return entry.convert is None and any(file.is_pickle for file in entry.files)


def _taken_over(found: Pulled, out: Path | None) -> Path:
    """The folder to name to others: the snapshot, its pickles written again, or what a converter wrote."""
    from braindec import convert, hub
    from braindec.weights import published

    entry, folder = found.entry, found.snapshot.folder
    if entry is None or entry.convert is None:
        return folder
    if entry.convert == "safetensors":
        written = {file.path: entry.kept(file) for file in entry.files if file.is_pickle}
        for pickle, path in written.items():
            n = convert.as_safetensors(folder / pickle, folder / path)
            print(f"{pickle}: {n} tensors written again as {Path(path).name}; the pickle is deleted")
        return hub.taken_over(found.snapshot, written).folder
    out = out or published.converted_folder(entry.name)
    for file in entry.files:
        print(f"converting {file.path} ({entry.convert})")
        convert.convert(entry.convert, folder / file.path, out)
    return out
