"""Every drawn picture beside what was presented: a card a stimulus, the worst as visible as the best."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from braindec import checks
from braindec.report import _words
from braindec.report._thumbnails import Thumbnails

FIRST = 12  # cards that stand open; the others are one press away
ABREAST = 4  # pictures beside each other at most: on a phone they are then 78 pixels wide
VERDICTS = {"from the brain": "brain", "from the prior": "prior", "undecidable": "open"}
SIGNS = {"brain": "●", "prior": "○", "open": "?"}
ORDERS = {
    "turn": "best and worst in turn",
    "best": "best first",
    "worst": "worst first",
    "given": "as presented",
}

Payload = Mapping[str, Any]


def gallery(payload: Payload, thumbnails: Thumbnails) -> str:
    """HTML of an ``image_grid`` whose payload has ``scores``: see `_blocks`."""
    scores = {name: np.asarray(values, dtype=float) for name, values in payload["scores"].items()}
    n = checks.same_length("item", **payload["rows"], **{f"scores of {k}": v for k, v in scores.items()})
    _check(payload, scores, n)
    first = next(iter(scores))
    order = in_turn(better(scores[first], lower=first in payload.get("lower", ())))
    ranks = {
        int(i): r for r, i in enumerate(better(scores[first], lower=first in payload.get("lower", ())), 1)
    }
    cards = [_card(payload, scores, thumbnails, i, f"{ranks[i]} of {n}") for i in order]
    return (
        f'<div class="gallery" data-first="{FIRST}">{_controls(payload, scores)}'
        f'<p class="foot sorted" aria-live="polite">{n} pictures, {ORDERS["turn"]} by '
        f"{escape(_words.title_of(first))}.</p>"
        f'<ol class="cases">{"".join(cards[:FIRST])}</ol>{_more(cards[FIRST:])}{_tally(payload)}</div>'
    )


def better(values: np.ndarray, *, lower: bool) -> np.ndarray:
    """Items from the best to the worst, int (n,); of equals the first; what has no score comes last."""
    return np.argsort(np.where(np.isnan(values), np.inf, values if lower else -values), kind="stable")


def in_turn(ranked: np.ndarray) -> list[int]:
    """The best, the worst, the second best, the second worst, ...: the middle comes last."""
    n = len(ranked)
    return [int(ranked[i // 2 if i % 2 == 0 else n - 1 - i // 2]) for i in range(n)]


def _check(payload: Payload, scores: Mapping[str, np.ndarray], n: int) -> None:
    if not scores:
        raise ValueError("a panel of pictures with scores needs at least one metric.")
    for name in payload.get("lower", ()):
        checks.one_of("lower is better for", name, list(scores))
    told = {k: payload[k] for k in ("captions", "verdicts", "names") if payload.get(k) is not None}
    told |= {**(payload.get("notes") or {}), **(payload.get("texts") or {})}
    for name, values in told.items():
        checks.same_length("item", pictures=range(n), **{name: values})
    for told_of in payload.get("verdicts") or ():
        for verdict in told_of.values():
            checks.one_of("verdict", verdict, list(VERDICTS))


def _card(
    payload: Payload, scores: Mapping[str, np.ndarray], thumbnails: Thumbnails, i: int, rank: str
) -> str:
    name = str(payload["names"][i]) if payload.get("names") is not None else f"picture {i + 1}"
    values = [None if np.isnan(v[i]) else float(f"{v[i]:.5g}") for v in scores.values()]
    told = "".join(
        f"<span{' class=by' if k == 0 else ''}>{escape(_words.title_of(metric))} "
        f"<b>{escape(_words.number(value))}</b></span>"
        for k, (metric, value) in enumerate(zip(scores, values, strict=True))
    )
    return (
        f'<li class="case" data-item="{i}" data-scores="{json.dumps(values)}"><p class="rank"><b>{rank}</b> '
        f'<span class="quiet">{escape(name)}</span></p>'
        f"{_shots(payload['rows'], thumbnails, i, name)}{_said(payload, i)}"
        f'{_verdicts(payload, i)}<p class="values">{told}</p></li>'
    )


def _shots(rows: Mapping[str, np.ndarray], thumbnails: Thumbnails, i: int, name: str) -> str:
    out = []
    for label, images in rows.items():
        several = images[i] if np.ndim(images[i]) == 4 else [images[i]]  # posterior samples of one stimulus
        for k, image in enumerate(several, 1):
            said = f"{label} {k}" if len(several) > 1 else label
            lead = ' class="lead"' if label == "presented" else ""
            out.append(
                f"<figure{lead}>{thumbnails.shown(image, f'{said}, {name}')}"
                f"<figcaption>{escape(said)}</figcaption></figure>"
            )
    # As many beside each other on every screen: what is seen on a phone is what is seen on a wall.
    beside = -(-len(out) // -(-len(out) // ABREAST))
    return f'<div class="shots" style="--abreast:{max(beside, 3)}">{"".join(out)}</div>'


def _said(payload: Payload, i: int) -> str:
    """Texts of one stimulus: presented caption against decoded caption, and notes of rows."""
    lines = [("", (payload.get("captions") or [""] * (i + 1))[i])]
    lines += [
        (label, texts[i]) for key in ("texts", "notes") for label, texts in (payload.get(key) or {}).items()
    ]
    told = "".join(
        f"<div>{f'<dt>{escape(label)}</dt>' if label else ''}<dd>{escape(str(text))}</dd></div>"
        for label, text in lines
        if str(text)
    )
    return f'<dl class="said">{told}</dl>' if told else ""


def _verdicts(payload: Payload, i: int) -> str:
    if not payload.get("verdicts"):
        return ""
    chips = "".join(
        f'<li class="{VERDICTS[verdict]}"><i aria-hidden="true">{SIGNS[VERDICTS[verdict]]}</i> {escape(str(what))} '
        f"<span>{escape(verdict)}</span></li>"
        for what, verdict in payload["verdicts"][i].items()
    )
    return f'<ul class="verdicts" aria-label="where it comes from">{chips}</ul>' if chips else ""


def _controls(payload: Payload, scores: Mapping[str, np.ndarray]) -> str:
    """What sorts; hidden until the page's script shows it, as without one it would do nothing."""
    lower = payload.get("lower", ())
    metrics = "".join(
        f'<option value="{k}" data-sign="{1 if name in lower else -1}">{escape(_words.title_of(name))}'
        f"{' (lower is better)' if name in lower else ''}</option>"
        for k, name in enumerate(scores)
    )
    orders = "".join(f'<option value="{key}">{words}</option>' for key, words in ORDERS.items())
    return (
        f'<form class="sorting" hidden><label>Sort by <select class="metric">{metrics}</select></label>'
        f'<label>Order <select class="order">{orders}</select></label></form>'
    )


