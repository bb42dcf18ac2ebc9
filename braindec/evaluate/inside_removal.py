"""Concepts taken out of a generator while it draws: how often they are still named, and whether all else still is.

A sparse autoencoder codes what one block of the generator's network does at every position and step of drawing training
scenes. A concept's latents are turned round while held-out scenes are drawn, from the same noise as without the edit.
An independent network says what is in a picture (`data.simulated.preferring`), and its commonest colour the background.
Beside the latents stand latents picked for permuted labels, as many other latents of like activation, and the
difference of mean activations, which needs no autoencoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding, sparse
from braindec.data import NeuralDataset
from braindec.data.simulated import preferring, rendering, scenes
from braindec.decoder import BrainDecoder
from braindec.evaluate import inside_removal_report as reported
from braindec.evaluate import study
from braindec.evaluate.inside_removal_report import DIRECTION, LATENTS, OTHERS, PERMUTED, Setting, Tally
from braindec.generators import edited
from braindec.sparse import removal
from braindec.types import Report

Embed = Callable[[np.ndarray], np.ndarray]  # pictures to embeddings (n, 1, dim) of the generator's space
Edit = removal.Removal | removal.Direction
WORDS = (*preferring.KINDS, *scenes.BACKGROUNDS)
N_OF_BRAIN = 3  # draws of each control that are tried on embeddings from a brain
NAMED_FROM = 0.5  # objects of a kind that the network expects in a picture


@dataclass(frozen=True)
class Settings:
    """Sizes of the study, and what is chosen among on training scenes.

    Parameters
    ----------
    concepts : tuple of str
        Words of `WORDS`: shapes, colours, textures, sizes, backgrounds.
    blocks : tuple of str
        Of the generator's network; see `generators.edited`.
    n_latents : tuple of int
        A concept's at each step.
    factors : tuple of float
        What they are multiplied by.
    direction_factors : tuple of float
        The same for the difference of means.
    n_train, n_choose, n_pool : int
        Scenes for the autoencoder and its latents; training scenes for the choice; held-out scenes.
    n_drawn : int
        Held-out scenes with each concept that are drawn at most, and as many without; half as many for the choice.
    n_null, n_others : int
        Permutations of labels, and draws of other latents.
    n_steps : int
        Of drawing.
    autoencoder : mapping
        Fields of `sparse.Config` and, as ``"n_fit_steps"``, ``"batch_size"`` and ``"lr"``, of its training.
    seed : int
    """

    concepts: tuple[str, ...] = ("red", "blue", "green", "square", "white")
    blocks: tuple[str, ...] = ("conv_in", "up_blocks.2")
    n_latents: tuple[int, ...] = (2, 4, 8)
    factors: tuple[float, ...] = (-1.0, -2.0, -4.0)
    direction_factors: tuple[float, ...] = (-0.5, -1.0, -2.0, -4.0)
    n_train: int = 300
    n_choose: int = 100
    n_pool: int = 300
    n_drawn: int = 20
    n_null: int = 19
    n_others: int = 9
    n_steps: int = 5
    autoencoder: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for word in self.concepts:
            checks.one_of("concept", word, WORDS)
        for name in ("n_null", "n_others"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("n_drawn", self.n_drawn, 2)


class Shown(NamedTuple):
    """Image embeddings (n, 1, dim), and which of `WORDS` is in each scene, bool (n, n_words)."""

    embeddings: np.ndarray
    present: np.ndarray


class Block(NamedTuple):
    """A block while training scenes were drawn, its autoencoder, and each picture's mean activations."""

    name: str
    recorded: edited.Recorded
    model: sparse.SparseAutoencoder
    means: Tensor
    fvu: float


