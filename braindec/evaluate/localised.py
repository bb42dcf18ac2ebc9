"""Do the cubes in which a concept is found carry it? They are silenced, beside as many drawn at random.

Cubes are found on training trials; what silencing costs is measured on held-out stimuli. A concept's *contrast* is the
mean decoded cosine with its direction where it is there, less that where it is not.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braindec import checks, seeding
from braindec.adapters import volume_patches
from braindec.data import NeuralDataset, maps
from braindec.decoder import BrainDecoder, localisation
from braindec.evaluate.scoring import parse_key
from braindec.stats.intervals import mean_interval
from braindec.stats.paired import paired_difference
from braindec.stats.permutation import p_value
from braindec.targets import ImageTextTarget
from braindec.types import Score, Trials

METRIC = "concept_carried"
MOST_ASSIGNMENTS = 500
Panel = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """What is looked for, and how.

    Parameters
    ----------
    concepts : tuple of str
        Words or phrases; a caption that holds one says it.
    share : float
        Of a subject's cubes, how many are silenced as those of a concept, in (0, 1).
    method : ``"gradient"`` or ``"occlusion"``
    n_random : int
        Random sets of as many cubes.
    seed : int
    """

    concepts: tuple[str, ...] = ("star", "ring", "white background", "black background", "red", "blue")
    share: float = 0.15
    method: localisation.Method = "gradient"
    n_random: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "concepts", tuple(self.concepts))
        checks.at_least("number of concepts", len(self.concepts), 2)
        checks.unique("concepts", self.concepts)
        checks.in_range("share", self.share, 1e-6, 1 - 1e-6)
        checks.one_of("method", self.method, localisation.METHODS)
        checks.at_least("n_random", self.n_random, 1)


@dataclass(frozen=True, eq=False)
class Located:
    """Where concepts lie in one subject, and what silencing costs.

    Parameters
    ----------
    parts : ndarray of int, shape (n_voxels,)
        Each voxel's cube.
    maps : ndarray of float32, shape (n_concepts, n_cubes)
        `localisation.concept_map` on training trials.
    found : ndarray of bool, shape (n_concepts, n_cubes)
        The cubes that are silenced.
    cost : ndarray, shape (n_concepts, n_concepts, n)
        A test stimulus' share in the loss of the first concept's contrast when the second one's cubes are silenced.
    random : ndarray, shape (n_concepts, n)
        The same for random cubes, averaged over draws.
    permuted : ndarray, shape (n_nulls, n_concepts, n)
        The loss of each concept in this decoder for cubes that decoders of shuffled pairs would choose.
    contrast : ndarray, shape (n_concepts,)
        Intact, in units of the cosine.
    ids : tuple of str
        Of the test stimuli.
    """

    parts: np.ndarray
    maps: np.ndarray
    found: np.ndarray
    cost: np.ndarray
    random: np.ndarray
    permuted: np.ndarray
    contrast: np.ndarray
    ids: tuple[str, ...]

    @property
    def own(self) -> np.ndarray:
        """Loss of each concept's contrast by its own cubes, (n_concepts, n)."""
        return np.einsum("iin->in", self.cost)

    @property
    def other(self) -> np.ndarray:
        """Loss by the cubes of the other concepts, averaged, (n_concepts, n)."""
        return (self.cost.sum(1) - self.own) / (len(self.cost) - 1)


def directions(target: ImageTextTarget, training: NeuralDataset, concepts: Sequence[str]) -> np.ndarray:
    """Directions (n_concepts, 1, dim) of concepts in a space that texts and pictures share.

    From the captions of the training part's stimuli that do not say the concept to those that do.
    """
    texts = [training.stimuli.captions[i] for i in training.stimulus_ids]
    values = target.embed_text(texts)[:, None]
    return np.stack(
        [localisation.concept_direction(values[says], values[~says]) for says in _said(texts, concepts)]
    )


def locate(
    decoder: BrainDecoder,
    nulls: Sequence[BrainDecoder],
    dataset: NeuralDataset,
    towards: np.ndarray,
    settings: Settings,
) -> dict[str, Located]:
    """Finds concepts in every subject's cubes, and silences these: by signal key.

    Parameters
    ----------
    decoder : BrainDecoder
        With the adapter `volume_patches`; fitted on ``dataset.part("train")``.
    nulls : sequence of BrainDecoder
        The same fitted to permuted pairs: what cubes would they have chosen?
    dataset : NeuralDataset
        Whole, with the split in use; stimuli with captions.
    towards : ndarray, shape (n_concepts, n_tokens, n_dims)
        `directions` in the main output's space.
    settings : Settings
    """
    cubes = checks.of_type("adapter", decoder.settings.adapter, volume_patches.Config)
    train, test = dataset.part("train"), dataset.part("test")
    return {
        key: _located(
            decoder, nulls, train.trials[key], test.trials[key], dataset.stimuli.captions,
            localisation.cubes_of(test.trials[key].space, cubes), towards, settings,
        )
        for key in test.keys
    }  # fmt: skip


