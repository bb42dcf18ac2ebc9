"""One drawing function a kind of panel: payload -> HTML.

======================  ==============================================================================================
kind (default section)  payload
======================  ==============================================================================================
text (headline)         text: str or list of paragraphs; lines that start with ``- `` become a list
table (scores)          columns: texts, rows: lists of cells
image_grid (pictures)   rows: {label: uint8 (n, height, width, 3)}; captions: n texts under the columns;
                        notes: {label: n texts under that row}; groups: [(text, n_columns), ...] over them.
                        With scores: {metric: (n,)} it is a gallery of cards that a reader sorts; then also lower:
                        metrics of which less is better, names: n texts, texts: {label: n texts},
                        verdicts: n of {attribute: "from the brain", "from the prior" or "undecidable"}; a row may hold
                        several pictures an item (n, n_samples, height, width, 3)
curve (training)        step (n,), series: {label: (n,)}, xlabel, ylabel, log
regions (brain)         regions: texts, series: {label: (n_regions,)}, intervals: {label: (n_regions, 2)},
                        chance, chance_label, xlabel
volume (brain)          mask bool (x, y, z), values (n_voxels,), label, symmetric
glass_brain (brain)     as volume, and affine (4, 4)
flat_map (brain)        left, right: vertices of fsaverage5, values (n_vertices,), label, symmetric
topography (brain)      positions (n_channels, 3) metres, values (n_channels,), or (n_maps, n_channels) and titles,
                        label, symmetric
time_course (brain)     time_s (n,), values (n,), chance, interval (n, 2), null_limit, significant (n,),
                        baseline (start, stop), ylabel
time_by_time (brain)    time_s (n,), values (n, n) with training times in rows, chance, significant (n, n), ylabel
confusion (scores)      matrix (n, n) counts with true classes in rows, labels
histogram (controls)    null (n_refits,), value, xlabel
specification (scores)  values (n,), intervals (n, 2), chance, own, choices: {fork: n texts}, options: {fork: texts},
                        between: (difference, low, high) or None, ylabel
rdm (brain)             matrix (n, n), conditions: texts, groups: texts or None, label
model_bars (scores)     models: texts, values (n,), intervals (n, 2), ceiling (low, high) or None, null (n,),
                        significant (n,), subjects (n_subjects, n), xlabel
rsa_time_course (brain) time_s (n,), series: {model: (n,)}, intervals: {model: (n, 2)}, significant: {model: (n,)},
                        ceiling (n, 2) or None, null_limit, planted: {model: seconds}, ylabel, xlabel
latents (brain)         names: texts, images: arrays (n, height, width, 3), or rows (n, n_images) of pictures
                        (n_pictures, height, width, 3), auc (n,), interval (n, 2), about: texts, verdict: texts,
                        rate (n,), maps, null (n,), ceiling (n,), reference (n,), places (n, n_places), place_names,
                        n_shown: cards on the page
neighbours (pictures)   gallery: texts, captions: texts, pictures: uint8 (n, height, width, 3) or None, labels: {column:
                        n texts}; of each subject queries: {subject: rows of the gallery (n_queries,)}, neighbours:
                        {subject: rows (n_queries, k)}, similarity: {subject: (n_queries, k)}, rank: {subject:
                        (n_queries,)}
sounds (pictures)       rows: {label: float (n, n_samples) in [-1, 1]}, sfreq: Hz, captions: n texts, notes: {label: n
                        texts}; at most 3 MB as files of 16 bits
latent_map (brain)      values (n_places, n_latents), columns: texts, groups: texts or None, limit, xlabel, label,
                        chance
claims (brain)          rate, auc (n_latents,), verdict: texts, rates (n_rates,), baselines: {name: (n_rates,)}
latent_timing (brain)   times (n,), similarity (n_pairs, n_regions, n), regions: texts, latency (n_pairs, n_regions),
                        planted (n_regions,), null (n_null,), rho
config (config)         tree: JSON
======================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import numpy as np

from braindec import checks, plots
from braindec.report import _gallery, _latents, _neighbours, _sounds, _words
from braindec.report._thumbnails import Thumbnails

Payload = Mapping[str, Any]
LEADING_ROWS = ("presented", "reconstructed", "retrieved")


def block(title: str, kind: str, payload: Payload, thumbnails: Thumbnails) -> str:
    """The panel's HTML: title, drawing, caption.

    Raises
    ------
    ConfigError
        If there is no such kind of panel.
    ValueError
        If the payload lacks an entry that the kind needs.
    """
    draw = checks.known_key(f"kind of panel {title!r}", kind, KINDS)[1]
    try:
        body = WITH_THUMBNAILS[kind](payload, thumbnails) if kind in WITH_THUMBNAILS else draw(payload)
    except KeyError as error:
        raise ValueError(
            f"panel {title!r} of kind {kind!r} lacks the entry {error}; it has {sorted(payload)}."
        ) from error
    caption = f'<p class="caption">{escape(str(payload["caption"]))}</p>' if payload.get("caption") else ""
    return f'<div class="panel"><h3>{escape(title)}</h3>{body}{caption}</div>'


def figure(title: str, kind: str, payload: Payload) -> str:
    """The drawing of a panel alone, the text of an `<svg>`.

    Raises
    ------
    ConfigError
        If there is no such kind of panel.
    ValueError
        If panels of this kind are no figures, or the payload lacks an entry.
    """
    draw = checks.known_key(f"kind of panel {title!r}", kind, KINDS)[1]
    try:
        drawn = draw(payload)
    except KeyError as error:
        raise ValueError(f"panel {title!r} of kind {kind!r} lacks the entry {error}.") from error
    if not drawn.startswith("<svg"):
        raise ValueError(f"panel {title!r} of kind {kind!r} is no figure.")
    return drawn


def text(payload: Payload) -> str:
    """Paragraphs and lists."""
    parts = [payload["text"]] if isinstance(payload["text"], str) else list(payload["text"])
    return "".join(_paragraph(line) for part in parts for line in str(part).split("\n\n"))


def _paragraph(content: str) -> str:
    lines = [line for line in content.split("\n") if line.strip()]
    points = [line.strip()[2:] for line in lines if line.strip().startswith("- ")]
    words = " ".join(line.strip() for line in lines if not line.strip().startswith("- "))
    items = "".join(f"<li>{escape(point)}</li>" for point in points)
    return (f"<p>{escape(words)}</p>" if words else "") + (f"<ul>{items}</ul>" if items else "")


def table(payload: Payload) -> str:
    """Columns and rows; numbers, and the heads above nothing but numbers, to the right."""
    lined = (
        zip(payload["columns"], zip(*payload["rows"], strict=True), strict=True) if payload["rows"] else ()
    )
    right = {column for column, cells in lined if all(map(_numeric, cells))}
    head = "".join(
        f"<th{' class=num' if column in right else ''}>{escape(str(column))}</th>"
        for column in payload["columns"]
    )
    rows = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in payload["rows"])
    return f'<div class="scroll"><table class="words"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    return f"<td{' class=num' if _numeric(value) else ''}>{escape(_words.number(value))}</td>"


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _pictures(payload: Payload, thumbnails: Thumbnails) -> str:
    if payload.get("scores") is not None:
        return _gallery.gallery(payload, thumbnails)
    return image_grid(payload, thumbnails.max_size)


def image_grid(payload: Payload, max_size: int) -> str:
    """Named rows of pictures; the columns belong together."""
    rows: Mapping[str, np.ndarray] = payload["rows"]
    n = checks.same_length("item", **rows)
    captions, notes = payload.get("captions") or [], payload.get("notes") or {}
    cells = []
    if payload.get("groups"):
        cells.append('<div class="row"></div>')
        cells += [
            f'<div class="over" style="grid-column:span {int(k)}">{escape(str(name))}</div>'
            for name, k in payload["groups"]
        ]
    for label, images in rows.items():
        lead = " lead" if label in LEADING_ROWS else ""
        if lead == "" and cells and list(rows).index(label) == sum(name in LEADING_ROWS for name in rows):
            cells.append('<div class="gap"></div>')
        cells.append(f'<div class="row{lead}">{escape(label)}</div>')
        for i, image in enumerate(images):
            alt = f"{label} {captions[i] if i < len(captions) else i + 1}"
            cells.append(
                f'<figure><img alt="{escape(alt, quote=True)}" src="{plots.encoded(image, max_size)}"></figure>'
            )
        cells += _texts("note", notes.get(label))
    cells += _texts("under", captions)
    style = f"grid-template-columns:var(--label) repeat({n},minmax(58px,118px))"
    return f'<div class="scroll"><div class="grid" style="{style}">{"".join(cells)}</div></div>'


def _texts(kind: str, texts: Any) -> list[str]:
    if texts is None or not len(texts):
        return []
    return [
        '<div class="row"></div>',
        *(f'<div class="{kind}" title="{escape(str(t), quote=True)}">{escape(str(t))}</div>' for t in texts),
    ]


def curve(payload: Payload) -> str:
    """Lines over training steps."""
    series = {label: np.asarray(values, dtype=float) for label, values in payload["series"].items()}
    return plots.training_curve(
        np.asarray(payload["step"]), series, xlabel=payload.get("xlabel", "step"),
        ylabel=payload.get("ylabel", "loss"), log=bool(payload.get("log", False)),
    )  # fmt: skip


def regions(payload: Payload) -> str:
    """A bar a region and series."""
    return plots.region_bars(
        list(payload["regions"]), payload["series"], intervals=payload.get("intervals"),
        chance=payload.get("chance"), chance_label=payload.get("chance_label", "chance"),
        xlabel=payload.get("xlabel", ""),
    )  # fmt: skip


def volume(payload: Payload) -> str:
    """Slices of a volume."""
    return plots.montage(
        np.asarray(payload["mask"], dtype=bool), np.asarray(payload["values"]), label=payload.get("label", ""),
        symmetric=bool(payload.get("symmetric", False)),
    )  # fmt: skip


def glass_brain(payload: Payload) -> str:
    """A volume seen through from three sides."""
    return plots.glass_brain(
        np.asarray(payload["mask"], dtype=bool), np.asarray(payload["values"]), np.asarray(payload["affine"]),
        label=payload.get("label", ""), symmetric=bool(payload.get("symmetric", False)),
    )  # fmt: skip


def flat_map(payload: Payload) -> str:
    """Values on the flattened cortex of fsaverage5."""
    return plots.flat_map(
        np.asarray(payload["left"]), np.asarray(payload["right"]), np.asarray(payload["values"]),
        label=payload.get("label", ""), symmetric=bool(payload.get("symmetric", False)), kind="svg",
    )  # fmt: skip


def topography(payload: Payload) -> str:
    """Values of sensors on the head."""
    return plots.sensor_map(
        np.asarray(payload["positions"]), np.asarray(payload["values"]), titles=payload.get("titles", ()),
        label=payload.get("label", ""), symmetric=bool(payload.get("symmetric", False)),
    )  # fmt: skip


def time_course(payload: Payload) -> str:
    """A score over time from onset."""
    baseline = payload.get("baseline")
    return plots.time_course(
        np.asarray(payload["time_s"]), np.asarray(payload["values"]), chance=float(payload["chance"]),
        interval=payload.get("interval"), null_limit=payload.get("null_limit"), significant=payload.get("significant"),
        baseline=None if baseline is None else (float(baseline[0]), float(baseline[1])),
        ylabel=payload.get("ylabel", "score"),
    )  # fmt: skip


def time_by_time(payload: Payload) -> str:
    """A score for each time of training and of testing."""
    return plots.time_by_time(
        np.asarray(payload["time_s"]), np.asarray(payload["values"]), chance=float(payload["chance"]),
        significant=payload.get("significant"), ylabel=payload.get("ylabel", "score"),
    )  # fmt: skip


def confusion(payload: Payload) -> str:
    """Presented against decoded category."""
    return plots.confusion(np.asarray(payload["matrix"]), list(payload["labels"]))


def histogram(payload: Payload) -> str:
    """A value in its null distribution."""
    return plots.null_histogram(
        payload["null"], float(payload["value"]), xlabel=payload.get("xlabel", "score")
    )


def specification(payload: Payload) -> str:
    """Every way of analysing, by its score."""
    return plots.specification_curve(
        np.asarray(payload["values"]), np.asarray(payload["intervals"]), payload["choices"], payload["options"],
        chance=np.asarray(payload["chance"]), own=int(payload.get("own", -1)), between=payload.get("between"),
        between_name=payload.get("between_name", "systems"),
        ylabel=payload.get("ylabel", "score"),
    )  # fmt: skip


def rdm(payload: Payload) -> str:
    """Distances of all pairs of conditions."""
    return plots.rdm_matrix(
        np.asarray(payload["matrix"]), list(payload["conditions"]), groups=payload.get("groups"),
        label=payload.get("label", "distance"),
    )  # fmt: skip


def model_bars(payload: Payload) -> str:
    """Models beside the ceiling."""
    ceiling = payload.get("ceiling")
    return plots.model_bars(
        list(payload["models"]), np.asarray(payload["values"]), np.asarray(payload["intervals"]),
        ceiling=None if ceiling is None else (float(ceiling[0]), float(ceiling[1])), null=payload.get("null"),
        significant=payload.get("significant"), subjects=payload.get("subjects"),
        xlabel=payload.get("xlabel", "similarity"),
    )  # fmt: skip


def rsa_time_course(payload: Payload) -> str:
    """Models over time from onset."""
    return plots.rsa_time_course(
        np.asarray(payload["time_s"]), payload["series"], intervals=payload.get("intervals"),
        significant=payload.get("significant"), ceiling=payload.get("ceiling"),
        null_limit=payload.get("null_limit"), planted=payload.get("planted"),
        ylabel=payload.get("ylabel", "similarity"), xlabel=payload.get("xlabel", "time from onset (s)"),
    )  # fmt: skip


def latent_map(payload: Payload) -> str:
    """Latents in rows, places or times in columns."""
    return plots.latent_map(
        np.asarray(payload["values"]), payload["columns"], groups=payload.get("groups"), limit=payload.get("limit"),
        chance=float(payload.get("chance", 0.5)), xlabel=payload.get("xlabel", ""),
        label=payload.get("label", "area under the ROC"),
    )  # fmt: skip


def claims(payload: Payload) -> str:
    """Areas by frequency, beside baselines."""
    return plots.claim_scatter(
        np.asarray(payload["rate"]), np.asarray(payload["auc"]), payload["verdict"],
        rates=payload.get("rates"), baselines=payload.get("baselines"),
    )  # fmt: skip


def latent_timing(payload: Payload) -> str:
    """When the latents of each region are read."""
    names = ("times", "similarity", "latency", "planted", "null")
    arrays: dict[str, Any] = {name: np.asarray(payload[name]) for name in names}
    return plots.latent_timing(**arrays, regions=payload["regions"], rho=float(payload["rho"]))


def config(payload: Payload) -> str:
    """A JSON tree that folds."""
    return f'<div class="tree">{_branch(payload["tree"], depth=0)}</div>'


def _branch(value: Any, depth: int) -> str:
    parts = []
    for key, entry in value.items():
        if isinstance(entry, list | tuple) and entry and all(isinstance(one, Mapping) for one in entry):
            entry = {str(i): one for i, one in enumerate(entry, start=1)}
        if isinstance(entry, Mapping) and entry:
            opened = " open" if depth == 0 and len(entry) <= 12 else ""
            parts.append(
                f"<details{opened}><summary>{escape(str(key))}</summary>{_branch(entry, depth + 1)}</details>"
            )
        else:
            parts.append(
                f'<div class="leaf"><b>{escape(str(key))}</b><code>{escape(_leaf(entry))}</code></div>'
            )
    return "".join(parts)


def _leaf(value: Any) -> str:
    if isinstance(value, list | tuple):
        shown = ", ".join(_leaf(entry) for entry in value[:40])
        return f"[{shown}{f', … {len(value)} in all' if len(value) > 40 else ''}]"
    return "null" if value is None else str(value)


# These show pictures that a page holds once.
WITH_THUMBNAILS: dict[str, Callable[[Payload, Thumbnails], str]] = {
    "image_grid": _pictures,
    "neighbours": _neighbours.neighbours,
}

# kind -> (section where it stands unless the payload says otherwise, drawing function)
KINDS: dict[str, tuple[str, Callable[[Payload], str]]] = {
    "text": ("headline", text),
    "table": ("scores", table),
    "image_grid": ("pictures", lambda payload: image_grid(payload, 192)),
    "neighbours": ("pictures", lambda payload: _neighbours.neighbours(payload, Thumbnails(192))),
    "sounds": ("pictures", _sounds.sounds),
    "curve": ("training", curve),
    "regions": ("brain", regions),
    "volume": ("brain", volume),
    "glass_brain": ("brain", glass_brain),
    "flat_map": ("brain", flat_map),
    "topography": ("brain", topography),
    "time_course": ("brain", time_course),
    "time_by_time": ("brain", time_by_time),
    "confusion": ("scores", confusion),
    "histogram": ("controls", histogram),
    "specification": ("scores", specification),
    "rdm": ("brain", rdm),
    "model_bars": ("scores", model_bars),
    "rsa_time_course": ("brain", rsa_time_course),
    "latents": ("brain", _latents.cards),
    "latent_map": ("brain", latent_map),
    "claims": ("brain", claims),
    "latent_timing": ("brain", latent_timing),
    "config": ("config", config),
}
