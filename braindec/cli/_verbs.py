"""What each verb does; the heavy rooms are imported by the verb that needs them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from braindec import checks, headers, jobs
from braindec.cli import (
    _audit,
    _compare,
    _completion,
    _convert,
    _doctor,
    _encoding,
    _explore,
    _multiverse,
    _new,
    _parser,
    _pull,
    _push,
    _sae,
    _saved,
    _show,
    _stream,
    _twin,
)


def run(verb: str, words: Sequence[str]) -> int:
    """Parses the words after a verb and does it."""
    try:
        options = _parser.parse(verb, words)
    except SystemExit as end:  # argparse's own way to end after --help
        return int(end.code or 0)
    return _ACTIONS[verb](options) or 0


def _demo(options: Any) -> None:
    from braindec import recipe

    _saved.tell(recipe.run("demo", None, options.out, sets=options.set), options.out)


def _run(options: Any) -> None:
    if not options.recipe.endswith(".py"):  # said at once, before anything heavy is imported
        checks.one_of("recipe", options.recipe, _show.names("recipes"))
    from braindec import recipe

    said = {"sets": options.set, "smoke": options.smoke}
    with jobs.on(options.backend):
        if options.seeds == 1:
            found = recipe.run(options.recipe, options.data, options.out, **said)
            _saved.tell(found, options.out, smoke=options.smoke)
            return
        for place, found in recipe.run_seeds(
            options.recipe, options.data, options.out, options.seeds, **said
        ):
            _saved.tell(found, place)


def _prepare(options: Any) -> None:
    from braindec.data import catalogue

    functions = catalogue.load(options.name)
    said = {
        "subjects": None if options.subjects is None else tuple(options.subjects),
        "dry_run": options.dry_run,
    }
    if options.set and "sets" not in inspect.signature(functions["prepare"]).parameters:
        raise checks.ConfigError(
            f"{options.name} is prepared in one way and has no settings; leave out --set."
        )
    if options.fetch:
        functions["fetch"](options.raw, **said)
    if options.set:
        said["sets"] = tuple(options.set)
    with jobs.on(options.backend, options.jobs if options.jobs > 1 else -1):
        counts = functions["prepare"](options.raw, options.out, n_jobs=options.jobs, **said)
    verb = "would be prepared" if options.dry_run else "prepared"
    for key, n_trials in counts.trials.items():
        print(f"{key}: {n_trials} trials {verb}")
    print(f"{counts.n_stimuli} stimuli{'' if options.dry_run else f' in {options.out}'}")
    for line in (*(f"missing: {m}" for m in counts.missing), *counts.plan):
        print(line)


def _unpack(options: Any) -> None:
    from braindec.data import archives

    files = archives.unpack(options.archive, options.out)
    print(f"{len(files)} files in {options.out}")
    for path in (p for p in files if p.name.lower().endswith(archives.SUFFIXES)):
        print(f"an archive itself: braindec unpack {path} --out DIR")


def _report(options: Any) -> None:
    from braindec import report

    if (options.dir is None) == (options.compare is None):
        raise checks.ConfigError("report takes one folder, or --compare A B.")
    if options.compare is None:
        print(report.write(report.read(options.dir), options.dir))
        return
    from braindec.report import comparison

    a, b = (comparison.read_runs(f, s) for f, s in zip(options.compare, options.systems, strict=True))
    made = comparison.compare(a, b)
    for r in made.run["comparisons"]:
        low, high = r["interval"]
        print(
            f"{r['metric']:<38} {r['key']:<12} {r['value_a']:.3f} {r['value_b']:.3f} {r['difference']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}]  p {r['p']:.3g} (Holm {r['p_holm']:.3g})  n {r['n']}"
        )
    _tell_verdict(made.run)
    print(report.write(made, options.out or options.compare[0] / f"against-{options.compare[1].name}"))


def _tell_verdict(run: Any) -> None:
    """The spread over seeds, and what may be said of the systems, or what is missing for it."""
    for r in run["over_seeds"]:
        low, high = r["interval"]
        print(
            f"over {r['n_rows']} {r['rows']} x {r['n_seeds']} seeds: {r['metric']} {r['modality']} "
            f"{r['difference']:+.3f} [{low:+.3f}, {high:+.3f}]  SD over seeds {r['seed_sd_a']:.3f} and "
            f"{r['seed_sd_b']:.3f}"
        )
    if not run["lacking"]:
        for v in run["verdicts"]:
            print(f"verdict: {v['metric']} {v['modality']}: {v['verdict']}")
        return
    print(run["summary"].rpartition(". ")[2] + " Verdict withheld; missing:")
    for r in run["lacking"]:
        print(f"  {r['condition']}: {r['why']}.\n    {r['way_out']}")


def _list(options: Any) -> None:
    if options.markdown and options.kind != "recipes":
        raise checks.ConfigError("--markdown is for recipes: braindec list recipes --markdown.")
    print(headers.markdown().rstrip() if options.markdown else _show.listing(options.kind))


def _info(options: Any) -> None:
    print(_show.info(options.name))


_ACTIONS: dict[str, Callable[[Any], int | None]] = {
    "demo": _demo,
    "prepare": _prepare,
    "unpack": _unpack,
    "run": _run,
    "evaluate": _saved.evaluate,
    "audit": _audit.run,
    "decode": _saved.decode,
    "report": _report,
    "explore": _explore.run,
    "multiverse": _multiverse.run,
    "twin": _twin.run,
    "encoding": _encoding.run,
    "compare": _compare.run,
    "sae": _sae.run,
    "stream": _stream.run,
    "convert": _convert.run,
    "pull": _pull.run,
    "push": _push.run,
    "new": _new.run,
    "completion": _completion.run,
    "doctor": _doctor.run,
    "list": _list,
    "info": _info,
}
