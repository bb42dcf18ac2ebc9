"""What a run's folder holds: its report and those of the pages that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from braindec import checks, report
from braindec.types import Report

BESIDE = ("evaluation",)  # folders that other commands write beside a run's report


@dataclass(frozen=True, eq=False)
class Page:
    """One report of a run: where it lies below the run's folder, ``""`` for the run's own, and its name."""

    place: str
    name: str
    report: Report


def pages(folder: Path) -> list[Page]:
    """The report of a run and those that it names or that lie beside it, in this order.

    Raises
    ------
    FileNotFoundError
        If the folder, or its report.json, does not exist.
    DataFileError
        If a file is damaged.
    """
    folder = checks.existing_folder(folder, "Make it with: braindec run RECIPE --data DIR --out DIR.")
    found = [Page("", "", report.read(folder))]
    named = {str(a): str(label) for label, a in (found[0].report.run.get("pages") or {}).items()}
    for address, label in named.items():
        place = Path(address).parent
        inside = (folder / place).resolve().is_relative_to(folder.resolve())
        if inside and place != Path() and (folder / place / "report.json").is_file():
            found.append(Page(place.as_posix(), label, report.read(folder / place)))
    for name in (*BESIDE, *sorted(p.name for p in folder.glob("against-*"))):
        if (folder / name / "report.json").is_file():
            found.append(Page(name, name, report.read(folder / name)))
    return found
