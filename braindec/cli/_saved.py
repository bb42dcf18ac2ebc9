"""What `evaluate` and `decode` do with a saved decoder."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindec import checks, cli

if TYPE_CHECKING:
    import numpy as np

    from braindec.data import NeuralDataset
    from braindec.decoder import BrainDecoder, Prediction
    from braindec.decoder.prediction import Repeats
    from braindec.types import Embeddings, Report

ON_A_SHEET = 60  # pictures; all of them are files too


def evaluate(options: Any) -> None:
    """Judges a saved decoder on what it never saw; where that cannot be, shows what its run measured."""
    from braindec import evaluate as judging
    from braindec import report
    from braindec.decoder import BrainDecoder
    from braindec.types import Report

    found = report.read(run_folder(options.dir))
    decoder = BrainDecoder.from_pretrained(decoder_folder(options.dir))
    if options.data is None:
        _measured_in_the_run(found, options.dir, "Without --data nothing is judged anew.")
        return
    chosen = recorded(found.run, options.set)
    dataset = read_dataset(chosen, options.data)
    on_train = dataset.split is not None and judging.fitted_on(decoder, dataset.part("train"))
    seen = {} if on_train else judging.seen_trials(decoder, dataset)
    if seen and all(s.n_seen == s.n_trials for s in seen.values()):
        trials = ", ".join(f"all {s.n_trials} trials of {key}" for key, s in seen.items())
        said = f"The saved decoder was fitted on {trials}: a held-out score of it cannot exist on these data."
        _measured_in_the_run(found, options.dir, said)
        return
    embeddings = embedded(decoder, chosen, dataset, options.data)
    if on_train:
        judged = judging.held_out(
            decoder, chosen, dataset, embeddings, plan=chosen.plan, label_column=chosen.label_column
        )
        scores, record = judged.scores, judged.record
    else:
        scores, record = judging.unseen(
            decoder, chosen, dataset, embeddings, label_column=chosen.label_column
        )
        print("All trials are new to the decoder; nothing is refitted, so there is no null. ", end="")
        print("Whether it was fitted on other responses to the same stimuli is not recorded.")
    out = options.out or options.dir / "evaluation"
    kept = {k: v for k, v in found.run.items() if k not in ("comparisons", "stages", "stages_cpu", "seconds")}
    made = Report(scores, {**kept, **record, "evaluated": str(options.dir)})
    report.write(made, out)
    tell(made, out)


def decode(options: Any) -> None:
    """Embeddings of recordings, and what was retrieved or drawn where that was asked for."""
    from braindec import store
    from braindec.data import layout
    from braindec.decoder import BrainDecoder, decoding

    decoder = BrainDecoder.from_pretrained(decoder_folder(options.dir))
    path = checks.existing_file(
        options.input, "Recordings are prepared with: braindec prepare NAME --raw DIR --out DIR."
    )
    trials = layout.read_trials(path)
    classes = decoding.classes_of(decoder)
    repeats: Repeats = options.repeats or (
        "none" if classes else "after"
    )  # trials of a class are no repeats of a stimulus
    checks.one_of("repeats", repeats, ("none", "before", "after"))
    # Refused before anything is written.
    gallery = _gallery(decoder, options) if options.data is not None else None
    artist = _artist(decoder, options) if options.pictures else None
    found = decoder.predict(trials, repeats=repeats)
    told = decoding.classified(decoder, found) if classes else None
    out = options.out or options.input.with_name("decoded.h5")
    with store.writer(out) as file:
        file.array("stimulus_ids", list(found.ids))
        if told is not None:
            file.array("classes", told.tolist())
        file.bulk("embeddings", found.values.shape, found.values.dtype).append(found.values)
        file.attributes(
            {"decoder": str(options.dir), "input": str(path), "space": decoder.outputs[decoder.main].space}
        )
    print(f"{len(found.ids)} embeddings of {decoder.outputs[decoder.main].space} in {out}")
    if told is not None:
        _name_classes(found, told, out.with_suffix(".classes.csv"))
    if gallery is not None:
        _retrieve(decoder, found, gallery, options.k, out)
    if artist is not None:
        _draw(decoder, found, *artist, out)


def tell(found: Report, out: Path | None, *, smoke: bool = False) -> None:
    """The decoder's scores, each with closed-form ridge's beside it, and where the rest is.

    Rows that would look alike say their protocol. After a smoke run: that scores are of generated data.
    """
    shown = [score for score in found.scores if score.system in ("braindec", "adapted")]
    seen = Counter((s.name, s.system, s.subject, s.modality) for s in shown)
    ridge = {
        (s.name, s.protocol, s.subject, s.modality): s.value for s in found.scores if s.system == "ridge"
    }
    for score in shown:
        who = f"sub-{score.subject:02d}" if isinstance(score.subject, int) else str(score.subject)
        low, high = score.interval
        alike = seen[(score.name, score.system, score.subject, score.modality)] > 1
        beside = ridge.get((score.name, score.protocol, score.subject, score.modality))
        print(
            f"{score.name:<38} {score.system:<9} {who:<7} {score.modality:<5} {score.value:.3f} "
            f"[{low:.3f}, {high:.3f}]  chance {score.chance:.3g}  n {score.n}"
            + ("" if beside is None else f"  ridge {beside:.3f}")
            + (f"  {score.protocol}" if alike else "")
        )
    if smoke:
        print("a smoke run: small settings, these scores say only that it works", file=sys.stderr)
    if out is not None:
        print(f"report: {out / 'report.html'}", file=sys.stderr)
    elif smoke:
        print("nothing was kept; --out DIR keeps report and decoder", file=sys.stderr)


def recorded(record: Mapping[str, Any], sets: Sequence[str] = ()) -> Any:
    """The recipe of a run as it ran, with further overrides."""
    from braindec import config, recipe, registry

    if not record.get("recipe"):
        raise checks.ConfigError(
            "report.json does not say which recipe made it; name the folder of a run (braindec run RECIPE --out DIR)."
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


def run_folder(folder: Path) -> Path:
    """The folder itself; of a decoder that was saved without its run, what there is to do instead."""
    if (folder / "config.json").is_file() and not (folder / "report.json").is_file():
        run = Path(os.path.normpath(folder / ".."))
        if (run / "report.json").is_file():
            raise checks.ConfigError(f"{folder} is the decoder of a run; name the run's folder: {run}.")
        raise checks.ConfigError(
            f"{folder} holds a decoder and no report.json, which says by what recipe, target and split to judge. Name "
            "the folder of a run (braindec run RECIPE --data DIR --out DIR); or judge this decoder in Python: "
            f"BrainDecoder.from_pretrained({str(folder)!r}).score(trials, embeddings), of classes "
            ".classify(trials)."
        )
    return folder


def _measured_in_the_run(found: Report, folder: Path, said: str) -> None:
    """The scores beside a saved decoder, and whose they are."""
    n_folds = int(found.run.get("n_folds", 1))
    how = (
        f"of decoders of the same recipe that were fitted without the trials they were scored on ({n_folds} folds); "
        "the saved one was fitted afterwards, on all of them"
        if n_folds > 1
        else "on the test part of its run's data"
    )
    print(f"{said} What its run measured, {how}:")
    tell(found, None)
    print(f"Judge it on recordings it never saw: braindec evaluate {folder} --data OTHER")


def read_dataset(chosen: Any, folder: Path) -> NeuralDataset:
    """The recipe's part of a prepared dataset; of another dataset than its own no split is expected."""
    from braindec.data import NeuralDataset, layout

    if layout.read_manifest(folder)["name"] == chosen.data.dataset:
        read: NeuralDataset = chosen.data.read(folder)
        return read
    data = chosen.data
    return NeuralDataset.read(folder, subjects=data.subjects, modalities=data.modalities, region=data.region)


