"""`braindec encoding`: which layers of a network predict the brain's responses, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braindec import checks
from braindec.cli import _show


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.epilog = (
        "Every voxel's (or sensor's) response to a stimulus is predicted from what a network makes of it: ridge "
        "regression with a penalty for each voxel, fitted on the train part of the dataset's split and judged on its "
        "test part. Beside every layer stand pixels and the same network with random weights, noise ceilings from "
        "repeats, models refitted to shuffled stimuli, and p-values corrected for all voxels. DIR gets report.html, "
        "maps/ (NIfTI for voxels, GIFTI or CIFTI for vertices) and the models. Feature spaces are named "
        "TARGET[:SETTING=VALUE,...][@MODULE][!random]. "
        "Stories (--words) are continuous: features reach back 2 to 8 s, nothing crosses runs, blocks with a gap are "
        "held out. "
        "Example: braindec encoding prepared/nsd --target clip_vit_l14 --subjects '[1]' --out runs/encoding"
    )
    parser.add_argument("dir", type=Path, help="folder of the prepared dataset")
    made = parser.add_mutually_exclusive_group(required=True)
    made.add_argument("--target", type=str, help="what makes the features; see: braindec list targets")
    made.add_argument(
        "--words", type=str, nargs="+", metavar="SPACE",
        help="for stories, whose trials are volumes: features of the words that are heard, of letters, word_rate or "
        "a text target such as minilm, from early to late",
    )  # fmt: skip
    parser.add_argument(
        "--layers", type=str, nargs="+", default=None, metavar="MODULE",
        help="modules of the target's network, early to late; by default up to 6, evenly spread, are taken",
    )  # fmt: skip
    parser.add_argument(
        "--nuisance", type=str, nargs="*", default=None, metavar="SPACE",
        help="features that stand beside every layer; by default pixels and the middle layer with random weights",
    )  # fmt: skip
    parser.add_argument(
        "--subjects", type=list[int], default=None, metavar="LIST", help="only these, e.g. '[1,2]'"
    )
    parser.add_argument("--region", type=str, default=None, help="only voxels of this region")
    parser.add_argument(
        "--split", type=str, default=None, help="a named split; the dataset's default if not given"
    )
    parser.add_argument(
        "--folds", type=int, default=5, help="of training stimuli, for penalties and layers (5)"
    )
    parser.add_argument("--null", type=int, default=19, help="refits to shuffled stimuli (19)")
    parser.add_argument("--permutations", type=int, default=499, help="behind the p-values of voxels (499)")
    parser.add_argument(
        "--model", choices=("fir", "hrf"), default="fir",
        help="with --words: a weight for each of 2, 4, 6 and 8 s, or the canonical haemodynamic response (fir)",
    )  # fmt: skip
    parser.add_argument(
        "--gap", type=float, default=16.0, metavar="SECONDS",
        help="with --words: between what is learned from and what is held out, and length of pieces in tests (16)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of folds, permutations and random weights (0)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/encoding"),
        metavar="DIR",
        help="folder of the report (runs/encoding)",
    )


def run(options: Any) -> int:
    """Fits, prints what was found, writes report, maps and models."""
    if options.target is not None:
        checks.one_of("target", options.target.partition(":")[0].partition("@")[0], _show.names("targets"))
    from braindec import report
    from braindec.data import NeuralDataset
    from braindec.evaluate import encode, encode_maps, encode_report

    dataset = NeuralDataset.read(
        options.dir, subjects=options.subjects, region=options.region, split=options.split
    )
    settings = encode.Settings(
        n_folds=options.folds, n_null=options.null, n_permutations=options.permutations, seed=options.seed
    )
    found = (_of_pictures if options.words is None else _of_words)(dataset, options, settings)
    made = encode_report.report(found, dataset)
    for line in made.run["said"]:
        print(line)
    written = encode_maps.write_maps(found, options.out / "maps")
    print(f"{len(written)} maps and models in {options.out / 'maps'}")
    print(report.write(made, options.out))
    return 0


def _of_pictures(dataset: Any, options: Any, settings: Any) -> Any:
    """Layers of a network that sees the stimuli, beside pixels and random weights."""
    from braindec.evaluate import encode, encode_features

    specs = encode_features.layers_of(options.target)
    if options.layers is not None:
        specs = [f"{options.target}@{layer}" for layer in options.layers]
    low = encode_features.default_nuisance(specs) if options.nuisance is None else options.nuisance
    told: dict[str, Any] = {"seed": options.seed, "cache": options.dir / "embeddings", "progress": True}
    layers, nuisance = (encode_features.feature_spaces(s, dataset, **told) for s in (specs, low))
    return encode.encode(dataset, layers, nuisance, preprocessing=encode.PREPROCESSING, settings=settings)


def _of_words(dataset: Any, options: Any, settings: Any) -> Any:
    """Words of stories, beside how many are heard."""
    from braindec.evaluate import encode_continuous, encode_text

    words = encode_text.words_of(dataset)
    low = [encode_text.RATE] if options.nuisance is None else options.nuisance
    layers, nuisance = (encode_text.spaces(names, words) for names in (options.words, low))
    timing = encode_continuous.Timing(model=options.model, gap_s=options.gap)
    return encode_continuous.encode_continuous(dataset, layers, nuisance, timing=timing, settings=settings)
