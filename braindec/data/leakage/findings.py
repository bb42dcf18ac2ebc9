"""What an audit finds: each finding with its evidence and the way out, what was checked, and what was not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from braindec import checks

SEVERITIES = ("leak", "warning", "info")

# What is looked for, in the order of a report.
KINDS = {
    "shared_trials": "the same trial in training and test",
    "equal_responses": "the same response under two names",
    "shared_units": "a unit of the split on both sides",
    "stimulus_overlap": "test stimuli that training showed",
    "repeats": "repeats of a test stimulus in the same subject's training data",
    "equal_pictures": "equal pixels under different ids",
    "near_pictures": "pictures that are copies of one another but for their encoding",
    "near_embeddings": "stimuli that the target can hardly tell apart",
    "category_overlap": "categories or concepts on both sides",
    "block_design": "the class told by its place in time",
    "nuisance": "the class told by what is no brain response",
    "response_windows": "responses that overlap across the boundary of training and test",
    "betas": "betas, HRFs or noise regressors chosen with test trials",
    "normalisation": "means and variances taken with test trials",
    "feature_selection": "voxels or channels chosen with test trials",
    "joint_fit": "whitening, ICA or alignment fitted with test trials",
    "fitted_rows": "statistics or weights fitted on test trials",
    "transductive": "held-out rows used without labels where the protocol forbids it",
    "model_selection": "model or number of steps chosen on test trials",
}


@dataclass(frozen=True)
class Finding:
    """One thing that training and test share, or may share.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    severity : str
        ``"leak"``: the score is not what it says. ``"warning"``: it may not be, a person must look. ``"info"``: known,
        allowed by the protocol or too small to matter, and said.
    what : str
        One sentence.
    where : str
        Signals and split.
    evidence : mapping
        Numbers and examples, JSON values.
    way_out : str
        What to do about it.
    """

    kind: str
    severity: str
    what: str
    where: str
    evidence: Mapping[str, Any]
    way_out: str

    def __post_init__(self) -> None:
        checks.known_key("kind of finding", self.kind, KINDS)
        checks.one_of("severity", self.severity, SEVERITIES)

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {name: getattr(self, name) for name in ("kind", "severity", "what", "where", "way_out")} | {
            "evidence": dict(self.evidence)
        }


@dataclass(frozen=True)
class Audit:
    """All findings, the worst first; the kinds that were checked; and why others were not, by kind."""

    findings: tuple[Finding, ...] = ()
    checked: tuple[str, ...] = ()
    not_checked: Mapping[str, str] = field(default_factory=dict)

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Findings of severity ``"leak"``."""
        return tuple(f for f in self.findings if f.severity == "leak")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings of severity ``"warning"``."""
        return tuple(f for f in self.findings if f.severity == "warning")

    @property
    def verdict(self) -> str:
        """One sentence: leaks, warnings, notes of what is known or small, or nothing found in what was checked."""
        n_leaks, n_warnings = len(self.leaks), len(self.warnings)
        n_notes = len(self.findings) - n_leaks - n_warnings
        clean = "no leak, but read the notes" if n_notes else "nothing found"
        head = "LEAK" if n_leaks else "look closer" if n_warnings else clean
        counted = f"{n_leaks} leak{'s' * (n_leaks != 1)}, {n_warnings} warning{'s' * (n_warnings != 1)}"
        counted += f", {n_notes} note{'s' * (n_notes != 1)}" if n_notes else ""
        return f"{head}: {counted}; {len(self.checked)} checks made, {len(self.not_checked)} not."

    def allowing(self, kinds: Sequence[str]) -> Audit:
        """The audit under a protocol that contains these kinds of leak by definition: they become ``"info"``."""
        for kind in kinds:
            checks.known_key("allowed kind of leak", kind, KINDS)
        said = tuple(
            replace(f, severity="info", what=f"{f.what} The protocol says so.") if f.kind in kinds else f
            for f in self.findings
        )
        return replace(self, findings=_sorted(said))

    def refuse(self) -> None:
        """Refuses with the first leaks where there are any.

        Raises
        ------
        LeakageError
            With what was found, where, and the way out.
        """
        if self.leaks:
            said = " ".join(f"[{f.kind}; {f.where}] {f.what} {f.way_out}" for f in self.leaks[:3])
            more = f" ({len(self.leaks) - 3} more)" if len(self.leaks) > 3 else ""
            raise checks.LeakageError(f"{said}{more}")

    def to_json(self) -> dict[str, Any]:
        """The audit as in report.json."""
        return {
            "verdict": self.verdict,
            "findings": [f.to_json() for f in self.findings],
            "checked": list(self.checked),
            "not_checked": dict(self.not_checked),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Audit:
        """What `to_json` wrote."""
        findings = tuple(Finding(**entry) for entry in data["findings"])
        return cls(findings, tuple(data["checked"]), dict(data["not_checked"]))


# Findings; or why nothing could be checked; or None where the question does not arise.
Outcome = list[Finding] | str | None


def collect(outcomes: Iterable[tuple[str, Sequence[Outcome]]]) -> Audit:
    """One audit from each kind's outcomes over folds.

    Equal findings of several folds are told once, with the number of folds. A kind counts as not checked where it was
    checked in no fold; one that no fold asks for is left out.
    """
    findings: list[Finding] = []
    checked, skipped = [], {}
    for kind, found in outcomes:
        made = [o for o in found if isinstance(o, list)]
        reasons = [o for o in found if isinstance(o, str)]
        if made:
            checked.append(kind)
            findings += _merged([f for o in made for f in o], len(found))
        elif reasons:
            skipped[kind] = "; ".join(dict.fromkeys(reasons))
    return Audit(_sorted(findings), tuple(checked), skipped)


def _merged(findings: Sequence[Finding], n_folds: int) -> list[Finding]:
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.severity, finding.way_out), []).append(finding)
    if n_folds == 1:
        return list(findings)
    merged = []
    for same in groups.values():
        others = f" (and {len(same) - 1} more over {n_folds} folds)" if len(same) > 1 else ""
        merged.append(replace(same[0], where=same[0].where + others))
    return merged


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    kinds = list(KINDS)
    return tuple(sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), kinds.index(f.kind))))
