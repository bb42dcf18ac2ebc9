"""Runs the notebooks beside this file, each in a folder of its own, and keeps what they show.

python notebooks/_run.py            all of them
python notebooks/_run.py 03 07      those whose names begin so
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TIMEOUT_S = 300  # of a cell
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
NUMBER = re.compile(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?")
# A path of the machine it ran on belongs in no output.
MACHINE = re.compile(r"/(?:home|root|tmp|work|Users|private|var)/[^\s'\"<>]+")


def names(chosen: list[str] | None = None) -> list[Path]:
    """The notebooks, in order; of those chosen the ones whose names begin so."""
    found = sorted(HERE.glob("[0-9][0-9]_*.ipynb"))
    return [p for p in found if not chosen or p.name.startswith(tuple(chosen))]


def execute(path: Path) -> Any:
    """The notebook as it comes out of a fresh kernel in an empty folder; an error in a cell is raised.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        With the cell and what it said.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="braindec-notebook-") as folder:
        client = NotebookClient(
            book, timeout=TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute(env=os.environ | {"OMP_NUM_THREADS": "1"})
    return cleaned(book)


def cleaned(book: Any) -> Any:
    """Without times, machine and kernel version; warnings and progress on the error stream are dropped."""
    book.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for number, cell in enumerate(book.cells):
        cell.metadata = {}
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs = _joined([o for o in cell.outputs if o.get("name") != "stderr"])
    return book


def _joined(outputs: list[Any]) -> list[Any]:
    """Prints of a cell as one: where a stream was cut is a matter of time."""
    kept: list[Any] = []
    for output in outputs:
        if kept and output.output_type == "stream" and kept[-1].output_type == "stream":
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def shape(book: Any) -> list[tuple[str, tuple[tuple[str, ...], ...]]]:
    """Source of each cell, kinds of its outputs and their words: what a stored notebook shares with a fresh run.

    Numbers may differ in their last digits between machines and are left out.
    """
    return [
        (cell.source, tuple(_kinds(o) for o in cell.get("outputs", ()) if o.get("name") != "stderr"))
        for cell in book.cells
    ]


def _kinds(output: Any) -> tuple[str, ...]:
    said = output.get("text", output.get("data", {}).get("text/plain", ""))
    return (output["output_type"], *sorted(output.get("data", {})), *NUMBER.sub("#", said).split())


def main(chosen: list[str]) -> None:
    """Runs and rewrites the chosen notebooks."""
    import nbformat

    for path in names(chosen):
        began = time.time()
        book = execute(path)
        nbformat.write(book, path)
        print(f"{path.name}: {time.time() - began:.0f} s, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
