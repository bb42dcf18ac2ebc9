"""Latents inside brains as scores and panels: what is read, beside what, where, when, and what it does not show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braindec import config, store
from braindec.data import NeuralDataset, maps
from braindec.decoder import versions
from braindec.evaluate.inside_latents import Inside, Settings
from braindec.evaluate.inside_timing import Timing
from braindec.evaluate.neighbours import smaller
from braindec.evaluate.scoring import group_scores, parse_key
from braindec.sparse.claims import FATES, VERDICTS
from braindec.stats.permutation import p_value
from braindec.types import Report, Score, VoxelSpace

N_SHOWN, N_KEPT, N_IMAGES = 8, 1000, 6  # latents on the page and in its file, and stimuli of each
WAYS = {"embedding": "predicted embedding", "direct": "direct regression"}
SAID = {
    "stands": "read, and above every baseline",
    "not above baselines": "read, but so are latents of a baseline",
    "not read": "not read",
    "not tested": "not tested",
}
Panel = tuple[str, str, dict[str, Any]]
LIMITS = (
    "That a latent is read from responses does not say that the brain computes it: anything that goes with it in these "
    "stimuli is read too.",
    "A latent that beats no baseline is not refuted: features that nobody learned are read as well at its frequency.",
    "Readings are linear, and of repeats averaged; what a brain carries in another form is missed.",
)


def scores(found: Mapping[str, Inside], protocol: str) -> list[Score]:
    """Mean area over tested latents of each subject, read directly; the refits' first as the shuffled system."""
    rows = []
    for key, one in found.items():
        subject, modality = parse_key(key)
        reading = one.ways["direct"]
        tested = reading.tested
        if not bool(tested.any()):
            continue
        areas = reading.auc[tested]
        # z is the area's distance from 0.5 in units that are each latent's own.
        unit = torch.where(reading.separation.z == 0, 0.0, (reading.auc - 0.5) / reading.separation.z)[tested]
        null = (0.5 + reading.null[:, tested] * unit).mean(1)
        draws = reading.draws[:, tested].nanmean(1)
        low, high = (float(q) for q in torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=draws.dtype)))
        value = float(areas.mean())
        ceiling = None if reading.ceiling is None else float(reading.ceiling[tested].mean())
        counts = Counter(one.claim["direct"].verdict)
        details: dict[str, Any] = {
            "n_latents": int(tested.sum()),
            "of_latents": len(tested),
            **{f"claims: {v}": counts[v] for v in VERDICTS},
        }
        p = p_value(value, null)
        told: dict[str, Any] = {"chance": 0.5, "null": float(null.mean()), "n": reading.n_stimuli}
        rows.append(
            Score(
                "latent_auc", "braindec", protocol, subject, modality, value, (low, high), **told, p=p,
                ceiling=ceiling, ceiling_kind=None if ceiling is None else "repeatability", null_n=len(null),
                per_sample=areas.numpy(), details=details,
            )
        )  # fmt: skip
        first = float(null[0])
        rows.append(
            Score("latent_auc", "shuffled", protocol, subject, modality, first, (first, first), **told)
        )
    return [*rows, *group_scores(rows)]


def report(
    found: Mapping[str, Inside],
    dataset: NeuralDataset,
    settings: Settings,
    *,
    names: Mapping[int, str] | None = None,
    protocol: str = "heldout_stimuli",
) -> Report:
    """Scores, and for every subject: verdicts beside baselines, latents with stimuli and maps, regions and times.

    Parameters
    ----------
    found : mapping of str to Inside
        From `inside`.
    dataset : NeuralDataset
    settings : Settings
    names : mapping of int to str, optional
        Of latents.
    protocol : str
        Name that the scores carry.
    """
    said = [line for one in found.values() for line in sentences(one)]
    panels: list[Panel] = [
        ("Which latents the brain carries", "text", {"text": [f"- {line}" for line in said]})
    ]
    for one in found.values():
        panels += subject_panels(one, dataset, names or {})
    panels.append(
        ("What this does not show", "text", {"text": [f"- {line}" for line in LIMITS], "section": "limits"})
    )
    run = {
        "title": f"Latents inside the brains of {dataset.name}", "summary": said[0], "said": said,
        "protocol": protocol, "dataset": dataset.identity(), "settings": config.to_json(settings),
        "versions": versions(), "seed": settings.seed,
    }  # fmt: skip
    return Report(tuple(scores(found, protocol)), run, tuple(panels))


