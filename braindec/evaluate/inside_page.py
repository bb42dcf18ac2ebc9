"""The inside page of the demo: encoding map, geometry over time, latents, and where and when they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from braindec import config
from braindec.data import NeuralDataset, catalogue
from braindec.decoder import versions
from braindec.evaluate import (
    compare_geometries,
    compare_report,
    encode,
    encode_features,
    encode_report,
    inside_fitting,
    inside_geometry,
    inside_latents,
    inside_names,
    inside_report,
    inside_timing,
)
from braindec.evaluate.compare_sources import Choices
from braindec.evaluate.jobs import refits
from braindec.evaluate.laps import Laps
from braindec.sparse import FitConfig, readers
from braindec.sparse.dictionary import Dictionary
from braindec.types import Embeddings, Report, Score

Panel = tuple[str, str, dict[str, Any]]
LIMITS = (
    "These brains are simulated, in a world of known levels. What is found here shows that the analyses find what was "
    "planted, and nothing where nothing is; it says nothing of real brains.",
    *inside_report.LIMITS,
)


@dataclass(frozen=True)
class Settings:
    """How deep the page looks.

    Parameters
    ----------
    fmri, eeg : str
        Subjects.
    target : str
        The space of the embeddings, as `encode_features` names it: its layers stand in the encoding map, and its
        random weights among the baselines of latents.
    n_layers : int
        The target's own embedding last.
    n_null : int
        Refits to permuted stimuli behind every null; 19 at least where p < 0.05 is to be possible.
    n_permutations, n_draws : int
        Permutations without a refit, and resamples behind intervals.
    n_times : int
        Windows of the geometry over time.
    n_latents, n_active, n_steps : int
        Of the autoencoder.
    fusion_world : str
        Simulated world in which regions and times are put together; it is made for that. In the demo's own the one
        EEG subject is too noisy: levels are found there, their order is not.
    planted_latents, planted_steps : int
        Of the one of each level.
    n_jobs : int
        Processes; 0 for as many as there are cores.
    seed : int
    """

    fmri: str = "sub-01_fmri"
    eeg: str = "sub-05_eeg"
    target: str = "tiny_openclip"
    n_layers: int = 2
    n_null: int = 19
    n_permutations: int = 199
    n_draws: int = 100
    n_times: int = 20
    n_latents: int = 64
    n_active: int = 6
    n_steps: int = 300
    fusion_world: str = "latents"
    planted_latents: int = 48
    planted_steps: int = 300
    n_jobs: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the page.

    Parameters
    ----------
    section : str
        Of the page.
    said : str
        The finding, in a sentence.
    scores : tuple of Score
    panels : tuple of Panel
    record : dict
        JSON values for the report.
    """

    section: str
    said: str
    scores: tuple[Score, ...]
    panels: tuple[Panel, ...]
    record: dict[str, Any]


def report(
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folder: str | Path,
    settings: Settings,
    protocol: str,
    pages: Mapping[str, str] | None = None,
) -> Report:
    """The whole page.

    Parameters
    ----------
    dataset : NeuralDataset
        Simulated: fMRI subjects whose regions are named as levels, and one of EEG.
    embeddings : Embeddings
        Of all its stimuli in the target's space.
    folder : path
        Where it was prepared, with its truth.
    settings : Settings
    protocol : str
        Name that the scores carry.
    pages : mapping of str to str, optional
        Where the page leads to: {label: address beside it}.
    """
    told: tuple[Any, ...] = (dataset, embeddings, Path(folder), settings, protocol)
    makers: list[Callable[..., Part]] = [fusion, latents, encoding, geometry]  # the longest first
    made = refits(
        partial(_timed, makers, told), len(makers), n_jobs=settings.n_jobs, said="inside", progress=True
    )
    seconds = {part.section: round(spent, 2) for part, spent in made}
    parts = [part for part, _ in made]
    parts.sort(key=lambda part: ORDER.index(part.section))
    panels: list[Panel] = [("In short", "text", {"text": [f"- {part.said}" for part in parts]})]
    for part in parts:
        panels += [
            (title, kind, {"section": part.section, **payload}) for title, kind, payload in part.panels
        ]
    panels.append(
        ("What this does not show", "text", {"text": [f"- {line}" for line in LIMITS], "section": "limits"})
    )
    run = {
        "title": "Inside the simulated brains",
        "summary": "What predicts the voxels, when geometry comes, which latents of the image model are carried, where "
        "and when; each beside its null, its ceiling and what no one would call a finding.",
        "said": [part.said for part in parts], "parts": [part.record for part in parts], "cpu_seconds": seconds,
        "settings": config.to_json(settings), "dataset": dataset.identity(), "versions": versions(),
        "seed": settings.seed, "protocol": protocol, "pages": dict(pages or {}),
    }  # fmt: skip
    return Report(tuple(s for part in parts for s in part.scores), run, tuple(panels))


