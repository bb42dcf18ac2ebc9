"""Latents on the page: a card each with its name, its stimuli, how well it is read, and where or when."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from braindec import checks, plots

LOW, HIGH = 0.4, 1.0  # of the gauge: areas
PIXELS = 64  # a side, of stimuli


def cards(payload: Mapping[str, Any]) -> str:
    """HTML of the kind of panel ``latents``."""
    n = checks.same_length("latent", **{k: payload[k] for k in ("names", "images", "auc", "interval")})
    n = min(n, int(payload.get("n_shown", n)))
    maps, places = payload.get("maps", ())[:n], payload.get("places")
    largest = max((float(np.nanmax(np.abs(m))) for m in maps), default=1.0)
    top = 1.0 if places is None else max(0.6, float(np.nanmax(np.asarray(places)[:n])) + 0.02)
    made = "".join(_card(payload, i, largest, top) for i in range(n))
    return f'<div class="latents">{made}</div>{_keys(payload)}'


def _card(payload: Mapping[str, Any], i: int, largest: float, top: float) -> str:
    name, about = str(payload["names"][i]), _one(payload, "about", i)
    images = "".join(
        f'<img alt="{escape(f"{name}, stimulus {k + 1}", quote=True)}" src="{plots.encoded(image, PIXELS)}">'
        for k, image in enumerate(stimuli(payload, i))
    )
    said = f"<small>{escape(str(about))}</small>" if about else ""
    return (
        f'<article class="latent"><h4>{escape(name)}</h4>{said}<div class="strip">{images}</div>'
        f"{_gauge(payload, i)}{_places(payload, i, largest, top)}</article>"
    )


def stimuli(payload: Mapping[str, Any], i: int) -> Any:
    """The pictures of one latent, (n_stimuli, height, width, 3): given themselves, or as rows of the pictures."""
    pictures, images = payload.get("pictures"), payload["images"][i]
    return images if pictures is None else np.asarray(pictures)[np.asarray(images)]


def _gauge(payload: Mapping[str, Any], i: int) -> str:
    value, (low, high) = float(payload["auc"][i]), (float(v) for v in payload["interval"][i])
    marks = [
        ("chance", 0.5),
        ("base", _one(payload, "reference", i)),
        ("ceiling", _one(payload, "ceiling", i)),
    ]
    drawn = "".join(
        f'<i class="mark {k}" style="left:{_at(float(v))}"></i>' for k, v in marks if v is not None
    )
    told = [f"{value:.2f}", f"[{low:.2f}, {high:.2f}]"]
    more = [
        f"{word} {float(v):.2f}"
        for word, v in (("null", _one(payload, "null", i)), *((w, _one(payload, k, i)) for k, w in MARKS))
        if v is not None
    ]
    return (
        f'<div class="area"><span class="track"><i class="range" style="left:{_at(low)};width:'
        f'calc({_at(high)} - {_at(low)})"></i>{drawn}<i class="dot" style="left:{_at(value)}"></i></span>'
        f"<span><b>AUC {told[0]}</b> {told[1]}</span></div><small>{escape(' · '.join(more))}</small>"
    )


MARKS = (("reference", "best baseline"), ("ceiling", "without noise"))


def _places(payload: Mapping[str, Any], i: int, largest: float, top: float) -> str:
    parts, maps = [], payload.get("maps", ())
    if len(maps):
        drawn = base64.b64encode(plots.brain_from_above(maps[i], largest)).decode()
        parts.append(f'<img class="map" alt="the brain from above" src="data:image/png;base64,{drawn}">')
    if payload.get("places") is not None:
        parts.append(plots.place_bars(np.asarray(payload["places"])[i], payload["place_names"], top=top))
    return f'<div class="place">{"".join(parts)}</div>' if parts else ""


def _keys(payload: Mapping[str, Any]) -> str:
    words = [("var(--quiet)", "chance")]
    words += [
        ("var(--base)", "best baseline: 95 % of its latents, at the latent's frequency, are read worse")
    ] * (payload.get("reference") is not None)
    words += [("var(--gold)", "without noise between repeats")] * (payload.get("ceiling") is not None)
    keys = "".join(f'<span class="key" style="background:{c}"></span>{escape(w)}' for c, w in words)
    return f'<p class="foot">area under the ROC (AUC), dot and 95 % interval; lines: {keys}</p>'


def _one(payload: Mapping[str, Any], key: str, i: int) -> Any:
    return None if payload.get(key) is None else payload[key][i]


def _at(value: float) -> str:
    return f"{100 * min(1.0, max(0.0, (value - LOW) / (HIGH - LOW))):.2f}%"