def _name_classes(prediction: Prediction, told: Any, table: Path) -> None:
    """How often each class was decoded, and a line a trial as CSV."""
    from collections import Counter

    from braindec import store

    with store.atomic_path(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["row", "stimulus_id", "class"])
        rows = enumerate(zip(prediction.ids, told.tolist(), strict=True))
        lines.writerows([number, cell(own), cell(name)] for number, (own, name) in rows)
    print(", ".join(f"{cli.printable(name)} {n}" for name, n in sorted(Counter(told.tolist()).items())))
    print(f"classes: {table}", file=sys.stderr)


def embedded(decoder: BrainDecoder, chosen: Any, dataset: NeuralDataset, folder: Path) -> Embeddings:
    """The recipe's embeddings of a prepared dataset; refused where they are not what the decoder was fitted on."""
    found: Embeddings = chosen.embed(dataset, folder)
    checks.same_target(
        "RECIPE.target", found.info, decoder.outputs[decoder.main],
        "Saved runs are judged and searched by their recipe's target: let it be what the decoder is fitted on, or use "
        "this decoder in Python, with its own embeddings (evaluate.held_out, decoder.retrieve).",
    )  # fmt: skip
    return found


def _gallery(decoder: BrainDecoder, options: Any) -> Embeddings:
    """What is searched: the recipe's embeddings of a prepared dataset."""
    from braindec import report

    chosen = recorded(report.read(run_folder(options.dir)).run)
    found = embedded(decoder, chosen, read_dataset(chosen, options.data), options.data)
    checks.in_range("k", options.k, 1, len(found.ids))
    return found


