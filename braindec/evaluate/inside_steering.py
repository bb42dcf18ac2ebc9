"""Concepts found, switched on and switched off in embeddings that were decoded from a brain, through latents.

A word's latents are those whose top training stimuli lie along the word's text embedding. They are then asked for in
predictions of held-out stimuli (search), edited there (steering: which scenes lie near the edited prediction), and
drawn. Beside every number stands what as many other latents give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate import inside_fitting, study
from braindec.evaluate.inside_concepts import (
    N_NEAR,
    Concept,
    Scenes,
    Words,
    area,
    asked_for,
    concepts,
    near_scenes,
    other_latents,
)
from braindec.generators import Generator
from braindec.sparse import latents
from braindec.sparse.dictionary import Dictionary, activations
from braindec.stats.intervals import t_interval
from braindec.targets import ImageTarget
from braindec.types import Embeddings, Report

LIMIT = (
    "Scenes are far simpler than photographs and their words are known, so that a latent of a word exists. Predictions "
    "are judged by the scenes near them: that the brain holds the concept where it was switched on is not said, it was "
    "put there. A concept that goes with others in the training scenes brings those too."
)


@dataclass(frozen=True)
class Settings:
    """How much is asked.

    Parameters
    ----------
    n_concepts : int
        Words, those whose latents lie nearest.
    n_latents : int
        At most so many stand for a word.
    loudness : float
        Times a latent's largest activation in training: what it is set to.
    n_null : int
        Draws of other latents, and ten times as many permutations of stimuli.
    n_drawn, n_scenes : int
        Concepts and scenes that are drawn, where there is something that draws.
    seed : int
    """

    n_concepts: int = 8
    n_latents: int = 2
    loudness: float = 1.0
    n_null: int = 19
    n_drawn: int = 2
    n_scenes: int = 4
    seed: int = 0


class Canvas(NamedTuple):
    """What draws embeddings (n, n_dims) as pictures, uint8; what embeds pictures; pictures of held-out rows."""

    draw: Callable[[Tensor], np.ndarray]
    embed: Callable[[np.ndarray], Tensor]
    presented: Callable[[Sequence[int]], np.ndarray]


def steering_study(
    model: Dictionary, train: Scenes, test: Scenes, decoded: Tensor, words: Words, settings: Settings = Settings(), *,
    canvas: Canvas | None = None, subject: int = 1, modality: str = "fmri", protocol: str = "heldout_stimuli",
) -> Report:  # fmt: skip
    """Search, steering and drawing of concepts in decoded embeddings.

    Parameters
    ----------
    model : Dictionary
        Of training embeddings.
    train, test : Scenes
        True embeddings; the first are also the gallery.
    decoded : Tensor, shape (n_test, n_dims)
        Predicted from the brain, in the order of `test`, as long as true embeddings are.
    words : Words
        In the order of the columns of `present`.
    settings : Settings
    canvas : Canvas, optional
    subject, modality : int, str
        Whose brain it was.
    protocol : str
    """
    checks.same_length("test stimulus", decoded=decoded, embeddings=test.embeddings, present=test.present)
    checks.same_length("word", words=words.names, values=words.values, present=train.present.T)
    asked = concepts(model, train, test, words, settings.n_concepts, settings.n_latents, settings.seed)
    loud = settings.loudness * activations(model, train.embeddings).amax(0)
    found, said = _search(model, test, decoded, asked, settings)
    steered = [_steered(model, train, test, decoded, one, loud, settings) for one in asked]
    means = {
        k: np.array([s[k] for s in steered]) for k in ("before", "on", "kept_before", "kept", "with", "off")
    }
    others = np.array([s["others"] for s in steered]).mean(0)  # (draw,)
    told: dict[str, Any] = {"subject": subject, "modality": modality, "protocol": protocol}
    rows = study.scores(
        "steered_has_concept", means["on"].mean(), _over(means["on"]), others, len(test.embeddings),
        chance=float(means["before"].mean()), **told, concepts=[c.word for c in asked],
        kept_before=float(means["kept_before"].mean()), kept=float(means["kept"].mean()),
    )  # fmt: skip
    rows += study.scores("concept_found_in_decoded", *found, len(test.embeddings), chance=0.5, **told)
    said += [
        f"Decoded scenes without a concept, its latents switched on: {means['on'].mean():.2f} of the {N_NEAR} nearest "
        f"training scenes have it (before {means['before'].mean():.2f}, other latents on {others.mean():.2f}). What "
        f"else is in the scene is in {means['kept'].mean():.2f} of them (before {means['kept_before'].mean():.2f}).",
        f"Decoded scenes with it, its latents switched off: {means['off'].mean():.2f} (before "
        f"{means['with'].mean():.2f}).",
    ]
    panels: list[study.Panel] = [
        ("A concept switched on in what a brain saw", "regions", study.bars(
            [c.word for c in asked],
            {"its latents on": means["on"], "other latents on": [np.mean(s["others"]) for s in steered],
             "as decoded": means["before"]},
            f"share of the {N_NEAR} nearest scenes that have it",
        )),
        ("Latents of each word", "table", {
            "columns": ["word", "latents (cosine)", "found in decoded scenes, area", "in true embeddings, area"],
            "rows": [
                [c.word, ", ".join(f"{i} ({v:.2f})" for i, v in c.latents.items()), f"{a:.2f}", f"{b:.2f}"]
                for c, a, b in zip(asked, *_areas(model, test, decoded, asked), strict=True)
            ],
        }),
    ]  # fmt: skip
    if canvas is not None:
        drawn, pictures, line = _drawn(model, train, test, decoded, asked, loud, canvas, settings)
        rows += study.scores("drawn_has_concept", *drawn[:-1], chance=drawn[-1], **told)
        said.append(line)
        panels.insert(0, ("Drawn from a brain, a concept switched on", "image_grid", pictures))
    return study.report("Steering what was decoded", said, rows, panels, LIMIT)


def steered_brain(
    decoder: BrainDecoder, dataset: NeuralDataset, embeddings: Embeddings, words: Tensor,
    autoencoder: inside_fitting.Settings, settings: Settings = Settings(), *, generator: Generator | None = None,
    target: ImageTarget | None = None, protocol: str = "heldout_stimuli",
) -> Report:  # fmt: skip
    """`steering_study` of what a fitted decoder predicts for the test part of its only subject.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on the train part, with a prior.
    dataset : NeuralDataset
        Whole, one subject; its stimuli's table names what is in each (`study.factors`).
    embeddings : Embeddings
        Of all its stimuli.
    words : Tensor, shape (n_factors, n_dims)
        Text embeddings of the factors' words, in their order.
    autoencoder : inside_fitting.Settings
        Of training embeddings.
    settings : Settings
    generator : Generator, optional
        Draws pictures; `target` must then embed them.
    target : ImageTarget, optional
    protocol : str
    """
    ((_, trials),) = dataset.part("test").trials.items()
    prediction = decoder.predict(trials, repeats="after")
    decoded = _flat(decoder.image_embedding(prediction, seed=settings.seed))
    model = inside_fitting.fit_dictionary(embeddings, autoencoder, dataset, progress=False).model
    factors = study.factors(dataset)
    present = torch.from_numpy(np.stack(list(factors.values()), 1))
    row = {name: i for i, name in enumerate(dataset.stimulus_ids)}
    train = [i for i in dataset.part("train").stimulus_ids if i in row]
    seen, new = (
        Scenes(_flat(embeddings.of(ids)), present[[row[i] for i in ids]]) for ids in (train, prediction.ids)
    )
    canvas = None
    if generator is not None and target is not None:
        canvas = _canvas(generator, target, dataset, prediction.ids, settings.seed)
    return steering_study(
        model, seen, new, decoded, Words(tuple(factors), words), settings, canvas=canvas, subject=trials.subject,
        modality=trials.modality, protocol=protocol,
    )  # fmt: skip


def _flat(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).mean(1)


def _canvas(
    generator: Generator, target: ImageTarget, dataset: NeuralDataset, ids: Sequence[str], seed: int
) -> Canvas:
    return Canvas(
        lambda values: generator.generate(
            values[:, None].numpy(), generator=seeding.torch_generator(seed, "steered pictures")
        ),
        lambda pictures: _flat(target.embed_images(pictures)),
        lambda rows: np.stack(list(dataset.stimuli.images([ids[i] for i in rows]))),
    )


# ---------------------------------------------------------------------------------------------------------- search


def _areas(
    model: Dictionary, test: Scenes, decoded: Tensor, asked: Sequence[Concept]
) -> tuple[list[float], list[float]]:
    """Of each concept, the area in decoded and in true embeddings."""
    out = []
    for values in (decoded, test.embeddings):
        score = asked_for(model, values, asked)
        out.append([area(score[:, [k]], test.present[:, [c.column]]) for k, c in enumerate(asked)])
    return out[0], out[1]


def _search(
    model: Dictionary, test: Scenes, decoded: Tensor, asked: Sequence[Concept], settings: Settings
) -> tuple[tuple[float, tuple[float, float], np.ndarray], list[str]]:
    """(value, interval, null) of finding concepts in decoded embeddings, and words."""
    present = test.present[:, [c.column for c in asked]]
    score, truth = (asked_for(model, x, asked) for x in (decoded, test.embeddings))
    generator = seeding.torch_generator(settings.seed, "concept search")
    nulls = np.array([
        area(score, present[torch.randperm(len(present), generator=generator)])
        for _ in range(10 * settings.n_null)
    ])  # fmt: skip
    value, interval = area(score, present), study.jackknife(area, score, present, seed=settings.seed)
    near = asked[0].latents
    pre = model.pre_activations(decoded).detach()
    first = latents.search((pre - pre.mean(0)).clamp_min(0), near, N_NEAR)
    share = float(present[first, 0].double().mean()) if len(first) else 0.0
    words = [
        f"Asked for by the latents of {len(asked)} words, decoded scenes that hold the concept are told from others "
        f"with an area of {value:.3f} [{interval[0]:.2f}, {interval[1]:.2f}] (stimuli permuted {nulls.mean():.3f}; in "
        f"true embeddings {area(truth, present):.3f}). Of the first {len(first)} found for {asked[0].word!r}, "
        f"{share:.2f} have it ({float(present[:, 0].double().mean()):.2f} of all).",
    ]
    return (value, interval, nulls), words


# -------------------------------------------------------------------------------------------------------- steering


def _steered(
    model: Dictionary,
    train: Scenes,
    test: Scenes,
    decoded: Tensor,
    one: Concept,
    loud: Tensor,
    settings: Settings,
) -> dict:
    """Shares of near training scenes that have a concept: before, with it on, with others on, off; and what is kept."""
    generator = seeding.torch_generator(settings.seed, "steering", one.word)
    has = test.present[:, one.column]
    without, having = decoded[~has], decoded[has]
    on = latents.steer(model, without, {i: float(loud[i]) for i in one.latents}, keep_norm=True)
    off = latents.steer(model, having, dict.fromkeys(one.latents, 0.0), keep_norm=True)
    others = [
        _share(latents.steer(model, without, edits, keep_norm=True), train, one.column)
        for edits in (other_latents(one, loud, generator) for _ in range(settings.n_null))
    ]
    rest = test.present[~has].clone()
    return {
        "before": _share(without, train, one.column), "on": _share(on, train, one.column), "others": others,
        "with": _share(having, train, one.column), "off": _share(off, train, one.column),
        "kept_before": _kept(without, train, rest), "kept": _kept(on, train, rest),
    }  # fmt: skip


def _share(queries: Tensor, train: Scenes, column: int) -> float:
    return float(near_scenes(queries, train)[:, column].mean())


def _kept(queries: Tensor, train: Scenes, present: Tensor) -> float:
    """Mean share of near scenes that have what the scene itself has."""
    return float(near_scenes(queries, train)[present.bool()].mean())


# --------------------------------------------------------------------------------------------------------- drawing


def _drawn(
    model: Dictionary, train: Scenes, test: Scenes, decoded: Tensor, asked: Sequence[Concept], loud: Tensor,
    canvas: Canvas, settings: Settings,
):  # fmt: skip
    """(value, interval, null, n, before) of pictures, the panel of them, and words."""
    generator = seeding.torch_generator(settings.seed, "steered pictures")
    kinds = ("as decoded", "concept on", "other latent on")
    pictures: dict[str, list[np.ndarray]] = {k: [] for k in ("presented", *kinds)}
    shares: dict[str, list[float]] = {k: [] for k in kinds}
    groups = []
    for one in asked[: settings.n_drawn]:
        rows = torch.nonzero(~test.present[:, one.column]).squeeze(1)[: settings.n_scenes]
        start = decoded[rows]
        edits = {i: float(loud[i]) for i in one.latents}
        made = {
            "as decoded": start,
            "concept on": latents.steer(model, start, edits, keep_norm=True),
            "other latent on": latents.steer(
                model, start, other_latents(one, loud, generator), keep_norm=True
            ),
        }
        pictures["presented"].append(canvas.presented(rows.tolist()))
        for kind, values in made.items():
            pictures[kind].append(canvas.draw(values))
            seen = near_scenes(canvas.embed(pictures[kind][-1]), train)[:, one.column]
            shares[kind] += seen.tolist()
        groups.append((one.word, len(rows)))
    on = np.array(shares["concept on"])
    caption = (
        "Held-out scenes without the concept named above: as presented; drawn from the brain's prediction; the same "
        "with the concept's latents switched on; with as many other latents on."
    )
    payload = {
        "rows": {k: np.concatenate(v) for k, v in pictures.items()}, "groups": groups, "caption": caption,
        "section": "pictures",
    }  # fmt: skip
    line = (
        f"Drawn, {on.mean():.2f} of the {N_NEAR} scenes nearest to the picture have the concept that was switched on "
        f"(as decoded {np.mean(shares['as decoded']):.2f}, other latents on {np.mean(shares['other latent on']):.2f}; "
        f"{len(on)} pictures)."
    )
    found = (
        on.mean(),
        _over(on),
        _means(np.array(shares["other latent on"]), settings),
        len(on),
        float(np.mean(shares["as decoded"])),
    )
    return found, payload, line


def _means(values: np.ndarray, settings: Settings) -> np.ndarray:
    """Means of as many values, drawn again: what a mean of so few would have been."""
    draw = seeding.numpy_generator(settings.seed, "means of pictures")
    return values[draw.integers(len(values), size=(10 * settings.n_null, len(values)))].mean(1)


def _over(values: np.ndarray) -> tuple[float, float]:
    """95 % limits of a mean share over concepts (or pictures), within [0, 1]."""
    if len(values) < 2:
        return 0.0, 1.0
    found = t_interval(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5), len(values))
    return max(0.0, found.low), min(1.0, found.high)
