"""Clips from brains: drawn frame by frame of what was seen, how it looked and how it moved, and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Prediction
from braindec.evaluate.low_level import in_order
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.pictures import first, left_out, render, shown_as
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.texts_and_clips import measure_videos, said, video_values
from braindec.evaluate.video_apart import Apart
from braindec.generators import Generator, Guides
from braindec.generators._frames import drawn_frames, moved
from braindec.metrics.video import MotionTest, motion_error, motion_test
from braindec.protocols import Pictures, Protocol
from braindec.types import Score

Follow = Literal["drawn", "moved"]
STRUCTURE, MOTION = "structure", "motion"  # names of decoders beside the main one
Draw = Callable[[Apart], np.ndarray]  # uint8 (n, n_frames, height, width, 3)
Drawing = Callable[[str, tuple[str, ...], np.ndarray], Draw]


@dataclass(frozen=True)
class Settings:
    """How clips are drawn and judged.

    Parameters
    ----------
    n_clips : int
        Test clips of each subject, at most.
    follow : {"drawn", "moved"}
        Decoded motion moves the decoded structure, from which every frame is drawn; or it moves the one picture that is
        drawn, which keeps motion and cannot flicker.
    n_permutations : int
        Of each null of motion.
    n_steps : int or None
        Of the generator.
    shared_noise : float
        In [0, 1]: what part of their noise frames that are drawn one by one share (`_frames.drawn_frames`).
    """

    n_clips: int = 30
    follow: Follow = "moved"
    n_permutations: int = 200
    n_steps: int | None = None
    shared_noise: float = 1.0

    def __post_init__(self) -> None:
        checks.at_least("n_clips", self.n_clips, 2)
        checks.one_of("follow", self.follow, ("drawn", "moved"))
        checks.at_least("n_permutations", self.n_permutations, 1)
        checks.in_range("shared_noise", self.shared_noise, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one subject's test stimuli.

    Parameters
    ----------
    ids : tuple of str
    presented : uint8 array, shape (n, n_frames, height, width, 3)
    made : mapping of str to such an array
        ``"braindec"``, and ``"shuffled"`` of a decoder of shuffled pairs.
    tests : mapping of str to MotionTest
        Is motion that of the clip: against other clips (``"items"``) and against shuffled frames (``"frames"``).
    still : float
        Motion error of clips that do not move at all.
    shuffled : float
        Motion error of the decoders of shuffled pairs, on average.
    """

    ids: tuple[str, ...]
    presented: np.ndarray
    made: Mapping[str, np.ndarray]
    tests: Mapping[str, MotionTest]
    still: float
    shuffled: float


@dataclass(frozen=True, eq=False)
class Watched:
    """Clips by signal key, their scores, and why metrics of the protocol are not among these, by metric."""

    clips: Mapping[str, Clips]
    scores: tuple[Score, ...]
    not_computed: Mapping[str, str]

    def record(self) -> dict[str, Any]:
        """What the motion tests found, and what was not computed: JSON values."""
        found = {
            key: {
                **{
                    f"error_against_{null}": {"value": t.value, "null": float(t.null.mean()), "p": t.p}
                    for null, t in c.tests.items()
                },
                "error_of_stills": c.still,
                "error_of_shuffled_decoders": c.shuffled,
            }
            for key, c in self.clips.items()
        }
        return {"motion": found, "not_computed": dict(self.not_computed)}


def watched(
    decoder: Apart,
    nulls: Sequence[Apart],
    recipe: Any,
    dataset: NeuralDataset,
    settings: Settings,
    *,
    rough: Generator | None = None,
) -> Watched:
    """Draws and judges clips of the test stimuli.

    Parameters
    ----------
    decoder : Apart
    nulls : sequence of Apart
        The same fitted to permuted stimuli: all of them draw, the first is shown.
    recipe : Recipe
        Its generator and protocol.
    dataset : NeuralDataset
        Whole, with the split in use; its stimuli are clips.
    settings : Settings
    rough : Generator, optional
        Of the structure's space, e.g. `generators.vae_latents`.
    """
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    member, main = recipe.build_generator(), decoder.main
    draw = drawing(member, recipe, test, settings, rough=rough)
    stake = {"target": main.outputs[main.main].space, "generator": member.space}
    return judged(decoder, nulls, draw, test, protocol, settings, recipe.seed, stake=stake)


