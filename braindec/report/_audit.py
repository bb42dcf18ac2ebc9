"""The audit on the page: its verdict, its findings, and what could not be checked."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from braindec.report import _blocks


def panel(audit: Mapping[str, Any] | None) -> str:
    """HTML of ``run["audit"]``; nothing where a run has none.

    Parameters
    ----------
    audit : mapping or None
        As `data.leakage.Audit.to_json` writes it.
    """
    if not audit:
        return ""
    rows = [
        [f["severity"], f["kind"].replace("_", " "), f"{f['what']} ({f['where']})", _way_out(f)]
        for f in audit["findings"]
    ]
    columns = ["", "kind", "what was found", "way out"]
    table = _blocks.table({"columns": columns, "rows": rows}) if rows else ""
    skipped = "".join(
        f"<li>{escape(kind.replace('_', ' '))}: {escape(why)}</li>"
        for kind, why in audit["not_checked"].items()
    )
    not_checked = f'<p class="caption">Not checked:</p><ul class="caption">{skipped}</ul>' if skipped else ""
    checked = ", ".join(kind.replace("_", " ") for kind in audit["checked"])
    return (
        f'<div class="panel"><h3>Audit of training and test data</h3><p>{escape(audit["verdict"])}</p>{table}'
        f'<p class="caption">Checked: {escape(checked)}.</p>{not_checked}</div>'
    )


def _way_out(finding: Mapping[str, Any]) -> str:
    return "" if finding["severity"] == "info" else str(finding["way_out"])
