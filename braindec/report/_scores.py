"""Scores on the page: a card a metric, dots beside chance and ceilings, and the table of everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from braindec import plots
from braindec.report import _words
from braindec.types import Score

HEADLINE_SYSTEMS = ("braindec", "adapted")
MAX_CARDS = 6


def cards(scores: Sequence[Score]) -> str:
    """The decoder's scores at a glance: a card a metric, a gauge a subject."""
    scores = [score for score in scores if "as_published_by" not in score.details]
    ours = [score for score in scores if score.system == "braindec"] or [
        s for s in scores if s.system in HEADLINE_SYSTEMS
    ]
    names = list(dict.fromkeys(score.name for score in ours))[:MAX_CARDS]
    bars = {_judged(score): score for score in scores if score.system == "nuisance"}
    drawn = "".join(_card([s for s in ours if s.name == name], bars) for name in names)
    return f'<div class="cards">{drawn}</div>' if names else ""


def figures(scores: Sequence[Score]) -> str:
    """Dot plots, one a metric and protocol."""
    keys = list(dict.fromkeys((score.protocol, score.name) for score in scores))
    several = len({protocol for protocol, _ in keys}) > 1
    blocks = []
    for protocol, name in keys:
        members = [score for score in scores if (score.protocol, score.name) == (protocol, name)]
        rows = [
            plots.ScoreRow(
                _words.subject_of(s.subject, s.modality),
                s.system,
                s.value,
                s.interval,
                s.chance,
                s.null,
                ceilings(s),
            )
            for s in members
        ]
        meaning = escape(_words.METRICS.get(name, ""))
        title = escape(_words.title_of(name) + (f" · {protocol}" if several else ""))
        drawn = plots.score_dots(rows, xlabel=_words.title_of(name))
        blocks.append(f'<div class="panel"><h3>{title}</h3><p class="meaning">{meaning}</p>{drawn}</div>')
    return f'<div class="columns">{"".join(blocks)}</div>' if blocks else ""


NO_CEILING = (
    "Ceiling: none was worked out here. It takes repeated responses to the same stimulus, or a simulated brain whose "
    "truth is known."
)
NULL = "mean score of refits with the brain-stimulus pairing permuted in training, their number in brackets"


def table(scores: Sequence[Score], told: Mapping[str, Any] | None = None) -> str:
    """Every score with everything it needs to be believed, a fold a metric.

    Parameters
    ----------
    scores : sequence of Score
    told : mapping, optional
        ``"systems"`` (by name) and ``"null"``: what these are where they are no decoders and no refits.
    """
    words = {**_words.SYSTEMS, **dict((told or {}).get("systems", {}))}
    null = escape(str((told or {}).get("null", NULL)))
    if not scores:
        return ""
    names = list(dict.fromkeys(score.name for score in scores))
    folds = "".join(
        _fold(sorted([s for s in scores if s.name == name], key=_order(scores)), name == names[0])
        for name in names
    )
    said = "; ".join(f"<b>{system}</b> {escape(words[system])}" for system in _systems(scores))
    kinds = list(dict.fromkeys(kind for score in scores for kind in ceilings(score)))
    limits = "; ".join(
        f"<b>{escape(_spaced(kind))}</b> {escape(_words.CEILINGS.get(kind, ''))}" for kind in kinds
    )
    return (
        f'<div class="panel"><h3>Every score</h3>{folds}<p class="caption">Systems: {said}.</p>'
        f'<p class="caption">{f"Ceilings: {limits}." if limits else NO_CEILING}</p>'
        f'<p class="caption">Null: {null}; p = (c + 1) / (N + 1).{_smallest(scores)}</p></div>'
    )


def _smallest(scores: Sequence[Score]) -> str:
    """That a p cannot be smaller, where one is as small as its number of refits lets it be."""
    least = sorted({s.null_n for s in scores if s.p is not None and s.p * (s.null_n + 1) < 1.5})
    said = ", ".join(f"{1 / (n + 1):.3g} with {n}" for n in least)
    return f" The smallest p there can be is {said}: a smaller one takes more of them." if least else ""


def _fold(scores: Sequence[Score], opened: bool) -> str:
    head = ("system", "subject", "value", "95 % interval", "chance", "null", "p", "ceiling", "n", "protocol")
    cells = "".join(
        f"<th{'' if h in ('system', 'subject', 'protocol') else ' class=num'}>{h}</th>" for h in head
    )
    lower = ", lower is better" if scores[0].direction == "lower" else ""
    return (
        f'<details class="group"{" open" if opened else ""}><summary>{escape(_words.title_of(scores[0].name))}'
        f"<small>{len(scores)} score{'s' * (len(scores) > 1)}{lower}</small></summary>"
        f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(map(_row, scores))}</tbody>'
        f"</table></div>{_remarks(scores)}</details>"
    )


def _remarks(scores: Sequence[Score]) -> str:
    """What else the record says of these scores (transductive, scopes, fraction kept, ...), once for equal ones."""
    said: dict[str, list[tuple[str, str]]] = {}
    everybody = {_words.subject_of(s.subject, s.modality) for s in scores}
    for score in scores:
        entries = [
            f"{_spaced(key)} {_told(value)}" for key, value in score.details.items() if key != "ceilings"
        ]
        if entries:
            who = (score.system, _words.subject_of(score.subject, score.modality))
            said.setdefault("; ".join(entries), []).append(who)
    lines = "".join(
        f"<li><b>{_of_whom(who, everybody)}</b>: {escape(what)}</li>" for what, who in said.items()
    )
    return f'<ul class="caption">{lines}</ul>' if lines else ""


