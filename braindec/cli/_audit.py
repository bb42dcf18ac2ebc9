"""`braindec audit`: what the training and test data of a prepared dataset or of a run share."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindec import checks

if TYPE_CHECKING:
    from braindec.data import NeuralDataset, Split
    from braindec.data.leakage import Audit

LEAK_FOUND = 1  # exit code
WIDTH = 110
MARKS = {"leak": "LEAK", "warning": "warning", "info": "info"}


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.add_argument("dir", type=Path, help="folder of a prepared dataset, or of a run")
    parser.add_argument(
        "--data",
        type=Path,
        default=None,
        metavar="DIR",
        help="of a run: its prepared dataset; audits it again",
    )
    parser.add_argument(
        "--split",
        type=str,
        default=None,
        help="a named split, or how the names of folds begin (the default split)",
    )
    parser.add_argument(
        "--protocol", type=str, default=None, help="what the score would be; allows and forbids"
    )
    parser.add_argument("--label", type=str, default=None, metavar="COLUMN", help="column of classes")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: Any) -> int:
    """Audits, prints, and returns 1 where a leak was found."""
    if (options.dir / "dataset.json").is_file():
        audit = _prepared(options)
    elif (options.dir / "report.json").is_file():
        audit = _of_run(options)
    else:
        raise FileNotFoundError(
            f"{options.dir} holds neither dataset.json nor report.json. Name a folder made by: braindec prepare NAME "
            "--raw DIR --out DIR, or: braindec run RECIPE --data DIR --out DIR."
        )
    print(json.dumps(audit.to_json(), indent=1, ensure_ascii=False) if options.json else text(audit))
    return LEAK_FOUND if audit.leaks else 0


def text(audit: Audit) -> str:
    """The audit for a person: the verdict first, then findings, the worst first, then what was and was not checked."""
    from braindec.data.leakage import KINDS

    lines = [audit.verdict, ""]
    for f in audit.findings:
        lines += _wrapped(f"{MARKS[f.severity]:<8}{f.kind:<18}", f"{f.what} ({f.where})")
        if f.evidence:
            lines += _wrapped(
                " " * 26, "; ".join(f"{k.replace('_', ' ')} {_said(v)}" for k, v in f.evidence.items())
            )
        if f.severity != "info":
            lines += _wrapped(" " * 26, f"-> {f.way_out}")
    if audit.findings:
        lines.append("")
    lines += ["checked", *(f"  {kind:<18}{KINDS[kind]}" for kind in audit.checked)]
    if audit.not_checked:
        lines += ["", "not checked"]
        for kind, why in audit.not_checked.items():
            lines += _wrapped(f"  {kind:<18}", why)
    return "\n".join(lines)


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _wrapped(head: str, words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH, initial_indent=head, subsequent_indent=" " * len(head)) or [head]


def _prepared(options: Any) -> Audit:
    from braindec.data import NeuralDataset
    from braindec.evaluate.audit import audit_splits
    from braindec.evaluate.measures import protocol_named

    dataset = NeuralDataset.read(options.dir)
    protocol = None if options.protocol is None else protocol_named(options.protocol)
    folds = _folds(dataset, options.split)
    return audit_splits(dataset, folds, protocol=protocol, label_column=options.label, everything=True)


def _of_run(options: Any) -> Audit:
    """What the run recorded, or with its data at hand everything again, its saved decoder included."""
    from braindec import report
    from braindec.data.leakage import Audit

    record = report.read(options.dir).run
    if options.data is not None:
        return _again(options, record)
    if "audit" not in record:
        raise checks.ConfigError(
            f"{options.dir} was made without an audit; name its data to audit it now: --data DIR."
        )
    return Audit.from_json(record["audit"])


def _again(options: Any, record: Any) -> Audit:
    from braindec.cli import _saved
    from braindec.decoder import BrainDecoder, steps_for
    from braindec.evaluate.audit import audit_splits
    from braindec.evaluate.measures import protocol_named

    chosen = _saved.recorded(record)
    dataset = chosen.data.read(options.data)
    names = record.get("folds") or []
    known = [dataset.splits[name] for name in names if name in dataset.splits]
    folds = known if known and options.split is None else _folds(dataset, options.split)
    crossed = (
        int(record.get("n_folds", 1)) > 1
    )  # then the saved decoder was fitted afterwards and is not judged
    decoder = None if crossed else BrainDecoder.from_pretrained(_saved.decoder_folder(options.dir))
    return audit_splits(
        dataset,
        folds,
        protocol=protocol_named(options.protocol or chosen.protocol),
        label_column=options.label or chosen.label_column,
        embeddings=chosen.embed(dataset, options.data),
        steps={t.modality: steps_for(chosen.preprocessing, t.modality) for t in dataset.trials.values()},
        decoder=decoder,
        refitted=crossed,
        everything=True,
    )


def _folds(dataset: NeuralDataset, name: str | None) -> Sequence[Split]:
    from braindec.data import splits

    if name is not None:
        return splits.named(dataset, name)
    if dataset.split is None:
        raise checks.ConfigError("this dataset names no split; its recipe makes one. Audit the run instead.")
    return [dataset.split]