def _more(cards: Sequence[str]) -> str:
    if not cards:
        return ""
    return (
        f'<details class="more"><summary>The other {len(cards)}, down to the middle</summary>'
        f'<ol class="cases">{"".join(cards)}</ol></details>'
    )


def _tally(payload: Payload) -> str:
    """How often each attribute got each verdict, over all pictures: the cards shown are no sample."""
    counts: dict[str, dict[str, int]] = {}
    for told in payload.get("verdicts") or ():
        for what, verdict in told.items():
            counts.setdefault(str(what), dict.fromkeys(VERDICTS, 0))[verdict] += 1
    if not counts:
        return ""
    head = "".join(f'<th class="num">{SIGNS[key]} {words}</th>' for words, key in VERDICTS.items())
    rows = "".join(
        f"<tr><td>{escape(what)}</td>{''.join(f'<td class=num>{c}</td>' for c in found.values())}</tr>"
        for what, found in counts.items()
    )
    return (
        '<div class="scroll"><table class="tally"><thead><tr><th>verdicts over all pictures</th>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


SCRIPT = """
for (const gallery of document.querySelectorAll(".gallery")) {
  const form = gallery.querySelector(".sorting"), told = gallery.querySelector(".sorted");
  const metric = form.querySelector(".metric"), order = form.querySelector(".order");
  const lists = gallery.querySelectorAll("ol.cases"), more = gallery.querySelector(".more summary");
  const cards = [...gallery.querySelectorAll(".case")].map(card =>
    ({card, item: +card.dataset.item, scores: JSON.parse(card.dataset.scores)}));
  const sort = () => {
    const k = +metric.value, sign = +metric.selectedOptions[0].dataset.sign, n = cards.length;
    const scored = c => c.scores[k] !== null;
    const cost = c => c.scores[k] === null ? Infinity : sign * c.scores[k];
    const ranked = [...cards].sort((a, b) => (cost(a) < cost(b) ? -1 : cost(a) > cost(b) ? 1 : a.item - b.item));
    ranked.forEach((c, r) => {
      c.card.querySelector(".rank b").textContent = `${r + 1} of ${n}`;
      c.card.querySelectorAll(".values span").forEach((v, j) => v.classList.toggle("by", j === k));
    });
    const shown = {
      best: () => ranked,
      worst: () => [...ranked.filter(scored).reverse(), ...ranked.filter(c => !scored(c))],
      given: () => [...cards].sort((a, b) => a.item - b.item),
      turn: () => ranked.map((_, i) => ranked[i % 2 ? n - 1 - (i >> 1) : i >> 1]),
    }[order.value]();
    const first = +gallery.dataset.first;
    shown.forEach((c, i) => (i < first ? lists[0] : lists[1]).append(c.card));
    const by = metric.selectedOptions[0].textContent, how = order.selectedOptions[0].textContent;
    told.textContent = `${n} pictures, ${how}${order.value === "given" ? "; ranked" : ""} by ${by}.`;
    if (more) more.textContent = `The other ${n - first}${order.value === "turn" ? ", down to the middle" : ""}`;
  };
  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("change", sort);
}
"""