def _of_whom(who: Sequence[tuple[str, str]], everybody: set[str]) -> str:
    """Systems, and of which subjects where it is not all of them."""
    systems, subjects = (dict.fromkeys(column) for column in zip(*who, strict=True))
    some = "" if set(subjects) == everybody else f" ({', '.join(subjects)})"
    return escape(", ".join(systems) + some)


def _told(value: Any) -> str:
    """A detail in words: yes and no, lists with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_told(entry) for entry in value)
    return _words.number(float(value)) if isinstance(value, float) else str(value)


def ceilings(score: Score) -> dict[str, float]:
    """All ceilings of a score by kind: its own, then those in its details."""
    found = {score.ceiling_kind: score.ceiling} if score.ceiling_kind and score.ceiling is not None else {}
    others = score.details.get("ceilings", {})
    return found | {kind: float(value) for kind, value in dict(others).items() if value is not None}


def _judged(score: Score) -> tuple[str, str, int | str, str]:
    """What two systems are compared on."""
    return score.name, score.protocol, score.subject, score.modality


def _card(
    scores: Sequence[Score], bars: Mapping[tuple[str, str, int | str, str], Score] | None = None
) -> str:
    """One metric; `bars` are the scores of a decoder that sees no brain, by what was judged."""
    name = scores[0].name
    without = {_judged(s): bars[_judged(s)].value for s in scores if bars and _judged(s) in bars}
    ends = [*(end for s in scores for end in s.interval), *without.values()]
    top, low = max(1.0 if max(s.value for s in scores) <= 1 else 0.0, *ends), min(0.0, *ends)
    gauges = "".join(_gauge(score, low, top, without.get(_judged(score))) for score in scores)
    chance = sorted({_words.number(float(s.chance)) for s in scores})
    n = sorted({s.n for s in scores if s.subject != "group"} or {s.n for s in scores})
    means = " · means over subjects with t intervals" if any(s.subject == "group" for s in scores) else ""
    kinds = list(dict.fromkeys(s.ceiling_kind for s in scores if s.ceiling_kind))
    ceiling = (
        f'<span class="key" style="background:var(--gold)"></span>{escape(_spaced(kinds[0]))}'
        if kinds
        else ""
    )
    values = " / ".join(dict.fromkeys(_words.number(float(v)) for v in without.values()))
    nuisance = f'<span class="key" style="background:var(--base)"></span>nuisance {values}' if values else ""
    return (
        f'<div class="panel"><h3>{escape(_words.title_of(name))}</h3>'
        f'<p class="meaning">{escape(_words.METRICS.get(name, ""))}</p>{gauges}'
        f'<p class="foot"><span class="key" style="background:var(--quiet)"></span>chance {" / ".join(chance)}'
        f"{nuisance}{ceiling} &nbsp; n = {' / '.join(map(str, n))}{means}</p></div>"
    )


def _gauge(score: Score, low: float, top: float, nuisance: float | None = None) -> str:
    def at(value: float) -> str:
        return f"{100 * min(1.0, max(0.0, (value - low) / (top - low))):.2f}%"

    def over(first: float, last: float) -> str:
        return f"left:{at(first)};width:calc({at(last)} - {at(first)})"

    ceiling = (
        "" if score.ceiling is None else f'<i class="mark ceiling" style="left:{at(score.ceiling)}"></i>'
    )
    bar = "" if nuisance is None else f'<i class="mark nuisance" style="left:{at(nuisance)}"></i>'
    who = escape(_words.subject_of(score.subject, score.modality))
    return (
        f'<div class="gauge"><span class="who" title="{who}">{who}</span><span class="track">'
        f'<i class="fill" style="{over(min(0.0, score.value), max(0.0, score.value))}"></i>'
        f'<i class="range" style="{over(*score.interval)}"></i>'
        f'<i class="mark chance" style="left:{at(score.chance)}"></i>{bar}{ceiling}</span>'
        f'<span class="value"><b>{score.value:.3f}</b><small>[{score.interval[0]:.2f}, {score.interval[1]:.2f}]</small>'
        "</span></div>"
    )


def _row(score: Score) -> str:
    limits = "".join(
        f'<span class="stack">{value:.3f} <span class="quiet">{escape(_spaced(kind))}</span></span>'
        for kind, value in ceilings(score).items()
    )
    null = (
        f'{score.null:.3f} <span class="quiet">({score.null_n})</span>'
        if score.null_n
        else f"{score.null:.3f}"
    )
    kind = " class=ours" if score.system in HEADLINE_SYSTEMS else ""
    return (
        f"<tr{kind}><td>{escape(score.system)}</td>"
        f"<td>{escape(_words.subject_of(score.subject, score.modality))}</td>"
        f'<td class="num">{score.value:.3f}</td>'
        f'<td class="num">{score.interval[0]:.3f} to {score.interval[1]:.3f}</td>'
        f'<td class="num">{_words.number(float(score.chance))}</td><td class="num">{null}</td>'
        f'<td class="num">{"–" if score.p is None else f"{score.p:.3g}"}</td>'
        f'<td class="num">{limits or "–"}</td><td class="num">{score.n}</td>'
        f'<td class="quiet">{escape(score.protocol)}</td></tr>'
    )


def _order(scores: Sequence[Score]) -> Callable[[Score], tuple[int, int]]:
    """Sort key: subjects in the order they came, systems in the order of `_words.SYSTEMS`."""
    people = list(dict.fromkeys((score.modality, score.subject) for score in scores))
    systems = _systems(scores)
    return lambda s: (people.index((s.modality, s.subject)), systems.index(s.system))


def _systems(scores: Sequence[Score]) -> list[str]:
    present = {score.system for score in scores}
    return [system for system in _words.SYSTEMS if system in present]


def _spaced(kind: str) -> str:
    return kind.replace("_", " ")