ORDER = ("fusion", "encoding", "geometry", "latents")


def _early_to_late(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Regions of cards and maps in the order of vision; files hold them by the alphabet."""
    key, values, axis = ("place_names", "places", 1) if "place_names" in payload else ("columns", "values", 0)
    names, levels = list(payload.get(key, ())), list(inside_timing.LATENCY_S)
    if not set(levels) <= set(names) or values not in payload:
        return dict(payload)
    order = [names.index(name) for name in (*levels, *(n for n in names if n not in levels))]
    moved = {values: np.take(np.asarray(payload[values]), order, axis), key: [names[i] for i in order]}
    if payload.get("limit") is not None:
        moved["limit"] = np.take(np.asarray(payload["limit"]), order, axis)
    return {**payload, **moved}


def _timed(makers: list[Callable[..., Part]], told: tuple[Any, ...], number: int) -> tuple[Part, float]:
    """A part, and the CPU seconds that it took."""
    lap = Laps()
    part = makers[number](*told)
    lap("part")
    return part, lap.cpu_seconds["part"]


def encoding(
    dataset: NeuralDataset, embeddings: Embeddings, folder: Path, settings: Settings, protocol: str
) -> Part:
    """The encoding map of one fMRI subject: shares of the ceiling, nuisance features beside, null."""
    own = dataset.select(keys=[settings.fmri])
    cached: dict[str, Any] = {"seed": settings.seed, "cache": folder / "embeddings"}
    specs = encode_features.layers_of(settings.target, settings.n_layers)
    layers, nuisance = (
        encode_features.feature_spaces(s, own, **cached)
        for s in (specs, encode_features.default_nuisance(specs))
    )
    told = encode.Settings(
        n_folds=3, n_null=settings.n_null, n_permutations=settings.n_permutations, seed=settings.seed,
        shares=(0.5, 0.1, 0.9),
    )  # fmt: skip
    found = encode.encode(own, layers, nuisance, preprocessing=encode.PREPROCESSING, settings=told)
    e = found[settings.fmri]
    panels = encode_report.report(found, own, protocol=protocol).panels
    shown = [p for p in panels if p[2].get("section") != "limits"]
    # The map first: it is what one looks for.
    shown.sort(key=lambda p: not p[0].startswith("Share of the noise ceiling"))
    kept = encode_report.counted(e)
    said = (
        f"Encoding: the network's layers predict held-out responses of {_spoken(settings.fmri)} with r "
        f"{e.best[kept].mean():.2f} over {int(kept.sum())} of {len(kept)} voxels"
        + (
            f", {e.normalised.values[e.normalised.kept].mean():.2f} of the noise ceiling"
            if e.normalised
            else ""
        )
        + f"; pixels and random weights alone reach {e.nuisance_r[kept].mean():.2f}, refits to shuffled stimuli "
        f"{e.null[:, kept].mean():.2f}."
    )
    scores = tuple(encode_report.scores(found, protocol))
    return Part("encoding", said, scores, tuple((t, k, dict(p)) for t, k, p in shown), {"encoding": said})


def geometry(
    dataset: NeuralDataset, embeddings: Embeddings, folder: Path, settings: Settings, protocol: str
) -> Part:
    """When distances of EEG are those of each planted level."""
    choices = Choices(n_times=settings.n_times, part="all", seed=settings.seed)
    told = compare_geometries.Settings(
        n_draws=settings.n_draws, n_permutations=settings.n_permutations, seed=settings.seed, choices=choices
    )
    random = f"{settings.target}!random"
    found = inside_geometry.levels_over_time(dataset, folder, settings.eeg, told, [random])
    lines = inside_geometry.sentences(found)
    panels = compare_report.report(found, protocol=protocol).panels
    kept: list[Panel] = []
    for title, kind, payload in panels:
        if kind == "rsa_time_course":
            planted = {f"{level} level": at for level, at in inside_timing.LATENCY_S.items()}
            text = {"text": [f"- {line}" for line in lines]}
            caption = (
                "Grey: what a model without noise would reach with half of the repeats, and with all. Dotted: what "
                f"95 % of {settings.n_permutations} permutations of the stimuli stay below, all times and models. "
                "Levels share much of what they see, so each is seen at the times of the others too."
            )
            kept.append((title, kind, {**payload, "planted": planted, "caption": caption}))
            kept.append(("When each level is there", "text", text))
        elif kind == "rdm":
            kept.append((title, kind, dict(payload)))
        elif kind == "table":
            kept.append((title, kind, dict(payload)))
    said = f"Geometry of {_spoken(settings.eeg)} over time: " + " ".join(lines[:3])
    record = {"geometry": compare_report.as_json(found)}
    return Part("geometry", said, tuple(compare_report.scores(found, protocol)), tuple(kept), record)


def latents(
    dataset: NeuralDataset, embeddings: Embeddings, folder: Path, settings: Settings, protocol: str
) -> Part:
    """Latents of an autoencoder of the training stimuli's embeddings in both subjects, named, where and when."""
    keys = (settings.fmri, settings.eeg)
    own = dataset.select(keys=keys)
    told, model = _told(settings), dictionary(dataset, embeddings, settings)
    reading = readers.Settings(
        n_folds=4, n_inner=3, n_null=settings.n_null, n_draws=settings.n_draws, n_rates=4,
        alphas=(1e1, 1e2, 1e3, 1e4),
    )  # fmt: skip
    look = inside_latents.Settings(
        reading=reading, n_baseline=32, n_null_places=settings.n_null, window=4, seed=settings.seed
    )
    found = inside_latents.inside(
        own, embeddings, model, control=_random(own, folder, told, settings), settings=look,
        preprocessing=inside_timing.whitened(look),
    )  # fmt: skip
    names = names_of(model, own, embeddings, settings)
    panels: list[Panel] = []
    for one in found.values():
        # Cards first, claims and baselines after them.
        panels += sorted(inside_report.subject_panels(one, own, names), key=lambda p: p[1] != "latents")
    lines = [line for one in found.values() for line in inside_report.sentences(one)]
    panels.append(("Latents in words", "text", {"text": [f"- {line}" for line in lines]}))
    counts = {
        key: {v: one.claim["direct"].verdict.count(v) for v in inside_report.SAID}
        for key, one in found.items()
    }
    record = {"verdicts": counts, "names": {str(i): w for i, w in names.items()}}
    said = "Latents: " + " ".join(_claimed(key, n) for key, n in counts.items())
    return Part("latents", said, tuple(inside_report.scores(found, protocol)), tuple(panels), record)


def dictionary(dataset: NeuralDataset, embeddings: Embeddings, settings: Settings) -> Dictionary:
    """The page's autoencoder of the training stimuli's embeddings: the same whenever it is asked for."""
    return inside_fitting.fit_dictionary(embeddings, _told(settings), dataset).model


def names_of(
    model: Dictionary, dataset: NeuralDataset, embeddings: Embeddings, settings: Settings
) -> Mapping[int, str]:
    """Words of the latents that are named with certainty, from the captions of the stimuli."""
    words = inside_names.from_captions(settings.target, dataset.stimuli.captions)
    return inside_names.named(model, embeddings, words, settings.seed).certain


def _told(settings: Settings) -> inside_fitting.Settings:
    return inside_fitting.Settings(
        n_latents=settings.n_latents, n_active=settings.n_active, n_steps=settings.n_steps, lr=3e-3,
        seed=settings.seed,
    )  # fmt: skip


def _random(
    dataset: NeuralDataset, folder: Path, told: inside_fitting.Settings, settings: Settings
) -> tuple[Embeddings, Dictionary]:
    """Embeddings of the same network before training, and an autoencoder of them."""
    name = f"{settings.target}!random"
    cached: dict[str, Any] = {"seed": settings.seed, "cache": folder / "embeddings"}
    random = encode_features.feature_spaces([name], dataset, **cached)[name]
    return random, inside_fitting.fit_dictionary(random, told, dataset).model


def _claimed(key: str, counts: Mapping[str, int]) -> str:
    """What may be said of one subject's latents."""
    tested, read = (
        sum(counts.values()) - counts["not tested"],
        counts["stands"] + counts["not above baselines"],
    )
    above = counts["stands"]
    more = f"only {above} of them stand" if above else "none of them stands"
    return (
        f"{read} of {tested} are read from {_spoken(key)} better than any after permuting the stimuli; {more} above "
        "95 % of the latents of every baseline (PCA, ICA, NMF, raw and random directions, random weights)"
        + ("." if above else ", so that these latents are special is not claimed.")
    )


def fusion(
    dataset: NeuralDataset, embeddings: Embeddings, folder: Path, settings: Settings, protocol: str
) -> Part:
    """Where by fMRI, when by EEG: planted latencies of regions recovered, with the null, in one figure."""
    reading = readers.Settings(n_folds=4, n_inner=3, alphas=(1e2, 1e3, 1e4))
    told = inside_latents.Settings(reading=reading, n_null_places=settings.n_null, seed=settings.seed)
    training = FitConfig(n_steps=settings.planted_steps, batch_size=256, lr=3e-3, device="cpu")
    with TemporaryDirectory(prefix="braindec-") as temporary:
        raw, prepared = Path(temporary) / "raw", Path(temporary) / "prepared"
        world = catalogue.load("simulated")
        world["synthetic"](raw, world=settings.fusion_world)
        world["prepare"](raw, prepared)
        own = NeuralDataset.read(prepared)
        eeg = next(key for key in own.keys if key.endswith("_eeg"))
        planted = inside_timing.planted_latents(
            prepared,
            eeg,
            n_latents=settings.planted_latents,
            n_active=4,
            seed=settings.seed,
            training=training,
        )
        found = inside_timing.timing(own, planted, settings=told, n_draws=settings.n_draws)
        made = inside_report.timing_report(found, own, planted.level, told, protocol)
    n = sum(key.endswith("_eeg") for key in own.keys)
    caption = (
        f"Another simulated world than the rest of this page, made for this question: {len(own.keys) - n} fMRI and {n} "
        "EEG subjects, EEG of little noise. A latency is given where a time stands out of the refits."
    )
    title, kind, payload = made.panels[0]  # its words stand at the head
    panels = ((title, kind, {**payload, "section": "fusion", "caption": caption}),)
    record = {"fusion": {"rho": found.rho, "null": found.null.tolist(), "world": settings.fusion_world}}
    return Part("fusion", f"Fusion: {inside_report.timing_words(found)}", made.scores, panels, record)


def _spoken(key: str) -> str:
    return key.replace("_", " ")