def removal_study(
    base: edited.Hookable, embed: Embed, settings: Settings = Settings(), *, brain: Shown | None = None,
    subject: int | str = "simulated", modality: str = "model", protocol: str = "heldout_stimuli",
) -> Report:  # fmt: skip
    """Concepts removed from what a generator draws of held-out scenes, beside controls.

    Parameters
    ----------
    base : Hookable
        Drawn with guidance 1, so that its network is asked once a step.
    embed : callable
    settings : Settings
    brain : Shown, optional
        Embeddings decoded from a brain, and what was in the scenes that it saw.
    subject, modality : int or str, str
        Whose brain it was.
    protocol : str
    """
    train, choose, pool = (
        sampled(n, embed, seeding.numpy_generator(settings.seed, "removal", part))
        for part, n in (
            ("train", settings.n_train), ("choose", settings.n_choose), ("test", settings.n_pool)
        )
    )  # fmt: skip
    blocks = [fitted(base, name, train, settings) for name in settings.blocks]
    chosen = {way: _chosen(base, blocks, train, choose, way, settings) for way in (LATENTS, DIRECTION)}
    edits = _edits(blocks, chosen, train, settings)
    drawing = _drawing(base, settings)
    found = _tallies(pool, edits, settings, drawing)
    of_brain = None
    if brain is not None:
        of_brain = _tallies(brain, {way: made[:N_OF_BRAIN] for way, made in edits.items()}, settings, drawing)
    shown = reported.Pictures(*_gallery(pool, edits, settings, drawing))
    told = {"subject": subject, "modality": modality}
    sheet = _sheet(
        {b.name: b for b in blocks}[chosen[LATENTS][0][0].block], edits[LATENTS][0], settings.concepts
    )
    return reported.report(
        settings.concepts, chosen, found, of_brain, shown, sheet, _fvu(blocks), told, protocol
    )


def decoded(decoder: BrainDecoder, dataset: NeuralDataset, *, seed: int = 0) -> Shown:
    """What a fitted decoder predicts for the test part of its only subject, and what is in those scenes."""
    ((_, trials),) = dataset.part("test").trials.items()
    prediction = decoder.predict(trials, repeats="after")
    row = {name: i for i, name in enumerate(dataset.stimulus_ids)}
    kept = [row[i] for i in prediction.ids]
    held = study.factors(dataset)
    present = np.stack([held[word][kept] for word in WORDS], 1)
    return Shown(decoder.image_embedding(prediction, seed=seed), present)


def sampled(n: int, embed: Embed, generator: np.random.Generator) -> Shown:
    """Scenes of their own: no dataset's."""
    drawn = scenes.sample_unique_scenes(n, generator)
    return Shown(np.asarray(embed(scenes.render_all(drawn))), present_in(drawn))


def present_in(drawn: Sequence[scenes.Scene]) -> np.ndarray:
    """Which of `WORDS` is in each scene, bool (n, n_words)."""
    held = [
        {s.background, *(w for o in s.objects for w in (o.shape, o.colour, o.texture, o.size))} for s in drawn
    ]
    return np.array([[word in one for word in WORDS] for one in held])


def named(pictures: np.ndarray) -> np.ndarray:
    """Which of `WORDS` is named in pictures, bool (n, n_words).

    Objects by the network, where it expects half an object or more; the background by the colour nearest to the median
    of a picture's pixels, which of 600 rendered scenes is the true one.
    """
    kinds = preferring.counts_of(pictures) > NAMED_FROM
    middle = np.median(pictures.reshape(len(pictures), -1, 3), axis=1)
    palette = np.array([rendering.BACKGROUND_RGB[word] for word in scenes.BACKGROUNDS], float)
    nearest = np.square(middle[:, None] - palette).sum(2).argmin(1)
    return np.concatenate([kinds, nearest[:, None] == np.arange(len(palette))], 1)


# ------------------------------------------------------------------------------------------------- what is recorded


def fitted(base: edited.Hookable, block: str, train: Shown, settings: Settings) -> Block:
    """A block recorded while training scenes are drawn, and an autoencoder of all its positions and steps."""
    recorded = edited.record(
        base, block, train.embeddings, generator=seeding.torch_generator(settings.seed, "record"),
        n_steps=settings.n_steps,
    )  # fmt: skip
    told = {"n_latents": 256, "n_active": 6, "n_fit_steps": 1200, "batch_size": 1024, "lr": 2e-3}
    told |= dict(settings.autoencoder)
    rows = recorded.values.flatten(0, 2)
    batch = min(int(told["batch_size"]), len(rows))
    model = sparse.fit(
        rows, sparse.Config(int(told["n_latents"]), "batch_topk", int(told["n_active"])),
        sparse.FitConfig(
            n_steps=int(told["n_fit_steps"]), batch_size=batch, lr=float(told["lr"]), dead_after=50 * batch,
            device="cpu",
        ),
        seed=settings.seed, progress=False,
    ).model  # fmt: skip
    some = rows[torch.randperm(len(rows), generator=seeding.torch_generator(settings.seed, "fvu"))[:20000]]
    with torch.no_grad():
        fvu = (some - model(some)).square().sum() / (some - some.mean(0)).square().sum()
    return Block(block, recorded, model, removal.mean_activations(model, recorded.values), float(fvu))


