"""Checkpoints of a run: written with their hash, found again by who made them, the last two kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch

from braindec import checks, store
from braindec.ranks import Ranks

T = TypeVar("T")
PART = ".part.pt"  # how the files of finished parts end
N_KEPT = 2  # the newest may be damaged
OTHER = "was made with other settings, data or another seed"


def keep(folder: Path, name: str, run: str, step: int, content: dict[str, Any], about: str = "") -> None:
    """Writes a checkpoint and removes what is older than the last two.

    Parameters
    ----------
    folder : Path
    name : str
        Of what is trained; several may share a folder.
    run : str
        Hash of what a run that goes on must share.
    step : int
    content : dict
        Tensors and numbers in dicts, tuples and lists.
    about : str
        Of the longer fit that this is of; see `refuse_others`.
    """
    path = folder / "checkpoints" / f"{name}-{step:08d}.pt"
    _write(path, {"identity": run, "step": step, **content}, about)
    for old in files(folder, name)[:-N_KEPT]:
        _remove(old)


def newest(folder: Path, name: str, run: str) -> dict[str, Any] | None:
    """What `keep` wrote last for this very run, for all ranks as the first one reads it; None where there is nothing.

    A damaged checkpoint is passed over for the one before.

    Raises
    ------
    ConfigError
        If the folder holds a checkpoint of another run.
    """
    ranks = Ranks.here()
    found = (_read(path, run) for path in reversed(files(folder, name))) if ranks.first else iter(())
    return ranks.content(next((content for content in found if content is not None), None))


def forget(folder: Path, name: str) -> None:
    """Removes the checkpoints of a run that is done, and what writers that were killed have left of them."""
    for path in files(folder, name):
        _remove(path)
    sweep(folder, name)


def sweep(folder: Path, name: str) -> None:
    """Removes what writers of this run's checkpoints have left that were killed in the midst of one."""
    for path in (folder / "checkpoints").glob(f".{name}-[0-9]*.part"):
        path.unlink(missing_ok=True)


def files(folder: Path, name: str) -> list[Path]:
    """Checkpoint files of one run, oldest first."""
    return sorted((folder / "checkpoints").glob(f"{name}-[0-9]*.pt"))


def refuse_others(folder: Path | None, names: Iterable[str], about: str) -> None:
    """Refuses a folder with checkpoints of another fit under these names, before this one trains or writes there.

    Each stage refuses its own when its turn comes, but by then the stages before it would have left theirs.

    Raises
    ------
    ConfigError
        If a checkpoint of ``<name>-*`` was made about something else; one that does not say passes.
    """
    if folder is None or not Ranks.here().first:
        return
    for path in (path for name in names for path in sorted((folder / "checkpoints").glob(f"{name}-*.pt"))):
        digest = path.with_suffix(".json")
        if digest.is_file() and store.read_json(digest).get("about", about) != about:
            raise checks.ConfigError(
                f"{path} {OTHER}; nothing was trained or changed. Go on with what it was made with, use a new output "
                f"folder, or delete {path.parent}."
            )


def part(folder: Path, name: str, run: str, make: Callable[[], T], about: str = "") -> T:
    """What ``make()`` gives, kept in `folder` so that a longer fit killed after it does not make it again.

    Parameters
    ----------
    folder : Path
    name : str
        Of the part.
    run : str
        A part of another run is refused.
    make : callable
        Gives tensors and numbers in dicts, tuples and lists.
    about : str
        As in `keep`.
    """
    path = folder / "checkpoints" / f"{name}{PART}"
    ranks = Ranks.here()
    found = ranks.content(_read(path, run) if ranks.first else None)
    if found is not None:
        return found["made"]
    made = make()
    if ranks.first:
        _write(path, {"identity": run, "made": made}, about)
    return made


def forget_parts(folder: Path) -> None:
    """Removes the parts of a fit that is done."""
    if Ranks.here().first:
        for path in (folder / "checkpoints").glob(f"*{PART}"):
            _remove(path)


def _write(path: Path, content: dict[str, Any], about: str) -> None:
    """Content and then its hash: a file without its hash was not finished."""
    try:
        with store.atomic_path(path) as temporary:
            with temporary.open("wb") as file:
                torch.save(content, file)
            digest = store.sha256_of(temporary)
        store.write_json(path.with_suffix(".json"), {"sha256": digest, "about": about})
    except checks.SaveError as error:
        raise checks.SaveError(f"{error} {_whole_one(path)}") from error
    except (
        RuntimeError
    ) as error:  # torch says where in its code it noticed; what the system said is behind that
        if not isinstance(error.__context__, OSError):
            raise
        why = error.__context__.strerror
        raise checks.SaveError(f"{path} could not be written: {why}. {_whole_one(path)}") from error


def _whole_one(path: Path) -> str:
    """What a run that could not write this checkpoint goes on from."""
    earlier = [p for p in files(path.parent.parent, path.stem.rpartition("-")[0]) if p != path]
    if not earlier:
        return "There is no earlier checkpoint."
    return f"{earlier[-1].name} is whole: the same command goes on from there."


def _read(path: Path, run: str) -> dict[str, Any] | None:
    """What `_write` wrote for this very run; None where there is nothing whole."""
    digest = path.with_suffix(".json")
    if (
        not path.is_file()
        or not digest.is_file()
        or store.read_json(digest)["sha256"] != store.sha256_of(path)
    ):
        return None
    content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    if content["identity"] != run:
        raise checks.ConfigError(f"{path} {OTHER}; use a new output folder or delete it.")
    return content


def _remove(path: Path) -> None:
    path.unlink()
    path.with_suffix(".json").unlink(missing_ok=True)
