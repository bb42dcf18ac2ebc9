"""How things move, read from the brain: it animates a picture that is given, and predicts the brain beyond pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from braindec.data import NeuralDataset
from braindec.data.preprocessing import Preprocessing
from braindec.evaluate import encode_continuous, video
from braindec.evaluate.encoded import SETTINGS, Encoded, Settings
from braindec.evaluate.low_level import in_order
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.video_apart import Apart
from braindec.generators._frames import moved
from braindec.types import Embeddings

METRIC = (
    "motion_error"  # the picture is given, so nothing else that clips have in common comes from the brain
)
MOTION, PICTURE = "motion", "picture"
CLIPS = video.Settings()


def animated(
    decoder: Apart,
    nulls: Sequence[Apart],
    recipe: Any,
    dataset: NeuralDataset,
    settings: video.Settings = CLIPS,
) -> video.Watched:
    """The presented clips' own middle frames, moved as decoded; judged by their motion alone.

    Parameters
    ----------
    decoder : Apart
        Its main one decodes motion (`targets.block_motion`).
    nulls : sequence of Apart
        The same fitted to permuted stimuli.
    recipe : Recipe
        Its protocol and seed.
    dataset : NeuralDataset
        Whole, with the split in use; its stimuli are clips.
    settings : video.Settings
        How many clips and permutations.
    """
    protocol = replace(protocol_named(recipe.protocol), video_metrics=(METRIC,))
    test = dataset.part("test")

    def draw(key: str, ids: tuple[str, ...], shown: np.ndarray) -> video.Draw:
        given = np.ascontiguousarray(shown[:, shown.shape[1] // 2])

        def clips(one: Apart) -> np.ndarray:
            values = in_order(one.main.predict(test.trials[key], repeats=protocol.repeats), ids)
            return moved(
                given, video.fields(values, one.main.outputs[one.main.main].identity), shown.shape[1]
            )

        return clips

    return video.judged(decoder, nulls, draw, test, protocol, settings, recipe.seed)


def beyond_pictures(
    dataset: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
    *,
    timing: encode_continuous.Timing = encode_continuous.TIMING,
    preprocessing: Preprocessing | None = None,
    settings: Settings = SETTINGS,
) -> dict[str, Encoded]:
    """Encoding models of features of films beside those of one frame of each clip, which stand as nuisance features.

    Parameters
    ----------
    dataset : NeuralDataset
        Its trials are volumes.
    embeddings : mapping of str to Embeddings
        ``"main"``: motion of the clips; ``"picture"``: one frame of each; any further ones are of clips too.
    timing, preprocessing, settings
        As of `encode_continuous`.

    Returns
    -------
    dict of str to Encoded
        `unique` is what films explain beyond their frames.
    """
    films = {MOTION if name == "main" else name: e for name, e in embeddings.items() if name != PICTURE}
    return encode_continuous.encode_continuous(
        dataset, films, {PICTURE: embeddings[PICTURE]},
        timing=timing, preprocessing=preprocessing, settings=settings,
    )  # fmt: skip
