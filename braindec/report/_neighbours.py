"""What was retrieved: of some stimuli, spread from the best to the worst, the presented and its nearest."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from braindec.report._thumbnails import Thumbnails

N_SHOWN, N_BESIDE = 12, 4  # columns and neighbours on the page; all of them are in panels.h5


def neighbours(payload: Mapping[str, Any], thumbnails: Thumbnails) -> str:
    """HTML of the kind of panel ``neighbours``."""
    return "".join(_subject(payload, key, thumbnails) for key in payload["queries"])


def _subject(payload: Mapping[str, Any], key: str, thumbnails: Thumbnails) -> str:
    rank, query = np.asarray(payload["rank"][key]), np.asarray(payload["queries"][key])
    near = np.asarray(payload["neighbours"][key])[:, :N_BESIDE]
    order = np.argsort(rank, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, min(N_SHOWN, len(order))).round().astype(int))]
    cells = _row("presented", [_one(payload, query[i], thumbnails) for i in shown], "row lead")
    for k in range(near.shape[1]):
        cells += _row(f"nearest {k + 1}", [_one(payload, near[i, k], thumbnails) for i in shown], "row")
    cells += _row("rank", [f'<div class="under">{rank[i]}</div>' for i in shown], "row")
    style = f"grid-template-columns:var(--label) repeat({len(shown)},minmax(58px,118px))"
    said = f"{key.replace('_', ' ')}: {len(shown)} of {len(order)}, from the best to the worst"
    grid = f'<div class="scroll"><div class="grid" style="{style}">{cells}</div></div>'
    return f'<p class="foot">{escape(said)}</p>{grid}'


def _row(label: str, cells: list[str], kind: str) -> str:
    return f'<div class="{kind}">{escape(label)}</div>{"".join(cells)}'


def _one(payload: Mapping[str, Any], number: int, thumbnails: Thumbnails) -> str:
    name = str(payload["gallery"][number])
    if payload.get("pictures") is None:
        said = payload["captions"][number] or name
        return f'<div class="under" title="{escape(str(said), quote=True)}">{escape(str(said))}</div>'
    return f"<figure>{thumbnails.shown(payload['pictures'][number], name)}</figure>"
