"""What a conversion did, for a person to read: report.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from braindec import __version__
from braindec.convert._checkpoint import Checkpoint
from braindec.convert._keys import Reading


@dataclass(frozen=True)
class Report:
    """A finished conversion.

    Parameters
    ----------
    folder : Path
    n_source, n_left : int
        Tensors of the checkpoint, and those of them that nothing of ours stands for.
    n_tensors, n_values : int
        Tensors of ours, and the values in them.
    notes : tuple of str
        Sentences: whose adapter is whose, which parts are absent, which parameters are inert.
    text : str
        report.md.
    """

    folder: Path
    n_source: int
    n_left: int
    n_tensors: int
    n_values: int
    notes: tuple[str, ...]
    text: str


def write_report(reading: Reading, source: Checkpoint, like: Mapping[str, Tensor], out: Path) -> Report:
    """The report of one conversion; `like` holds the shapes and types of our tensors."""
    n_values = sum(tensor.numel() for tensor in like.values())
    lines = [
        f"# {reading.design.system}, converted",
        f"From `{source.path.name}` ({source.path.stat().st_size:,} bytes) by braindec {__version__}. "
        f"Of its {len(source)} tensors {len(source) - len(reading.left)} are taken over and {len(reading.left)} left "
        "out (below, with the reason). "
        f"{len(like)} tensors of {n_values:,} values were written. "
        + (f"Not read: {', '.join(f'`{name}`' for name in source.beside)}." if source.beside else ""),
        f"Load it with `{reading.design.opened_with}`.",
        "## Notes",
        "\n".join(f"- {note}" for note in reading.notes),
        *(
            line
            for title, head, rows in reading.design.tables()
            for line in (f"## {title}", _table(head, rows))
        ),
        "## Parts",
        _table(("part", "values"), [(f"`{part}`", f"{n:,}") for part, n in _parts(like).items()]),
        "## Left out",
        _table(("published tensor", "shape", "why"), _left_rows(reading, source))
        if reading.left
        else "Nothing.",
        "## Tensors",
        _table(("ours", "published", "shape", "what was done"), _rows(reading, source, like)),
    ]
    return Report(
        out, len(source), len(reading.left), len(like), n_values, reading.notes, "\n\n".join(lines) + "\n"
    )


def _parts(like: Mapping[str, Tensor]) -> Counter[str]:
    """Number of values by the first three words of a tensor's name."""
    sizes: Counter[str] = Counter()
    for name, tensor in like.items():
        sizes[".".join(name.split(".")[:3])] += tensor.numel()
    return sizes


def _rows(reading: Reading, source: Checkpoint, like: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for move in reading.moves:
        names = "<br>".join(f"`{key}`" for key in move.sources) or "none"
        types = {source[key].dtype for key in move.sources if source[key].dtype != like[move.target].dtype}
        cast = "".join(f"; {kind} to {like[move.target].dtype}" for kind in types).replace("torch.", "")
        rows.append((f"`{move.target}`", names, str(tuple(like[move.target].shape)), move.what + cast))
    return rows


def _left_rows(reading: Reading, source: Checkpoint) -> list[tuple[str, ...]]:
    return [(f"`{key}`", str(tuple(source[key].shape)), why) for key, why in reading.left.items()]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
