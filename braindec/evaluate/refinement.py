"""A second pass over decoded pictures: a captioner's words of the decoded embedding, and a picture refined by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import registry, seeding
from braindec.data import NeuralDataset
from braindec.evaluate.captioned import captioner_of, training_captions
from braindec.generators import Generator, Guides
from braindec.maths.gap import Gap
from braindec.types import Embeddings


@dataclass(frozen=True, eq=False)
class Refinement:
    """What writes, and what draws and draws again.

    Parameters
    ----------
    captioner : Captioner
        Of the decoded image embeddings.
    generator : generators.refined.Refined
    """

    captioner: Any
    generator: Any

    def passes(self, embeddings: np.ndarray, seed: int) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Captions of decoded embeddings, pictures of these, and pictures refined by the captions. No truth is seen."""
        written = self.captioner.caption(embeddings, generator=seeding.torch_generator(seed, "caption"))
        draw = seeding.torch_generator(seed, "picture")
        return written, *self.generator.passes(embeddings, generator=draw, guides=Guides(texts=written))

    def identity(self) -> dict[str, Any]:
        """Of captioner and generator, for a report."""
        return {"captioner": self.captioner.identity(), "refined by": self.generator.second.identity()}


def refinement(
    recipe: Any, dataset: NeuralDataset, embeddings: Embeddings, captioner: Any, second: Any
) -> Refinement:
    """The second pass of a recipe's generator; what it learns, it learns of the split's training stimuli.

    Parameters
    ----------
    recipe : Recipe
        Its generator draws first; its target embeds texts.
    dataset : NeuralDataset
        With the split in use, and captions.
    embeddings : Embeddings
        True ones of all stimuli, in the space that is drawn from.
    captioner : captioners.<member>.Config
    second : generators.refined.Config or generators.in_words.Config
        A text-to-image pipeline of a folder; or the shipped generator.
    """
    first, twice = recipe.build_generator(), registry.load("generators", "refined")
    writes = captioner_of(captioner, dataset, embeddings, recipe.seed)
    if registry.name_of(second)[1] == "refined":
        return Refinement(writes, twice.build(second, first))
    return Refinement(writes, twice.Refined(first, _in_words(second, recipe, dataset, embeddings)))


def _in_words(config: Any, recipe: Any, dataset: NeuralDataset, embeddings: Embeddings) -> Generator:
    target = registry.load(*registry.name_of(recipe.target)).build(recipe.target)
    ids, texts = training_captions(dataset)
    gap = Gap.between(target.embed_text(texts)[:, None], embeddings.of(ids))
    return registry.load("generators", "in_words").build(config, target.embed_text, gap)
