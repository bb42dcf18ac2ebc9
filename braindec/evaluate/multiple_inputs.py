"""One picture from several decoded inputs: latents, conditioning, captions, structure, depth; what each adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from braindec import checks, registry, seeding
from braindec.data import NeuralDataset
from braindec.evaluate.low_level import as_maps, drawn_of
from braindec.evaluate.measures import Measured, protocol_named
from braindec.evaluate.parts import Parts
from braindec.evaluate.pictures import measure_pictures, picture_values
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.structure import Settings, optimised_latents
from braindec.generators import Guides
from braindec.maths.correlation import standardise
from braindec.maths.gap import Gap
from braindec.stats.paired import paired_difference
from braindec.targets import differentiable
from braindec.types import Embeddings, Score

BASE = "latents + conditioning"
ROWS = ("latents alone", "conditioning alone", BASE, "+ decoded captions", "+ structure", "+ depth", "all")
STRUCTURE = Settings()


@dataclass(frozen=True, eq=False)
class Inputs:
    """What pictures are drawn from, and how.

    Parameters
    ----------
    generator : Generator
        Of image embeddings, that can start from a picture.
    captioner : Captioner
        Of the part ``"tokens"``.
    words : target with `embed_text`
        Whose texts share the generator's space.
    embeddings : mapping of str to Embeddings
        True ones: ``"main"`` (texts that condition), ``"latents"``, ``"tokens"``, ``"features"``, ``"depth"``, and
        ``"pictures"``, of the generator's space.
    features : target
        That made ``"features"``; differentiable.
    training : sequence of str
        Stimuli whose means and spreads are known.
    structure : Settings
    n_samples : int
        Drawings among which the decoded depth chooses.
    seed : int
    """

    generator: Any
    captioner: Any
    words: Any
    embeddings: Mapping[str, Embeddings]
    features: Any
    training: Sequence[str]
    structure: Settings = STRUCTURE
    n_samples: int = 4
    seed: int = 0

    def pictures(
        self, parts: Parts, key: str, ids: Sequence[str], size: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """By row of `ROWS`: uint8 (n, height, width, 3) of what these parts say of test stimuli."""
        said = {name: parts.values(name, key, ids) for name in parts.systems}
        started = drawn_of(said["latents"], self.embeddings["latents"].space, size)
        told, maps = self._gap.as_pictures(said["main"]), as_maps(said["depth"])
        shaped, written = self._shaped(said, size), self._captioned(said["tokens"])
        return {
            "latents alone": started,
            "conditioning alone": self._drawn(told, None),
            BASE: self._drawn(told, started),
            "+ decoded captions": self._drawn(written, started),
            "+ structure": self._drawn(told, shaped),
            "+ depth": self._chosen(told, started, maps),
            "all": self._chosen((told + written) / 2, shaped, maps),
        }

    def whole(self, parts: Parts, key: str, ids: Sequence[str], size: Sequence[int]) -> np.ndarray:
        """The row ``"all"`` of `pictures` alone."""
        said = {name: parts.values(name, key, ids) for name in parts.systems}
        both = (self._gap.as_pictures(said["main"]) + self._captioned(said["tokens"])) / 2
        return self._chosen(both, self._shaped(said, size), as_maps(said["depth"]))

    def _shaped(self, said: Mapping[str, np.ndarray], size: Sequence[int]) -> np.ndarray:
        moved = self._structured(said["latents"], said["features"])
        return drawn_of(moved, self.embeddings["latents"].space, size)

    @cached_property
    def _gap(self) -> Gap:
        """Between texts and pictures of the training stimuli."""
        return Gap.between(*(self.embeddings[n].of(self.training) for n in ("main", "pictures")))

    @cached_property
    def _spreads(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(self.embeddings[n].of(self.training).std(0) for n in ("latents", "features"))

    def _captioned(self, tokens: np.ndarray) -> np.ndarray:
        texts = self.captioner.caption(tokens, generator=seeding.torch_generator(self.seed, "caption"))
        return self._gap.as_pictures(self.words.embed_text(list(texts))[:, None])

    def _structured(self, latents: np.ndarray, features: np.ndarray) -> np.ndarray:
        _, _, _, size, layout = self.embeddings["latents"].space.split("/")
        made = registry.load("generators", "vae_latents").of_space(self.embeddings["latents"].space)
        return optimised_latents(
            latents, features, made.autoencoder, layout, int(size), differentiable(self.features), self._spreads,
            self.structure,
        )  # fmt: skip

    def _drawn(self, told: np.ndarray, low_level: np.ndarray | None, sample: int = 0) -> np.ndarray:
        draw = seeding.torch_generator(self.seed, "picture", sample)
        return self.generator.generate(told, generator=draw, guides=Guides(low_level=low_level))

    def _chosen(self, told: np.ndarray, low_level: np.ndarray, maps: np.ndarray) -> np.ndarray:
        drawn = np.stack([self._drawn(told, low_level, sample) for sample in range(self.n_samples)])
        return chosen_by_map(drawn, maps)


def chosen_by_map(drawn: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Of several drawings of each stimulus the one whose outline correlates best with a decoded map.

    The choice sees no presented picture. A generator with a control branch takes the map itself (`Guides.control`).

    Parameters
    ----------
    drawn : ndarray of uint8, shape (n_samples, n, height, width, 3)
    maps : ndarray, shape (n, side, side)

    Returns
    -------
    ndarray of uint8, shape (n, height, width, 3)
    """
    checks.same_length("stimulus", drawn=drawn[0], maps=maps)
    module = registry.load("targets", "silhouette")
    target = module.build(module.Config(side=maps.shape[1]))
    wanted = standardise(torch.from_numpy(maps.reshape(len(maps), -1)).double())
    found = [
        (standardise(torch.from_numpy(target.embed_images(one)).flatten(1).double()) * wanted).sum(1)
        for one in drawn
    ]
    best = torch.stack(found).nan_to_num(-1.0).argmax(0).numpy()
    return drawn[best, np.arange(len(best))]