def _fvu(blocks: Sequence[Block]) -> dict[str, float]:
    return {block.name: block.fvu for block in blocks}


def _edit(block: Block, has: Tensor, way: str, setting: Setting) -> Edit:
    levels = block.recorded.levels
    if way == DIRECTION:
        return removal.mean_difference(block.recorded.values, has, levels, setting.factor)
    return removal.removal(block.model, block.means, has, levels, setting.n_latents, setting.factor)


# ----------------------------------------------------------------------------------------------- what is drawn of it


Drawing = Callable[[np.ndarray, str, Edit | None], np.ndarray]


def _drawing(base: edited.Hookable, settings: Settings) -> Drawing:
    """Draws embeddings with an edit of a block or without, from the same noise."""

    def draw(embeddings: np.ndarray, block: str, edit: Edit | None) -> np.ndarray:
        one = base if edit is None else edited.build(edited.Config(block), base, edit)
        noise = seeding.torch_generator(settings.seed, "removal pictures")
        return one.generate(embeddings, generator=noise, n_steps=settings.n_steps)

    return draw


class Asked(NamedTuple):
    """A concept, the scenes that are drawn to ask about it, and what is named in their pictures without an edit."""

    word: str
    rows: np.ndarray
    plain: np.ndarray


def asked(shown: Shown, concepts: Sequence[str], n_drawn: int, draw: Drawing) -> list[Asked]:
    """The first `n_drawn` scenes with each concept and as many without, drawn."""
    out = []
    for word in concepts:
        has = shown.present[:, WORDS.index(word)]
        rows = np.concatenate([np.flatnonzero(part)[:n_drawn] for part in (has, ~has)])
        out.append(Asked(word, rows, named(draw(shown.embeddings[rows], "", None))))
    return out


def tallied(
    shown: Shown, about: Sequence[Asked], edits: Mapping[str, tuple[str, Edit]], draw: Drawing
) -> Tally:
    """What is still named once each concept is edited, by scene and concept.

    Parameters
    ----------
    shown : Shown
    about : sequence of Asked
    edits : mapping from concept to (block, edit)
    draw : callable
    """
    empty = np.full((len(shown.present), len(about)), np.nan)
    tally = Tally(*(torch.from_numpy(empty.copy()) for _ in Tally._fields))
    for k, (word, rows, plain) in enumerate(about):
        column = WORDS.index(word)
        has = shown.present[:, column]
        changed = named(draw(shown.embeddings[rows], *edits[word]))
        rest = plain & shown.present[rows]  # what is there to be kept
        rest[:, column] = False
        kept = (changed & rest).sum(1) / np.maximum(rest.sum(1), 1)
        kept[~rest.any(1)] = np.nan
        there = has[rows] & plain[:, column]  # what is there to be removed
        for values, of, which in (
            (tally.before, plain[:, column], has[rows]), (tally.after, changed[:, column], has[rows]),
            (tally.without, plain[:, column], ~has[rows]), (tally.gone, ~changed[:, column], there),
            (tally.kept_with, kept, has[rows]), (tally.kept_without, kept, ~has[rows]),
        ):  # fmt: skip
            values[rows[which], k] = torch.from_numpy(of[which].astype(float))
    return tally


def _tallies(
    shown: Shown, edits: Mapping[str, list[dict[str, tuple[str, Edit]]]], settings: Settings, draw: Drawing
) -> dict[str, list[Tally]]:
    about = asked(shown, settings.concepts, settings.n_drawn, draw)
    return {way: [tallied(shown, about, some, draw) for some in made] for way, made in edits.items()}


