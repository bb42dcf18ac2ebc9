"""What the prepare.py files of public datasets share: their arguments, which files must be there, who is meant.

Every `fetch` takes ``raw`` (the folder of the distributed files), ``subjects`` (numbers; None: all) and ``dry_run``
(only say what would be got). Every `prepare` takes ``raw``, ``out``, ``subjects`` (None: all that have files),
``dry_run`` (only say what would be read, written and needed), ``n_jobs`` (subjects or sessions at a time), the settings
of its dataset's `Choice` by name, and mostly ``sets`` (the same from a command line, ``"lag_s=6.0"``; they win).

A prepare.py writes what is its own, and a decorator makes of it what everybody calls: `by_hand` of which files there
should be, `preparing` of how they are read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from braindec import checks, config
from braindec.data import assembly, image_files
from braindec.data.assembly import Assembly
from braindec.data.catalogue import Counts, raw_folder
from braindec.data.large import Whole, subjects_there

POINT = "Point --raw at the folder with the dataset's files."
C = TypeVar("C")
F = TypeVar("F")
Subjects = tuple[int, ...] | None


@dataclass(frozen=True)
class VoxelChoice:
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        What is done about voxels with NaN or without variance: ``"drop"`` or ``"refuse"``.
    """

    invalid: str = "drop"

    def __post_init__(self) -> None:
        checks.one_of("invalid", self.invalid, assembly.POLICIES)


@dataclass(frozen=True)
class PictureChoice(VoxelChoice):
    """What `prepare` can be asked for.

    Parameters
    ----------
    invalid : str
        What is done about voxels with NaN or without variance: ``"refuse"`` or ``"drop"``.
    image_side : int
        Pixels of the stored pictures.
    """

    invalid: str = "refuse"
    image_side: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.in_range("image_side", self.image_side, 1, 2048, unit="pixels")


class Fetch(Protocol):
    """What gets a dataset's files, or says where they are to be had."""

    def __call__(
        self, raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False
    ) -> list[Path]: ...


class Prepare(Protocol):
    """What makes a prepared folder of a dataset's files."""

    def __call__(
        self,
        raw: str | Path,
        out: str | Path,
        *,
        subjects: Iterable[int] | None = None,
        dry_run: bool = False,
        n_jobs: int = 1,
        sets: Iterable[str] = (),
        **own: Any,
    ) -> Counts: ...


def preparing(
    choice: type[C], expected: str = "", *nested: str
) -> Callable[[Callable[..., Assembly | Whole]], Prepare]:
    """Makes a dataset's `prepare` of a function that says what it is made of, ``(raw, subjects, choice) -> content``.

    What is decorated reads headers, lists and tables, and refuses files that contradict each other; responses are
    read when they are written, which a dry run does not do. One that must read more beforehand takes `dry_run` as well.

    Parameters
    ----------
    choice : dataclass
        The dataset's own settings, each with a default; they become keyword arguments. With an `Assembly`, `invalid` is
        one of them.
    expected : str
        Pattern of what must be in the folder of raw files; none: what is decorated says what is missing.
    *nested : str
        Folders below the raw one where it may lie as well.

    Returns
    -------
    callable
        It raises FileNotFoundError where nothing is as expected, ConfigError for an unknown or wrong setting, and what
        the content raises.
    """

    def decorate(read: Callable[..., Assembly | Whole]) -> Prepare:
        told = "dry_run" in inspect.signature(read).parameters

        def prepare(
            raw: str | Path,
            out: str | Path,
            *,
            subjects: Iterable[int] | None = None,
            dry_run: bool = False,
            n_jobs: int = 1,
            sets: Iterable[str] = (),
            **own: Any,
        ) -> Counts:
            signature.bind(raw, out, **own)  # names what is no argument
            given = {name: tuple(v) if isinstance(v, list) else v for name, v in own.items()}
            chosen = config.override(choice(**given), sets)
            checks.at_least("n_jobs", n_jobs, 1)
            folder = raw_folder(raw, expected, *nested) if expected else checks.existing_folder(raw, POINT)
            further = {"dry_run": dry_run} if told else {}
            content = read(folder, None if subjects is None else tuple(subjects), chosen, **further)
            return _carry_out(content, chosen, folder, out, dry_run, n_jobs)

        signature = _with_settings(inspect.signature(prepare), choice)
        prepare.__signature__ = signature  # type: ignore[attr-defined]  # inspect.signature reads it
        prepare.__doc__ = f"{inspect.getdoc(read)}\n\n{inspect.getdoc(choice)}"
        return prepare

    return decorate