def _located(
    decoder: BrainDecoder, nulls: Sequence[BrainDecoder], train: Trials, test: Trials, captions: Mapping[str, str],
    parts: np.ndarray, towards: np.ndarray, settings: Settings,
) -> Located:  # fmt: skip
    key, n_cubes = train.key, len(np.unique(parts))
    known, x = localisation.prepared(decoder, train)
    mean = x.mean(0)
    says = _said([captions[i] for i in known], settings.concepts)
    n_silent = max(1, round(settings.share * n_cubes))

    def charted(one: BrainDecoder) -> np.ndarray:
        return np.stack([
            localisation.concept_map(
                localisation.contributions(one, key, x, mean, d, parts, method=settings.method), own
            )
            for d, own in zip(towards, says, strict=True)
        ])  # fmt: skip

    charts = charted(decoder)
    found, wrong = _largest(charts, n_silent), [_largest(charted(one), n_silent) for one in nulls]
    ids, shown = localisation.prepared(decoder, test)
    weight = _weights(_said([captions[i] for i in ids], settings.concepts))
    intact = _agreements(decoder, key, shown, towards)
    member = np.unique(parts, return_inverse=True)[1]

    def lost(silent: np.ndarray) -> np.ndarray:
        """Shares of stimuli in the loss of every concept, (n_concepts, n), with these cubes silenced."""
        told = np.where(silent[member], mean, shown).astype(np.float32)
        return weight * (intact - _agreements(decoder, key, told, towards))

    draw = seeding.numpy_generator(settings.seed, "random cubes", key)
    random = [
        lost(np.isin(np.arange(n_cubes), draw.permutation(n_cubes)[:n_silent]))
        for _ in range(settings.n_random)
    ]
    permuted = [np.stack([lost(sets[i])[i] for i in range(len(sets))]) for sets in wrong]
    return Located(
        parts, charts, found, np.stack([lost(silent) for silent in found], 1), np.mean(random, 0),
        np.array(permuted).reshape(len(nulls), *weight.shape), (weight * intact).mean(1), ids,
    )  # fmt: skip


def scores(located: Mapping[str, Located], recipe: Any, settings: Settings) -> list[Score]:
    """What silencing a concept's cubes costs it, per subject: of the decoder's cubes, and of a shuffled decoder's.

    Chance is what as many random cubes cost; the null are the cubes that decoders of shuffled pairs choose. It is a
    strict one: labels and responses choose with them, and a slope of chance has the right sign half of the time.
    """
    found = []
    for key, one in located.items():
        subject, modality = parse_key(key)
        null = one.permuted.mean((1, 2))
        for system, values in (("braindec", one.own), ("shuffled", one.permuted[0])):
            each = values.mean(0)
            ends = mean_interval(each, seeding.numpy_generator(settings.seed, "concept cost", key, system))
            found.append(Score(
                METRIC, system, recipe.protocol, subject, modality, float(each.mean()),
                (float(ends.low), float(ends.high)), float(one.random.mean()), float(null.mean()), len(each),
                null_n=len(null), per_sample=each, sample_ids=one.ids,
                details={"contrast": float(one.contrast.mean()), "cubes": int(one.found[0].sum())},
            ))  # fmt: skip
    return found


def comparisons(located: Mapping[str, Located], settings: Settings) -> list[dict[str, Any]]:
    """Paired over held-out stimuli: own cubes against random ones, a shuffled decoder's, and other concepts' cubes.

    The last one is even-handed: over all pairs of concepts, a concept that is lost easily and cubes that matter to all
    stand on both sides. Its p comes from dealing the sets of cubes to the concepts anew.
    """
    rows = []
    for key, one in located.items():
        others = {
            "random cubes": one.random, "cubes of a decoder of shuffled pairs": one.permuted.mean(0),
            "cubes of other concepts": one.other,
        }  # fmt: skip
        for name, values in others.items():
            draw = seeding.numpy_generator(settings.seed, "concept cubes", key, name)
            d = paired_difference(one.own.mean(0), values.mean(0), draw)
            p = _dealt(one, draw) if values is others["cubes of other concepts"] else d.p
            rows.append({"a": "cost by a concept's own cubes", "b": f"by {name}", "metric": METRIC, "key": key,
                         "difference": d.value, "interval": [float(d.interval.low), float(d.interval.high)],
                         "p": p, "n": d.n})  # fmt: skip
    return rows