def ablation(
    inputs: Inputs,
    parts: Parts,
    nulls: Sequence[Parts],
    recipe: Any,
    dataset: NeuralDataset,
    *,
    n_images: int,
) -> tuple[list[Score], list[dict[str, Any]], list[tuple[str, str, dict[str, Any]]]]:
    """Pictures from all inputs, what each input adds to latents and conditioning, and panels of both.

    Parameters
    ----------
    inputs : Inputs
    parts, nulls
        From `parts.fit_parts`: ``"main"``, ``"latents"``, ``"tokens"``, ``"features"``, ``"depth"``.
    recipe : Recipe
    dataset : NeuralDataset
        Whole, with the split in use.
    n_images : int
        Test stimuli of each subject at most, the first ones by name.

    Returns
    -------
    scores, comparisons, panels
        Scores are those of all inputs together; differences are paired over pictures.
    """
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    stake = {"target": inputs.embeddings["main"].space, "generator": inputs.generator.space}
    measured: dict[str, dict[str, dict[str, Measured]]] = {}
    null, ids, grids = {}, {}, []
    for key in test.keys:
        ids[key] = tuple(sorted(set(test.trials[key].table["stimulus_id"].tolist()))[:n_images])
        presented = test.stimuli.images(ids[key])
        size = presented.shape[1:3]
        drawn = inputs.pictures(parts, key, ids[key], size)
        others = [inputs.whole(one, key, ids[key], size) for one in nulls]
        shown = drawn | {"shuffled": others[0]}
        measured[key] = {
            name: measure_pictures(
                presented, made, protocol, seeding.numpy_generator(recipe.seed, "inputs", key), stake
            )
            for name, made in shown.items()
        }
        values = [picture_values(presented, made, protocol, stake) for made in others]
        null[key] = {m: np.array([v[m] for v in values]) for m in measured[key]["all"]}
        grids.append(_grid(key, {"presented": presented, **drawn, "shuffled brain": others[0]}, ids[key]))
    scores: list[Score] = []
    for system, name in (("braindec", "all"), ("shuffled", "shuffled")):
        judged = Judged(system, {}, {k: m[name] for k, m in measured.items()}, null, sample_names=ids)
        scores += scores_of(judged, protocol)
    return scores, _differences(measured, recipe.seed), [_table(measured), *grids]


def _differences(measured: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    rows = []
    for key, found in measured.items():
        for name in ROWS:
            if name == BASE:
                continue
            for metric, base in found[BASE].items():
                draw = seeding.numpy_generator(seed, "inputs, paired", key, name, metric)
                d = paired_difference(found[name][metric].per_sample, base.per_sample, draw)
                interval = [float(d.interval.low), float(d.interval.high)]
                rows.append({"a": name, "b": BASE, "metric": metric, "key": key, "difference": d.value,
                             "interval": interval, "p": d.p, "n": d.n})  # fmt: skip
    return rows


def _table(measured: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    metrics = list(next(iter(measured.values()))["all"])
    cells = [
        [key.replace("_", " "), name, *(f"{found[name][m].value:.3f}" for m in metrics)]
        for key, found in measured.items()
        for name in (*ROWS, "shuffled")
    ]
    columns = ["subject", "inputs", *(m.replace("_", " ") for m in metrics)]
    return ("Pictures by what they are drawn from", "table", {"columns": columns, "rows": cells})


def _grid(
    key: str, rows: Mapping[str, np.ndarray], ids: Sequence[str], n: int = 10
) -> tuple[str, str, dict[str, Any]]:
    payload = {
        "rows": {name: made[:n] for name, made in rows.items()},
        "captions": list(ids[:n]),
        "caption": "The first test stimuli by name, not chosen.",
    }
    return (f"{key.replace('_', ' ')}: pictures by input", "image_grid", payload)
