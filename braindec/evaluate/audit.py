"""What a score would be made of, audited: every check of `data.leakage` over the folds, and a nuisance-only decoder."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from braindec import seeding
from braindec.data import NeuralDataset, Split, leakage
from braindec.data.leakage import Audit, Case, Finding, Outcome, Pictures
from braindec.data.leakage.pictures import n_bytes
from braindec.data.leakage.timing import Told, told
from braindec.data.preprocessing import Preprocessing
from braindec.decoder import BrainDecoder, steps_for
from braindec.decoder.fitting import ALPHAS, group_folds, inner_units
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.systems import NUISANCE_GROUPS, known_nuisances, nuisance_features
from braindec.maths import ridge
from braindec.protocols import Protocol
from braindec.ranks import Ranks
from braindec.types import Embeddings, StimulusSet, Table, Trials

MAX_PICTURE_BYTES = 1 << 29  # read where an audit runs by itself: 7,000 pictures of 160 x 160
_known: WeakKeyDictionary[StimulusSet, tuple[tuple[str, ...], Pictures]] = WeakKeyDictionary()
MAX_TRIALS, MAX_CLASSES = 4000, 200  # of the nuisance decoder: more tells no more and takes minutes


def audit_splits(
    dataset: NeuralDataset,
    folds: Sequence[Split],
    *,
    protocol: Protocol | None = None,
    label_column: str | None = None,
    embeddings: Embeddings | None = None,
    steps: Mapping[str, Preprocessing] | None = None,
    decoder: BrainDecoder | None = None,
    refitted: bool = False,
    everything: bool = False,
    fits: bool = True,
) -> Audit:
    """What training and test parts of these splits share, or may share.

    Parameters
    ----------
    dataset : NeuralDataset
        Whole.
    folds : sequence of Split
        Of one evaluation; each with the parts ``train`` and ``test``.
    protocol : Protocol, optional
        Says what the score claims to be new, and which scopes and leaks belong to it.
    label_column : str, optional
        Where classes are; by default the column that dataset.json calls ``label``.
    embeddings : Embeddings, optional
        In any image space.
    steps : mapping of str to Preprocessing, optional
        By modality.
    decoder : BrainDecoder, optional
        The fitted decoder that is judged on these splits.
    refitted : bool
        Each fold is judged by a decoder of its own, which `cross_decode` compares with the fold's test trials.
    everything : bool
        Also read pictures and responses that are too many for a look beside an evaluation.
    fits : bool
        Also fit a decoder of nuisances, which takes most of the time and finds no leak, but warnings.

    Returns
    -------
    Audit
        ``audit.refuse()`` raises where it found a leak.
    """
    given: dict[str, Any] = {
        "label_column": label_column or dataset.about.get("label"),
        "scopes": None if protocol is None else protocol.scopes,
        "steps": steps or {},
        "fitted": {} if decoder is None else decoder.preprocessing,
        "chosen_on": None if decoder is None else decoder.provenance.get("chosen_on", {}),
        "refitted": refitted,
        "embeddings": embeddings,
        "pictures": _pictures(dataset, everything),
    }
    if everything:
        given["max_values"] = sys.maxsize
    cases = []
    for split in folds:
        whole = dataset.with_split(split)
        claim = split.unit if protocol is None else protocol.unit
        cases.append(Case(whole.part("train"), whole.part("test"), claim=claim, **given))
    found = leakage.audit(cases, {"nuisance": nuisance} if fits else {})
    return found if protocol is None else found.allowing(protocol.allows)


def audited(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folds: Sequence[Split],
    *,
    label_column: str | None = None,
    decoder: BrainDecoder | None = None,
    fits: bool = True,
) -> Audit:
    """The audit of what a recipe is about to be judged on: a leak stops it here, warnings are printed.

    Parameters
    ----------
    recipe : Recipe
        Its protocol and preprocessing are read.
    dataset : NeuralDataset
        Whole.
    embeddings : Embeddings
    folds : sequence of Split
    label_column : str, optional
        Column with each trial's class.
    decoder : BrainDecoder, optional
        The fitted decoder that is judged; without it one is fitted for each fold.
    fits : bool
        As in `audit_splits`.

    Raises
    ------
    LeakageError
        If a leak was found that the protocol does not allow.
    """
    chains = {t.modality: steps_for(recipe.preprocessing, t.modality) for t in dataset.trials.values()}
    audit = audit_splits(
        dataset, folds, protocol=protocol_named(recipe.protocol), label_column=label_column, embeddings=embeddings,
        steps=chains, decoder=decoder, refitted=decoder is None, fits=fits,
    )  # fmt: skip
    audit.refuse()
    tell(audit, dataset)
    return audit


def training_part(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, *, label_column: str | None = None
) -> NeuralDataset:
    """``dataset.part("train")``, once the split in use is audited: a leak is found before a long fit, not after it.

    Parameters
    ----------
    recipe : Recipe
    dataset : NeuralDataset
        Whole, with the split in use.
    embeddings : Embeddings
    label_column : str, optional
        Column with each trial's class.

    Raises
    ------
    LeakageError
        If training and test part share what they must not; see `audited`.

    Notes
    -----
    The decoder of nuisances, which can only warn, is left to the evaluation.
    """
    if dataset.split is None:
        raise ValueError("this dataset has no split; give it one with with_split(...).")
    audited(recipe, dataset, embeddings, [dataset.split], label_column=label_column, fits=False)
    return dataset.part("train")


def audited_split(
    dataset: NeuralDataset, preprocessing: Mapping[str, Preprocessing] | Preprocessing | None = None
) -> Audit:
    """The audit of a dataset's own split, before models of its responses are fitted on the one part for the other.

    Parameters
    ----------
    dataset : NeuralDataset
        Whole, with the split in use.
    preprocessing : Preprocessing, or mapping of such by modality, optional

    Raises
    ------
    LeakageError
        If training and test part share what they must not.
    """
    if dataset.split is None:
        raise ValueError("this dataset has no split; give it one with with_split(...).")
    modalities = {trials.modality for trials in dataset.trials.values()}
    chains = (
        dict.fromkeys(modalities, preprocessing)
        if isinstance(preprocessing, Preprocessing)
        else preprocessing
    )
    audit = audit_splits(dataset, [dataset.split], steps=chains, fits=False)
    audit.refuse()
    tell(audit, dataset)
    return audit


_told: weakref.WeakKeyDictionary[NeuralDataset, set[str]] = weakref.WeakKeyDictionary()


def tell(audit: Audit, dataset: NeuralDataset | None = None) -> None:
    """Writes warnings to the error stream, a line each and once of a dataset: they stop nothing, and should be seen.

    Of processes that train together the first one does.
    """
    before = set() if dataset is None else _told.setdefault(dataset, set())
    for finding in audit.warnings:
        said = f"audit: warning ({finding.kind}; {finding.where}): {finding.what} {finding.way_out}"
        if said not in before and Ranks.here().first:
            print(said, file=sys.stderr)
        before.add(said)


def nuisance(cases: Sequence[Case]) -> Outcome:
    """Whether a decoder of position, time, session and motion alone tells a test trial's class.

    It is fitted on each fold's training part and judged on its test part; which columns it uses is chosen in training.
    """
    found: list[Finding] = []
    reasons: list[str] = []
    for key in dict.fromkeys(key for case in cases for key in case.keys):
        made = [_nuisance_told(case, key) for case in cases if key in case.keys]
        parts = [m for m in made if not isinstance(m, str)]
        result = (
            told(*(np.concatenate(side) for side in zip(*parts, strict=True)), "nuisance", key)
            if parts
            else None
        )
        if result is None:
            reasons += [m for m in made if isinstance(m, str)] or ["fewer than 8 test trials or one class"]
        elif (finding := _nuisance_finding(cases, key, result)) is not None:
            found.append(finding)
    return found if found or not reasons else "; ".join(dict.fromkeys(reasons))


def _nuisance_finding(cases: Sequence[Case], key: str, result: Told) -> Finding | None:
    if result.severity is None:
        return None
    severity = "info" if result.severity == "info" else "warning"
    said = f"Position, time, session and motion tell the class with a mean recall of {result.value:.2f} "
    way_out = "Show this decoder's score beside yours (it is in every report), and compare with it, not with chance."
    where = cases[0].where(key) + (f" and {len(cases) - 1} more folds" if len(cases) > 1 else "")
    return Finding(
        "nuisance", severity, f"{said}({result.null:.2f} by chance).", where, result.evidence(), way_out
    )


def _nuisance_told(case: Case, key: str) -> tuple[np.ndarray, np.ndarray] | str:
    """(predicted, true) classes of the test trials of one fold."""
    train, test = case.train.trials[key], case.test.trials[key]
    labels, truth = case.labels(train), case.labels(test)
    if labels is None or truth is None:
        return "no column of classes; name one (--label)"
    classes, number = np.unique(labels, return_inverse=True)
    if not 2 <= len(classes) <= MAX_CLASSES:
        return f"{len(classes)} classes; between 2 and {MAX_CLASSES} are needed"
    groups = {name: columns for name in ("all", *NUISANCE_GROUPS) if (columns := _columns(name, train.table))}
    if not groups:
        return "no nuisance columns that vary"
    rows = _some_rows(len(labels), key)
    kept = _without_responses(train, rows)
    wanted = torch.nn.functional.one_hot(torch.from_numpy(number[rows]), len(classes)).double()
    units = tuple(inner_units(case.train, kept).tolist())
    if len(set(units)) < 2:
        return "fewer than two training units"
    parts = group_folds(units, 5, seeding.torch_generator(0, "audit", "nuisance", key))
    fits = {name: _fit(kept, columns, wanted, parts) for name, columns in groups.items()}
    fit, features = max(fits.values(), key=lambda pair: float(pair[0].cv_scores.max()))  # type: ignore[union-attr]  # penalties were chosen
    predicted = ridge.ridge_predict(torch.from_numpy(features(test)).double(), fit).argmax(1).numpy()
    return classes[predicted], truth


def _fit(trials: Trials, columns: Sequence[str], wanted: Tensor, parts: Any) -> tuple[ridge.RidgeFit, Any]:
    features = nuisance_features(trials, columns)
    x = torch.from_numpy(features(trials)).double()
    return ridge.fit_ridge(x, wanted, ALPHAS, parts, score=_hit_rate), features


def _hit_rate(prediction: Tensor, truth: Tensor) -> Tensor:
    return (prediction.argmax(1) == truth.argmax(1)).double().mean()


def _columns(group: str, table: Table) -> list[str]:
    """Nuisance columns of a group that hold more than one value."""
    wanted = None if group == "all" else NUISANCE_GROUPS[group]
    names = [c for c in known_nuisances(table) if wanted is None or c.startswith(wanted)]
    return [c for c in names if len(np.unique(table[c])) > 1]


def _without_responses(trials: Trials, rows: np.ndarray) -> Trials:
    """The table of these rows beside responses of zero: nuisance features read no response."""
    nothing = np.zeros((len(rows), trials.space.n_features), np.float32)
    return replace(trials, responses=nothing, table=trials.table.take(rows), sfreq=None, tmin=None)


def _some_rows(n: int, key: str) -> np.ndarray:
    if n <= MAX_TRIALS:
        return np.arange(n)
    return np.sort(seeding.numpy_generator(0, "audit", "rows", key).permutation(n)[:MAX_TRIALS])


def _pictures(dataset: NeuralDataset, everything: bool) -> Pictures | None:
    """What is known of the pictures; read once for all audits of a stimulus set."""
    size = n_bytes(dataset)
    if not size or (size > MAX_PICTURE_BYTES and not everything):
        return None
    ids, found = _known.get(dataset.stimuli, ((), None))
    if found is None or ids != dataset.stimulus_ids:
        ids, found = dataset.stimulus_ids, Pictures.read(dataset.stimuli, dataset.stimulus_ids)
        _known[dataset.stimuli] = ids, found
    return found