def sentences(one: Inside) -> list[str]:
    """What was found of one subject, counts and all."""
    name, lines = one.key.replace("_", " "), []
    for way, words in WAYS.items():
        reading, claim = one.ways[way], one.claim[way]
        n = int(reading.tested.sum())
        counts = Counter(claim.verdict)
        read = counts["stands"] + counts["not above baselines"]
        mean = float(reading.auc[reading.tested].mean()) if n else float("nan")
        least = (
            min(claim.beaten, key=lambda b: int(claim.beaten[b].sum())) if claim.beaten else "none was given"
        )
        lines.append(
            f"{name}, by {words}: {read} of {n} latents are read better than any after permuting the stimuli "
            f"(mean area {mean:.3f}, {reading.n_stimuli} stimuli); {counts['stands']} of them also better than 95 % "
            f"of every baseline's latents at the same frequency (the hardest baseline: {least})."
        )
    return [*lines, f"{name}: {fate_words(one)}."]


def fate_words(one: Inside) -> str:
    """What prediction keeps of what the brain carries."""
    told = one.decoder_fate or one.fate
    who = "the decoder" if one.decoder_fate else "a prediction by ridge"
    counts = Counter(told)
    return f"of the latents, {who} has " + ", ".join(f"{counts[f]} {f}" for f in FATES if counts[f])


def subject_panels(one: Inside, dataset: NeuralDataset, names: Mapping[int, str]) -> list[Panel]:
    """Everything of one subject."""
    name = one.key.replace("_", " ")
    out: list[Panel] = [(f"Beside what no dictionary was learned for, {name}", "table", _baselines(one))]
    reading, claim = one.ways["direct"], one.claim["direct"]
    limits = {k: torch.nanquantile(v.double(), 0.95, dim=1).numpy() for k, v in one.areas["direct"].items()}
    if bool(reading.tested.any()):
        out.append(
            (f"Claims, {name}", "claims", {
                "rate": reading.rate.numpy(), "auc": reading.auc.numpy(), "verdict": claim.verdict,
                "rates": one.rates.numpy(), "baselines": limits,
            })
        )  # fmt: skip
        out.append((f"Latents that are read best, {name}", "latents", _shown(one, dataset, names)))
    return [*out, *_where(one, name), *_when(one, name)]


def _baselines(one: Inside) -> dict[str, Any]:
    rows = []
    for way, words in WAYS.items():
        reading, claim = one.ways[way], one.claim[way]
        tested = reading.tested
        own = reading.auc[tested]
        cells = [words, "the dictionary", len(own), *_quantiles(own), ""]
        rows.append(cells)
        for name, areas in one.areas[way].items():
            beaten = f"{int((claim.beaten[name] & tested).sum())} of {int(tested.sum())}"
            rows.append([words, name, areas.shape[1], *_quantiles(areas.flatten()), beaten])
    columns = ["read by", "latents of", "how many", "mean area", "95 % of them below", "latents above that"]
    caption = (
        "Latents of baselines are cut so that they are active as often as those of the dictionary; both ends of signed "
        "ones count. Last column: latents whose 95 % interval lies above the baseline's 95 % at their frequency."
    )
    return {"columns": columns, "rows": rows, "caption": caption}


def _quantiles(areas: torch.Tensor) -> tuple[str, str]:
    known = areas[~areas.isnan()].double()
    if not len(known):
        return "-", "-"
    return f"{float(known.mean()):.3f}", f"{float(known.quantile(0.95)):.3f}"


def chosen(one: Inside, n: int = N_SHOWN) -> list[int]:
    """At most `n` tested latents, those with the largest z, claims that stand first."""
    reading, claim = one.ways["direct"], one.claim["direct"]
    z = torch.where(reading.tested, reading.separation.z, -torch.inf)
    order = (z + 1e6 * (claim.stands & reading.tested)).argsort(descending=True)
    return [int(i) for i in order[: min(n, int(reading.tested.sum()))]]


