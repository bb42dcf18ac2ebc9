"""Which rows made what: preprocessing, weights and model choice by their records, earlier steps by dataset.json.

A dataset says in dataset.json how its responses were made::

    "betas":    {"hrf_chosen_on": .., "noise_regressors_on": .., "ridge_chosen_on": .., "z_scored_on": ..,
                 "overlap": ..}
    "epochs":   {"whitened_on": .., "ica_fitted_on": .., "z_scored_on": ..}
    "features": {"selected_on": .., "aligned_on": ..}

each entry one of `ANSWERS`, or the rows themselves by signal key (``{key: rows_record(trials)}``), which are compared
with the test rows. `overlap` is ``"modelled"`` (one model of all events), ``"none"`` (events too far apart) or
``"kept"``.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braindec import checks
from braindec.data.dataset import NeuralDataset
from braindec.data.leakage.case import Case
from braindec.data.leakage.findings import Finding, Outcome, collect
from braindec.data.preprocessing import FittedPreprocessing
from braindec.data.rows import row_digests, rows_hash
from braindec.types import Trials

ANSWERS = {
    "none": "not done",
    "train": "the training trials of the dataset's default split",
    "each_run": "each run by itself, without labels",
    "each_session": "each session by itself, without labels",
    "all_unlabelled": "all trials, test trials among them, without labels",
    "all": "all trials, test trials and what they showed among them",
    "unknown": "not known",
}
BLOCKS = {"fmri": ("betas", "features")} | dict.fromkeys(
    ("eeg", "meg", "ieeg", "ecog"), ("epochs", "features")
)
# kind of finding -> entries of dataset.json, each with what was done
DECLARED = {
    "betas": {
        "betas.hrf_chosen_on": "The shape of the response (HRF) was chosen on",
        "betas.noise_regressors_on": "Noise regressors were chosen on",
        "betas.ridge_chosen_on": "The betas' shrinkage was chosen on",
    },
    "normalisation": {
        "betas.z_scored_on": "Betas were standardised with",
        "epochs.z_scored_on": "Epochs were standardised with",
    },
    "feature_selection": {"features.selected_on": "Voxels or channels were selected on"},
    "joint_fit": {
        "epochs.whitened_on": "Epochs were whitened with",
        "epochs.ica_fitted_on": "ICA was fitted on",
        "features.aligned_on": "Subjects were aligned on",
    },
}
WAYS_OUT = {
    "betas": "Choose them on training runs, or on stimuli that are no test stimuli, and prepare the data again.",
    "normalisation": "Standardise in the recipe (Standardise, scope 'train'), where its rows are recorded.",
    "feature_selection": "Select by the training trials alone, or by regions drawn without these data.",
    "joint_fit": "Whiten or align in the recipe on training trials (Whiten, scope 'train'), and prepare without it.",
}
REFIT = "Fit the decoder on dataset.part('train') of this split, or use evaluate.cross_validate."


def rows_record(trials: Trials, *, digests: bool = True) -> dict[str, Any]:
    """Which rows were used, as JSON: their number, their joint hash, and a digest of each (11 characters a row).

    Parameters
    ----------
    trials : Trials
    digests : bool
        Leave the digests out where the rows are those that preprocessing was fitted on, which keeps them.
    """
    record: dict[str, Any] = {"n": trials.n_trials, "hash": rows_hash(trials)}
    if digests:
        packed = row_digests(trials).astype("<u8").tobytes()
        record["digests"] = base64.b64encode(packed).decode("ascii")
    return record


def chosen_on(dataset: NeuralDataset, what: str, *, digests: bool = True) -> dict[str, Any]:
    """The record of a choice for a decoder's `provenance["chosen_on"]`: what was chosen, on which rows.

    Parameters
    ----------
    dataset : NeuralDataset
        The trials by whose score the choice was made.
    what : str
        E.g. ``"number of steps, by cross-fitting"``.
    digests : bool
        As in `rows_record`.
    """
    rows = {key: rows_record(trials, digests=digests) for key, trials in dataset.trials.items()}
    return {"what": what, "rows": rows}


def among(
    record: Mapping[str, Any], trials: Trials, fitted: FittedPreprocessing | None = None
) -> np.ndarray | None:
    """Which trials are among the recorded rows, bool (n_trials,); None where the record does not hold them one by one.

    Parameters
    ----------
    record : mapping
        From `rows_record`.
    fitted : FittedPreprocessing, optional
        Its rows stand in for a record without digests, where the joint hashes are equal.
    """
    if record["hash"] == rows_hash(trials):
        return np.ones(trials.n_trials, dtype=bool)
    if "digests" in record:
        known = np.frombuffer(base64.b64decode(record["digests"]), dtype="<u8")
    elif fitted is not None and len(fitted.fit_rows) and fitted.fit_rows_hash == record["hash"]:
        known = fitted.fit_rows
    else:
        return None
    return np.isin(row_digests(trials), known)


def check_fitted(
    train: NeuralDataset,
    test: NeuralDataset,
    fitted: Mapping[str, FittedPreprocessing],
    provenance: Mapping[str, Any],
) -> None:
    """Refuses a decoder that says it was fitted on, or chosen by, trials that it is about to be judged on.

    Parameters
    ----------
    train, test : NeuralDataset
    fitted : mapping of str to FittedPreprocessing
        ``decoder.preprocessing``.
    provenance : mapping
        ``decoder.provenance``.

    Raises
    ------
    LeakageError
        If a test trial is among the recorded rows.
    """
    case = Case(train, test, fitted=fitted, chosen_on=provenance.get("chosen_on", {}))
    collect([("fitted_rows", [fitted_rows(case)]), ("model_selection", [model_selection(case)])]).refuse()


def fitted_rows(case: Case) -> Outcome:
    """Test trials among the rows that preprocessing (and with it the weights) were fitted on."""
    if case.refitted:
        return []
    if not case.fitted:
        return "no decoder at hand"
    found, unknown = [], []
    for key, trials in case.test.trials.items():
        if key not in case.fitted or not len(case.fitted[key].fit_rows):
            unknown.append(key)
            continue
        # Another subject's chain may have been aligned on rows of this one that its own was not fitted on.
        known = np.unique(
            np.concatenate([case.fitted[key].fit_rows, *(f.aligned_rows for f in case.fitted.values())])
        )
        n = int(np.isin(row_digests(trials), known).sum())
        if n:
            n_fitted = len(known)
            said = f"{n} of {trials.n_trials} test trials are among the {n_fitted} that the decoder was fitted on."
            found.append(Finding("fitted_rows", "leak", said, case.where(key), {"trials": n}, REFIT))
    if len(unknown) == len(case.test.trials):
        return "the decoder does not hold the rows that it was fitted on"
    return found


def model_selection(case: Case) -> Outcome:
    """Test trials among those that chose the model, its settings or its number of steps."""
    if case.refitted:
        return []
    if case.chosen_on is None:
        return "no decoder at hand"
    if "rows" not in case.chosen_on:
        return "the decoder does not record what chose it"
    what, found, unknown = str(case.chosen_on.get("what", "the model")), [], []
    for key, trials in case.test.trials.items():
        record = case.chosen_on["rows"].get(key)
        rows = None if record is None else among(record, trials, case.fitted.get(key))
        if rows is None:
            unknown.append(key)
        elif rows.any():
            said = f"{rows.sum()} of {len(rows)} test trials were among those that chose: {what}."
            way_out = (
                "Choose on folds of the training part (n_folds), look at the test part once, and fit again."
            )
            found.append(
                Finding(
                    "model_selection", "leak", said, case.where(key), {"trials": int(rows.sum())}, way_out
                )
            )
    return f"no rows recorded for {unknown}" if unknown and not found else found


def transductive(case: Case) -> Outcome:
    """Preprocessing that looks at held-out rows where the protocol does not allow it; a note without a protocol."""
    if not case.steps:
        return "no preprocessing at hand"
    found = []
    for modality, chain in case.steps.items():
        if case.scopes is None:
            if chain.transductive:
                said = f"Preprocessing of {modality} looks at held-out rows (without labels); no protocol allows it."
                way_out = "Say so beside the score, or use steps of the scope 'train' or 'unit_train_rows'."
                scopes = {"scopes": ["unit_unlabelled"]}
                found.append(Finding("transductive", "info", said, case.split_name, scopes, way_out))
            continue
        other = sorted(set(chain.scopes) - set(case.scopes))
        if other:
            allowed = ", ".join(case.scopes)
            said = f"Preprocessing of {modality} has the scope {', '.join(other)}; the protocol allows {allowed}."
            way_out = "Use steps of an allowed scope, or a protocol that allows this one."
            found.append(Finding("transductive", "leak", said, case.split_name, {"scopes": other}, way_out))
    return found


def declared(case: Case, kind: str) -> Outcome:
    """What dataset.json says of one kind of earlier step."""
    blocks = {b for t in case.test.trials.values() for b in BLOCKS.get(t.modality, ("features",))}
    entries = {name: text for name, text in DECLARED[kind].items() if name.partition(".")[0] in blocks}
    if not entries:
        return None
    found, unknown = [], []
    for name, text in entries.items():
        block, _, field = name.partition(".")
        value = dict(case.about.get(block) or {}).get(field, "unknown")
        judged = _judged(case, kind, value)
        if judged is None:
            unknown.append(name)
        elif judged[0] != "clean":
            severity, said, evidence = judged
            found.append(
                Finding(kind, severity, f"{text} {said}.", case.split_name, {name: evidence}, WAYS_OUT[kind])
            )
    return _not_told(case, unknown) if unknown and not found else found


def _not_told(case: Case, entries: Sequence[str]) -> str:
    """Which entries are missing; of what was given in Python, how they are told."""
    if case.test.folder is not None:
        return f"dataset.json does not say: {', '.join(entries)}"
    block, _, field = entries[0].partition(".")
    return (
        f"not told: {', '.join(entries)}. Say it by about={{{block!r}: {{{field!r}: 'none'}}}} of from_arrays or "
        f"from_nifti; 'none': not done, 'train', 'each_run', 'all', ...: on what it was done"
    )


def _judged(case: Case, kind: str, value: Any) -> tuple[str, str, Any] | None:
    """(severity or "clean", words, evidence) of one entry; None where it says nothing."""
    if isinstance(value, Mapping):
        n, total = _recorded(case, value)
        said = f"{n} of {total} test trials among others"
        return ("leak", said, {"test_trials": n}) if n else ("clean", "", None)
    checks.one_of("entry of dataset.json", value, list(ANSWERS))
    if value == "unknown":
        return None
    if value == "train":
        n = _in_default_train(case)
        said = f"the training trials of the default split, and {n} of them are tested here"
        return ("leak", said, {"test_trials": n}) if n else ("clean", "", None)
    if value in ("each_run", "each_session"):
        allowed = case.scopes is None or "unit_unlabelled" in case.scopes
        said = f"{ANSWERS[value]}{'' if allowed else ', which the protocol does not allow'}"
        return ("info" if allowed else "warning", said, value)
    if value == "none":
        return ("clean", "", None)
    mild = value == "all_unlabelled" or kind == "normalisation"
    return ("warning" if mild else "leak", ANSWERS[value], value)


def _recorded(case: Case, records: Mapping[str, Any]) -> tuple[int, int]:
    """Test trials among the rows recorded by signal key, and all test trials."""
    n, total = 0, 0
    for key, trials in case.test.trials.items():
        rows = among(records[key], trials) if key in records else np.zeros(trials.n_trials, dtype=bool)
        if rows is None:
            raise checks.ConfigError(
                f"the rows recorded for {key} in dataset.json have no digests; write rows_record(trials)."
            )
        n, total = n + int(rows.sum()), total + len(rows)
    return n, total


def _in_default_train(case: Case) -> int:
    """Test trials of this split that the dataset's default split trains on."""
    named = case.test.splits.get(str(case.about.get("default_split")))
    split = case.test.split
    if named is None or "train" not in named.parts or (split is not None and split.hash == named.hash):
        return 0
    return sum(int(named.members(t, case.test.stimuli, "train").sum()) for t in case.test.trials.values())
