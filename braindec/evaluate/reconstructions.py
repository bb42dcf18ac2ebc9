"""Pictures from brains, beside controls through the same generator, judged and laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from braindec import seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Prediction
from braindec.evaluate.jobs import refits
from braindec.evaluate.low_level import low_level_pictures
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.pictures import first, measure_pictures, not_computed, picture_values, render
from braindec.evaluate.published import FROM_PICTURES, published_scores, variants
from braindec.evaluate.published_pictures import published_pictures
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.texts_and_clips import caption_values, captions_left_out, measure_captions, said
from braindec.types import Embeddings, Score

ROWS = {
    "braindec": "reconstructed",
    "retrieved": "retrieved",
    "nearest": "nearest training image",
    "shuffled": "shuffled brain",
    "prior": "prior only",
    "oracle": "oracle embedding",
}


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
        (true embedding).
    captions : mapping of str to tuple of str
        True captions and, as decoded ones, those of the training stimuli that lie nearest to what the decoder and the
        decoder of shuffled pairs predict, by row.
    """

    ids: tuple[str, ...]
    presented: np.ndarray
    pictures: Mapping[str, np.ndarray]
    captions: Mapping[str, tuple[str, ...]]

    def told(self) -> dict[str, tuple[list[list[str]], tuple[str, ...]]]:
        """By system, (references of each row, its decoded captions); empty where a stimulus has no caption."""
        true = self.captions["presented"]
        made = {"braindec": "retrieved caption", "shuffled": "shuffled brain"}
        if not all(true) or not all(all(self.captions.get(key, ("",))) for key in made.values()):
            return {}
        return {system: ([[text] for text in true], self.captions[key]) for system, key in made.items()}


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """Galleries by signal key, their scores, and why metrics of the protocol are not among them, by metric."""

    galleries: Mapping[str, Gallery]
    measured: Mapping[str, Mapping[str, Mapping[str, Measured]]]
    scores: tuple[Score, ...]
    not_computed: Mapping[str, str] = field(default_factory=dict)


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
    n_jobs: int = 1,
    progress: bool = True,
) -> Reconstructions:
    """Draws and judges at most `n_images` test stimuli of every subject.

    Parameters
    ----------
    nulls : sequence of BrainDecoder
        From `fit_nulls`: the first is shown, all of them draw and are the null of every score.
    target : ImageTextTarget
        Embeds captions for caption retrieval.
    n_steps : int
        Of the generator.
    n_jobs : int
        Null decoders that draw at once.
    """
    training, test = dataset.part("train"), dataset.part("test")
    protocol = protocol_named(recipe.protocol)
    known = _Known(training, test, embeddings, target)
    draw = _Draw(recipe.build_generator(), recipe.seed, n_steps)
    stake = {"target": embeddings.space, "generator": draw.generator.space}
    galleries, measured = {}, {}
    for key in tqdm(test.keys, desc="reconstruct", disable=not progress, leave=False):
        galleries[key] = _gallery(decoder, nulls[0], draw, known, key, protocol.repeats, n_images)
        generator_of = seeding.numpy_generator(recipe.seed, "pictures", key)
        measured[key] = {
            name: measure_pictures(
                galleries[key].presented, galleries[key].pictures[name], protocol, generator_of, stake
            )
            for name in ("braindec", "shuffled", "oracle")
        }
        for name, told in galleries[key].told().items():
            captions, _ = measure_captions(
                told[0], told[1], protocol, generator_of, pictures=galleries[key].presented, stake=stake
            )
            measured[key][name] |= captions

    def redrawn(number: int) -> dict[str, dict[str, float]]:
        return {
            key: _values(nulls[number], draw, known, g, key, protocol, n_images, stake)
            for key, g in galleries.items()
        }

    found = refits(redrawn, len(nulls), n_jobs=n_jobs, said="null pictures", progress=progress)
    null = {k: {m: np.array([f[k][m] for f in found]) for m in measured[k]["braindec"]} for k in galleries}
    published = published_pictures(
        protocol,
        {k: g.presented for k, g in galleries.items()},
        {k: g.pictures["braindec"] for k, g in galleries.items()},
        low_level_pictures(decoder, recipe, training, test, {k: g.ids for k, g in galleries.items()})
        if any(v.follows("low_level_blend") for v in variants(protocol))
        else None,
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

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        asked = np.ascontiguousarray(embeddings).tobytes()
        if asked not in self._made:
            self._made[asked] = render(self.generator, embeddings, self.seed, self.n_steps)
        return self._made[asked]


class _Known:
    """Training and test stimuli with their embeddings, and captions in the target's space."""

    def __init__(self, training: NeuralDataset, test: NeuralDataset, embeddings: Embeddings, target: Any):
        self.training, self.test, self.embeddings = training, test, embeddings
        stimuli = test.stimuli
        self.captioned = [i for i in training.stimulus_ids if i in stimuli.captions]
        texts = [stimuli.captions[i] for i in self.captioned]
        self.caption_values = (
            target.embed_text(texts)[:, None] if texts else np.empty((0, *embeddings.info.shape))
        )

    def caption(self, stimulus: str) -> str:
        return str(self.test.stimuli.captions.get(stimulus, ""))

    def nearest(self, decoder: BrainDecoder, prediction: Prediction, ids: Sequence[str]) -> list[str]:
        rows = decoder.similarity(prediction, self.embeddings.of(ids)).argmax(1)
        return [ids[i] for i in rows.tolist()]

    def nearest_caption(self, decoder: BrainDecoder, prediction: Prediction) -> tuple[str, ...]:
        """Caption of a training stimulus whose text embedding lies nearest (texts centred on their own mean)."""
        if not len(self.caption_values):
            return ("",) * len(prediction.ids)
        query = torch.nn.functional.normalize(decoder.centred(prediction.values), dim=1)
        texts = torch.from_numpy(self.caption_values - self.caption_values.mean(0)).flatten(1)
        rows = (query @ torch.nn.functional.normalize(texts, dim=1).T).argmax(1)
        return tuple(self.caption(self.captioned[i]) for i in rows.tolist())


def _gallery(
    decoder: BrainDecoder, shuffled: BrainDecoder, draw: _Draw, known: _Known, key: str, repeats: Any, n: int
) -> Gallery:
    trials = known.test.trials[key]
    prediction = first(decoder.predict(trials, repeats=repeats), n)
    null = first(shuffled.predict(trials, repeats=repeats), n)
    images = known.test.stimuli.images
    retrieved = known.nearest(decoder, prediction, known.test.stimulus_ids)
    own = known.training.trials[key].table["stimulus_id"]
    nearest = known.nearest(decoder, prediction, sorted(set(own.tolist())))
    pictures = {
        "braindec": draw(decoder.image_embedding(prediction, seed=draw.seed)),
        "retrieved": images(retrieved),
        "nearest": images(nearest),
        "shuffled": draw(shuffled.image_embedding(null, seed=draw.seed)),
        "prior": draw(decoder.imagine_nothing(len(prediction.ids), seed=draw.seed)),
        "oracle": draw(known.embeddings.of(prediction.ids)),
    }
    captions = {
        "presented": tuple(known.caption(i) for i in prediction.ids),
        "retrieved caption": known.nearest_caption(decoder, prediction),
        "shuffled brain": known.nearest_caption(shuffled, null),
    }
    return Gallery(prediction.ids, images(prediction.ids), pictures, captions)


def _scores(
    measured: Mapping[str, Mapping[str, Mapping[str, Measured]]],
    null: Mapping[str, Mapping[str, np.ndarray]],
    protocol: Any,
    names: Mapping[str, tuple[str, ...]],
) -> list[Score]:
    """Scores of decoder and control beside the null of all refits that drew."""
    rows = []
    for system in ("braindec", "shuffled"):
        found = Judged(system, {}, {key: s[system] for key, s in measured.items()}, null, sample_names=names)
        rows += scores_of(found, protocol)
    return [_with_oracle(row, measured) for row in rows]


def _with_oracle(row: Score, measured: Mapping[str, Mapping[str, Mapping[str, Measured]]]) -> Score:
    key = f"sub-{row.subject:02d}_{row.modality}" if isinstance(row.subject, int) else ""
    if key not in measured:
        return row
    oracle = measured[key]["oracle"].get(row.name)  # of captions there is none
    return row if oracle is None else replace(row, details={**row.details, "oracle_embedding": oracle.value})
