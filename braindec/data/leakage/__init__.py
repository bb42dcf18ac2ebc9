"""Whether training and test data share what they must not share: each check a small function, all of them an audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from braindec.data.leakage import overlap, pictures, provenance, timing
from braindec.data.leakage.case import Case
from braindec.data.leakage.findings import KINDS, SEVERITIES, Audit, Finding, Outcome, collect
from braindec.data.leakage.parts import audit_part, check
from braindec.data.leakage.pictures import Pictures, near_duplicates
from braindec.data.leakage.provenance import check_fitted, chosen_on, rows_record

__all__ = [
    "KINDS",
    "SEVERITIES",
    "Audit",
    "Case",
    "Finding",
    "Outcome",
    "Pictures",
    "audit",
    "audit_part",
    "check",
    "check_fitted",
    "chosen_on",
    "near_duplicates",
    "rows_record",
]

# One outcome a fold.
IN_EACH_FOLD: dict[str, Callable[[Case], Outcome]] = {
    "shared_trials": overlap.shared_trials,
    "equal_responses": overlap.equal_responses,
    "shared_units": overlap.shared_units,
    "stimulus_overlap": overlap.stimulus_overlap,
    "repeats": overlap.repeats,
    "category_overlap": overlap.category_overlap,
    "equal_pictures": pictures.equal_pictures,
    "near_pictures": pictures.near_pictures,
    "near_embeddings": pictures.near_embeddings,
    "response_windows": timing.response_windows,
    "fitted_rows": provenance.fitted_rows,
    "model_selection": provenance.model_selection,
    "transductive": provenance.transductive,
    **{kind: partial(provenance.declared, kind=kind) for kind in provenance.DECLARED},
}
# One outcome for all folds together.
OVER_FOLDS: dict[str, Callable[[Sequence[Case]], Outcome]] = {"block_design": timing.block_design}


def audit(
    cases: Sequence[Case], further: Mapping[str, Callable[[Sequence[Case]], Outcome]] | None = None
) -> Audit:
    """Everything that the folds of one evaluation can be asked for.

    Parameters
    ----------
    cases : sequence of Case
        One a fold.
    further : mapping of str to callable, optional
        More checks over all folds, by kind: what needs rooms above this one.
    """
    outcomes = {kind: [one(case) for case in cases] for kind, one in IN_EACH_FOLD.items()}
    outcomes |= {kind: [every(cases)] for kind, every in {**OVER_FOLDS, **(further or {})}.items()}
    return collect((kind, outcomes[kind]) for kind in KINDS if kind in outcomes)