def _retrieve(
    decoder: BrainDecoder, prediction: Prediction, embeddings: Embeddings, k: int, out: Path
) -> None:
    """The most similar stimuli of a prepared dataset, as lines and as CSV."""
    import numpy as np

    from braindec import store

    ids, values = embeddings.ids, np.asarray(embeddings.values[:], dtype=np.float32)
    found = decoder.similarity(prediction, values).sort(dim=1, descending=True, stable=True)
    table = out.with_suffix(".csv")
    with store.atomic_path(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["row", "stimulus_id", "rank", "retrieved", "similarity"])
        rows = zip(prediction.ids, found.indices.tolist(), found.values.tolist(), strict=True)
        for number, (own, columns, similarity) in enumerate(rows):
            best = [(ids[c], s) for c, s in zip(columns[:k], similarity[:k], strict=True)]
            lines.writerows(
                [number, cell(own), rank + 1, cell(name), f"{s:.6g}"] for rank, (name, s) in enumerate(best)
            )
            print(cli.printable("\t".join(f"{name} ({s:.3f})" for name, s in best)))
    print(f"retrieved: {table}", file=sys.stderr)


def cell(text: str) -> str:
    """Text for a CSV file: a spreadsheet takes what begins so for a formula and runs it, but not behind a quote."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _artist(decoder: BrainDecoder, options: Any) -> tuple[Any, int]:
    """The recipe's generator, and the seed of its run."""
    from braindec import report

    chosen = recorded(report.read(run_folder(options.dir)).run)
    if chosen.generator is None:
        raise checks.ConfigError(
            f"the recipe of {options.dir} has no generator; --pictures needs a decoder whose recipe draws."
        )
    generator = chosen.build_generator()
    space = decoder.outputs[decoder.main].space
    checks.same_space("generator", generator.space, space, "Choose a generator of this space.")
    return generator, chosen.seed


def _draw(decoder: BrainDecoder, prediction: Prediction, generator: Any, seed: int, out: Path) -> None:
    """A PNG of every prediction, and the first of them on one sheet."""
    from PIL import Image

    from braindec import seeding

    drawn = generator.generate(
        decoder.image_embedding(prediction, seed=seed), generator=seeding.torch_generator(seed, "picture")
    )
    folder = out.with_name(f"{out.stem}_pictures")
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in zip(_file_names(prediction.ids), drawn, strict=True):
        Image.fromarray(picture).save(folder / name)
    Image.fromarray(_sheet(drawn[:ON_A_SHEET])).save(folder / "contact_sheet.png")
    print(f"{len(drawn)} pictures in {folder}; a generator draws something plausible whatever it is told.")


def _file_names(ids: Sequence[str]) -> Iterator[str]:
    """A name for each row that any file system takes."""
    for number, stimulus in enumerate(ids):
        yield f"{number:05d}_{re.sub(r'[^A-Za-z0-9._-]+', '-', stimulus)[:80]}.png"


def _sheet(drawn: np.ndarray) -> np.ndarray:
    """Pictures (n, height, width, 3) in rows of ten with a white border: (sheet height, sheet width, 3)."""
    import numpy as np

    n, height, width, _ = drawn.shape
    columns = min(n, 10)
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 4) + 4, columns * (width + 4) + 4, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(drawn):
        top, left = (4 + (number // columns) * (height + 4), 4 + (number % columns) * (width + 4))
        sheet[top : top + height, left : left + width] = picture
    return sheet
