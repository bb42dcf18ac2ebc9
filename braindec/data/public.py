"""What the prepare.py files of public datasets share: which files must be there, and which subjects are meant.

Every `prepare` takes ``raw`` (the folder of the distributed files), ``out``, ``subjects`` (numbers; None: all that have
files), ``dry_run`` (only say what would be read, written and needed), ``n_jobs`` (subjects at a time) and its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from braindec import checks


def by_hand(paths: Sequence[Path], where: str, dry_run: bool) -> list[Path]:
    """The paths of files that no program may download, when all are there or it is a dry run.

    Parameters
    ----------
    paths : sequence of Path
    where : str
        A sentence: where they are to be had and what to do with them.
    dry_run : bool

    Raises
    ------
    DownloadError
        If one is missing, with the first of them and `where`.
    """
    missing = [path for path in paths if not path.exists()]
    if missing and not dry_run:
        raise checks.DownloadError(
            f"{len(missing)} of {len(paths)} files are not there, first {missing[0]}. {where}"
        )
    return list(paths)


def asked(subjects: Iterable[int] | None, known: Sequence[int]) -> tuple[int, ...]:
    """The subjects that were asked for, each one of `known`; None asks for all of these.

    Raises
    ------
    ConfigError
        If a subject is not known, or none is asked for.
    """
    if subjects is None:
        return tuple(known)
    chosen = tuple(checks.one_of("subjects", subject, tuple(known)) for subject in subjects)
    checks.at_least("number of subjects", len(chosen), 1)
    return chosen