def _shown(one: Inside, dataset: NeuralDataset, names: Mapping[int, str]) -> dict[str, Any]:
    """Their stimuli, areas and places."""
    reading, claim = one.ways["direct"], one.claim["direct"]
    rows = chosen(one, N_KEPT)
    top = one.latents.activations[:, rows].topk(min(N_IMAGES, len(one.ids)), dim=0).indices.T.numpy()
    seen, images = np.unique(top, return_inverse=True)
    unit = torch.where(reading.separation.z == 0, 0.0, (reading.auc - 0.5) / reading.separation.z)
    limit = float(reading.null[:, reading.tested].amax(1).quantile(0.95))
    payload: dict[str, Any] = {
        "names": [names.get(i, f"latent {i}") for i in rows], "images": images.reshape(top.shape),
        "pictures": smaller(np.stack(list(dataset.stimuli.images([one.ids[i] for i in seen.tolist()])))),
        "n_shown": N_SHOWN, "rate": reading.rate[rows].numpy(), "verdict": [claim.verdict[i] for i in rows],
        "about": [
            f"latent {i}, active in {float(reading.rate[i]):.1%} of the stimuli: {SAID[claim.verdict[i]]}" for i in rows
        ],
        "null": (0.5 + limit * unit[rows]).numpy(),
        "auc": reading.auc[rows].numpy(), "interval": reading.interval[:, rows].T.numpy(),
        "caption": "Stimuli by activation, largest first. Read by direct regression, each stimulus held out once. "
        "Null: what 95 % of refits to permuted stimuli stay below, the largest of all latents.",
    }  # fmt: skip
    if claim.reference:
        payload["reference"] = torch.stack(list(claim.reference.values())).amax(0)[rows].numpy()
    if reading.ceiling is not None:
        payload["ceiling"] = reading.ceiling[rows].numpy()
    if isinstance(one.space, VoxelSpace) and one.pattern is not None:
        payload["maps"] = np.stack([_seen_from_above(one.pattern[i].numpy(), one.space) for i in rows])
    if one.when is not None:
        payload |= {"places": one.when.auc[:, rows].T.numpy(), "place_names": _ms(one.times, 150)}
    elif len(one.where.names) > 1:
        payload |= {"places": one.where.auc[:, rows].T.numpy(), "place_names": list(one.where.names)}
    return payload


def write_maps(found: Mapping[str, Inside], folder: str | Path) -> list[Path]:
    """A file a subject: areas, p and frequency of every latent, by region and time; NIfTI images of the best ones.

    Parameters
    ----------
    found : mapping of str to Inside
    folder : path
        Gets ``<key>_latents.h5``, and for voxels ``<key>_latent-<number>.nii.gz``: the correlation of the latent's
        activation with each voxel's response.
    """
    folder, written = Path(folder), []
    folder.mkdir(parents=True, exist_ok=True)
    for key, one in found.items():
        path = folder / f"{key}_latents.h5"
        with store.writer(path) as out:
            for way, reading in one.ways.items():
                for name, values in (("auc", reading.auc), ("p", reading.p), ("interval", reading.interval)):
                    out.array(f"{way}_{name}", values.numpy())
            out.array("rate", one.ways["direct"].rate.numpy())
            out.array("region_auc", one.where.auc.numpy())
            out.array("region_p", one.where.p.numpy())
            if one.when is not None:
                out.array("time_auc", one.when.auc.numpy())
                out.array("time_p", one.when.p.numpy())
                out.array("time_s", one.times)
            out.attributes(
                {
                    "content": "latents in a brain", "subject": key, "regions": list(one.where.names),
                    "verdict": list(one.claim["direct"].verdict), "fate": list(one.decoder_fate or one.fate),
                }
            )  # fmt: skip
        written.append(path)
        if isinstance(one.space, VoxelSpace) and one.pattern is not None:
            for latent in chosen(one):
                image = maps.to_nifti(one.pattern[latent].numpy(), one.space, fill=float("nan"))
                path = folder / f"{key}_latent-{latent}.nii.gz"
                image.to_filename(path)
                written.append(path)
    return written


def _seen_from_above(values: np.ndarray, space: VoxelSpace) -> np.ndarray:
    """Of each column of voxels the value farthest from zero, front up: float (y, x), NaN outside the brain."""
    volume = np.full(space.mask.shape, np.nan)
    volume[space.mask] = values
    filled = np.where(np.isnan(volume), 0.0, volume)
    at = np.abs(filled).argmax(2)
    seen = np.take_along_axis(filled, at[..., None], 2)[..., 0]
    return np.where(space.mask.any(2), seen, np.nan).T[::-1]


def _ms(times: np.ndarray, every: int) -> list[str]:
    """Times in ms, those near a multiple of `every` named."""
    ms = np.round(1000 * times).astype(int)
    step = np.diff(ms).min() if len(ms) > 1 else 1
    return [str(round(t / every) * every) if abs(t - round(t / every) * every) < step / 2 else "" for t in ms]


def _where(one: Inside, name: str) -> list[Panel]:
    if len(one.where.names) < 2 or not bool(one.where.tested.any()):
        return []
    tested = one.where.tested
    payload = {
        "values": one.where.auc[:, tested].numpy(), "columns": list(one.where.names), "xlabel": "region",
        "limit": (one.where.p[:, tested] <= 0.05).numpy(),
        "caption": "Dots: read better than any latent from any region after permuting the stimuli (p < 0.05).",
    }  # fmt: skip
    return [(f"Latents by region, {name}", "latent_map", payload)]


