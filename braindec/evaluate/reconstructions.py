"""Pictures from brains, beside controls through the same generator, judged and laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.captioners import nearest_caption
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Prediction
from braindec.evaluate import hallucination, hallucination_draws
from braindec.evaluate.hallucination import Gauge, Reading
from braindec.evaluate.hallucination_readouts import Attribute
from braindec.evaluate.jobs import refits
from braindec.evaluate.low_level import low_level_pictures, own_pixels
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.neighbours import labels
from braindec.evaluate.pictures import (
    first,
    measure_pictures,
    measure_samples,
    not_computed,
    picture_values,
    render,
)
from braindec.evaluate.published import FROM_PICTURES, published_scores, variants
from braindec.evaluate.published_pictures import published_pictures
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.selection import best_of, nearest_to_prediction
from braindec.evaluate.texts_and_clips import caption_values, captions_left_out, measure_captions, said
from braindec.generators import Generator
from braindec.types import Embeddings, Score, score_table

ROWS = {
    "braindec": "reconstructed",
    "retrieved": "retrieved",
    "nearest": "nearest training image",
    "shuffled": "shuffled brain",
    "prior": "prior only",
    "oracle": "oracle embedding",
    "selected": "selected sample",
}
CONTROLS = (
    "shuffled",
    "prior",
    "nearest",
    "oracle",
)  # systems beside the decoder's own pictures, each with its scores


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures of one subject's test stimuli, each system's in the same order.

    Parameters
    ----------
    ids : tuple of str
    presented : uint8 array, shape (n, height, width, 3)
    pictures : mapping of str to uint8 array, shape (n, height, width, 3)
        ``braindec``, ``retrieved`` (nearest of the test gallery), ``nearest`` (nearest training image to the decoded
        embedding), ``shuffled`` (decoder fitted on permuted pairs), ``prior`` (drawn without a brain), ``oracle``
        (true embedding); where samples were drawn, ``selected`` (of these the one nearest to the decoded embedding).
    captions : mapping of str to tuple of str
        True captions and, as decoded ones, those of the training stimuli that lie nearest to what the decoder and the
        decoder of shuffled pairs predict, by row.
    samples : uint8 array, shape (n_samples, n, height, width, 3), optional
        A picture of each single draw of the prior.
    low_level : uint8 array, shape (n, height, width, 3), optional
        Decoded pixels.
    readings : tuple of Reading
        Where each attribute of the decoder's pictures comes from; empty where no attributes were asked about.
    labels : mapping of str to sequence of str
        What the dataset's table of stimuli says of each (`neighbours.labels`), by column.
    """

    ids: tuple[str, ...]
    presented: np.ndarray
    pictures: Mapping[str, np.ndarray]
    captions: Mapping[str, tuple[str, ...]]
    samples: np.ndarray | None = None
    low_level: np.ndarray | None = None
    readings: tuple[Reading, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def told(self) -> dict[str, tuple[list[list[str]], tuple[str, ...]]]:
        """By system, (references of each row, its decoded captions); empty where a stimulus has no caption."""
        true = self.captions["presented"]
        made = {"braindec": "retrieved caption", "shuffled": "shuffled brain"}
        if not all(true) or not all(all(self.captions.get(key, ("",))) for key in made.values()):
            return {}
        return {system: ([[text] for text in true], self.captions[key]) for system, key in made.items()}


@dataclass(frozen=True, eq=False, repr=False)
class Reconstructions:
    """Galleries by signal key, their scores, and why metrics of the protocol are not among them, by metric."""

    galleries: Mapping[str, Gallery]
    measured: Mapping[str, Mapping[str, Mapping[str, Measured]]]
    scores: tuple[Score, ...]
    not_computed: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        drawn = ", ".join(f"{len(g.ids)} pictures of {key}" for key, g in self.galleries.items())
        return f"Reconstructions({drawn})"

    def _repr_html_(self) -> str:
        return score_table.as_html(repr(self), self.scores)


def reconstructions(
    decoder: BrainDecoder,
    nulls: Sequence[BrainDecoder],
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    *,
    n_images: int,
    n_steps: int,
    target: Any,
    n_samples: int = 0,
    attributes: Sequence[Attribute] = (),
    meter: hallucination.Settings = hallucination.SETTINGS,
    generator: Generator | None = None,
    n_jobs: int = 1,
    progress: bool = True,
) -> Reconstructions:
    """Draws and judges at most `n_images` test stimuli of every subject.

    Beside the decoder's pictures stand, judged alike, those of a decoder of shuffled pairs, of the prior alone and of
    the true embedding through the same generator, and the nearest training pictures.

    Parameters
    ----------
    nulls : sequence of BrainDecoder
        From `fit_nulls`: the first is shown, all of them draw and are the null of every score.
    target : ImageTextTarget
        Embeds captions for caption retrieval, and drawn pictures for the meter and for the choice among samples.
    n_steps : int
        Of the generator.
    n_samples : int
        Draws of the prior that are made pictures one by one, each a score, with other noise each. Of them the one
        nearest to the decoded embedding is a further system: chosen without the truth.
    attributes : sequence of Attribute
        What the hallucination meter is asked about (`hallucination_readouts.attributes_of`). Where the split has a part
        ``calibration``, the meter is calibrated on its stimuli; else on training stimuli out of fold.
    meter : hallucination.Settings
    generator : Generator, optional
        What draws; the recipe's own where none is given.
    n_jobs : int
        Subjects, and then null decoders, that are drawn at once.
    """
    training, test = dataset.part("train"), dataset.part("test")
    protocol = protocol_named(recipe.protocol)
    known = _Known(training, test, embeddings, target)
    draw = _Draw(recipe.build_generator() if generator is None else generator, recipe.seed, n_steps)
    stake = {"target": embeddings.space, "generator": draw.generator.space}
    aside = hallucination_draws.aside_of(dataset)
    look = _Look(known, draw, protocol.repeats, n_images, n_samples, attributes, meter, aside)
    gauges = look.gauges(decoder)

    def drawn(number: int) -> tuple[Gallery, dict[str, dict[str, Measured]]]:
        gallery = look.gallery(decoder, nulls[0], gauges, test.keys[number])
        return gallery, _measured(gallery, protocol, stake, recipe.seed, test.keys[number])

    made = refits(drawn, len(test.keys), n_jobs=n_jobs, said="pictures", progress=progress)
    galleries = {key: gallery for key, (gallery, _) in zip(test.keys, made, strict=True)}
    measured = {key: found for key, (_, found) in zip(test.keys, made, strict=True)}

    def redrawn(number: int) -> dict[str, dict[str, float]]:
        return {
            key: _values(nulls[number], draw, known, g, key, protocol, n_images, stake)
            for key, g in galleries.items()
        }

    found = refits(redrawn, len(nulls), n_jobs=n_jobs, said="null pictures", progress=progress)
    null = {k: {m: np.array([f[k][m] for f in found]) for m in measured[k]["braindec"]} for k in galleries}
    low_level = None
    if any(v.follows("low_level_blend") for v in variants(protocol)) or own_pixels(decoder):
        ids = {k: g.ids for k, g in galleries.items()}
        low_level = low_level_pictures(decoder, recipe, training, test, ids)
        galleries = {k: replace(g, low_level=low_level[k]) for k, g in galleries.items()}
    published = published_pictures(
        protocol,
        {k: g.presented for k, g in galleries.items()},
        {k: g.pictures["braindec"] for k, g in galleries.items()},
        low_level,
    )
    return Reconstructions(
        galleries,
        measured,
        (
            *_scores(measured, null, protocol, {k: g.ids for k, g in galleries.items()}),
            *published_scores("braindec", published, FROM_PICTURES),
        ),
        not_computed(protocol, stake) | said(captions_left_out(protocol, stake)),
    )


def _values(
    decoder: BrainDecoder, draw: _Draw, known: _Known, gallery: Gallery, key: str, protocol: Any, n: int, stake: Any
) -> dict[str, float]:  # fmt: skip
    """A null's values: pictures and captions of the first `n` test stimuli, as this decoder has them."""
    prediction = first(decoder.predict(known.test.trials[key], repeats=protocol.repeats), n)
    drawn = draw(decoder.image_embedding(prediction, seed=draw.seed))
    values = picture_values(gallery.presented, drawn, protocol, stake)
    if not gallery.told():
        return values
    texts = known.nearest_caption(decoder, prediction)
    true = gallery.told()["braindec"][0]
    return values | caption_values(true, texts, protocol, pictures=gallery.presented, stake=stake)


@dataclass(frozen=True, eq=False)
class _Draw:
    """Pictures of image embeddings; what was drawn once (the oracle's, for subjects of one test set) is kept."""

    generator: Any
    seed: int
    n_steps: int
    _made: dict[bytes, np.ndarray] = field(default_factory=dict)

    def __call__(self, embeddings: np.ndarray, sample: int = 0) -> np.ndarray:
        """Equal noise for every system; samples after the first have their own."""
        asked = np.ascontiguousarray(embeddings).tobytes() + sample.to_bytes(4, "little")
        if asked not in self._made:
            seed = seeding.derive(self.seed, "sample", sample) if sample else self.seed
            self._made[asked] = render(self.generator, embeddings, seed, self.n_steps)
        return self._made[asked]


class _Known:
    """Training and test stimuli with their embeddings, captions in the target's space, and the target."""

    def __init__(self, training: NeuralDataset, test: NeuralDataset, embeddings: Embeddings, target: Any):
        self.training, self.test, self.embeddings, self.target = training, test, embeddings, target
        stimuli = test.stimuli
        self.texts = [stimuli.captions[i] for i in training.stimulus_ids if i in stimuli.captions]
        self.text_values = target.embed_text(self.texts)[:, None] if self.texts else None

    def caption(self, stimulus: str) -> str:
        return str(self.test.stimuli.captions.get(stimulus, ""))

    def nearest(self, decoder: BrainDecoder, prediction: Prediction, ids: Sequence[str]) -> list[str]:
        rows = decoder.similarity(prediction, self.embeddings.of(ids)).argmax(1)
        return [ids[i] for i in rows.tolist()]

    def nearest_caption(self, decoder: BrainDecoder, prediction: Prediction) -> tuple[str, ...]:
        """Caption of a training stimulus whose text embedding lies nearest (texts centred on their own mean)."""
        if self.text_values is None:
            return ("",) * len(prediction.ids)
        mean = decoder.scaler(decoder.main).mean.cpu().numpy()
        config, space = nearest_caption.Config(), self.embeddings.space
        known = nearest_caption.build(config, self.text_values, self.texts, space, mean=mean)
        return tuple(self.texts[row] for row in known.nearest(prediction.values).tolist())


@dataclass(frozen=True, eq=False)
class _Look:
    """How galleries are drawn."""

    known: _Known
    draw: _Draw
    repeats: Any
    n_images: int
    n_samples: int
    attributes: Sequence[Attribute]
    meter: hallucination.Settings
    aside: NeuralDataset | None

    def gauges(self, decoder: BrainDecoder) -> dict[str, tuple[Gauge, ...]]:
        """Calibrated on training stimuli; of subjects that were held out of nothing there are none."""
        if not self.attributes:
            return {}
        return hallucination_draws.meter(
            decoder, self.attributes, self.known.embeddings, aside=self.aside, repeats=self.repeats,
            settings=self.meter, seed=self.draw.seed,
        )  # fmt: skip

    def gallery(
        self, decoder: BrainDecoder, shuffled: BrainDecoder, gauges: Mapping[str, Sequence[Gauge]], key: str
    ) -> Gallery:
        """Of one subject."""
        known, draw, trials = self.known, self.draw, self.known.test.trials[key]
        prediction = first(decoder.predict(trials, repeats=self.repeats), self.n_images)
        null = first(shuffled.predict(trials, repeats=self.repeats), self.n_images)
        images = known.test.stimuli.images
        own = known.training.trials[key].table["stimulus_id"]
        pictures = {
            "braindec": draw(decoder.image_embedding(prediction, seed=draw.seed)),
            "retrieved": images(known.nearest(decoder, prediction, known.test.stimulus_ids)),
            "nearest": images(known.nearest(decoder, prediction, sorted(set(own.tolist())))),
            "shuffled": draw(shuffled.image_embedding(null, seed=draw.seed)),
            "prior": draw(decoder.imagine_nothing(len(prediction.ids), seed=draw.seed)),
            "oracle": draw(known.embeddings.of(prediction.ids)),
        }
        captions = {
            "presented": tuple(known.caption(i) for i in prediction.ids),
            "retrieved caption": known.nearest_caption(decoder, prediction),
            "shuffled brain": known.nearest_caption(shuffled, null),
        }
        samples = self.samples(decoder, prediction)
        if samples is not None:
            seen = np.stack([known.target.embed_images(one) for one in samples])
            told = {"prediction": prediction, "embeddings": seen}
            pictures["selected"] = best_of(samples, nearest_to_prediction(decoder), told)[0]
        readings: tuple[Reading, ...] = ()
        if key in gauges:
            shown = known.target.embed_images(pictures["braindec"])
            readings = hallucination_draws.judged(
                decoder, gauges, prediction, shown, settings=self.meter, seed=draw.seed
            )
        told_of = labels(known.test.stimuli, prediction.ids)
        return Gallery(
            prediction.ids, images(prediction.ids), pictures, captions, samples, None, readings, told_of
        )

    def samples(self, decoder: BrainDecoder, prediction: Prediction) -> np.ndarray | None:
        """Pictures of single draws of the prior, each with noise of its own."""
        if self.n_samples == 0:
            return None
        checks.at_least("n_samples", self.n_samples, 2)
        draws = decoder.imagine(prediction, seed=self.draw.seed, n_samples=self.n_samples)
        return np.stack([self.draw(one, number) for number, one in enumerate(draws, start=1)])


def _measured(
    gallery: Gallery, protocol: Any, stake: Any, seed: int, key: str
) -> dict[str, dict[str, Measured]]:
    """Every system's metrics."""
    # The order of the first three is older than the others: their intervals stay as they were drawn.
    systems = ["braindec", "shuffled", "oracle", *(s for s in CONTROLS if s not in ("shuffled", "oracle"))]
    generator = seeding.numpy_generator(seed, "pictures", key)
    found = {
        name: measure_pictures(gallery.presented, gallery.pictures[name], protocol, generator, stake)
        for name in systems[:3]
    }
    for name, told in gallery.told().items():
        captions, _ = measure_captions(
            told[0], told[1], protocol, generator, pictures=gallery.presented, stake=stake
        )
        found[name] |= captions
    found |= {
        name: measure_pictures(gallery.presented, gallery.pictures[name], protocol, generator, stake)
        for name in systems[3:]
    }
    if gallery.samples is not None:
        found["sample"] = measure_samples(gallery.presented, gallery.samples, protocol, generator, stake)
        chosen = {**stake, "reranker": stake["target"]}
        picked = measure_pictures(
            gallery.presented, gallery.pictures["selected"], protocol, generator, chosen
        )
        told_of = {"chosen by": "nearest to the decoded embedding", "of": len(gallery.samples)}
        found["selected"] = {name: replace(m, details=told_of) for name, m in picked.items()}
    return found


def _scores(
    measured: Mapping[str, Mapping[str, Mapping[str, Measured]]],
    null: Mapping[str, Mapping[str, np.ndarray]],
    protocol: Any,
    names: Mapping[str, tuple[str, ...]],
) -> list[Score]:
    """Scores of decoder and controls, the first beside the null of all refits that drew."""
    rows = []
    systems = ("braindec", "sample", "selected", *CONTROLS)
    for system in (name for name in systems if all(name in found for found in measured.values())):
        # Refits draw as the decoder does; what has no refit stands beside chance.
        drawn = null if system in ("braindec", "shuffled") else {}
        found = Judged(system, {}, {key: s[system] for key, s in measured.items()}, drawn, sample_names=names)
        rows += scores_of(found, protocol)
    return [_with_oracle(row, measured) for row in rows]


def _with_oracle(row: Score, measured: Mapping[str, Mapping[str, Mapping[str, Measured]]]) -> Score:
    key = f"sub-{row.subject:02d}_{row.modality}" if isinstance(row.subject, int) else ""
    if key not in measured or row.system not in ("braindec", "shuffled"):
        return row
    oracle = measured[key]["oracle"].get(row.name)  # of captions there is none
    return row if oracle is None else replace(row, details={**row.details, "oracle_embedding": oracle.value})
