"""`braindec sae`: sparse autoencoders of embeddings, how good they are, and which of their latents a brain carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from braindec import checks
from braindec.cli import _show

ACTIONS = ("fit", "judge", "brain")
MODEL = "autoencoder"  # the folder inside --out that `fit` writes and the others read


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.epilog = (
        "A sparse autoencoder writes each embedding of a picture as a sum of few 'latents', many of which stand for "
        "one thing (red; a face; stripes). Three steps. "
        "fit: trains one on the embeddings of a prepared dataset's stimuli (DIR and --target), or on a file of "
        "embeddings (FILE.npz with 'ids' and 'values', or cached .h5), and saves it in SAELens' layout. "
        "judge: says how much of the embeddings it keeps, with how many latents, how many are dead, beside PCA, ICA "
        "and others; what its latents are called, by the words nearest to their pictures; and which of them another "
        "seed, another model, the subjects' brains and their regions have too, beside what chance gives. "
        "brain: says which latents can be read from the recordings in DIR, by region and time; only those count that "
        "beat shuffled stimuli and the latents of PCA, ICA, NMF, raw and random directions and of the same network "
        "with random weights. Names stand beside latents here too. "
        "Example: braindec sae fit prepared/nsd --target clip_vit_l14 --out runs/sae; "
        "braindec sae judge prepared/nsd --target clip_vit_l14 --out runs/sae; "
        "braindec sae brain prepared/nsd --target clip_vit_l14 --subjects '[1]' --out runs/sae"
    )
    parser.add_argument("action", type=str, metavar="fit|judge|brain", help="what is done")
    parser.add_argument(
        "input", type=Path, metavar="DIR", help="prepared dataset; for fit and judge also a file"
    )
    parser.add_argument(
        "--target", type=str, default=None,
        help="what embeds the pictures of a dataset, TARGET[:SETTING=VALUE][@LAYER] (see: braindec list targets), or a "
        "file of embeddings of its stimuli (.npz with 'ids' and 'values', or cached .h5)",
    )  # fmt: skip
    parser.add_argument("--latents", type=int, default=512, help="fit: latents of the dictionary (512)")
    parser.add_argument("--active", type=int, default=16, help="fit: latents a picture (16)")
    parser.add_argument(
        "--activation", type=str, default="batch_topk",
        help="fit: topk, batch_topk, matching_pursuit, jump_relu or relu (batch_topk)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=2000, help="fit: of training (2000)")
    parser.add_argument("--batch", type=int, default=256, help="fit: samples a step (256)")
    parser.add_argument("--lr", type=float, default=1e-3, help="fit: learning rate (0.001)")
    parser.add_argument(
        "--subjects", type=list[int], default=None, metavar="LIST",
        help="judge, brain: only these subjects, e.g. '[1,2]'",
    )  # fmt: skip
    parser.add_argument(
        "--words", type=Path, default=None, metavar="FILE",
        help="judge, brain: words that may name latents, .npz with 'ids' (words) and 'values' (their embeddings by the "
        "model's text side); without it the words of the captions, where the target embeds texts",
    )  # fmt: skip
    parser.add_argument(
        "--beside", type=str, nargs="*", default=None, metavar="TARGET",
        help="judge: other models of the same pictures whose latents are paired with these (the same network with "
        "random weights, where it has one)",
    )  # fmt: skip
    parser.add_argument(
        "--null", type=int, default=99, help="judge: permutations; brain: refits to permuted stimuli (99)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, folds and permutations (0)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/sae"), metavar="DIR",
        help="folder of the autoencoder and the reports (runs/sae)",
    )  # fmt: skip


def run(options: Any) -> int:
    """Does one of the three."""
    checks.one_of("action", options.action, ACTIONS)
    if options.input.is_dir():
        if options.target is None:
            raise checks.ConfigError("--target must say what embeds the pictures; see: braindec list targets")
        if not _is_file(options.target):
            checks.one_of(
                "target", options.target.partition(":")[0].partition("@")[0], _show.names("targets")
            )
    else:
        checks.existing_file(options.input, "Give the folder of a prepared dataset, or a file of embeddings.")
    return {"fit": _fit, "judge": _judge, "brain": _brain}[options.action](options)


def _embeddings(options: Any) -> tuple[Any, Any]:
    """(embeddings, dataset or None) of the input; held-out stimuli stay in it, and are told apart by the split."""
    if not options.input.is_dir():
        return _of_file(options.input), None
    from braindec.data import NeuralDataset
    from braindec.evaluate import encode_features

    # An autoencoder is judged on the stimuli it was fitted for, whosever brains are compared.
    subjects = options.subjects if options.action == "brain" else None
    dataset = NeuralDataset.read(options.input, subjects=subjects)
    if _is_file(options.target):
        return _of_file(Path(options.target)), dataset
    told: dict[str, Any] = {"seed": options.seed, "cache": options.input / "embeddings", "progress": True}
    return encode_features.feature_spaces([options.target], dataset, **told)[options.target], dataset


def _is_file(target: str) -> bool:
    """Whether embeddings are read and not made."""
    return Path(target).suffix in (".npz", ".h5")


def _of_file(path: Path) -> Any:
    from braindec.evaluate.compare_sources import from_file
    from braindec.evaluate.inside_fitting import embeddings_of

    ids, values = from_file(path)
    return embeddings_of(ids, values, f"file {path.name}")


def _fit(options: Any) -> int:
    from braindec.evaluate import inside_fitting

    embeddings, dataset = _embeddings(options)
    settings = inside_fitting.Settings(
        n_latents=options.latents, n_active=options.active, activation=options.activation, n_steps=options.steps,
        batch_size=options.batch, lr=options.lr, seed=options.seed,
    )  # fmt: skip
    fitted = inside_fitting.fit_dictionary(embeddings, settings, dataset)
    folder = inside_fitting.save(fitted, options.out / MODEL, embeddings, settings)
    for line in fitted.lines():
        print(line)
    print(folder)
    return 0


def _candidates(options: Any, dataset: Any) -> Any:
    """Words that may name latents, or None."""
    from braindec.evaluate import inside_names

    if options.words is not None:
        return inside_names.from_words(options.words)
    if dataset is None or _is_file(options.target):  # nothing that was read embeds words
        return None
    return inside_names.from_captions(options.target, dataset.stimuli.captions)


def _others(options: Any, dataset: Any) -> dict[str, Any]:
    """Embeddings of the same pictures by other models."""
    from braindec.evaluate import encode_features

    specs = options.beside
    if dataset is None:
        if specs:
            raise checks.ConfigError("--beside needs pictures: give the folder of a prepared dataset.")
        return {}
    if specs is None:
        specs = [f"{options.target}!random"] if _has_random(options.target) else []
    return encode_features.feature_spaces(
        specs, dataset, seed=options.seed, cache=options.input / "embeddings"
    )


def _has_random(target: str) -> bool:
    from braindec.evaluate import encode_features

    return not _is_file(target) and not target.endswith("!random") and encode_features.has_network(target)


def _judge(options: Any) -> int:
    from braindec import report
    from braindec.evaluate import inside_fitting, inside_judging, inside_shared

    embeddings, dataset = _embeddings(options)
    model, settings, trained_on = inside_fitting.load(options.out / MODEL, embeddings)
    made = inside_judging.judge(
        model, embeddings, settings, dataset, trained_on=trained_on,
        candidates=_candidates(options, dataset), others=_others(options, dataset), subjects=options.subjects,
        sharing=inside_shared.Settings(n_draws=options.null, seed=options.seed),
    )  # fmt: skip
    for line in made.run["said"]:
        print(line)
    print(report.write(made, options.out / "judge"))
    return 0


def _brain(options: Any) -> int:
    if not options.input.is_dir():
        raise checks.ConfigError("brain needs the folder of a prepared dataset, not a file of embeddings.")
    checks.at_least("null", options.null, 19, unit="refits: fewer cannot give a p of 0.05")
    from braindec import report
    from braindec.evaluate import encode_features, inside_fitting, inside_latents, inside_names, inside_report
    from braindec.sparse import readers

    embeddings, dataset = _embeddings(options)
    model, settings, _ = inside_fitting.load(options.out / MODEL, embeddings)
    control = None
    if _has_random(options.target):
        random = encode_features.feature_spaces(
            [f"{options.target}!random"], dataset, seed=options.seed, cache=options.input / "embeddings"
        )[f"{options.target}!random"]
        control = (random, inside_fitting.fit_dictionary(random, settings, dataset).model)
    told = inside_latents.Settings(
        reading=readers.Settings(n_null=options.null), n_null_places=min(19, options.null), seed=options.seed
    )
    found = inside_latents.inside(dataset, embeddings, model, control=control, settings=told)
    names = inside_names.named(model, embeddings, _candidates(options, dataset), options.seed)
    made = inside_report.report(found, dataset, told, names=names.certain)
    for line in made.run["said"]:
        print(line)
    for path in inside_report.write_maps(found, options.out / "brain" / "maps"):
        print(path)
    print(report.write(made, options.out / "brain"))
    return 0
