"""What each verb does; the heavy rooms are imported by the verb that needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindec import checks
from braindec.cli import _parser, _show

if TYPE_CHECKING:
    from braindec.types import Report


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

    _tell(recipe.run("demo", None, options.out, sets=options.set), options.out)


def _run(options: Any) -> None:
    if not options.recipe.endswith(".py"):  # said at once, before anything heavy is imported
        checks.one_of("recipe", options.recipe, _show.names("recipes"))
    from braindec import recipe

    found = recipe.run(options.recipe, options.data, options.out, sets=options.set, smoke=options.smoke)
    _tell(found, options.out)


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


def _evaluate(options: Any) -> None:
    from braindec import evaluate, report
    from braindec.decoder import BrainDecoder
    from braindec.types import Report

    record = report.read(options.dir).run
    chosen = _recorded(record, options.set)
    dataset = chosen.data.read(options.data)
    embeddings = chosen.embed(dataset, options.data)
    decoder = BrainDecoder.from_pretrained(decoder_folder(options.dir))
    found = evaluate.held_out(
        decoder, chosen, dataset, embeddings, plan=chosen.plan, label_column=chosen.label_column
    )
    out = options.out or options.dir / "evaluation"
    made = Report(found.scores, {**record, **found.record, "evaluated": str(options.dir)})
    report.write(made, out)
    _tell(made, out)


def _decode(options: Any) -> None:
    from braindec import store
    from braindec.data import layout
    from braindec.decoder import BrainDecoder

    decoder = BrainDecoder.from_pretrained(decoder_folder(options.dir))
    path = checks.existing_file(
        options.input, "Recordings are prepared with: braindec prepare NAME --raw DIR --out DIR."
    )
    trials = layout.read_trials(path)
    checks.one_of("repeats", options.repeats, ("none", "before", "after"))
    found = decoder.predict(trials, repeats=options.repeats)
    out = options.out or options.input.with_name("decoded.h5")
    with store.writer(out) as file:
        file.array("stimulus_ids", list(found.ids))
        file.bulk("embeddings", found.values.shape, found.values.dtype).append(found.values)
        file.attributes(
            {"decoder": str(options.dir), "input": str(path), "space": decoder.outputs[decoder.main].space}
        )
    print(f"{len(found.ids)} embeddings of {decoder.outputs[decoder.main].space} in {out}")
    if options.data is not None:
        _retrieve(decoder, trials, options)


def _retrieve(decoder: Any, trials: Any, options: Any) -> None:
    from braindec import report

    chosen = _recorded(report.read(options.dir).run, ())
    embeddings = chosen.embed(chosen.data.read(options.data), options.data)
    ids, similarity = decoder.retrieve(trials, embeddings, k=options.k, repeats=options.repeats)
    for row, values in zip(ids, similarity):
        print("\t".join(f"{name} ({value:.3f})" for name, value in zip(row, values)))


def _report(options: Any) -> None:
    from braindec import report

    print(report.write(report.read(options.dir), options.dir))


def _list(options: Any) -> None:
    print(_show.listing(options.kind))


def _info(options: Any) -> None:
    print(_show.info(options.name))


def _recorded(record: Mapping[str, Any], sets: Sequence[str]) -> Any:
    """The recipe of a run as it ran, with further overrides."""
    from braindec import config, recipe, registry

    if not record.get("recipe"):
        raise checks.ConfigError(
            "report.json does not say which recipe made it; evaluate takes the folder of a run."
        )
    overrides = [*record.get("sets", ()), *sets]
    name = record.get("recipe_file") or record["recipe"]
    return config.override(recipe.load(name).recipe, overrides, registry.load)


def decoder_folder(folder: Path) -> str:
    """Where a run keeps its decoder: the folder itself, or `decoder` inside it."""
    for place in (folder, folder / "decoder"):
        if (place / "config.json").is_file():
            return str(place)
    raise FileNotFoundError(
        f"{folder} holds no saved decoder (config.json). Name the folder of a run that saved one: "
        "braindec run RECIPE --data DIR --out DIR."
    )


def _tell(report: Report, out: Path | None) -> None:
    """The decoder's scores, and where the rest is."""
    for score in report.scores:
        if score.system in ("braindec", "adapted"):
            who = f"sub-{score.subject:02d}" if isinstance(score.subject, int) else str(score.subject)
            low, high = score.interval
            print(
                f"{score.name:<38} {score.system:<9} {who:<7} {score.modality:<5} {score.value:.3f} "
                f"[{low:.3f}, {high:.3f}]  chance {score.chance:.3g}  n {score.n}"
            )
    if out is not None:
        print(f"report: {out / 'report.html'}", file=sys.stderr)


_ACTIONS: dict[str, Callable[[Any], None]] = {
    "demo": _demo,
    "prepare": _prepare,
    "run": _run,
    "evaluate": _evaluate,
    "decode": _decode,
    "report": _report,
    "list": _list,
    "info": _info,
}
