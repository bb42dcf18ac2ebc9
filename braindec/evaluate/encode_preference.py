"""Regions that like something known: are they named rightly, and do pictures made for them please the brain itself?

Regions are simulated (`data.simulated.preferring`), so that the brain can be asked about pictures that it was never
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, config, encoding, registry, seeding
from braindec.data import NeuralDataset
from braindec.data.simulated import preferring, scenes
from braindec.evaluate import encode_synthesis as synthesis
from braindec.evaluate.encode_synthesis import PictureEncoding, Synthesis
from braindec.generators._guidance import Synthesiser
from braindec.targets import ImageTextTarget
from braindec.types import Report, Score

WORDS = (*scenes.SHAPES, *scenes.COLOURS, *scenes.TEXTURES)
RESPONSE, NAMING = "region_response", "voxel_naming_accuracy"


@dataclass(frozen=True)
class Design:
    """A study that is simulated.

    Parameters
    ----------
    likes : sequence of str
        A region for each: shapes, colours, textures.
    n_voxels : int
        Of each region.
    noise : float
        Standard deviation of a mean response around the true one, in standard deviations of responses.
    n_pictures, n_candidates : int
        Pictures of each kind, the best of so many by the guide.
    strength, n_steps
        Of the guidance.
    n_random : int
        Random directions that pictures are made for.
    temperature : float
        Of the projection onto pictures that voxels are named by.
    seed : int
    """

    likes: Sequence[str] = ("striped", "red", "blue")
    n_voxels: int = 20
    noise: float = 1.0
    n_pictures: int = 12
    n_candidates: int = 48
    strength: float = 1.0
    n_steps: int = 20
    n_random: int = 2
    temperature: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        for word in self.likes:
            checks.one_of("likes", word, WORDS)
        checks.at_least("number of regions", len(self.likes), 1)


def preference_study(
    dataset: NeuralDataset, synthesiser: Synthesiser, guide: str, judge: str, design: Design = Design()
) -> Report:
    """Names every region's voxels, makes pictures for it, and asks the judge and the brain.

    Parameters
    ----------
    dataset : NeuralDataset
        Of simulated scenes: its stimuli alone are used, responses are made here. Models are fitted on the train part's
        pictures; the test part's are nature's candidates.
    synthesiser : Synthesiser
    guide, judge : str
        Targets by name; the guide also embeds texts.
    design : Design
    """
    shown, natural = (dataset.stimuli.images(dataset.part(p).stimulus_ids) for p in ("train", "test"))
    target, other = _built(guide), _built(judge)
    texts = torch.stack([word_embedding(checks.of_type("guide", target, ImageTextTarget), w) for w in WORDS])
    pictures, seen = (synthesis.features_of(t, shown) for t in (target, other))
    guides: list[PictureEncoding] = []
    made: dict[str, Synthesis] = {}
    controls = None
    for word in design.likes:
        rng = seeding.numpy_generator(design.seed, "region", word)
        region = preferring.draw_region(word, shown, design.n_voxels, rng)
        y = region.respond(shown)
        y = y + design.noise * rng.standard_normal(y.shape)
        first = synthesis.fit_pictures(target, shown, y, embedded=pictures)
        second = synthesis.fit_pictures(other, shown, y, embedded=seen)
        made[word] = synthesis.synthesise_for_region(
            synthesiser, first, second, natural, design.n_pictures, seed=design.seed, strength=design.strength,
            n_steps=design.n_steps, n_candidates=design.n_candidates, n_random=design.n_random, truth=region.respond,
            controls=controls,
        )  # fmt: skip
        controls = made[word].controls
        guides.append(first)
    captions = _named(guides, pictures, texts, design)
    return _report(made, captions, design)


def word_embedding(target: ImageTextTarget, word: str) -> Tensor:
    """Mean embedding of descriptions that have a word and vary in all else, (n_features,)."""
    if word in scenes.SHAPES:
        said = [f"a {colour} {word}" for colour in scenes.COLOURS]
    elif word in scenes.COLOURS:
        said = [f"a {word} {shape}" for shape in scenes.SHAPES]
    else:
        said = [f"a {word} {colour} {shape}" for colour in scenes.COLOURS for shape in scenes.SHAPES]
    return torch.from_numpy(target.embed_text(said)).mean(0)


def _built(name: str) -> Any:
    member = registry.load("targets", name.partition(":")[0])
    sets = name.partition(":")[2].split(",") if ":" in name else []
    return member.build(config.override(member.Config(), sets))


def _named(
    guides: Sequence[PictureEncoding], pictures: Tensor, texts: Tensor, design: Design
) -> encoding.VoxelCaptions:
    weights = torch.cat([g.model.weights * g.scale[:, None] for g in guides], 1)
    null = encoding.random_directions(pictures, 500, seeding.torch_generator(design.seed, "directions"))
    return encoding.caption_voxels(
        weights, pictures, texts, WORDS, null_weights=null, temperature=design.temperature
    )


def _report(made: dict[str, Synthesis], captions: encoding.VoxelCaptions, design: Design) -> Report:
    truth = [word for word in design.likes for _ in range(design.n_voxels)]
    named = encoding.score_names(captions, truth, 999, seeding.numpy_generator(design.seed, "naming"))
    rows, panels, said = [], [], []
    for number, (word, found) in enumerate(made.items(), start=1):
        rows += _scores(number, word, found, design)
        value, low, high = found.differences["truth", synthesis.CHOSEN]
        said.append(
            f"A region that likes {word}: it responds {value:+.2f} ({low:+.2f} to {high:+.2f}) more to pictures made "
            "for it than to the best natural ones by the same model."
        )
        top = captions.nearest(1)[(number - 1) * design.n_voxels : number * design.n_voxels]
        right = sum(name == word for (name,) in top)
        said.append(f"{right} of its {design.n_voxels} voxels are named {word!r}, of {len(WORDS)} words.")
        panels += [(f"{title}: {word}", kind, payload) for title, kind, payload in found.panels()[:2]]
    for system, value in (("braindec", named.accuracy), ("shuffled", named.null)):
        limits = named.interval if system == "braindec" else (value, value)
        rows.append(
            Score(
                NAMING, system, "simulated", "all regions", "fmri", value, limits, 1 / len(WORDS), named.null, named.n,
                p=named.p if system == "braindec" else None, null_n=999 if system == "braindec" else 0,
            )
        )  # fmt: skip
    first = next(iter(made.values()))
    pages = [
        ("What was found", "text", {"text": [f"- {line}" for line in said]}), *panels, first.panels()[-1],
    ]  # fmt: skip
    run = {
        "title": "Regions that like something known", "summary": said[0], "said": said,
        "design": config.to_json(design), "synthesis": {word: dict(s.about) for word, s in made.items()},
    }  # fmt: skip
    return Report(tuple(rows), run, tuple(pages))


def _scores(number: int, word: str, found: Synthesis, design: Design) -> list[Score]:
    """True responses to pictures made for the region, and to those made for random directions."""
    truth = found.judged["truth"]
    chance, null = (float(truth[kind].mean()) for kind in (synthesis.NATURAL, synthesis.RANDOM))
    rows = []
    for system, kind in (
        ("braindec", synthesis.GUIDED),
        ("shuffled", synthesis.RANDOM),
        ("mean", synthesis.UNGUIDED),
    ):
        values = truth[kind]
        rng = seeding.numpy_generator(design.seed, "response interval", word, system)
        low, high = np.quantile(
            rng.choice(values, (synthesis.N_RESAMPLES, len(values))).mean(1), [0.025, 0.975]
        )
        rows.append(
            Score(
                RESPONSE, system, "simulated", number, "fmri", float(values.mean()), (float(low), float(high)), chance,
                null, len(values), null_n=design.n_random, details={"likes": word, "pictures": kind},
            )
        )  # fmt: skip
    return rows
