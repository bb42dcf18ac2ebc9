"""The page of latents in words: what was said of each, how well it tells them, ways to explain, and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from braindec.evaluate import study
from braindec.sparse.explanation_scores import Scored
from braindec.sparse.explanations import NOTHING
from braindec.sparse.separation import interval, resampled, resampling_weights

OURS, CONSTANT = "contrast of captions", "one for all"
ARBITRARY = "contrast of captions, of random directions"
LEVEL = 0.05
N_DRAWS = 200  # of resampled stimuli, for a latent's own limits
LIMIT = (
    "An explanation that tells which stimuli activate a latent need not say why: what always comes with the concept "
    "does as well. The scenes' captions name all that is in them, as no caption of photographs does. The model whose "
    "embeddings the latents are of also judges by pictures; words of captions are the judge that is not it. That a "
    "brain's reading agrees with an explanation says that the brain has what goes with it, not that it uses the latent."
)


class Judged(NamedTuple):
    """A way to explain: its texts, and scores in true embeddings, in the brain, and by words of captions."""

    texts: tuple[str, ...]
    true: Scored
    brain: Scored
    words: Scored

    def label(self, i: int) -> str:
        """What is said of a latent."""
        return self.texts[i] if self.texts[i] != NOTHING else "(no words)"

    def order(self) -> list[int]:
        """Latents, the best told first."""
        return self.true.detection.nan_to_num(0.0).argsort(descending=True).tolist()


class Nulls(NamedTuple):
    """Means of exchanged explanations, (n_draws, 2) each: area and correlation."""

    true: np.ndarray
    brain: np.ndarray
    words: np.ndarray


def said(
    found: Mapping[str, Judged], nulls: Nulls, refits: tuple[float, float], n_latents: int, n_test: int
) -> list[str]:
    """What was found, in words."""
    ours, constant = found[OURS], found[CONSTANT]
    (area, simulated), (brain, of_brain) = ours.true.means(), ours.brain.means()
    null, brain_null = nulls.true.mean(0), nulls.brain.mean(0)
    told = sum(text != NOTHING for text in ours.texts)
    sure, brain_sure = (int((part.q <= LEVEL).sum()) for part in (ours.true, ours.brain))
    return [
        f"{told} of {n_latents} latents have words that tell captions of their top training stimuli from others. On "
        f"{n_test} held-out stimuli an explanation tells where its latent is active with a mean area of {area:.3f} "
        f"(explanations exchanged {null[0]:.3f}, one for all {constant.true.means()[0]:.3f}); {sure} latents are told "
        f"better by their own than by others' (q <= {LEVEL:g}).",
        f"Random directions, as often active and explained in the same way: {found[ARBITRARY].true.means()[0]:.3f}.",
        f"Judged by words of held-out captions, without a model: {ours.words.means()[0]:.3f} (exchanged "
        f"{nulls.words.mean(0)[0]:.3f}).",
        f"Captions permuted among training stimuli and latents explained anew: {refits[1]:.2f} of latents still have "
        f"words, which tell them with a mean area of {refits[0]:.3f}.",
        f"Correlation of an explanation's fit with the activation: {simulated:.3f} (exchanged {null[1]:.3f}).",
        f"In a brain's predictions, the stimuli whose responses activate a latent most are told with an area of "
        f"{brain:.3f} (exchanged {brain_null[0]:.3f}), {brain_sure} latents by their own (q <= {LEVEL:g}); correlation "
        f"{of_brain:.3f} (exchanged {brain_null[1]:.3f}).",
    ]


def table(
    ours: Judged, fits: Tensor, active: Tensor, numbers: Sequence[int], generator: torch.Generator
) -> study.Panel:
    """Every judged latent with its explanation, the best told first.

    Parameters
    ----------
    ours : Judged
    fits : Tensor, shape (n_test, n_latents)
        Of the explanations.
    active : bool Tensor, same shape
    numbers : sequence of int, length n_latents
        What the latents are called.
    generator : torch.Generator
        Of resampled stimuli.
    """
    draws = resampled(fits, active, resampling_weights(len(fits), N_DRAWS, generator))
    count, one = active.sum(0), ours.true
    low, high = interval(one.detection, draws, count * (len(active) - count))
    q = one.q
    rows = [
        [numbers[i], ours.label(i), f"{float(one.detection[i]):.2f} [{float(low[i]):.2f}, {float(high[i]):.2f}]",
         f"{float(q[i]):.3g}", f"{float(one.simulation[i]):.2f}", f"{float(ours.brain.detection[i]):.2f}",
         f"{float(count[i]) / len(active):.1%}"]
        for i in ours.order()
    ]  # fmt: skip
    caption = (
        "Best told first. Area on held-out stimuli with resampled 95 % limits of that latent alone; q: share of "
        "latents' explanations that tell it as well, over all latents (Benjamini and Hochberg); correlation of fit and "
        "activation; area in the brain's predictions."
    )
    columns = ["latent", "explanation", "area", "q", "correlation", "area in the brain", "active in"]
    payload = {"columns": columns, "rows": rows, "caption": caption, "section": "latents"}
    return "Latents, explained", "table", payload


def compared(found: Mapping[str, Judged], nulls: Nulls) -> study.Panel:
    """Ways to explain, a row each, and the first way's explanations exchanged."""
    rows = [
        [way, *(f"{x:.3f}" for x in (*one.true.means(), one.words.means()[0], *one.brain.means())),
         str(int((one.true.q <= LEVEL).sum()))]
        for way, one in found.items()
    ]  # fmt: skip
    drawn = [*nulls.true.mean(0), nulls.words.mean(0)[0], *nulls.brain.mean(0)]
    rows.append([f"{OURS}, exchanged", *(f"{x:.3f}" for x in drawn), ""])
    columns = [
        "explained by", "area, judged by pictures", "correlation", "area, judged by words of captions",
        "area in the brain", "correlation in the brain", f"latents with q <= {LEVEL:g}",
    ]  # fmt: skip
    return "Ways to explain", "table", {"columns": columns, "rows": rows, "section": "scores"}


def pictured(
    ours: Judged, activations: Tensor, numbers: Sequence[int], pictures: Callable[[Sequence[int]], np.ndarray],
    n_shown: int, n_pictures: int,
) -> study.Panel:  # fmt: skip
    """The held-out stimuli that activate the best told latents most, beside what was said of each from others.

    Parameters
    ----------
    ours : Judged
    activations : Tensor, shape (n_test, n_latents)
    numbers : sequence of int, length n_latents
    pictures : callable
        Held-out rows as uint8 (n, height, width, 3).
    n_shown, n_pictures : int
        Latents, and stimuli of each.
    """
    top = activations.argsort(dim=0, descending=True, stable=True)[:n_pictures]
    rows = {f"{ours.label(i)} ({numbers[i]})": pictures(top[:, i].tolist()) for i in ours.order()[:n_shown]}
    caption = "Held-out stimuli that activate each latent most; what was said of it from others; in brackets its number"
    payload = {"rows": rows, "caption": caption, "section": "latents"}
    return "What was said of latents, and what activates them", "image_grid", payload
