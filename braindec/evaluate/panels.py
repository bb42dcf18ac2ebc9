"""What a person looks at: arrays and texts of the panels of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from braindec import checks, train
from braindec.decoder import BrainDecoder
from braindec.evaluate.hallucination import VERDICTS, columns_of
from braindec.evaluate.measures import Measured
from braindec.evaluate.reconstructions import ROWS, Gallery, Reconstructions
from braindec.types import Score, Space, VoxelSpace

SATURATED = 0.97  # above it a ceiling says little: sampling error alone reaches one
Panel = tuple[str, str, Mapping[str, Any]]

METER = (
    "Verdicts: from the brain, where the brain rules out about half of what the prior holds likely, or more, and at "
    "most a tenth of such claims is wrong; from the prior, where it tells nothing, or the picture shows what it rules "
    "out; else undecidable."
)

LIMITS = (
    "A generator draws a plausible picture whatever it is told: what it adds beyond the decoded embedding is invented. "
    "The rows of controls show how much of a picture's look comes from the generator alone.",
    "Scores hold for these subjects and this gallery; a larger one, or one of more alike pictures, lowers retrieval.",
    "Decoding what a cooperating person sees is not reading thoughts. Recordings, and decoders fitted on them, are "
    "personal data.",
)
# What single recipes add to it.
SIMULATED = (
    "The brains and pictures of this page are simulated: its scores say nothing about real recordings."
)
IN_BLOCKS = (
    "The published scores are of EEG-CVPR40, where class and time are confounded: slow drift tells the class."
)


def pictures(gallery: Gallery, measured: Mapping[str, Measured], metric: str, title: str) -> Panel:
    """Every picture that was drawn, with its scores and verdicts; the page sorts them, by `metric` at first."""
    n = len(gallery.ids)
    scores = {name: m for name, m in measured.items() if len(m.per_sample) == n}
    scores = {metric: checks.known_key("metric", metric, scores)} | scores
    payload: dict[str, Any] = {
        "rows": _rows(gallery),
        "gallery": {  # for whoever compares two runs
            "ids": np.array(gallery.ids),
            "presented": gallery.presented,
            "reconstructed": gallery.pictures["braindec"],
        },
        "names": list(gallery.ids),
        "scores": {name: m.per_sample for name, m in scores.items()},
        "lower": [name for name, m in scores.items() if m.direction == "lower"],
        "captions": [f"presented: {said}" if said else "" for said in gallery.captions["presented"]],
        "labels": {name: list(values) for name, values in gallery.labels.items()},
        "texts": {"decoded caption": list(gallery.captions["retrieved caption"])},
        "caption": _caption(gallery),
    }
    if gallery.readings:
        payload["verdicts"] = columns_of(gallery.readings)
    return title, "image_grid", payload


def _rows(gallery: Gallery) -> dict[str, np.ndarray]:
    """Pictures by what they are called: the decoder's first, controls last."""
    rows = {"presented": gallery.presented}
    if gallery.low_level is not None:
        rows["low-level"] = gallery.low_level
    rows["reconstructed"] = gallery.pictures["braindec"]
    if gallery.samples is not None:
        rows["sample"] = np.moveaxis(gallery.samples, 0, 1)  # (item, sample, height, width, rgb)
    order = ("selected", "retrieved", "nearest", "prior", "shuffled", "oracle")
    return rows | {ROWS[name]: gallery.pictures[name] for name in order if name in gallery.pictures}


def _caption(gallery: Gallery) -> str:
    said = (
        "Every picture but presented, retrieved and nearest training image comes from the same generator with the same "
        "noise: told the decoded embedding, that of a decoder trained on shuffled pairs, none at all (prior only), and "
        "the true one. "
    )
    if gallery.samples is not None:
        said += (
            f"Samples are {len(gallery.samples)} single draws of the prior with other noise each; the selected one "
            "lies nearest to the decoded embedding: nothing that chose it saw the truth. "
        )
    return said + (METER if gallery.readings else "")


