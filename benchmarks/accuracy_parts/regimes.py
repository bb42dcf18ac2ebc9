"""What systems are compared on: signals, amount of data, target and folds; every regime is one line of a table."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from accuracy_parts.systems import FLAT, SYSTEMS
from braindec import checks, seeding, store, weights
from braindec.data import NeuralDataset, Split, catalogue, splits
from braindec.evaluate import protocol_named
from braindec.evaluate.exam import Exam, in_memory
from braindec.targets import category_prototypes, openclip, pixels, tiny_openclip
from braindec.targets._embedding import embed
from braindec.targets._views import View

HELD = 0.2  # of a regime's training units, to stop and to choose by; they count as its data
ALL = tuple(SYSTEMS)
FEW = ("ridge", "closed_form", "mindeye1", "mindeye2_fixed", "ours")
FMRI, EEG = (1, 2, 3), (5, 6, 7)
NOISE = 2.0  # of fMRI; the demo's is 1.15
EEG_SUBJECT = {
    "modality": "eeg", "n_images": 1200, "n_repeats": 2, "n_gallery_repeats": 8, "n_sessions": 4, "n_runs": 10,
}  # fmt: skip
CATEGORIES = ("bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe")


@dataclass(frozen=True)
class Regime:
    """One line of the table.

    share: of each subject's training stimuli. known: other subjects that a newcomer's decoder is trained on first.
    target: ``clip``, ``layer<n>`` or ``blur<share of a side>`` of the shipped CLIP.
    """

    name: str
    signal: str
    subjects: tuple[int, ...]
    systems: tuple[str, ...]
    share: float = 1.0
    target: str = "clip"
    known: tuple[int, ...] = ()
    metric: str = "bits_per_trial"
    by_step: bool = False
    axis: tuple[str, Any] | None = None  # what it varies, and the value

    @property
    def real(self) -> bool:
        """Whether these are recordings."""
        return self.signal not in ("fmri", "eeg")


def _regimes() -> dict[str, Regime]:
    made = [
        Regime(f"{signal}_{round(100 * share)}", signal, subjects, systems, share, by_step=share == 1.0,
               axis=("of training data", share))
        for signal, subjects, systems in (("fmri", FMRI, FLAT), ("eeg", EEG, ALL))
        for share in (1.0, 0.3, 0.1)
    ]  # fmt: skip
    for n in range(4):
        axis: tuple[str, Any] = ("pretraining subjects", n)
        made.append(Regime(f"newcomer_{n}", "fmri", (4,), FEW, known=FMRI[:n], axis=axis))
    for target in ("layer2", "layer3", "layer5"):
        made.append(Regime(f"fmri_{target}", "fmri", FMRI, FEW, target=target, axis=("target layer", target)))
    for blur in (0.05, 0.15):
        axis = ("blur", blur)
        made.append(Regime(f"fmri_blur{blur:g}", "fmri", FMRI, FEW, target=f"blur{blur:g}", axis=axis))
    made.append(Regime("haxby2001", "haxby2001", (1,), FLAT, metric="category_accuracy"))
    made.append(Regime("digits69", "digits69", (1,), FLAT, metric="pairwise_identification"))
    made.append(Regime("faces_houses_eeg", "faces_houses_eeg", (1,), ALL, metric="roc_auc"))
    return {r.name: r for r in made}


REGIMES = _regimes()
TOP5 = "image_retrieval_top5"  # of twenty pictures, bits are hardly known
SMALL = {
    "small": Regime("small", "fmri", (1, 2), ("ridge", "closed_form", "ours"), metric=TOP5, by_step=True,
                    axis=("of training data", 1.0)),
    "small_newcomer": Regime("small_newcomer", "fmri", (4,), ("closed_form",), known=(1, 2), metric=TOP5,
                             axis=("pretraining subjects", 2)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Matter:
    """A regime's data: test folds, and of each fold's train part the declared validation units; `known` has its own."""

    exam: Exam
    held: tuple[Split, ...]
    known: NeuralDataset | None
    folder: Path


class Absent(Exception):
    """A regime's data are not on this machine; says what to set."""


@lru_cache(maxsize=2)
def matter(regime: Regime, folder: Path, small: bool) -> Matter:
    """The data of one regime, read (and first made) once a process."""
    prepared = prepared_real(regime.signal, folder) if regime.real else world(folder, small)
    dataset = NeuralDataset.read(prepared, subjects=None if regime.real else regime.subjects)
    label, protocol, folds = _judged_by(regime, dataset)
    target, about = target_of(regime)
    ids = dataset.stimuli.ids if not regime.real else dataset.stimulus_ids
    embeddings = embed(
        target, dataset.stimuli, content=dataset.about["stimuli"]["sha256"], ids=ids, label_column=about,
        cache=prepared / "embeddings", progress=False,
    )  # fmt: skip
    dataset = in_memory(_limited(dataset, regime.share))
    known = None
    if regime.known:
        known = in_memory(NeuralDataset.read(prepared, subjects=regime.known))
        known = replace(known.part("train"), part_name=None, splits={})
        known = known.with_split(_hold_out(known, "stimulus"))
    if dataset.split is not None and not folds:
        folds = [dataset.split]
    parts = [(replace(dataset.with_split(f).part("train"), part_name=None, splits={}), f.unit) for f in folds]
    held = tuple(_hold_out(part, unit) for part, unit in parts)
    exam = Exam(dataset, embeddings, folds, protocol_named(protocol), label_column=label, progress=False)
    return Matter(exam, held, known, prepared)


