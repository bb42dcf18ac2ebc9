"""`braindec twin`: which score a recording allows, which trials a target score needs, and which score is impossible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braindec import checks
from braindec.cli import _show


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.epilog = (
        "Copies of the recording are made: same design, same stimuli, responses from an encoding model fitted to it "
        "and noise like its own. The recipe runs on each. Their scores are the band in which an honest score of such a "
        "recording lies in 95 of 100 cases; a score above it is more than the stimuli can have told. With --target, "
        "copies of other sizes say how many trials that score needs. The spread of subjects says how many of them a "
        "group result needs. Example: braindec twin prepared/haxby2001 "
        "--recipe haxby2001_category --system ridge --target 0.95"
    )
    parser.add_argument("dir", type=Path, help="folder of the prepared dataset")
    parser.add_argument(
        "--recipe",
        type=str,
        required=True,
        help="a recipe, or the path of one; it runs on copies of the data",
    )
    parser.add_argument(
        "--system",
        type=str,
        default="braindec",
        help="'braindec' (the recipe's decoder) or 'ridge', in seconds",
    )
    parser.add_argument("--copies", type=int, default=20, help="copies behind the band (20)")
    parser.add_argument("--growth", type=int, default=3, help="copies behind each other size of the data (3)")
    parser.add_argument("--target", type=float, default=None, help="a score: say how many trials it needs")
    parser.add_argument(
        "--score", type=float, default=None, help="the score to be judged, where it came from elsewhere"
    )
    parser.add_argument(
        "--within", type=float, default=None, metavar="W",
        help="say how many subjects a group interval of +-W needs; for one above chance it is always said",
    )  # fmt: skip
    parser.add_argument(
        "--pretraining", type=float, default=None, metavar="SHARE",
        help="also adapt decoders that know 0, 1, 2 ... of the subjects to each other one with this share of its data",
    )  # fmt: skip
    parser.add_argument("--power", type=float, default=0.8, help="chance that such a study reaches it (0.8)")
    parser.add_argument(
        "--out", type=Path, default=None, metavar="DIR", help="folder of the report (runs/twin)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="a.b=VALUE",
        help="change a setting of the recipe; repeatable",
    )


def run(options: Any) -> int:
    """Makes copies, runs the recipe on them, prints what to expect and writes the report."""
    if not options.recipe.endswith(".py"):
        checks.one_of("recipe", options.recipe, _show.names("recipes"))
    from braindec import config, recipe, registry, report
    from braindec.evaluate import twin as twins
    from braindec.evaluate import twin_panels, twin_pretraining, twin_result, twin_subjects

    goal = twin_subjects.Goal(options.within, options.power)
    settings = twin_result.Settings(options.system, options.copies, options.growth)
    chosen = config.override(recipe.load(options.recipe).recipe, options.set, registry.load)
    dataset = chosen.data.read(options.dir)
    embeddings = chosen.embed(dataset, options.dir)
    found = twins.twin(chosen, dataset, embeddings, settings=settings)
    share = options.pretraining
    known = None if share is None else twin_pretraining.pretraining(chosen, dataset, embeddings, share=share)
    made = twin_panels.report(found, chosen, dataset, target=options.target, score=options.score, goal=goal,
                               known_before=known)  # fmt: skip
    for line in made.run["said"]:
        print(line)
    out = options.out or Path("runs") / "twin"
    print(report.write(made, out))
    return 0
