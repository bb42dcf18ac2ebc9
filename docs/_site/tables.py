"""Tables made of the library's own objects, put where a page says ``<!-- table: NAME -->``."""

from __future__ import annotations

import re
from collections.abc import Callable

from gathered import table

from braindec import protocols, registry

PLACE = re.compile(r"^<!-- table: (\w+) -->$", re.MULTILINE)
AVERAGED = {
    "before": "responses, before the model",
    "after": "predictions, after it",
    "none": "nothing: single trials",
}


def filled(markdown: str) -> str:
    """The text with each table in its place.

    Raises
    ------
    KeyError
        If there is no such table.
    """
    return PLACE.sub(lambda match: TABLES[match[1]](), markdown)


def _protocols() -> str:
    """A section for each protocol, as-published ones below the one they correct."""
    members = [registry.load("protocols", name).PROTOCOLS for name in registry.names("protocols")]
    found = [protocol for member in members for protocol in member.values()]
    own = [p for p in found if p.corrects is None]
    return "\n\n".join(_protocol(p, [q for q in found if q.corrects == p.name]) for p in own)


def _protocol(protocol: protocols.Protocol, published: list[protocols.Protocol]) -> str:
    """What is held out, among what is chosen, what is averaged and measured."""
    pool = protocol.pool
    rows = {
        "train and test share no": protocol.unit,
        "candidates": f"{protocol.candidates.replace('_', ' ')}: {pool.rule}",
        "how many": f"{pool.size or 'all held out'}" + (f", {pool.drawn} at a time" if pool.drawn else ""),
        "averaged": AVERAGED[protocol.repeats]
        + (f", {protocol.n_repeats} repeats" if protocol.n_repeats else ""),
        "metrics": ", ".join(f"`{name}`" for name in _metrics(protocol)),
        "chance": _chance(protocol),
        "preprocessing may be fitted on": ", ".join(protocol.scopes),
        "leaks that are told, not refused": ", ".join(protocol.allows) or "none",
        "source": protocol.source,
        "version": str(protocol.version),
    }
    lines = [f"### {protocol.name}", table(["", ""], ([k, v.replace("|", "\\|")] for k, v in rows.items()))]
    for other in published:
        said = "\n".join(
            f"- {d.what}" + ("" if d.how else f" *(said only: {d.why})*") for d in other.departures
        )
        lines += [f"As published by {other.published_by} (`{other.name}`):", said]
    return "\n\n".join(lines)


def _metrics(protocol: protocols.Protocol) -> tuple[str, ...]:
    of_outputs = (*protocol.caption_metrics, *protocol.video_metrics, *protocol.run_metrics)
    return (*protocol.metrics, *protocol.picture_metrics, *of_outputs)


def _chance(protocol: protocols.Protocol) -> str:
    open_ones = "follows from how many are held out"
    known = [f"{m} {v:.4g}" for m, v in zip(protocol.metrics, protocol.chance) if v is not None]
    return ", ".join(known) or open_ones


def _members() -> str:
    """The members of each kind, with links to the reference."""
    rows = []
    for kind in registry.KINDS:
        named = ", ".join(f"[`{n}`](reference/{kind}/{n}.md)" for n in registry.names(kind))
        rows.append([f"[{kind}](reference/{kind}.md)", named])
    return table(["kind", "members"], rows)


TABLES: dict[str, Callable[[], str]] = {"protocols": _protocols, "members": _members}
