"""Clips from brains: what was seen, how it looked and how it moved, decoded apart, drawn frame by frame and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.decoder import BrainDecoder, Prediction
from braindec.decoder.masked import Config as Masked
from braindec.evaluate.low_level import in_order
from braindec.evaluate.measures import protocol_named
from braindec.evaluate.nulls import permuted
from braindec.evaluate.outputs import by_output
from braindec.evaluate.pictures import first, left_out, render, shown_as
from braindec.evaluate.scoring import Judged, scores_of
from braindec.evaluate.texts_and_clips import measure_videos, said, video_values
from braindec.generators import Generator, Guides
from braindec.generators._frames import drawn_frames, moved
from braindec.losses import mse
from braindec.metrics.video import MotionTest, motion_error, motion_test
from braindec.protocols import Pictures
from braindec.types import Embeddings, Score

Follow = Literal["drawn", "moved"]
APART = "pairwise_identification"  # by which outputs are compared: chance is one half for all of them
STRUCTURE, MOTION = "structure", "motion"  # names of decoders beside the main one


@dataclass(frozen=True)
class Settings:
    """How clips are drawn and judged.

    Parameters
    ----------
    n_clips : int
        Test clips of each subject, at most.
    follow : {"drawn", "moved"}
        Decoded motion moves the decoded structure, from which every frame is drawn with one noise; or it moves the one
        picture that is drawn, which keeps motion and cannot flicker.
    n_permutations : int
        Of each null of motion.
    n_steps : int or None
        Of the generator.
    """

    n_clips: int = 30
    follow: Follow = "moved"
    n_permutations: int = 200
    n_steps: int | None = None

    def __post_init__(self) -> None:
        checks.at_least("n_clips", self.n_clips, 2)
        checks.one_of("follow", self.follow, ("drawn", "moved"))
        checks.at_least("n_permutations", self.n_permutations, 1)


@dataclass(frozen=True, eq=False)
class Apart:
    """Decoders of one part's trials that share nothing: one for what was seen, others for how it looked and moved.

    Parameters
    ----------
    main : BrainDecoder
        Of a picture embedding a clip, or one a frame (`targets.framewise`).
    others : mapping of str to BrainDecoder
        ``"structure"`` (roughly how the middle frame looks) and ``"motion"`` (`targets.block_motion`).
    """

    main: BrainDecoder
    others: Mapping[str, BrainDecoder] = field(default_factory=dict)

    def named(self) -> dict[str, BrainDecoder]:
        """All of them, ``main`` first."""
        return {"main": self.main, **self.others}


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


def fit_apart(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
    out_dir: Path | None = None,
) -> tuple[Apart, list[Apart]]:
    """Decoders of each of these embeddings, and the same fitted on permuted pairings.

    The main one is trained as the recipe says; the others, of which there is nothing to contrast, in closed form.

    Parameters
    ----------
    recipe : Recipe
        Its plan says how many nulls.
    part : NeuralDataset
        ``dataset.part("train")``.
    embeddings : mapping of str to Embeddings
        ``recipe.embed_each(...)``.
    out_dir : path, optional
        Where the main decoder's log goes.
    """
    protocol = protocol_named(recipe.protocol)
    ways = {name: of_output(recipe, name) for name in embeddings}

    def fitted(trials: NeuralDataset, folder: Path | None) -> Apart:
        made = {
            name: BrainDecoder.build(own, trials.info, embeddings[name].info).fit(
                trials, embeddings[name], folder if name == "main" else None, progress=False
            )
            for name, own in ways.items()
        }
        return Apart(made.pop("main"), made)

    draws = [seeding.numpy_generator(recipe.seed, "null clips", i) for i in range(recipe.plan.n_null)]
    return fitted(part, out_dir), [fitted(permuted(part, draw, protocol), None) for draw in draws]


def of_output(recipe: Any, name: str) -> Any:
    """The recipe of one decoder alone; beside the main one nothing is compared, so nothing is calibrated."""
    if name == "main":
        return replace(recipe, targets={})
    told = {"target": recipe.targets[name], "targets": {}, "loss": mse.Config(), "prior": None}
    return replace(recipe, **told, fit="closed_form", n_folds=0, calibrate=False)


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
    checks.at_least("number of nulls", len(nulls), 1)
    protocol, test = protocol_named(recipe.protocol), dataset.part("test")
    member = recipe.build_generator()
    main = decoder.main
    stake = {"target": main.outputs[main.main].space, "generator": member.space}
    found, measured, shuffled, null = {}, {}, {}, {}
    for key in test.keys:
        prediction = first(main.predict(test.trials[key], repeats=protocol.repeats), settings.n_clips)  # type: ignore[arg-type]
        every = test.stimuli.clips(prediction.ids)
        draw = _Draw(
            member, rough, test, key, prediction.ids, every.shape[1:4], recipe.seed, settings, protocol
        )
        made, others = draw.clips(decoder), [draw.clips(one) for one in nulls]
        chosen = np.linspace(0, every.shape[1] - 1, made.shape[1]).round().astype(int)
        presented = _sized(every[:, chosen], made.shape[2])
        random = seeding.numpy_generator(recipe.seed, "clips", key)
        measured[key] = measure_videos(presented, made, protocol, random, stake=stake)[0]
        shuffled[key] = measure_videos(presented, others[0], protocol, random, stake=stake)[0]
        values = [video_values(presented, other, protocol, stake=stake) for other in others]
        null[key] = {name: np.array([v[name] for v in values]) for name in measured[key]}
        found[key] = _tested(prediction.ids, presented, made, others, recipe.seed, settings)
    names = {key: c.ids for key, c in found.items()}
    scores: list[Score] = []
    for system, of in (("braindec", measured), ("shuffled", shuffled)):
        scores += scores_of(Judged(system, {}, of, null, sample_names=names), protocol)
    return Watched(found, tuple(scores), said(left_out(protocol.video_metrics, stake)))


def decoded_apart(
    decoder: Apart,
    nulls: Sequence[Apart],
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Mapping[str, Embeddings],
) -> tuple[tuple[Score, ...], dict[str, dict[str, dict[str, float]]]]:
    """What each decoder tells apart by itself: its test clips from each other, in its own space.

    Returns
    -------
    scores : tuple of Score
        Of the main decoder, with ridge and the decoder of shuffled pairs beside.
    apart : dict of str to dict of str to dict
        By output and signal key: pairwise identification (``value``, ``low``, ``high``), mean of the refitted
        ``null``, and that of closed-form ``ridge``; chance is one half.
    """
    apart: dict[str, dict[str, dict[str, float]]] = {}
    scores: tuple[Score, ...] = ()
    for name, one in decoder.named().items():
        others, told = [n.named()[name] for n in nulls], {"main": embeddings[name]}
        judged = by_output(one, others, of_output(recipe, name), dataset, told, "main", (APART,))
        kept = [s for s in judged.scores if s.system != "contender"]
        ridge = {s.subject: s.value for s in kept if (s.name, s.system) == (APART, "ridge")}
        apart[name] = {
            f"sub-{s.subject:02d}_{s.modality}": {
                "value": s.value, "low": s.interval[0], "high": s.interval[1], "null": s.null,
                "ridge": ridge[s.subject],
            }
            for s in kept
            if (s.name, s.system) == (APART, "braindec") and s.subject != "group"
        }  # fmt: skip
        scores = tuple(kept) if name == "main" else scores
    return scores, apart


def pretrained_with_nulls(
    recipe: Any,
    part: NeuralDataset,
    embeddings: Embeddings,
    settings: Masked,
    out_dir: Path | None = None,
) -> tuple[Apart, list[Apart]]:
    """The recipe's decoder, its trunk pretrained by masked patches, and the same fitted on permuted pairings.

    The trunk saw no label and is that of all of them.

    Parameters
    ----------
    recipe : Recipe
        Its plan says how many nulls.
    part : NeuralDataset
        ``dataset.part("train")``.
    embeddings : Embeddings
    settings : decoder.masked.Config
    out_dir : path, optional
        Where the logs go.
    """
    progress, protocol = recipe.plan.progress, protocol_named(recipe.protocol)

    def built() -> BrainDecoder:
        return BrainDecoder.build(recipe, part.info, embeddings.info)

    decoder = built().pretrain(part, settings, out_dir, progress=progress)
    nulls = []
    for number in range(recipe.plan.n_null):
        wrong, other = (
            permuted(part, seeding.numpy_generator(recipe.seed, "null clips", number), protocol),
            built(),
        )
        other.pretrained = decoder.pretrained
        nulls.append(Apart(other.fit(wrong, embeddings, progress=False)))
    return Apart(decoder.fit(part, embeddings, progress=progress)), nulls


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


def apart_panel(
    apart: Mapping[str, Mapping[str, Mapping[str, float]]], words: Mapping[str, str]
) -> tuple[str, str, dict[str, Any]]:
    """A table of `decoded_apart`; `words` says what each output is."""
    rows = [
        [
            words[name], key.replace("_", " "), f"{v['value']:.3f} [{v['low']:.2f}, {v['high']:.2f}]",
            f"{v['null']:.3f}", f"{v['ridge']:.3f}",
        ]
        for name, keys in apart.items()
        for key, v in keys.items()
    ]  # fmt: skip
    columns = ["decoded", "subject", "two clips told apart (chance 0.5)", "null", "ridge"]
    return "What each output tells apart by itself", "table", {"columns": columns, "rows": rows}


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
        motion = _fields(told[MOTION], decoder.others[MOTION].outputs["main"].identity)
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
            self.member, frames, generator=self._noise(), structure=structure, n_steps=self.settings.n_steps
        )

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
    true, clips = _unit(presented), _unit(made)
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
    shuffled = float(np.mean([float(motion_error(true, _unit(other)).mean()) for other in others]))
    return Clips(ids, presented, {"braindec": made, "shuffled": others[0]}, tests, still, shuffled)


def _fields(values: np.ndarray, identity: Mapping[str, Any]) -> np.ndarray:
    """Motion as `moved` takes it: (n, 2, n_rows, n_columns), in shares of the picture."""
    n = int(identity["side"]) // int(identity["block"])
    return np.asarray(values, np.float32).reshape(len(values), 2, n, n) / float(identity["side"])


def _unit(clips: np.ndarray) -> Tensor:
    """(n, n_frames, 3, height, width) in [0, 1]."""
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 255


def _sized(clips: np.ndarray, side: int) -> np.ndarray:
    """Clips (n, n_frames, height, width, 3) at another size, smoothly."""
    made = shown_as(clips.reshape(-1, *clips.shape[2:]), Pictures(side=side, antialias=True))
    return made.reshape(*clips.shape[:2], *made.shape[1:])