def _when(one: Inside, name: str) -> list[Panel]:
    if one.when is None or not bool(one.when.tested.any()):
        return []
    tested = one.when.tested
    columns = [f"{1000 * t:.0f}" for t in one.times]
    payload = {
        "values": one.when.auc[:, tested].numpy(), "columns": columns, "xlabel": "time, ms",
        "limit": (one.when.p[:, tested] <= 0.05).numpy(),
        "caption": "Dots: read better than any latent at any time after permuting the stimuli (p < 0.05).",
    }  # fmt: skip
    return [(f"Latents by time, {name}", "latent_map", payload)]


def timing_report(
    found: Timing, dataset: NeuralDataset, levels: tuple[str, ...], settings: Settings, protocol: str
) -> Report:
    """Planted and recovered latencies as scores a subject, the one figure, and maps of latent, region and time."""
    rows = []
    for number, (fmri, other) in enumerate(found.pairs):
        subject, _ = parse_key(fmri)
        modality = f"fmri+{other.partition('_')[2]} of {other.partition('_')[0]}"
        told: dict[str, Any] = {"chance": 0.0, "null": float(found.null.mean()), "n": len(found.regions)}
        value, first = found.rho_of(number), float(found.null[0])
        rows += [
            Score("latency_spearman", system, protocol, subject, modality, v, limits, **told, null_n=len(found.null))
            for system, v, limits in (
                ("braindec", value, found.intervals[number]),
                ("shuffled", first, (first, first)),
            )
        ]  # fmt: skip
    whole: dict[str, Any] = {"chance": 0.0, "null": float(found.null.mean()), "n": found.latency.numel()}
    p = p_value(found.rho, found.null)
    rows.append(
        Score(
            "latency_spearman", "braindec", protocol, "group", "fmri+eeg", found.rho, found.interval, **whole, p=p,
            null_n=len(found.null),
        )
    )  # fmt: skip
    line = timing_words(found)
    payload = {
        "times": found.times.numpy(), "similarity": found.similarity.numpy(), "regions": list(found.regions),
        "latency": found.latency.numpy(), "planted": found.planted.numpy(), "null": found.null.numpy(),
        "rho": found.rho, "section": "headline",
    }  # fmt: skip
    panels: list[Panel] = [
        ("When the latents of each region are read", "latent_timing", payload),
        ("What was found", "text", {"text": [f"- {line}"]}),
    ]
    kept = [levels[i] for i in found.latents.tolist()]
    fmri, other = found.pairs[0]
    for key, places, columns, label in (
        (fmri, found.where[fmri], list(found.regions), "region of fMRI"),
        (other, found.when[other], [f"{1000 * float(t):.0f}" for t in found.times], "time of EEG, ms"),
    ):
        shown = places.auc[:, found.latents].numpy()
        panel = {"values": shown, "columns": columns, "groups": kept, "xlabel": label}
        panels.append((f"Each planted latent, {key.replace('_', ' ')}", "latent_map", panel))
    for k, region in enumerate(found.regions):
        parts = found.parts[:, k].mean(0).numpy()
        panel = {
            "values": parts, "columns": [f"{1000 * float(t):.0f}" for t in found.times], "groups": kept,
            "xlabel": "time of EEG, ms", "chance": 0.0, "label": "share of the correlation",
        }  # fmt: skip
        panels.append((f"What each latent adds, {region} region", "latent_map", panel))
    run = {
        "title": "Latents in the brain: where by fMRI, when by EEG", "summary": line, "said": [line],
        "dataset": dataset.identity(), "settings": config.to_json(settings), "versions": versions(),
        "seed": settings.seed, "rho": found.rho, "rho_interval": list(found.interval),
        "rho_null_mean": float(found.null.mean()), "rho_exchanged_mean": float(found.exchanged.mean()),
    }  # fmt: skip
    return Report(tuple(rows), run, tuple(panels))


def timing_words(found: Timing) -> str:
    """The finding in a sentence."""
    parts = []
    for k, region in enumerate(found.regions):
        known = found.latency[:, k]
        at = "at no time" if bool(known.isnan().all()) else f"{1000 * float(known.nanmean()):.0f} ms"
        parts.append(f"{region} {at} (planted {1000 * float(found.planted[k]):.0f})")
    low, high = found.interval
    p = p_value(found.rho, found.null)
    null = f"{float(found.null.mean()):+.2f} (mean of {len(found.null)} refits, p {p:.3g})"
    return (
        f"Latents that fMRI reads from a region are read from EEG at: {', '.join(parts)}. Over {len(found.pairs)} "
        f"pairs of subjects {int((~found.latency.isnan()).sum())} of {found.latency.numel()} latencies stand out; "
        f"planted and recovered ones correlate with rho {found.rho:.2f} "
        f"[{low:.2f}, {high:.2f}], after permuting the stimuli {null}."
    )