def drawing(
    member: Generator, recipe: Any, test: NeuralDataset, settings: Settings, *, rough: Generator | None = None
) -> Drawing:
    """What gives, of a signal key, ids and their presented clips, what draws these ids' clips from any decoders.

    Arguments as of `watched`; `test` is ``dataset.part("test")``.
    """
    protocol = protocol_named(recipe.protocol)

    def draw(key: str, ids: tuple[str, ...], shown: np.ndarray) -> Draw:
        return _Draw(member, rough, test, key, ids, shown.shape[1:4], recipe.seed, settings, protocol).clips

    return draw


def judged(
    decoder: Apart,
    nulls: Sequence[Apart],
    draw: Drawing,
    test: NeuralDataset,
    protocol: Protocol,
    settings: Settings,
    seed: int,
    *,
    stake: Mapping[str, str] | None = None,
) -> Watched:
    """Clips of test stimuli, drawn in whatever way from a decoder and from its nulls, beside the presented ones.

    Parameters
    ----------
    decoder, nulls
        As of `watched`.
    draw : callable
        ``draw(signal key, ids, presented clips)`` gives what makes clips of these ids from any of the decoders.
    test : NeuralDataset
        ``dataset.part("test")``.
    protocol : Protocol
    settings : Settings
    seed : int
    stake : mapping, optional
        See `pictures.measure_pictures`.
    """
    checks.at_least("number of nulls", len(nulls), 1)
    found, measured, shuffled, null = {}, {}, {}, {}
    for key in test.keys:
        prediction = first(decoder.main.predict(test.trials[key], repeats=protocol.repeats), settings.n_clips)
        every = test.stimuli.clips(prediction.ids)
        clips = draw(key, prediction.ids, every)
        made, others = clips(decoder), [clips(one) for one in nulls]
        chosen = np.linspace(0, every.shape[1] - 1, made.shape[1]).round().astype(int)
        presented = _sized(every[:, chosen], made.shape[2])
        random = seeding.numpy_generator(seed, "clips", key)
        measured[key] = measure_videos(presented, made, protocol, random, stake=stake)[0]
        shuffled[key] = measure_videos(presented, others[0], protocol, random, stake=stake)[0]
        values = [video_values(presented, other, protocol, stake=stake) for other in others]
        null[key] = {name: np.array([v[name] for v in values]) for name in measured[key]}
        found[key] = _tested(prediction.ids, presented, made, others, seed, settings)
    names = {key: c.ids for key, c in found.items()}
    scores: list[Score] = []
    for system, of in (("braindec", measured), ("shuffled", shuffled)):
        scores += scores_of(Judged(system, {}, of, null, sample_names=names), protocol)
    return Watched(found, tuple(scores), said(left_out(protocol.video_metrics, stake)))


def panels(found: Watched, n: int = 6) -> list[tuple[str, str, dict[str, Any]]]:
    """What the motion tests found, and frames of the first clips of each subject."""
    rows = [
        [
            key.replace("_", " "), f"{c.tests['items'].value:.2f}", f"{c.tests['items'].null.mean():.2f}",
            f"{c.tests['items'].p:.3f}", f"{c.tests['frames'].null.mean():.2f}", f"{c.tests['frames'].p:.3f}",
            f"{c.shuffled:.2f}", f"{c.still:.2f}",
        ]
        for key, c in found.clips.items()
    ]  # fmt: skip
    columns = [
        "subject", "motion error, pixels a frame", "other clips", "p", "shuffled frames", "p of these",
        "shuffled decoders", "stills",
    ]  # fmt: skip
    made: list[tuple[str, str, dict[str, Any]]] = [
        ("Does motion come from the response?", "table", {"columns": columns, "rows": rows})
    ]
    words = {"presented": "presented", "braindec": "decoded", "shuffled": "shuffled brain"}
    for key, c in found.clips.items():
        every = {"presented": c.presented, **c.made}
        shown = {
            f"{words[name]}, frame {i + 1}": every[name][:n, i]
            for name in words
            for i in range(c.presented.shape[1])
        }
        caption = "The first test clips by name, not chosen; a column is a clip, and time runs down."
        payload = {"rows": shown, "captions": list(c.ids[:n]), "caption": caption}
        made.append((f"{key.replace('_', ' ')}: clips", "image_grid", payload))
    return made


