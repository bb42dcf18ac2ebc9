"""Encoders of what was read and of its text, drawn to each other in one space, in which one layer tells the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from braindec import checks, registry, seeding
from braindec.backbones._dropout import Dropout
from braindec.evaluate.sentences import NONE, Sentences
from braindec.losses import Loss

BATCH = 512  # trials at a time that are told, not learned


@dataclass(frozen=True)
class Aligner:
    """Settings of both encoders and of their training.

    Parameters
    ----------
    width, n_layers, n_heads : int
        Of the transformer over words.
    shared_dim : int
        Values of the shared space.
    dropout : float
        Share dropped of tokens' values and after both parts of a layer, in [0, 1).
    weight : float
        Of the alignment beside the cross-entropies of labels, >= 0.
    n_steps, batch_size : int
        Trials a batch.
    lr, weight_decay : float
        Of AdamW; the rate falls to 0 over the steps.
    """

    width: int = 64
    n_layers: int = 2
    n_heads: int = 4
    shared_dim: int = 32
    dropout: float = 0.2
    weight: float = 1.0
    n_steps: int = 400
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "n_layers", "n_heads", "shared_dim", "n_steps"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("batch_size", self.batch_size, 4)
        checks.at_least("weight", self.weight, 0)
        checks.in_range("dropout", self.dropout, 0.0, 0.99)
        if self.width % self.n_heads:
            raise checks.ConfigError(
                f"width must be a multiple of n_heads, got {self.width} and {self.n_heads}."
            )


@dataclass(frozen=True, eq=False)
class Told:
    """What a fitted pair of encoders says of test trials.

    Parameters
    ----------
    brain, text, both : float tensor, shape (n_trials, n_classes)
        Logarithms of probabilities, from the one side, the other, and the mean of both in the shared space.
    brain_place, text_place : float tensor, shape (n_trials, shared_dim)
        Of both sides in the shared space.
    brain_train, text_train : float tensor, shape (n_train, shared_dim)
        The same of training trials.
    """

    brain: Tensor
    text: Tensor
    both: Tensor
    brain_place: Tensor
    text_place: Tensor
    brain_train: Tensor
    text_train: Tensor


class WordTransformer(nn.Module):
    """Words that were read, with their order, attend to each other; their mean goes to the shared space.

    Places behind the last word are neither attended to nor averaged.
    """

    def __init__(self, n_features: int, n_most: int, settings: Aligner):
        super().__init__()
        self.embed = nn.Linear(n_features, settings.width)
        self.positions = nn.Parameter(0.02 * torch.randn(n_most, settings.width))
        self.dropout = Dropout(settings.dropout)
        layer = nn.TransformerEncoderLayer(
            settings.width,
            settings.n_heads,
            4 * settings.width,
            0.0,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, settings.n_layers, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(settings.width), nn.Linear(settings.width, settings.shared_dim))

    def forward(self, words: Tensor, there: Tensor) -> Tensor:
        """(n_trials, n_most, n_features), bool (n_trials, n_most) to (n_trials, shared_dim)."""
        tokens = self.dropout(self.embed(words) + self.positions)
        tokens = self.layers(tokens, src_key_padding_mask=~there)
        weight = there.to(tokens)
        mean = (tokens * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
        made: Tensor = self.out(mean)
        return made


class Pair(nn.Module):
    """Both encoders and the layer that tells the label from either side."""

    def __init__(self, n_features: int, n_most: int, n_text: int, n_classes: int, settings: Aligner):
        super().__init__()
        self.brain = WordTransformer(n_features, n_most, settings)
        self.text = nn.Sequential(
            nn.Linear(n_text, settings.width), nn.GELU(), Dropout(settings.dropout),
            nn.Linear(settings.width, settings.shared_dim),
        )  # fmt: skip
        self.label = nn.Linear(settings.shared_dim, n_classes)


def fit(
    found: Sentences,
    texts: Tensor,
    train: np.ndarray,
    alignment: Any,
    settings: Aligner,
    *,
    seed: int,
    text_only: bool = False,
) -> Told:
    """Both encoders fitted on training trials, and what they say of the others, in their order.

    Parameters
    ----------
    found : Sentences
        With standardised words, or what stands in their place.
    texts : float tensor, shape (n_trials, dim)
        Embedding of each trial's text.
    train : bool array, shape (n_trials,)
    alignment : losses.<member>.Config or None
        Draws the brain's place to the text's, and the text's to the brain's; None: labels alone do.
    settings : Aligner
    seed : int
        Draws weights and batches.
    text_only : bool
        Nothing but the text is learned from, and the brain's side stays as it was drawn.

    Raises
    ------
    DivergenceError
        If what comes out is not finite.
    ValueError
        If it is so because the words are not.

    Notes
    -----
    Han et al. 2023, arXiv:2208.06348, align the outputs of a transformer over EEG and of one over text by canonical
    correlations or by a Wasserstein distance, and classify what comes out. Here the transformer over text is a
    pretrained one, with a trained map behind it.
    """
    told, test = (torch.from_numpy(np.flatnonzero(part)) for part in (train, ~train))
    texts = (texts - texts[told].mean(0)) / texts[told].std().clamp_min(1e-6)
    loss = None if alignment is None else registry.load(*registry.name_of(alignment)).build(alignment)
    with seeding.seeded(seed, "sentence alignment"):
        shape = (found.words.shape[1], found.rows.shape[1], texts.shape[1], len(found.classes))
        pair = Pair(*shape, settings)
        _train_(pair, found, texts, told, None if text_only else loss, settings, seed, text_only)
    pair.eval()
    with torch.inference_mode():
        brain, text, both, *places = _said(pair, found, texts, test)
        places += _said(pair, found, texts, told)[3:]
    made = Told(brain, text, both, *places)
    _refuse_diverged(made, found, settings)
    return made


def _refuse_diverged(made: Told, found: Sentences, settings: Aligner) -> None:
    bad = [name for name, values in vars(made).items() if not bool(values.isfinite().all())]
    if bad:
        checks.finite("words", found.words)
        raise checks.DivergenceError(
            f"the alignment of sentences diverged within {settings.n_steps} steps: {', '.join(bad)} not finite. "
            f"Lower the aligner's lr, now {settings.lr:.3g}, or its weight, now {settings.weight:.3g}.",
            {"tensors": bad, "lr": settings.lr, "weight": settings.weight},
        )


def _train_(
    pair: Pair,
    found: Sentences,
    texts: Tensor,
    told: Tensor,
    loss: Loss | None,
    settings: Aligner,
    seed: int,
    text_only: bool,
) -> None:
    """The weights of `pair` after all steps."""
    generator = seeding.torch_generator(seed, "sentence alignment", "batches")
    labels = torch.from_numpy(found.label)
    ids = torch.from_numpy(np.unique(found.sentence, return_inverse=True)[1])
    optimiser = torch.optim.AdamW(
        pair.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, settings.n_steps)
    for _ in range(settings.n_steps):
        some = told[torch.randperm(len(told), generator=generator)[: settings.batch_size]]
        text = pair.text(texts[some])
        cost = functional.cross_entropy(pair.label(text), labels[some])
        if not text_only:
            brain = pair.brain(*words_of(found, some))
            for place in (brain, (brain + text) / 2):
                cost = cost + functional.cross_entropy(pair.label(place), labels[some])
            if loss is not None:
                cost = cost + settings.weight * loss(brain[:, None], text[:, None], ids[some], 1.0, None)
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        schedule.step()


def words_of(found: Sentences, trials: Tensor) -> tuple[Tensor, Tensor]:
    """Words of some trials (n, n_most, n_features), 0 behind the last one, and which are there, bool (n, n_most)."""
    rows = found.rows[trials]
    there = rows != NONE
    return found.words[rows.clamp_min(0)] * there[..., None], there


def _said(pair: Pair, found: Sentences, texts: Tensor, trials: Tensor) -> list[Tensor]:
    """What is told from either side and from both, and both places, of some trials."""
    made = []
    for some in trials.split(BATCH):
        brain, text = pair.brain(*words_of(found, some)), pair.text(texts[some])
        told = [pair.label(place).log_softmax(1) for place in (brain, text, (brain + text) / 2)]
        made.append((*told, brain, text))
    return [torch.cat(side) for side in zip(*made, strict=True)]