def save(
    located: Mapping[str, Located], dataset: NeuralDataset, settings: Settings, folder: Path
) -> list[Path]:
    """Writes every concept's map, a value a voxel, as volumes: ``<signal key>_<concept>.nii.gz``."""
    paths = []
    for key, one in located.items():
        named = {
            concept.replace(" ", "-"): localisation.on_voxels(values, one.parts)
            for concept, values in zip(settings.concepts, one.maps, strict=True)
        }
        paths += maps.write(named, dataset.trials[key].space, folder / key)
    return paths


def panels(
    located: Mapping[str, Located], dataset: NeuralDataset, settings: Settings, n_shown: int = 2
) -> list[Panel]:
    """What silencing costs each concept, and maps of the first concepts of each subject."""
    rows = [
        [key.replace("_", " "), concept, f"{one.contrast[i]:.3f}", f"{one.own[i].mean():+.3f}",
         f"{one.other[i].mean():+.3f}", f"{one.random[i].mean():+.3f}", f"{one.permuted[:, i].mean():+.3f}",
         f"{int(one.found[i].sum())} of {one.found.shape[1]}"]
        for key, one in located.items()
        for i, concept in enumerate(settings.concepts)
    ]  # fmt: skip
    columns = ["subject", "concept", "contrast", "lost: own cubes", "other concepts'", "random", "shuffled decoder's",
               "cubes"]  # fmt: skip
    caption = (
        "Contrast: mean decoded cosine with the concept's direction in held-out pictures that show it, less that in "
        "others. Lost: by how much it falls when cubes say what they said on average in training. Cubes were chosen on "
        "training trials."
    )
    found: list[Panel] = [
        (
            "What silencing the cubes of a concept costs",
            "table",
            {"columns": columns, "rows": rows, "caption": caption},
        )
    ]
    for (key, one), i in itertools.product(located.items(), range(n_shown)):
        payload = {
            "mask": dataset.trials[key].space.mask,  # type: ignore[union-attr]  # cubes_of took voxels alone
            "values": localisation.on_voxels(one.maps[i], one.parts),
            "label": "cosine where shown, less where not",
            "symmetric": True,
            "caption": "What each cube adds to the decoded cosine with the concept, in training pictures that show it "
            "more than in others.",
        }
        found.append((f"{key.replace('_', ' ')}: where '{settings.concepts[i]}' lies", "volume", payload))
    return found


def _said(texts: Sequence[str], concepts: Sequence[str]) -> np.ndarray:
    """Whether each text says each concept as whole words, whatever their case and signs: bool (n_concepts, n)."""
    spelled = [_spelled(text) for text in texts]
    found = np.array([[_spelled(concept) in text for text in spelled] for concept in concepts])
    for concept, says in zip(concepts, found, strict=True):
        checks.in_range(f"captions that say {concept!r}", int(says.sum()), 1, len(texts) - 1)
    return found


def _spelled(text: str) -> str:
    """Its words alone, each between spaces."""
    words = re.findall(r"\w+", text.casefold())
    return f" {' '.join(words)} "


def _weights(says: np.ndarray) -> np.ndarray:
    """By which a mean over stimuli becomes the mean where a concept is less that where it is not, (n_concepts, n)."""
    n, there = says.shape[1], says.sum(1, keepdims=True)
    return np.where(says, n / there, -n / (n - there))


def _largest(charts: np.ndarray, n: int) -> np.ndarray:
    """The `n` cubes with the most of each map, bool (n_concepts, n_cubes)."""
    rank = np.argsort(np.argsort(-charts, axis=1, kind="stable"), axis=1, kind="stable")
    return rank < n


def _agreements(decoder: BrainDecoder, key: str, signals: np.ndarray, towards: np.ndarray) -> np.ndarray:
    return np.stack([localisation.agreement(decoder, key, signals, d) for d in towards])


def _dealt(one: Located, draw: np.random.Generator) -> float:
    """p of own cubes costing more, among the ways to deal the sets of cubes to the concepts."""
    cost = one.cost.mean(2)
    n = len(cost)
    own = np.trace(cost)
    ways = (
        list(itertools.permutations(range(n)))
        if n <= 5
        else [draw.permutation(n) for _ in range(MOST_ASSIGNMENTS)]
    )
    dealt = np.array([cost[np.arange(n), list(way)].sum() for way in ways])
    # All ways hold the true one; of drawn ones it is added.
    return float((dealt >= own - 1e-12).mean()) if n <= 5 else p_value(float(own), dealt)