def by_hand(
    known: Sequence[int],
) -> Callable[[Callable[[Path, tuple[int, ...]], tuple[Sequence[Path], str]]], Fetch]:
    """Makes a dataset's `fetch` of a function that names files no program may download, ``(raw, subjects) -> files``.

    Parameters
    ----------
    known : sequence of int
        All subjects.

    Returns
    -------
    callable
        Of a function that returns the paths that there should be, and a sentence: where they are to be had and what
        to do with them. What it is made into returns the paths, and raises DownloadError with the first that is missing
        and that sentence, unless it is a dry run.
    """

    def decorate(files: Callable[[Path, tuple[int, ...]], tuple[Sequence[Path], str]]) -> Fetch:
        def fetch(
            raw: str | Path, *, subjects: Iterable[int] | None = None, dry_run: bool = False
        ) -> list[Path]:
            paths, where = files(Path(raw), asked(subjects, known))
            return all_there(paths, where, dry_run)

        fetch.__doc__ = files.__doc__
        return fetch

    return decorate


def all_there(paths: Sequence[Path], where: str, dry_run: bool) -> list[Path]:
    """The paths, when all files are there or it is a dry run.

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


def there(
    subjects: Subjects, files: Mapping[int, F | None], where: Path, what: str
) -> tuple[dict[int, F], tuple[str, ...]]:
    """The files of the subjects to prepare, and a sentence on the subjects that have none.

    Parameters
    ----------
    subjects : tuple of int or None
        Asked for; each must have files. None: all that have.
    files : mapping of int to files
        Of every subject of the dataset; empty or None where there are none.
    where : Path
        Where they were looked for.
    what : str
        Name of a subject's file, with ``{}`` for its number.

    Raises
    ------
    FileNotFoundError
        If a subject that was asked for, or every subject, has no file.
    """
    found = [subject for subject, own in files.items() if own]
    chosen, missing = subjects_there(subjects, tuple(files), found, where, what)
    return {subject: own for subject in chosen if (own := files[subject])}, missing


def first_with(raw: Path, folders: Sequence[str], pattern: str) -> Path:
    """The first of these folders below `raw` that holds what the pattern names; where none does, the first."""
    return next((raw / f for f in folders if any((raw / f).glob(pattern))), raw / folders[0])


def pictures(
    names: Sequence[str], found: Mapping[str, Path], folder: Path, side: int
) -> tuple[assembly.Pictures | None, tuple[str, ...]]:
    """Pictures of the stimuli where they are there, and else a sentence that they are not.

    Parameters
    ----------
    names : sequence of str
        Of the files, without suffix, in the order of the stimuli.
    found : mapping of str to Path
        As `image_files.by_stem` gives.
    folder : Path
        Where they should be.
    side : int
        Pixels.

    Raises
    ------
    DataFileError
        If there are some but not all.
    """
    paths = image_files.of(names, found, folder)
    if paths is None:
        said = f"all {len(names)} pictures ({folder.name}/); without them only labels are known"
        return None, (said,)
    return assembly.Pictures(partial(image_files.batches, paths, side), side), ()


def counted_elsewhere(
    signals: Iterable[assembly.Signal], expected: Mapping[int, int], region: str, what: str
) -> list[str]:
    """A sentence for each subject whose features are not as many as others counted in these files.

    They are no error: releases of one dataset were masked differently, and a part of it is of use. But whoever compares
    with a published decoder must know.

    Parameters
    ----------
    signals : iterable of Signal
    expected : mapping of int to int
        Features by subject, where known.
    region : str
        Which of them are meant; ``"all"``: every one.
    what : str
        ``"voxels of visual cortex"``.
    """
    said = []
    for signal in signals:
        members = signal.space.regions.get(region)
        n = signal.space.n_features if region == "all" else 0 if members is None else int(members.sum())
        if n != expected.get(signal.subject, n):
            said.append(
                f"sub-{signal.subject:02d}: {n} {what}, where others counted {expected[signal.subject]}"
            )
    return said


def _with_settings(signature: inspect.Signature, choice: type[Any]) -> inspect.Signature:
    """The common arguments, then a dataset's own, then `sets`."""
    *common, sets, _ = signature.parameters.values()
    own = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in fields(choice)
    ]
    return signature.replace(parameters=[*common, *own, sets])


def _carry_out(
    content: Assembly | Whole, choice: Any, raw: Path, out: str | Path, dry_run: bool, n_jobs: int
) -> Counts:
    if isinstance(content, Whole):
        return content.dry_run() if dry_run else content.prepare(out, n_jobs)
    return assembly.prepare(raw, out, content, dry_run=dry_run, n_jobs=n_jobs, invalid=choice.invalid)
