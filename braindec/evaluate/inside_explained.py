"""Latents explained in words, and whether the words tell which held-out stimuli, and which brain responses, have them.

Every explanation is made from training stimuli. It is then judged by how well it fits held-out stimuli in which its
latent is active, against those in which it is not; beside explanations that latents have exchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from braindec import checks, seeding
from braindec.captioners import Captioner
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate import inside_fitting, study
from braindec.evaluate.inside_explained_report import (
    ARBITRARY,
    CONSTANT,
    LIMIT,
    OURS,
    Judged,
    Nulls,
    compared,
    pictured,
    said,
    table,
)
from braindec.evaluate.inside_names import vocabulary
from braindec.sparse import explanations, latents
from braindec.sparse import language_model as language
from braindec.sparse.dictionary import Dictionary, activations
from braindec.sparse.explanation_scores import CHANCE, Scored, asked, fits_by_embedding, fits_by_words, score
from braindec.sparse.explanations import AND, NOTHING
from braindec.targets import ImageTextTarget
from braindec.types import Embeddings, Report, Score

Embed = Callable[[list[str]], Tensor]


@dataclass(frozen=True)
class Settings:
    """How much is asked.

    Parameters
    ----------
    n_top : int
        Training stimuli that a latent is explained by.
    n_phrases : int
        At most so many in an explanation.
    min_active : int
        Training stimuli, and held-out ones of either kind, that a latent needs.
    n_null : int
        Times that explanations are exchanged.
    n_refits : int
        Times that captions are permuted and all latents explained anew.
    n_asked : int
        Held-out stimuli of either kind that a language model judges for each latent.
    n_shown : int
        Latents with pictures.
    closed_words : bool
        The model that embeds texts knows the words of captions alone: others are left out of what a language model
        wrote. The shipped OpenCLIP is such a one.
    seed : int
    """

    n_top: int = 20
    n_phrases: int = 2
    min_active: int = 10
    n_null: int = 199
    n_refits: int = 9
    n_asked: int = 4
    n_shown: int = 8
    closed_words: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_null", "n_refits", "n_asked", "n_shown"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("min_active", self.min_active, 2)


class Told(NamedTuple):
    """Embeddings (n, n_dims) of stimuli, and their captions."""

    embeddings: Tensor
    captions: Sequence[str]


def explained_study(
    model: Dictionary, train: Told, test: Told, decoded: Tensor, embed: Embed, settings: Settings = Settings(), *,
    captioner: Captioner | None = None, language_model: language.LanguageModel | None = None,
    pictures: Callable[[Sequence[int]], np.ndarray] | None = None, factors: Mapping[str, np.ndarray] | None = None,
    subject: int = 1, modality: str = "fmri", protocol: str = "heldout_stimuli",
) -> Report:  # fmt: skip
    """Explanations of latents in several ways, and how well each tells held-out stimuli and brain responses.

    Parameters
    ----------
    model : Dictionary
        Of training embeddings.
    train, test : Told
        They share no stimulus.
    decoded : Tensor, shape (n_test, n_dims)
        Predicted from the brain, in the order of `test`.
    embed : callable
        Embeds texts as the embeddings' model does: (n, n_dims).
    settings : Settings
    captioner : Captioner, optional
        Is shown what a latent adds to the mean embedding, and writes what it sees.
    language_model : LanguageModel, optional
        Writes explanations from captions, and judges those by contrast.
    pictures : callable, optional
        Held-out rows as uint8 (n, height, width, 3).
    factors : mapping of str to bool ndarray (n_test,), optional
        What is known to be in each held-out stimulus, by word.
    subject, modality, protocol
        Whose brain it was, and how it was read.
    """
    checks.same_length("test stimulus", decoded=decoded, embeddings=test.embeddings, captions=test.captions)
    seen, new = activations(model, train.embeddings), activations(model, test.embeddings)
    count = (new > 0).sum(0)
    kept = torch.nonzero(
        ((seen > 0).sum(0) >= settings.min_active)
        & (count >= settings.min_active)
        & (len(new) - count >= settings.min_active)
    ).squeeze(1)
    checks.at_least(f"latents active in {settings.min_active} training and test stimuli", len(kept), 2)
    seen, new = seen[:, kept], new[:, kept]
    reading = model.pre_activations(decoded).detach()[:, kept]  # a prediction is never encoded
    by = _Judge(test, embed, _centres(train, embed), new, reading, settings)
    ways = _ways(model, kept, seen, train, embed, settings, captioner, language_model)
    found = {way: by(texts) for way, texts in ways.items()}
    found[ARBITRARY] = _arbitrary(train, decoded, seen, by)
    ours = found[OURS]
    told: dict[str, Any] = {"subject": subject, "modality": modality, "protocol": protocol}
    rows, nulls = _scores(ours, by, settings, len(test.captions), told)
    lines = said(found, nulls, _refits(train, seen, by, settings), len(kept), len(test.captions))
    numbers, draw = kept.tolist(), seeding.torch_generator(settings.seed, "areas of latents")
    panels = [table(ours, by.fits(ours.texts), by.active, numbers, draw), compared(found, nulls)]
    if factors is not None:
        lines.append(_named(ours, new, factors, settings))
    if language_model is not None:
        lines.append(_by_language(language_model, ours, new, test, settings))
    if pictures is not None:
        n_pictures = min(6, settings.min_active)
        panels.insert(0, pictured(ours, new, numbers, pictures, settings.n_shown, n_pictures))
    return study.report("Latents in words", lines, rows, panels, LIMIT)


def explained_brain(
    decoder: BrainDecoder, dataset: NeuralDataset, embeddings: Embeddings, target: ImageTextTarget,
    autoencoder: inside_fitting.Settings, settings: Settings = Settings(), *, captioner: Captioner | None = None,
    language_model: Mapping[str, Any] | None = None, protocol: str = "heldout_stimuli",
) -> Report:  # fmt: skip
    """`explained_study` of what a fitted decoder predicts for the test part of its only subject.

    Parameters
    ----------
    decoder : BrainDecoder
        Fitted on the train part.
    dataset : NeuralDataset
        Whole, one subject; its stimuli have captions.
    embeddings : Embeddings
        Of all its stimuli.
    target : ImageTextTarget
        That made them.
    autoencoder : inside_fitting.Settings
        Of training embeddings.
    settings : Settings
    captioner : Captioner, optional
        Of the same space, trained on training stimuli.
    language_model : mapping, optional
        Settings of `sparse.language_model.Config`.
    protocol : str
    """
    ((_, trials),) = dataset.part("test").trials.items()
    prediction = decoder.predict(trials, repeats="after")
    decoded = _flat(decoder.image_embedding(prediction, seed=settings.seed))
    model = inside_fitting.fit_dictionary(embeddings, autoencoder, dataset, progress=False).model
    known = dataset.stimuli.captions
    row = {name: i for i, name in enumerate(dataset.stimulus_ids)}
    train = [i for i in dataset.part("train").stimulus_ids if i in row and i in known]
    absent = [i for i in prediction.ids if i not in known]
    if absent:
        raise ValueError(f"{len(absent)} test stimuli have no caption, {absent[0]!r} first; give them some.")
    seen, new = (Told(_flat(embeddings.of(ids)), [known[i] for i in ids]) for ids in (train, prediction.ids))
    places = [row[i] for i in prediction.ids]
    return explained_study(
        model, seen, new, decoded, lambda texts: torch.from_numpy(target.embed_text(texts)).flatten(1).float(),
        settings, captioner=captioner,
        language_model=None if language_model is None else language.build(language.Config(**language_model)),
        pictures=lambda rows: np.stack(list(dataset.stimuli.images([prediction.ids[i] for i in rows]))),
        factors={word: held[places] for word, held in study.factors(dataset).items()},
        subject=trials.subject, modality=trials.modality, protocol=protocol,
    )  # fmt: skip


def _flat(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).mean(1)


# -------------------------------------------------------------------------------------------- writing and judging


def _ways(
    model: Dictionary, kept: Tensor, seen: Tensor, train: Told, embed: Embed, settings: Settings,
    captioner: Captioner | None, language_model: language.LanguageModel | None,
) -> dict[str, tuple[str, ...]]:  # fmt: skip
    """Texts of the kept latents, made from training stimuli alone."""
    draw = seeding.torch_generator(settings.seed, "latents in words")
    words = vocabulary({str(i): text for i, text in enumerate(train.captions)})
    spelled, atoms = embed(words), model.atoms.detach()[kept]
    top = latents.top_stimuli(model, train.embeddings, min(settings.n_top, len(seen)))
    mine = latents.Top(top.stimuli[kept], top.values[kept])
    near = latents.name_by_stimuli(
        mine, train.embeddings, spelled, words, generator=draw, n_words=settings.n_phrases, n_draws=1
    )
    through = explanations.lens(atoms, spelled, words, generator=draw, n_words=settings.n_phrases, n_draws=1)
    out = {
        OURS: _contrasted(train.captions, seen, settings),
        "words nearest to its stimuli": tuple(AND.join(some) for some in near.words),
        "its direction in words": tuple(AND.join(some) or NOTHING for some in through.words),
        "caption of its top stimulus": tuple(train.captions[int(i)] for i in mine.stimuli[:, 0]),
        CONSTANT: (words[0],) * len(kept),
    }
    if captioner is not None:
        shown = train.embeddings.mean(0) + seen.amax(0)[:, None] * atoms
        out["written by a captioner that is shown it"] = captioner.caption(
            shown[:, None].numpy(), generator=draw
        )
    if language_model is not None:
        told = explanations.examples(train.captions, seen, settings.n_asked, draw)
        texts = language_model.explain(*told, generator=draw)
        out["written by a language model"] = (
            _closed(texts, train.captions) if settings.closed_words else texts
        )
    return out


def _closed(texts: Sequence[str], captions: Sequence[str]) -> tuple[str, ...]:
    """Texts without the words that no caption holds."""
    known = {word for text in captions for word in re.findall(r"\w+", text.lower())}
    return tuple(" ".join(w for w in re.findall(r"\w+", text.lower()) if w in known) for text in texts)


def _contrasted(captions: Sequence[str], seen: Tensor, settings: Settings) -> tuple[str, ...]:
    return explanations.contrast(captions, seen, n_top=settings.n_top, n_phrases=settings.n_phrases).texts


def _centres(train: Told, embed: Embed) -> dict[str, Tensor]:
    told = functional.normalize(embed(sorted(set(train.captions))), dim=1)
    return {
        "text_centre": told.mean(0),
        "stimulus_centre": functional.normalize(train.embeddings, dim=1).mean(0),
    }


class _Judge:
    """Scores texts on held-out stimuli; what it centres by is of training stimuli."""

    def __init__(
        self, test: Told, embed: Embed, centres: dict[str, Tensor], new: Tensor, reading: Tensor, settings: Settings
    ) -> None:  # fmt: skip
        self.test, self.embed, self.centres, self.new, self.reading = test, embed, centres, new, reading
        self.settings, self.active = settings, new > 0
        self.active_in_brain = loudest(reading, self.active.sum(0))

    def fits(self, texts: Sequence[str]) -> Tensor:
        return fits_by_embedding(texts, self.embed, self.test.embeddings, **self.centres)

    def scored(self, fits: Tensor) -> Scored:
        return score(fits, self.new, min_active=self.settings.min_active)

    def __call__(self, texts: tuple[str, ...]) -> Judged:
        fits = self.fits(texts)
        brain = score(fits, self.reading, self.active_in_brain, min_active=self.settings.min_active)
        return Judged(texts, self.scored(fits), brain, self.scored(fits_by_words(texts, self.test.captions)))


def loudest(reading: Tensor, counts: Tensor) -> Tensor:
    """Bool (n, n_latents): of each latent the `counts` (n_latents,) stimuli with the largest readings."""
    place = reading.argsort(dim=0, descending=True, stable=True).argsort(dim=0, stable=True)
    return place < counts


def _arbitrary(train: Told, decoded: Tensor, seen: Tensor, by: _Judge) -> Judged:
    """As many directions at random, each cut so that it is as often active in training as the latent in its place."""
    settings = by.settings
    draw = seeding.torch_generator(settings.seed, "random directions")
    directions = torch.randn(seen.shape[1], train.embeddings.shape[1], generator=draw)
    along = train.embeddings @ directions.T
    place = (seen <= 0).sum(0)  # that many are silent
    cut = along.sort(dim=0).values.gather(0, (place - 1).clamp_min(0)[None])
    own = _Judge(
        by.test, by.embed, by.centres, torch.relu(by.test.embeddings @ directions.T - cut), decoded @ directions.T,
        settings,
    )  # fmt: skip
    return own(_contrasted(train.captions, torch.relu(along - cut), settings))


def _refits(train: Told, seen: Tensor, by: _Judge, settings: Settings) -> tuple[float, float]:
    """(mean detection, share of latents with any words) where captions belong to other stimuli."""
    draw = seeding.numpy_generator(settings.seed, "captions permuted")
    areas: list[float] = []
    told: list[float] = []
    for _ in range(settings.n_refits):
        captions = [train.captions[i] for i in draw.permutation(len(train.captions))]
        texts = _contrasted(captions, seen, settings)
        areas.append(by.scored(by.fits(texts)).means()[0])
        told.append(sum(text != NOTHING for text in texts) / len(texts))
    return sum(areas) / len(areas), sum(told) / len(told)


# ---------------------------------------------------------------------------------------------------------- report


def _scores(
    ours: Judged, by: _Judge, settings: Settings, n: int, told: dict[str, Any]
) -> tuple[list[Score], Nulls]:
    """Scores of the explanations by contrast, each beside exchanged ones, and those draws."""
    fits, rows = by.fits(ours.texts), []
    nulls = Nulls(*(
        one.exchanged(seeding.torch_generator(settings.seed, "exchanged", way), settings.n_null)
        for way, one in (("true", ours.true), ("brain", ours.brain), ("words", ours.words))
    ))  # fmt: skip
    for suffix, found, null, values, active in (
        ("", ours.true, nulls.true, by.new, by.active),
        ("_from_brain", ours.brain, nulls.brain, by.reading, by.active_in_brain),
    ):
        for k, (name, chance) in enumerate((("detection", CHANCE), ("simulation", 0.0))):

            def mean(f: Tensor, v: Tensor, a: Tensor, k: int = k) -> float:
                return score(f, v, a, min_active=2).means()[k]

            rows += study.scores(
                f"explanation_{name}{suffix}", found.means()[k],
                study.jackknife(mean, fits, values, active, seed=settings.seed), null[:, k], n, chance=chance,
                **told, n_latents=int(found.judged.sum()),
            )  # fmt: skip
    return rows, nulls


def _named(ours: Judged, new: Tensor, factors: Mapping[str, np.ndarray], settings: Settings) -> str:
    """How many explanations hold the word of the factor that their latent tells best, beside exchanged ones."""
    words = [w for w, held in factors.items() if min(held.sum(), (~held).sum()) >= settings.min_active]
    present = torch.from_numpy(np.stack([factors[w] for w in words], 1)).double()
    one = score(torch.zeros_like(new), new, min_active=settings.min_active)
    areas = torch.stack([score(new, p[:, None].expand_as(new), min_active=2).detection for p in present.T], 1)
    best = areas.nan_to_num(0.0).argmax(1)
    rows = torch.nonzero(one.judged).squeeze(1).tolist()
    held = [set(explanations.spelled(text)) for text in ours.texts]
    right = np.array([[set(words[int(best[i])].split()) <= held[j] for j in rows] for i in rows])
    draw = seeding.numpy_generator(settings.seed, "factors exchanged")
    null = np.mean(
        [right[np.arange(len(rows)), draw.permutation(len(rows))].mean() for _ in range(settings.n_null)]
    )
    return (
        f"{right.diagonal().mean():.2f} of the explanations hold the word of the known factor that their latent tells "
        f"best on held-out stimuli (exchanged {null:.2f}, {len(rows)} latents, {len(words)} factors)."
    )


def _by_language(
    model: language.LanguageModel, ours: Judged, new: Tensor, test: Told, settings: Settings
) -> str:
    draw = seeding.torch_generator(settings.seed, "asked of a language model")
    rows = asked(new > 0, settings.n_asked, draw)
    found = score(model.fits(ours.texts, [test.captions[i] for i in rows.tolist()]), new[rows], min_active=2)
    null = found.exchanged(draw, settings.n_null).mean(0)
    return (
        f"By a language model that reads captions of {len(rows)} held-out stimuli, explanations by contrast tell "
        f"{int(found.judged.sum())} latents with an area of {found.means()[0]:.3f} (exchanged {null[0]:.3f})."
    )
