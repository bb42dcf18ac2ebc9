"""Pictures from two paths of one decoder: what was seen (semantic), roughly how it looked (low level), and both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder
from braindec.evaluate import compared_pictures
from braindec.evaluate.compared_pictures import Compared, differences, scores
from braindec.evaluate.low_level import in_order
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.pictures import first, measure_pictures, picture_values, render
from braindec.evaluate.published_pictures import blended
from braindec.evaluate.refinement import Refinement
from braindec.generators import Generator, Guides
from braindec.types import Score

Merge = Literal["img2img", "blend"]
LOW_LEVEL_SHARE = 0.25  # of a blend; MindEye2's code, Scotti et al. 2024, arXiv:2403.11207
ROWS = {
    "low_level": "low level",
    "semantic": "semantic",
    "refined": "refined by a caption",
    "both": "both",
    "shuffled refined": "shuffled brain, refined",
    "shuffled": "shuffled brain",
}
# What refined pictures are set against.
REFINED_AGAINST = {"semantic": "before refinement", "shuffled refined": "a shuffled brain's, refined"}


def two_paths(
    decoder: BrainDecoder,
    nulls: Sequence[BrainDecoder],
    recipe: Any,
    dataset: NeuralDataset,
    *,
    output: str,
    rough: Generator,
    n_images: int,
    merge: Merge,
    refinement: Refinement | None = None,
) -> tuple[dict[str, Compared], tuple[Score, ...], tuple[dict[str, Any], ...]]:
    """Pictures by signal key, scores of both paths together, and what each path adds to the other.

    Parameters
    ----------
    decoder : BrainDecoder
        With a further output of how pictures roughly look: pixels, or latents of an autoencoder.
    nulls : sequence of BrainDecoder
        The same fitted to permuted stimuli: they draw too, and are the null.
    recipe : Recipe
        Its generator and protocol.
    dataset : NeuralDataset
        Whole, with the split in use.
    output : str
        That output.
    rough : Generator
        Of its space: `generators.pixels`, `generators.vae_latents`.
    n_images : int
        Test stimuli of each subject at most.
    merge : ``"img2img"`` or ``"blend"``
        The generator starts from the low-level picture, where it takes one; or a quarter of the low-level picture is
        laid over the drawn one, as MindEye2 does with its last pictures.
    refinement : Refinement, optional
        What writes captions of decoded embeddings and refines the semantic pictures by them, before a blend; of the
        nulls' embeddings and pictures likewise.

    Returns
    -------
    tuple of (dict of str to Compared, tuple of Score, tuple of dict)
        Differences are paired over pictures.
    """
    checks.one_of("merge", merge, ("img2img", "blend"))
    checks.one_of("output", output, list(decoder.outputs))
    if refinement is not None and merge != "blend":
        raise checks.ConfigError(f"merge must be 'blend' where pictures are refined, got {merge!r}.")
    checks.same_space(
        "rough", rough.space, decoder.outputs[output].space, "Choose the generator of this output."
    )
    generator, protocol, test = (
        recipe.build_generator(),
        protocol_named(recipe.protocol),
        dataset.part("test"),
    )
    stake = {"target": decoder.outputs[decoder.main].space, "generator": generator.space}
    found: dict[str, Compared] = {}
    null: dict[str, dict[str, np.ndarray]] = {}
    rows: list[dict[str, Any]] = []
    for key in test.keys:
        shown = first(decoder.predict(test.trials[key], repeats=protocol.repeats), n_images)
        size = test.stimuli.images(shown.ids[:1]).shape[1:3]
        told = _Told(
            generator,
            rough,
            recipe.seed,
            test,
            key,
            output,
            shown.ids,
            size,
            merge,
            protocol.repeats,
            refinement,
        )
        texts, drawn = told.pictures(decoder)
        others = [told.pictures(one)[1] for one in nulls]
        presented = test.stimuli.images(shown.ids)
        draw = seeding.numpy_generator(recipe.seed, "two paths", key)
        pictures = drawn | {"shuffled": others[0]["both"]}
        if refinement is not None:
            pictures["shuffled refined"] = others[0]["refined"]
        measured = {
            name: measure_pictures(presented, made, protocol, draw, stake) for name, made in pictures.items()
        }
        values = [picture_values(presented, o["both"], protocol, stake) for o in others]
        null[key] = {name: np.array([v[name] for v in values]) for name in measured["both"]}
        found[key] = Compared(shown.ids, presented, pictures, measured, texts)
        for other in ("semantic", "low_level"):
            alone = (other, f"{ROWS[other]} alone")
            rows += differences(
                found[key], key, recipe.seed, ("both", "both paths"), alone, ("paths", key, other)
            )
        for other, said in REFINED_AGAINST.items() if refinement is not None else ():
            own = ("refined", ROWS["refined"])
            rows += differences(found[key], key, recipe.seed, own, (other, said), ("refined", key, other))
    return found, scores(found, null, protocol, "both"), tuple(rows)


def panels(found: Mapping[str, Compared], n: int = 10) -> list[tuple[str, str, dict[str, Any]]]:
    """A table of every path's scores, and pictures by row for each subject."""
    some = next(iter(found.values())).pictures
    words = {name: said for name, said in ROWS.items() if name in some}
    return compared_pictures.panels(found, words, "Pictures by path", "low level, semantic, both", n)


@dataclass(frozen=True, eq=False)
class _Told:
    """How pictures of one subject's test stimuli are drawn, the same for a decoder and its nulls."""

    generator: Generator
    rough: Generator
    seed: int
    test: NeuralDataset
    key: str
    output: str
    ids: tuple[str, ...]
    size: tuple[int, ...]
    merge: Merge
    repeats: Any
    refinement: Refinement | None = None

    def pictures(self, decoder: BrainDecoder) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """Captions, where pictures are refined, and by path uint8 (n, height, width, 3)."""
        trials = self.test.trials[self.key]
        shown = first(decoder.predict(trials, repeats=self.repeats), len(self.ids))
        rough = in_order(decoder.predict(trials, repeats=self.repeats, output=self.output), self.ids)
        low_level = _sized(render(self.rough, rough, self.seed), self.size)
        embedding = decoder.image_embedding(shown, seed=self.seed)
        if self.refinement is not None:
            texts, *drawn = self.refinement.passes(embedding, self.seed)
            semantic, refined = (_sized(one, self.size) for one in drawn)  # a pipeline has a size of its own
            both = blended(refined, low_level, LOW_LEVEL_SHARE)
            return texts, {"low_level": low_level, "semantic": semantic, "refined": refined, "both": both}
        semantic = render(self.generator, embedding, self.seed)
        if self.merge == "blend":
            both = blended(semantic, low_level, LOW_LEVEL_SHARE)
        else:
            both = self.generator.generate(
                embedding,
                generator=seeding.torch_generator(self.seed, "picture"),
                guides=Guides(low_level=low_level),
            )
        return (), {"low_level": low_level, "semantic": semantic, "both": both}


def _sized(pictures: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """uint8 pictures (n, height, width, 3), smoothly brought to another height and width."""
    if pictures.shape[1:3] == tuple(size):
        return pictures
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    resized = interpolate(values, tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