def world(folder: Path, small: bool) -> Path:
    """The demo's world with more EEG subjects, more noise and no look-alikes in its gallery, made once.

    Bits per trial take the other pictures for draws from one pool, which a picture's twin is not; without twins, the
    demo's noise would leave retrieval no room.
    """
    prepared = folder / "world"
    if not (prepared / "dataset.json").is_file():
        made = catalogue.load("simulated")
        told: str | Path = "smoke"
        if not small:
            told = folder / "world.json"
            about = store.read_json(catalogue.folder("simulated") / "world.json")
            about["subjects"] = [s for s in about["subjects"] if s["modality"] == "fmri"]
            about |= {
                "n_alike": 1,
                "noise_level": NOISE,
                "about": "The demo's, for the comparison of systems.",
            }
            about["subjects"] += [{"subject": n} | EEG_SUBJECT for n in EEG]
            store.write_json(told, about)
        made["synthetic"](folder / "raw", world=told)
        made["prepare"](folder / "raw", prepared)
    return prepared


def prepared_real(name: str, folder: Path) -> Path:
    """A real recording prepared from the folder that BRAINDEC_REAL_DATA names."""
    inside = {
        "haxby2001": "fmri_haxby2001_slice",
        "digits69": "fmri_digits69",
        "faces_houses_eeg": "eeg_faces_houses",
    }
    root = os.environ.get("BRAINDEC_REAL_DATA")
    if not root or not (Path(root) / inside[name]).is_dir():
        raise Absent(f"BRAINDEC_REAL_DATA names no folder with {inside[name]}: {name} is not measured.")
    prepared = folder / name
    if not (prepared / "dataset.json").is_file():
        catalogue.load(name)["prepare"](Path(root) / inside[name], prepared)
    return prepared


def target_of(regime: Regime) -> tuple[Any, str | None]:
    """The target, and the column of labels that it embeds (None: pictures)."""
    if regime.signal == "digits69":
        return pixels.build(pixels.Config(height=14, width=14)), None
    if regime.real:
        classes = CATEGORIES if regime.signal == "haxby2001" else ("face", "house")
        return category_prototypes.build(category_prototypes.Config(classes=classes)), "category"
    if regime.target == "clip":
        return tiny_openclip.build(tiny_openclip.Config()), None
    model, tensors = (str(weights.verified(f"openclip.{end}")) for end in ("json", "safetensors"))
    files = {"model": model, "weights": tensors}
    if regime.target.startswith("layer"):
        config = openclip.Config(**files, layer=int(regime.target.removeprefix("layer")))
    else:
        config = openclip.Config(**files, view=View(blur=float(regime.target.removeprefix("blur"))))
    return openclip.build(config), None


def _judged_by(regime: Regime, dataset: NeuralDataset) -> tuple[str | None, str, list[Split]]:
    """(label column, protocol, folds); no folds: the dataset's own split."""
    draw = seeding.numpy_generator(0, "folds", regime.name)
    if regime.signal == "digits69":
        dealt = splits.k_fold(dataset, "stimulus", 5, draw, stratify="category")
        return "category", "heldout_stimuli_folds", dealt
    if regime.signal == "haxby2001":
        return "category", "leave_one_run_out_categories", splits.k_fold(dataset, "run", 4, draw)
    if regime.real:
        return "category", "leave_one_run_out_auc", splits.k_fold(dataset, "run", 3, draw)
    return None, "heldout_stimuli", []


def _hold_out(training: NeuralDataset, unit: str) -> Split:
    """Validation units, the same for every system, configuration and seed; whole concepts where there are any."""
    table = training.stimuli.table
    if unit == "stimulus" and table is not None and "concept" in table:
        unit = "concept"
    return splits.hold_out(training, unit, HELD, seeding.numpy_generator(0, "validation"))


def _limited(dataset: NeuralDataset, share: float) -> NeuralDataset:
    """All test trials, and those of the first `share` of each subject's training stimuli in one fixed random order."""
    if share == 1.0:
        return dataset
    train = set(checks.of_type("split", dataset.split, Split).values("train"))
    rows = {}
    for key, trials in dataset.trials.items():
        ids = trials.table["stimulus_id"]
        own = np.array(sorted(set(ids.tolist()) & train))
        order = seeding.numpy_generator(0, "share", key).permutation(own)
        kept = set(order[: max(10, round(share * len(own)))].tolist())
        rows[key] = np.array([i in kept or i not in train for i in ids.tolist()])
    return dataset.select(rows=rows)


def identity(regime: Regime, found: Matter) -> dict[str, Any]:
    """What pins a regime's data, target and folds down, as JSON values."""
    exam = found.exam
    pinned = {k: v for k, v in vars(regime).items() if k not in ("axis", "systems", "metric")}
    return {
        "regime": {k: list(v) if isinstance(v, tuple) else v for k, v in pinned.items()},
        "data": exam.dataset.identity(), "known": None if found.known is None else found.known.identity(),
        "target": [exam.embeddings.space, exam.embeddings.provenance], "protocol": exam.protocol.name,
        "folds": [f.hash for f in exam.folds], "validation": [h.hash for h in found.held],
    }  # fmt: skip
