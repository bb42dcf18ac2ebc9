"""`braindec convert`: a published checkpoint as a folder of braindec."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.add_argument("name", type=str, help="a published system, e.g. mindeye2; an unknown one lists all")
    parser.add_argument("checkpoint", type=Path, help="what torch saved (.pth, .pt, .ckpt), or .safetensors")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new folder: settings, weights, report.md"
    )
    parser.add_argument(
        "--subjects",
        type=list[int],
        default=None,
        metavar="LIST",
        help="whose adapters the checkpoint holds, in its order, e.g. '[2,3,4,5,6,7,8]'; by default what its shapes "
        "tell (mindeye2: NSD's subjects by their numbers of voxels)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another setting of the system that its checkpoint does not tell; repeatable",
    )


def run(options: Any) -> None:
    """Converts, and says what was done."""
    from braindec import checks, config, convert

    settings: dict[str, Any] = {} if options.subjects is None else {"subjects": tuple(options.subjects)}
    for assignment in options.set:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise checks.ConfigError(f"a setting is written NAME=VALUE, got {assignment!r}.")
        settings[name.strip()] = config.parse(value.strip())
    report = convert.convert(options.name, options.checkpoint, options.out, **settings)
    for note in report.notes:
        print(note)
    print(
        f"{report.n_source} tensors: {report.n_source - report.n_left} taken over, {report.n_left} left out with their "
        f"reasons in report.md; {report.n_values:,} values written"
    )
    print(report.folder)
