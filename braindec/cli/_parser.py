"""Options of each verb, and errors that suggest what was meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from braindec import checks
from braindec.cli import (
    VERBS,
    _audit,
    _compare,
    _completion,
    _convert,
    _doctor,
    _encoding,
    _explore,
    _multiverse,
    _new,
    _pull,
    _push,
    _sae,
    _stream,
    _twin,
)

TYPES = {"list": "a list such as '[1,2]'", "int": "a whole number", "float": "a number"}


def built(verb: str) -> Any:
    """The parser of a verb's options."""
    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog=f"braindec {verb}",
        description=VERBS[verb][1],
        exit_on_error=False,
        formatter_class=argparse.HelpFormatter,
    )
    OPTIONS[verb](parser)
    return parser


def parse(verb: str, words: Sequence[str]) -> Any:
    """The options of one call of a verb.

    Raises
    ------
    ConfigError
        If an option is unknown (with the closest one), missing or of the wrong type.
    """
    import jsonargparse

    parser = built(verb)
    known = [option for action in parser._actions for option in action.option_strings]
    for word in words:
        name = word.partition("=")[0]
        if re.match(r"--[a-z]", name) and name not in known:
            near = checks.suggest(name, known)
            raise checks.ConfigError(f"{verb} has no option {name!r}; it has {sorted(set(known))}.{near}")
    try:
        return parser.parse_args(list(words))
    except (argparse.ArgumentError, jsonargparse.ArgumentError) as error:
        said = _said(" ".join(str(error).split()))
        raise checks.ConfigError(f"{said.rstrip('.')}. See: braindec {verb} --help") from error


def _said(text: str) -> str:
    """What the parser says, with the option as it is typed and types in words."""
    found = re.search(r"""[Pp]arser key "(\w+)": .*?(?:[Gg]ot value|[Vv]alue): (\S+)""", text)
    if found is None:
        return text
    kind = next((word for mark, word in TYPES.items() if mark in text), "something else")
    return f"--{found[1].replace('_', '-')} must be {kind}, got {found[2].strip(chr(39))!r}"


def _demo(parser: Any) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="folder of the report (runs/demo)"
    )
    _add_set(parser)


def _prepare(parser: Any) -> None:
    parser.add_argument("name", type=str, help="a dataset; see: braindec list datasets")
    parser.add_argument(
        "--raw", type=Path, required=True, metavar="DIR", help="folder with the dataset's own files"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the prepared dataset"
    )
    parser.add_argument(
        "--subjects",
        type=list[int],
        default=None,
        metavar="LIST",
        help="only these, e.g. '[1,2]'; all by default",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at work (1)")
    _add_backend(parser)
    parser.add_argument(
        "--fetch", action="store_true", help="download the raw files first, where that is possible"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=VALUE",
        help="change a setting of the preparation, of datasets that have some (bids); repeatable",
    )


def _unpack(parser: Any) -> None:
    parser.add_argument("archive", type=Path, help="a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")


def _run(parser: Any) -> None:
    parser.add_argument("recipe", type=str, help="a recipe, or the path of one; see: braindec list recipes")
    parser.add_argument(
        "--data", type=Path, default=None, metavar="DIR", help="folder of the prepared dataset"
    )
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="folder of report and decoder")
    _add_backend(parser)
    parser.add_argument(
        "--smoke", action="store_true", help="small synthetic data and settings: does it run at all?"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="run seeds 0 to N - 1 into DIR/seed-0, DIR/seed-1, ... (1: the recipe's own seed into DIR)",
    )
    _add_set(parser)


def _evaluate(parser: Any) -> None:
    parser.add_argument("dir", type=Path, help="folder of a run: report.json and the saved decoder")
    parser.add_argument(
        "--data",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder of a prepared dataset; without it, what the run measured is shown",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder of the new report; DIR/evaluation by default",
    )
    _add_set(parser)


def _decode(parser: Any) -> None:
    parser.add_argument("dir", type=Path, help="folder of a saved decoder")
    parser.add_argument(
        "input", type=Path, help="recordings of one subject, as prepared: e.g. sub-01_fmri.h5"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="DIR",
        help="file of the embeddings; decoded.h5 beside INPUT by default",
    )
    parser.add_argument(
        "--repeats",
        type=str,
        default=None,
        help="average repeats 'before' or 'after' decoding, or 'none' (after; of a decoder of classes none)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=None,
        metavar="DIR",
        help="prepared dataset among whose stimuli to retrieve; also written as CSV beside the embeddings",
    )
    parser.add_argument("--k", type=int, default=5, help="stimuli retrieved for each (5)")
    parser.add_argument(
        "--pictures",
        action="store_true",
        help="draw each with the recipe's generator: PNG files and one sheet",
    )


def _report(parser: Any) -> None:
    parser.add_argument("dir", type=Path, nargs="?", default=None, help="folder with report.json")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        default=None,
        metavar=("A", "B"),
        help="folders of two runs (or of their runs seed-*): pair them on the same samples",
    )
    parser.add_argument(
        "--systems",
        type=str,
        nargs=2,
        default=["braindec", "braindec"],
        metavar=("A", "B"),
        help="whose scores of each are compared (braindec braindec), e.g. braindec ridge",
    )
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR", help="folder of the comparison (A/against-B)"
    )


def _list(parser: Any) -> None:
    parser.add_argument("kind", type=str, nargs="?", default=None, help="e.g. datasets, recipes, backbones")
    parser.add_argument(
        "--markdown", action="store_true", help="recipes alone: their systems, needs and numbers, as a page"
    )


def _info(parser: Any) -> None:
    parser.add_argument(
        "name",
        type=str,
        help="a dataset, a recipe or the published system that it stands for, a part (backbones/linear), a score as "
        "reports name it, or the folder of a prepared dataset",
    )


def _add_backend(parser: Any) -> None:
    parser.add_argument(
        "--backend",
        type=str,
        default=None,
        metavar="NAME",
        help="where independent jobs run: loky (processes here), dask, ray or submitit (SLURM); see docs/cluster.md",
    )


def _add_set(parser: Any) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=VALUE",
        help="change a setting of the recipe; repeatable",
    )


OPTIONS: dict[str, Callable[[Any], None]] = {
    "demo": _demo,
    "prepare": _prepare,
    "unpack": _unpack,
    "run": _run,
    "evaluate": _evaluate,
    "audit": _audit.add_options,
    "decode": _decode,
    "report": _report,
    "explore": _explore.add_options,
    "multiverse": _multiverse.add_options,
    "twin": _twin.add_options,
    "encoding": _encoding.add_options,
    "compare": _compare.add_options,
    "sae": _sae.add_options,
    "stream": _stream.add_options,
    "convert": _convert.add_options,
    "pull": _pull.add_options,
    "push": _push.add_options,
    "new": _new.add_options,
    "completion": _completion.add_options,
    "doctor": _doctor.add_options,
    "list": _list,
    "info": _info,
}
