"""`braindec compare`: how alike brains and models are, with ceilings, nulls and what may be concluded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braindec import checks


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.epilog = (
        "A is the reference, usually the folder of a prepared dataset: the distances between its responses to the "
        "stimuli are compared with the distances between the same stimuli elsewhere. A and every B is one of: "
        "DIR or DIR@REGION of a prepared dataset; DIR or DIR@LAYER of a saved decoder (what it makes of A's "
        "recordings); a file .npz with 'ids' and 'values', or .h5 of cached embeddings; column:NAME, labels of the "
        "stimuli; TARGET[:SETTING=VALUE,...][@LAYER][!random], features of a network. Without the network's "
        "random weights (!random) and pixels beside it, a likeness says little. OUT gets report.html and report.json. "
        "Example: braindec compare prepared/nsd@ventral clip_vit_l14 'clip_vit_l14!random' pixels column:category"
    )
    parser.add_argument("reference", type=str, metavar="A", help="the reference")
    parser.add_argument("others", type=str, nargs="+", metavar="B", help="what is compared with it")
    parser.add_argument(
        "--measure", type=str, default="rsa",
        help="'rsa' (distances, with inference), or one of the kind 'similarity'; see: braindec list similarity",
    )  # fmt: skip
    parser.add_argument(
        "--comparator", type=str, default="rho_a",
        help="of distances: rho_a (fair to models with ties), spearman, pearson, cosine, tau_a, whitened_cosine, "
        "whitened_correlation (rho_a)",
    )  # fmt: skip
    parser.add_argument(
        "--distance", type=str, default="auto",
        help="between responses: crossnobis, correlation, euclidean, cosine, mahalanobis; auto is crossnobis where "
        "stimuli repeat",
    )  # fmt: skip
    parser.add_argument(
        "--over", type=str, default="auto",
        help="what intervals speak of: both (other subjects and stimuli), subjects, conditions; auto is both, or "
        "conditions below five subjects",
    )  # fmt: skip
    parser.add_argument(
        "--modality", type=str, default=None, help="of A, where it has several: fmri, eeg, meg"
    )
    parser.add_argument(
        "--part", type=str, default="auto", help="test, train or all (test where a split holds out stimuli)"
    )
    parser.add_argument(
        "--conditions", type=int, default=300, help="at most so many stimuli, evenly spread (300)"
    )
    parser.add_argument(
        "--label", type=str, default=None, metavar="COLUMN", help="groups stimuli in the figures"
    )
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws (1000)")
    parser.add_argument(
        "--permutations", type=int, default=None,
        help="of the stimuli, for the null (1000 for rsa, 199 for measures, which cannot reuse distances)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of draws, permutations and random weights (0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/compare"),
        metavar="DIR",
        help="folder of the report (runs/compare)",
    )


def run(options: Any) -> int:
    """Compares, prints the table and writes the report."""
    from braindec import report
    from braindec.evaluate import compare_geometries as compare
    from braindec.evaluate import compare_report
    from braindec.evaluate.compare_sources import Choices

    if options.measure == "rsa":
        from braindec.rdm.comparators import named

        named(options.comparator)
    runs = [w for w in (options.reference, *options.others) if (Path(w) / "report.json").is_file()]
    if len(runs) == 1 + len(options.others):
        raise checks.ConfigError(
            f"{' and '.join(runs)} are runs: their scores are compared by "
            f"braindec report --compare {' '.join(runs[:2])}. "
            "This verb compares brains, models and files; a prepared dataset first."
        )
    checks.one_of("part", options.part, ("auto", "test", "train", "all"))
    choices = Choices(
        distance=options.distance, modality=options.modality, part=options.part, n_conditions=options.conditions,
        seed=options.seed,
    )  # fmt: skip
    n_permutations = options.permutations
    if n_permutations is None:
        n_permutations = 1000 if options.measure == "rsa" else 199
    checks.at_least("permutations", n_permutations, 1)
    settings = compare.Settings(
        options.measure,
        options.comparator,
        options.over,
        options.draws,
        n_permutations,
        options.seed,
        choices,
    )
    found = compare.compare(options.reference, options.others, settings)
    made = compare_report.report(found, label_column=options.label)
    for line in _lines(compare_report.table(found)):
        print(line)
    for note in dict.fromkeys(said for side in (found.reference, *found.models) for said in side.said):
        print(note)
    for caution in compare_report.cautions(found):
        print(caution)
    print(report.write(made, options.out))
    return 0


def _lines(table: dict[str, Any]) -> list[str]:
    """Columns aligned, then what they speak of."""
    rows = [table["columns"], *table["rows"]]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows),
        table["caption"],
    ]