def verdicts(found: Reconstructions) -> list[Panel]:
    """How often each attribute of the decoder's pictures comes from the brain; nothing where none was asked about."""
    rows = [
        [
            key.replace("_", " "), r.attribute.name, f"{r.carried_p:.3f}", f"{r.sets.mass.mean():.2f}",
            *(r.verdicts.count(v) for v in VERDICTS), len(r.verdicts),
        ]
        for key, gallery in found.galleries.items()
        for r in gallery.readings
    ]  # fmt: skip
    if not rows:
        return []
    columns = ["subject", "attribute", "p (carried)", "of the prior left open", *VERDICTS, "n"]
    caption = METER + (
        " The share of the prior that the sets leave open is 0.90 where somebody is told nothing. p: that the "
        "posterior foresees other stimuli as well as their own, corrected over the subject's attributes (Holm)."
    )
    table = {"columns": columns, "rows": rows, "caption": caption, "section": "pictures"}
    return [("Where what is shown comes from", "table", table)]


def galleries(found: Reconstructions, metric: str) -> list[Panel]:
    """`pictures` of every subject."""
    return [
        pictures(g, found.measured[k]["braindec"], metric, k.replace("_", " "))
        for k, g in found.galleries.items()
    ]


def left_out(found: Reconstructions) -> list[Panel]:
    """Why metrics of the protocol are missing: circular, weights to download, packages; nothing where none is."""
    if not found.not_computed:
        return []
    rows = [[name.replace("_", " "), reason] for name, reason in found.not_computed.items()]
    caption = "Metrics that the protocol names. None of them is approximated under the same name."
    return [("Not computed", "table", {"columns": ["metric", "why"], "rows": rows, "caption": caption})]


def collapse(scores: Sequence[Score]) -> list[Panel]:
    """How many different truths each system's predictions point at, and how many directions they use."""
    rows = [
        [f"sub-{s.subject:02d} {s.modality}", s.system, f"{s.value:.3f}",
         *(f"{s.details['effective rank'][k]:.1f}" for k in ("predictions", "truths"))]
        for s in scores
        if s.name == "unique_nearest_share" and isinstance(s.subject, int) and "effective rank" in s.details
    ]  # fmt: skip
    if not rows:
        return []
    caption = (
        "Share of the presented stimuli that are the nearest of some prediction (independent guesses: about 0.63, a "
        "constant: one of all), and the effective rank of predictions and truths (Roy & Vetterli 2007). Predictions "
        "that share a few nearest truths reconstruct by kind."
    )
    columns = ["subject", "system", "different nearest truths", "rank of predictions", "rank of truths"]
    table = {"columns": columns, "rows": rows, "caption": caption, "section": "controls"}
    return [("Do predictions vary as truths do?", "table", table)]


def curves(decoder: BrainDecoder) -> list[Panel]:
    """Training loss, and what held-out stimuli said while it fell."""
    found = []
    for title, log in (("Encoder", decoder.log), ("Prior", decoder.prior_log)):
        if log is not None:
            found += _curves(title, log)
    return found


def _curves(title: str, log: train.Log) -> list[Panel]:
    names = [n for n in dict.fromkeys(k for row in log.rows for k in row) if n not in ("step", "lr")]
    out: list[Panel] = []
    for name in names:
        steps, values = log.column(name)
        order = np.argsort(steps)
        what = (
            "mean reciprocal rank, held-out stimuli" if name == "validation" and title == "Encoder" else name
        )
        payload = {"step": np.array(steps)[order], "series": {what: np.array(values)[order]}, "ylabel": what}
        if name == "validation":
            payload["caption"] = f"Weights of step {log.best_step} are kept."
        if len(steps) > 1:
            out.append((f"{title}: {what}", "curve", payload))
    return out


