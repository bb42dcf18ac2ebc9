"""What each verb does; the heavy rooms are imported by the verb that needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from braindec import checks
from braindec.cli import _parser, _saved, _show


def run(verb: str, words: Sequence[str]) -> int:
    """Parses the words after a verb and does it."""
    try:
        options = _parser.parse(verb, words)
    except SystemExit as end:  # argparse's own way to end after --help
        return int(end.code or 0)
    _ACTIONS[verb](options)
    return 0


def _demo(options: Any) -> None:
    from braindec import recipe

    _saved.tell(recipe.run("demo", None, options.out, sets=options.set), options.out)


def _run(options: Any) -> None:
    if not options.recipe.endswith(".py"):  # said at once, before anything heavy is imported
        checks.one_of("recipe", options.recipe, _show.names("recipes"))
    from braindec import recipe

    found = recipe.run(options.recipe, options.data, options.out, sets=options.set, smoke=options.smoke)
    _saved.tell(found, options.out)


def _prepare(options: Any) -> None:
    from braindec.data import catalogue

    functions = catalogue.load(options.name)
    said = {
        "subjects": None if options.subjects is None else tuple(options.subjects),
        "dry_run": options.dry_run,
    }
    if options.fetch:
        functions["fetch"](options.raw, **said)
    counts = functions["prepare"](options.raw, options.out, n_jobs=options.jobs, **said)
    verb = "would be prepared" if options.dry_run else "prepared"
    for key, n_trials in counts.trials.items():
        print(f"{key}: {n_trials} trials {verb}")
    print(f"{counts.n_stimuli} stimuli{'' if options.dry_run else f' in {options.out}'}")


def _report(options: Any) -> None:
    from braindec import report

    print(report.write(report.read(options.dir), options.dir))


def _list(options: Any) -> None:
    print(_show.listing(options.kind))


def _info(options: Any) -> None:
    print(_show.info(options.name))


_ACTIONS: dict[str, Callable[[Any], None]] = {
    "demo": _demo,
    "prepare": _prepare,
    "run": _run,
    "evaluate": _saved.evaluate,
    "decode": _saved.decode,
    "report": _report,
    "list": _list,
    "info": _info,
}