@dataclass(frozen=True, eq=False)
class _Draw:
    """How clips of one subject's test stimuli are drawn, the same for a decoder and its nulls."""

    member: Generator
    rough: Generator | None
    test: NeuralDataset
    key: str
    ids: tuple[str, ...]
    shape: tuple[int, ...]  # (n_frames, height, width) of the presented clips
    seed: int
    settings: Settings
    protocol: Any

    def clips(self, decoder: Apart) -> np.ndarray:
        """uint8 (n, n_frames, height, width, 3)."""
        shown = first(self._predicted(decoder.main), len(self.ids))
        embedding = decoder.main.image_embedding(shown, seed=self.seed)
        told = {name: in_order(self._predicted(one), self.ids) for name, one in decoder.others.items()}
        structure = None
        if STRUCTURE in told and self.rough is not None and "low_level" in self.member.takes:
            structure = _sized(render(self.rough, told[STRUCTURE], self.seed)[:, None], self.shape[1])[:, 0]
        if MOTION not in told:  # an embedding a frame
            frames = embedding[:, :, None]
            steady = None if structure is None else np.repeat(structure[:, None], frames.shape[1], axis=1)
            return self._drawn(frames, steady)
        motion = fields(told[MOTION], decoder.others[MOTION].outputs["main"].identity)
        if self.settings.follow == "drawn":
            if structure is None:
                raise checks.ConfigError(
                    "follow 'drawn' needs an output 'structure', its generator, and one that takes it; or choose "
                    "follow 'moved'."
                )
            passing = moved(structure, motion, self.shape[0])
            return self._drawn(np.repeat(embedding[:, None], self.shape[0], axis=1), passing)
        guides = Guides() if structure is None else Guides(low_level=structure)
        picture = self.member.generate(
            embedding, generator=self._noise(), guides=guides, n_steps=self.settings.n_steps
        )
        return moved(picture, motion, self.shape[0])

    def _drawn(self, frames: np.ndarray, structure: np.ndarray | None) -> np.ndarray:
        return drawn_frames(
            self.member, frames, generator=self._noise(), structure=structure, n_steps=self.settings.n_steps,
            shared=self.settings.shared_noise,
        )  # fmt: skip

    def _noise(self) -> torch.Generator:
        return seeding.torch_generator(self.seed, "picture")

    def _predicted(self, decoder: BrainDecoder) -> Prediction:
        return decoder.predict(self.test.trials[self.key], repeats=self.protocol.repeats)


def _tested(
    ids: tuple[str, ...],
    presented: np.ndarray,
    made: np.ndarray,
    others: Sequence[np.ndarray],
    seed: int,
    settings: Settings,
) -> Clips:
    true, clips = as_tensor(presented), as_tensor(made)
    tests = {
        null: motion_test(
            true,
            clips,
            seeding.torch_generator(seed, "motion", null),
            null=null,
            n_permutations=settings.n_permutations,
        )
        for null in ("items", "frames")
    }
    still = float(motion_error(true, clips[:, :1].expand_as(clips)).mean())
    shuffled = float(np.mean([float(motion_error(true, as_tensor(other)).mean()) for other in others]))
    return Clips(ids, presented, {"braindec": made, "shuffled": others[0]}, tests, still, shuffled)


def fields(values: np.ndarray, identity: Mapping[str, Any]) -> np.ndarray:
    """Motion as `moved` takes it: (n, 2, n_rows, n_columns), in shares of the picture."""
    n = int(identity["side"]) // int(identity["block"])
    return np.asarray(values, np.float32).reshape(len(values), 2, n, n) / float(identity["side"])


def as_tensor(clips: np.ndarray) -> Tensor:
    """(n, n_frames, 3, height, width) in [0, 1]."""
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 255


def _sized(clips: np.ndarray, side: int) -> np.ndarray:
    """Clips (n, n_frames, height, width, 3) at another size, smoothly."""
    made = shown_as(clips.reshape(-1, *clips.shape[2:]), Pictures(side=side, antialias=True))
    return made.reshape(*clips.shape[:2], *made.shape[1:])