def regions(found: Mapping[str, Mapping[str, Measured]], metric: str) -> Panel:
    """A metric of decoders that see a single region each."""
    names = list(found)
    keys = sorted({key for metrics in found.values() for key in metrics})
    nothing = Measured("", np.nan, (np.nan, np.nan), np.nan, 1, "higher", np.empty(0))
    cells = {key: [found[name].get(key, nothing) for name in names] for key in keys}
    payload = {
        "regions": names,
        "series": {key: np.array([m.value for m in row]) for key, row in cells.items()},
        "intervals": {key: np.array([m.interval for m in row]) for key, row in cells.items()},
        "chance": next(m.chance for row in cells.values() for m in row if m is not nothing),
        "xlabel": metric.replace("_", " "),
        "caption": "Closed-form decoders that see one region each; 'silent' voxels respond to nothing.",
    }
    return "Decoding from one region at a time", "regions", payload


def volume(space: Space, values: np.ndarray, title: str) -> Panel:
    """Values of voxels back in their volume."""
    if not isinstance(space, VoxelSpace):
        raise ValueError(f"a volume needs voxels, got {space.kind}.")
    payload = {
        "mask": space.mask,
        "values": values,
        "label": "correlation, held-out responses",
        "symmetric": True,
        "caption": "How well a linear encoding model predicts each voxel from the decoder's target embedding.",
    }
    return title, "volume", payload


def comparisons(
    rows: Sequence[Mapping[str, Any]], title: str = "Paired differences on the same queries"
) -> Panel:
    """Differences of two systems, each with its interval."""
    columns = ["a − b", "metric", "subject", "difference", "95 % interval", "p", "n"]
    cells = [
        [
            f"{r['a']} − {r['b']}", str(r["metric"]).replace("_", " "), str(r["key"]).replace("_", " "),
            f"{r['difference']:+.3f}", f"[{r['interval'][0]:+.3f}, {r['interval'][1]:+.3f}]", f"{r['p']:.3g}",
            str(r["n"]),
        ]
        for r in rows
    ]  # fmt: skip
    return title, "table", {"columns": columns, "rows": cells}


def against_oracles(scores: Sequence[Score], metric: str) -> Panel:
    """A metric of every system beside what ideal observers reach; no ratio to a ceiling that saturates."""
    cells = []
    for s in scores:
        told = s.details.get("ceilings", {}) if isinstance(s.subject, int) else {}
        if s.name == metric and told and s.system in ("braindec", "ridge", "adapted", "scratch"):
            shown = [
                _ratio(s.value, told.get(kind)) for kind in ("oracle_linear", "oracle_n", "oracle_image")
            ]
            cells.append([f"sub-{s.subject:02d} {s.modality}", s.system, f"{s.value:.3f}", *shown])
    columns = [
        "subject",
        "system",
        metric.replace("_", " "),
        "of oracle_linear",
        "of oracle_n",
        "of oracle_image",
    ]
    caption = (
        f"Ceiling, and the score's share of it; a ceiling above {SATURATED} saturates and gets no share."
    )
    return "Against ideal observers", "table", {"columns": columns, "rows": cells, "caption": caption}


def _ratio(value: float, ceiling: float | None) -> str:
    if ceiling is None:
        return ""
    return f"{ceiling:.3f}" if ceiling > SATURATED else f"{ceiling:.3f}: {value / ceiling:.0%}"


def inverse_crime(honest: float, easy: float, key: str) -> Panel:
    """What a brain built from the decoder's own target would have scored."""
    rows = [["as in this report", f"{honest:.3f}"], ["built from the target's own features", f"{easy:.3f}"]]
    payload = {
        "columns": [f"brain of {key}", "image retrieval top-1, closed-form ridge"],
        "rows": rows,
        "section": "controls",
        "caption": "The inverse crime: brains simulated from the very features that are decoded flatter every decoder. "
        "The brains of this world see pixels, edges, the scene's factors and a network that serves nowhere else.",
    }
    return "What the inverse crime would have added", "table", payload


def limits(*more: str) -> Panel:
    """What the numbers do not show; `more` is what a recipe adds, `SIMULATED` where its brains are."""
    return "What this does not show", "text", {"text": [*LIMITS, *more], "section": "limits"}
