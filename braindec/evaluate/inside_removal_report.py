"""The numbers and panels of `inside_removal`: how much of a concept is gone, what else is, and beside what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec.evaluate import study
from braindec.stats.intervals import proportion_interval
from braindec.types import Report, Score

LATENTS, DIRECTION = "its latents", "difference of means"
PERMUTED, OTHERS = "latents of permuted labels", "other latents"
MIN_THERE = 4  # pictures from a brain that name a concept
WAYS = (LATENTS, DIRECTION, PERMUTED, OTHERS)
LIMIT = (
    "One small network that draws 64x64 scenes whose words are known; it is told an image embedding, which still holds "
    "the concept at every step. A network names what is in a picture: a concept that it no longer names may be another "
    "now, or a smear (look at the pictures). That network also drives simulated brains, so that of pictures from a "
    "brain it is no second opinion. Blocks, numbers of latents and factors are few, and one choice is made for all "
    "concepts. Whether other embeddings bring a removed concept back was not tried. Of memorisation nothing is said: "
    "these scenes are drawn anew."
)


class Setting(NamedTuple):
    """Where and how is edited."""

    block: str
    n_latents: int
    factor: float

    def __str__(self) -> str:
        return f"{self.block}, {self.n_latents} a step, times {self.factor:g}"


class Tally(NamedTuple):
    """What is named, by scene and concept (n_scenes, n_concepts); NaN where it was not drawn or nothing was there.

    Attributes
    ----------
    before, after : Tensor
        Whether the concept is named in pictures of scenes that have it, without and with the edit.
    without : Tensor
        The same without the edit, of scenes that do not have it: chance.
    gone : Tensor
        Whether it is no longer named, of scenes that have it and whose picture named it.
    kept_with, kept_without : Tensor
        Share of the scene's other words that are still named, of those that were; of scenes with the concept, without.
    """

    before: Tensor
    after: Tensor
    without: Tensor
    gone: Tensor
    kept_with: Tensor
    kept_without: Tensor

    def kept(self) -> float:
        """Mean over concepts of what is kept: of their own scenes and of others, half each."""
        return kept(self.kept_with, self.kept_without)

    def removed(self) -> float:
        """What is gone and what is kept, less 1: 0 of an edit that does nothing, or harms all alike."""
        return removed(self.gone, self.kept_with, self.kept_without)

    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """What `removed` is made of."""
        return self.gone, self.kept_with, self.kept_without


class Pictures(NamedTuple):
    """Rows of pictures by label, and the concepts over their columns."""

    rows: dict[str, np.ndarray]
    groups: list[tuple[str, int]]


Sheet = tuple[np.ndarray, list[tuple[str, int]], list[str]]


def kept(kept_with: Tensor, kept_without: Tensor) -> float:
    """See `Tally.kept`."""
    return float(((kept_with.nanmean(0) + kept_without.nanmean(0)) / 2).nanmean())


def removed(gone: Tensor, kept_with: Tensor, kept_without: Tensor) -> float:
    """See `Tally.removed`."""
    each = gone.nanmean(0) + (kept_with.nanmean(0) + kept_without.nanmean(0)) / 2 - 1
    return float(each.nanmean())


def _gone(gone: Tensor) -> float:
    return float(gone.nanmean())


def _gone_interval(gone: Tensor) -> tuple[float, float]:
    """Of hits, which scenes share: also where all are alike."""
    there = ~gone.isnan()
    found = proportion_interval(gone[there].numpy(), units=torch.nonzero(there)[:, 0].numpy())
    return found.low, found.high


def report(
    concepts: Sequence[str], chosen: Mapping[str, list[tuple[Setting, float]]],
    found: Mapping[str, list[Tally]], of_brain: Mapping[str, list[Tally]] | None, shown: Pictures, sheet: Sheet,
    fvu: Mapping[str, float], told: Mapping[str, Any], protocol: str,
) -> Report:  # fmt: skip
    """Scores and panels.

    Parameters
    ----------
    concepts : sequence of str
    chosen : mapping
        By way, settings with what they removed on training scenes, the best first.
    found, of_brain : mapping
        By way, a tally of each draw: of held-out scenes, and of embeddings from a brain.
    shown, sheet : Pictures, Sheet
    fvu : mapping
        By block, the share of variance that its autoencoder leaves.
    told : mapping
        Subject and modality of the brain.
    protocol : str
    """
    ours, direction = found[LATENTS][0], found[DIRECTION][0]
    n = len(drawn_rows(ours))
    rows = _scores("concept", found, protocol, n, settings={w: str(s[0][0]) for w, s in chosen.items()})
    said = [_first(found, n), _beside(ours, direction)]
    if of_brain is not None:
        drawn, lines = _of_brain(of_brain, protocol, told)
        rows += drawn
        said += lines
    said.append(
        "Chosen on training scenes: "
        + "; ".join(f"{way}: {s[0][0]}" for way, s in chosen.items())
        + ". Variance that autoencoders leave: "
        + ", ".join(f"{name} {value:.2f}" for name, value in fvu.items()) + "."
    )  # fmt: skip
    caption = (
        "Held-out scenes from the same noise: the first three of each group have the concept named above, the last one "
        "has not. Rows: no edit; the concept's latents edited; the difference of means; two controls."
    )
    pictures, groups, values = sheet
    panels: list[study.Panel] = [
        ("Drawn without a concept", "image_grid", {
            "rows": shown.rows, "groups": shown.groups, "caption": caption, "section": "pictures"}),
        ("Latents of each concept", "image_grid", {
            "rows": {"training pictures": pictures}, "groups": groups, "captions": values, "section": "pictures",
            "caption": "Training pictures in which a concept's first latent of the last step is most active; below, "
                       "its mean over positions."}),
        ("Still named, by concept", "regions", study.bars(
            list(concepts),
            {"no edit": ours.before.nanmean(0).numpy(), **{way: _mean(found[way], "after") for way in WAYS},
             "scenes without it, no edit": ours.without.nanmean(0).numpy()},
            "share of pictures of scenes with the concept that name it")),
        ("What is kept, by concept", "regions", study.bars(
            list(concepts),
            {f"{way}, {where}": _mean(found[way], name) for way in (LATENTS, DIRECTION)
             for where, name in (("its scenes", "kept_with"), ("other scenes", "kept_without"))},
            "share of other words that are still named")),
        ("By concept", "table", _table(concepts, found)),
        ("Tried on training scenes", "table", {
            "columns": ["edit", "block, latents, factor", "gone + kept - 1"],
            "rows": [[way, str(s), "the only one" if np.isnan(v) else f"{v:.3f}"]
                     for way, tried in chosen.items() for s, v in tried]}),
    ]  # fmt: skip
    return study.report("Concepts removed from a generator", said, rows, panels, LIMIT)


def drawn_rows(tally: Tally) -> Tensor:
    """Scenes that were drawn for any concept."""
    used = torch.stack([~x.isnan() for x in (tally.before, tally.without)]).any(0).any(1)
    return torch.nonzero(used).squeeze(1)


def beside(a: Tally, b: Tally) -> tuple[float, float, float]:
    """How much more `a` removes than `b` of the same scenes: difference, low, high; scenes are left out by turns."""

    def difference(*rows: Tensor) -> float:
        return removed(*rows[:3]) - removed(*rows[3:])

    used = drawn_rows(a)
    rows = [x[used] for x in (*a.rows(), *b.rows())]
    return difference(*rows), *study.jackknife(difference, *rows)


def _scores(prefix: str, found: Mapping[str, list[Tally]], protocol: str, n: int, **told: Any) -> list[Score]:
    """What is gone and kept less 1, and either alone, beside the same of permuted labels; controls are details."""
    ours = found[LATENTS][0]
    used = drawn_rows(ours)
    rows = [x[used] for x in ours.rows()]
    ends = {
        "removed": study.jackknife(removed, *rows),
        "gone": _gone_interval(rows[0]),
        "others_kept": study.jackknife(kept, *rows[1:]),
    }
    out: list[Score] = []
    for name, interval in ends.items():
        controls: dict[str, Any] = {
            way.replace(" ", "_"): _value(name, found[way]) for way in (DIRECTION, OTHERS)
        }
        nulls = [_value(name, [one]) for one in found[PERMUTED]]
        out += study.scores(
            f"{prefix}_{name}",
            _value(name, [ours]),
            interval,
            nulls,
            n,
            protocol=protocol,
            **controls,
            **told,
        )
    return out


def _of_brain(
    found: Mapping[str, list[Tally]], protocol: str, told: Mapping[str, Any]
) -> tuple[list[Score], list[str]]:
    """Scores and a line of what was drawn from a brain; no score where hardly a picture names a concept."""
    ours = found[LATENTS][0]
    n_there = int((~ours.gone.isnan()).any(1).sum())
    if n_there < MIN_THERE:
        return [], [
            f"Drawn from what a brain saw, {n_there} pictures name a concept: too few to remove it from."
        ]
    n = len(drawn_rows(ours))
    return _scores("decoded_concept", found, protocol, n, **told), [
        "Drawn from what a brain saw: " + _first(found, n)
    ]


def _value(name: str, tallies: Sequence[Tally]) -> float:
    of = {"removed": Tally.removed, "gone": lambda t: _gone(t.gone), "others_kept": Tally.kept}[name]
    return float(np.mean([of(t) for t in tallies]))


def _mean(tallies: Sequence[Tally], name: str) -> np.ndarray:
    return np.mean([getattr(t, name).nanmean(0).numpy() for t in tallies], axis=0)


def _first(found: Mapping[str, list[Tally]], n: int) -> str:
    ours = found[LATENTS][0]
    after = {way: float(np.nanmean(_mean(found[way], "after"))) for way in WAYS}
    keeps = {way: _value("others_kept", found[way]) for way in WAYS}
    return (
        f"A concept is named in {float(ours.before.nanmean(0).nanmean()):.2f} of pictures of scenes that have it, with "
        f"its latents edited in {after[LATENTS]:.2f} ({PERMUTED} {after[PERMUTED]:.2f}, {OTHERS} {after[OTHERS]:.2f}, "
        f"{DIRECTION} {after[DIRECTION]:.2f}; scenes without it {float(ours.without.nanmean(0).nanmean()):.2f}). Of "
        f"all other words {keeps[LATENTS]:.2f} are still named ({PERMUTED} {keeps[PERMUTED]:.2f}, {OTHERS} "
        f"{keeps[OTHERS]:.2f}, {DIRECTION} {keeps[DIRECTION]:.2f}). {n} held-out scenes."
    )


def _beside(ours: Tally, direction: Tally) -> str:
    value, low, high = beside(ours, direction)
    return (
        f"Gone and kept, less 1: {ours.removed():.3f} by latents, {direction.removed():.3f} by the difference of means "
        f"(difference {value:+.3f} [{low:.2f}, {high:.2f}])."
    )


def _table(concepts: Sequence[str], found: Mapping[str, list[Tally]]) -> dict[str, Any]:
    ours = found[LATENTS][0]
    columns = ["concept", "pictures", "no edit", *WAYS, "scenes without it"]
    columns += [
        f"kept, its scenes: {LATENTS}",
        f"{DIRECTION}",
        f"kept, other scenes: {LATENTS}",
        f"{DIRECTION} ",
    ]
    rows = []
    for k, word in enumerate(concepts):
        n = int((~ours.before[:, k].isnan()).sum())
        values = [ours.before.nanmean(0)[k], *(_mean(found[way], "after")[k] for way in WAYS)]
        values += [ours.without.nanmean(0)[k]]
        for name in ("kept_with", "kept_without"):
            values += [_mean(found[way], name)[k] for way in (LATENTS, DIRECTION)]
        rows.append([word, str(n), *(f"{float(v):.2f}" for v in values)])
    return {"columns": columns, "rows": rows}