def _chosen(
    base: edited.Hookable, blocks: Sequence[Block], train: Shown, choose: Shown, way: str, settings: Settings
) -> list[tuple[Setting, float]]:
    """Settings of a way and how well each removes on training scenes, the best first."""
    grid = [
        Setting(block.name, n, factor)
        for block in blocks
        for n in (settings.n_latents if way == LATENTS else (1,))
        for factor in (settings.factors if way == LATENTS else settings.direction_factors)
    ]
    if len(grid) == 1:
        return [(grid[0], float("nan"))]
    by_name, draw = {block.name: block for block in blocks}, _drawing(base, settings)
    about = asked(choose, settings.concepts, max(2, settings.n_drawn // 2), draw)
    found = []
    for setting in grid:
        edits = {
            word: (setting.block, _edit(by_name[setting.block], _has(train, word), way, setting))
            for word in settings.concepts
        }
        found.append((setting, tallied(choose, about, edits, draw).removed()))
    return sorted(found, key=lambda pair: -pair[1])


def _edits(
    blocks: Sequence[Block],
    chosen: Mapping[str, list[tuple[Setting, float]]],
    train: Shown,
    settings: Settings,
) -> dict[str, list[dict[str, tuple[str, Edit]]]]:
    """By way, its draws, each an edit of every concept; the latents' and the direction's are one."""
    by_name = {block.name: block for block in blocks}
    made: dict[str, list[dict[str, tuple[str, Edit]]]] = {}
    for way in (LATENTS, DIRECTION):
        setting = chosen[way][0][0]
        block = by_name[setting.block]
        made[way] = [{w: (block.name, _edit(block, _has(train, w), way, setting)) for w in settings.concepts}]
    setting = chosen[LATENTS][0][0]
    block = by_name[setting.block]
    generator = seeding.torch_generator(settings.seed, "removal nulls")
    made[PERMUTED] = [
        {
            w: (block.name, _edit(block, _has(train, w)[torch.randperm(len(train.present), generator=generator)],
                                  LATENTS, setting))
            for w in settings.concepts
        }
        for _ in range(settings.n_null)
    ]  # fmt: skip
    made[OTHERS] = [
        {
            w: (block.name, removal.others(edit, block.means, generator))
            for w, (_, edit) in made[LATENTS][0].items()
            if isinstance(edit, removal.Removal)
        }
        for _ in range(settings.n_others)
    ]
    return made


def _has(shown: Shown, word: str) -> Tensor:
    return torch.from_numpy(shown.present[:, WORDS.index(word)].copy())


# ------------------------------------------------------------------------------------------------ what is looked at


def _gallery(
    pool: Shown, edits: Mapping[str, list[dict[str, tuple[str, Edit]]]], settings: Settings, draw: Drawing
) -> tuple[dict[str, np.ndarray], list[tuple[str, int]]]:
    """Pictures without and with each edit, of the first scenes with each concept and one without."""
    rows: dict[str, list[np.ndarray]] = {}
    groups = []
    for word in settings.concepts:
        has = pool.present[:, WORDS.index(word)]
        some = np.concatenate([np.flatnonzero(has)[:3], np.flatnonzero(~has)[:1]])
        block, _ = edits[LATENTS][0][word]
        rows.setdefault("no edit", []).append(draw(pool.embeddings[some], block, None))
        for way, made in edits.items():
            place, edit = made[0][word]
            rows.setdefault(way, []).append(draw(pool.embeddings[some], place, edit))
        groups.append((word, len(some)))
    return {label: np.concatenate(parts) for label, parts in rows.items()}, groups


def _sheet(
    block: Block, edits: Mapping[str, tuple[str, Edit]], concepts: Sequence[str]
) -> tuple[np.ndarray, list[tuple[str, int]], list[str]]:
    """Of each concept the training pictures in which its first latent of the last step is most active."""
    pictures, groups, captions = [], [], []
    for word in concepts:
        edit = edits[word][1]
        if not isinstance(edit, removal.Removal):
            continue
        latent = int(edit.latents[-1, 0])
        top = block.means[:, -1, latent].argsort(descending=True)[:4].tolist()
        pictures.append(block.recorded.pictures[top])
        groups.append((f"{word}: latent {latent}", len(top)))
        captions += [f"{float(block.means[i, -1, latent]):.2f}" for i in top]
    return np.concatenate(pictures), groups, captions
