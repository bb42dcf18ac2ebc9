"""How many subjects a decoder should know before it meets a new one with little data: tried out on those at hand.

Each subject in turn is the newcomer, with a share of its training trials; decoders pretrained on none, one, two ... of
the others are adapted to it. This runs on the recordings themselves: copies are drawn subject by subject and would lose
what subjects share, which is what others can teach. What the largest number does not reach is not extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from braindec import checks, seeding
from braindec.data import NeuralDataset, Split
from braindec.decoder import BrainDecoder
from braindec.evaluate.exam import Exam
from braindec.evaluate.measures import metric_table, protocol_named
from braindec.evaluate.systems import Fitter, RidgeFitter, System, decoder_fitter, signal_features
from braindec.evaluate.twin import folds_of
from braindec.evaluate.twin_copies import scores
from braindec.stats.intervals import Interval, subject_interval
from braindec.types import Embeddings

Adapt = Callable[[System, NeuralDataset, Embeddings], System]


@dataclass(frozen=True, eq=False)
class Pretraining:
    """Scores of new subjects by the number of subjects known before.

    Parameters
    ----------
    metric : str
    share : float
        Of the newcomer's training trials.
    numbers : tuple of int
        Subjects known before; 0: from scratch.
    values : float array, shape (n_numbers, n_newcomers, n_orders)
    chance : float or None
    """

    metric: str
    share: float
    numbers: tuple[int, ...]
    values: np.ndarray
    chance: float | None

    def means(self) -> np.ndarray:
        """Mean over newcomers and orders of each number, (n_numbers,)."""
        return self.values.mean((1, 2))

    def gain(self, number: int) -> Interval | None:
        """Interval of the gain over scratch, over newcomers; None of one newcomer or where scratch was not tried."""
        if 0 not in self.numbers or self.values.shape[1] < 2:
            return None
        over = self.values[self.numbers.index(number)] - self.values[self.numbers.index(0)]
        return subject_interval(over.mean(1)).interval

    def needed(self, target: float) -> int | None:
        """Fewest subjects known before that reach a score on average; None where none of the numbers does."""
        sign = 1.0 if metric_table()[self.metric].direction == "higher" else -1.0
        reached = np.flatnonzero(sign * self.means() >= sign * target)
        return int(self.numbers[reached[0]]) if len(reached) else None

    def to_json(self) -> dict[str, Any]:
        """The entry in the record."""
        return {
            "metric": self.metric, "share_of_newcomers_trials": self.share, "numbers": list(self.numbers),
            "values": self.values.tolist(), "chance": self.chance,
        }  # fmt: skip


def pretraining(
    recipe: Any,
    dataset: NeuralDataset,
    embeddings: Embeddings,
    folds: Sequence[Split] | None = None,
    *,
    share: float = 0.1,
    numbers: Sequence[int] | None = None,
    n_orders: int = 1,
    fit: Fitter | None = None,
    adapt: Adapt | None = None,
    progress: bool = True,
) -> Pretraining:
    """Adapts decoders of the recipe to each subject in turn, after pretraining on some of the others.

    Parameters
    ----------
    recipe : Recipe
        Of a decoder that adapts (`BrainDecoder.adapt`).
    dataset : NeuralDataset
        At least two subjects.
    embeddings : Embeddings
    folds : sequence of Split, optional
        Those of the recipe if not given.
    share : float
        Of the newcomer's training stimuli, in (0, 1].
    numbers : sequence of int, optional
        Subjects to know before, up to one less than there are; every number if not given.
    n_orders : int
        In which the others are added, drawn at random for each newcomer.
    fit, adapt : callable, optional
        What pretrains, and what adapts it, instead of the recipe's decoder.

    Returns
    -------
    Pretraining
        Of the protocol's first metric.
    """
    keys = tuple(dataset.trials)
    checks.at_least("number of subjects", len(keys), 2)
    chosen = tuple(sorted(set(range(len(keys)) if numbers is None else numbers)))
    checks.in_range("largest of numbers", max(chosen), 0, len(keys) - 1)
    protocol = protocol_named(recipe.protocol)
    exam = Exam(dataset, embeddings, list(folds or folds_of(recipe, dataset)), protocol, recipe.seed,
                recipe.label_column, progress=False)  # fmt: skip
    anchor = RidgeFitter(signal_features(recipe.preprocessing))
    own, adapted = fit or decoder_fitter(recipe), adapt or _adapt_decoder(recipe)
    jobs = [(c, k, n) for c in range(n_orders) for k in range(len(keys)) for n in chosen]
    values = np.empty((len(chosen), len(keys), n_orders))
    for c, k, n in tqdm(jobs, desc="newcomers", disable=not progress, leave=False):
        order = seeding.numpy_generator(recipe.seed, "pretraining", c, keys[k]).permutation(len(keys) - 1)
        others = [key for key in keys if key != keys[k]]
        known = dataset.select([others[i] for i in order[:n]]) if n else None
        newcomer = replace(exam, dataset=dataset.select([keys[k]]))
        found = scores(newcomer, _meeting(own, adapted, known, share))
        values[chosen.index(n), k, c] = found[keys[k]][protocol.metrics[0]]
    n_alternatives = len(next(iter(exam.decode(anchor).values())).candidates)
    chance = metric_table()[protocol.metrics[0]].chance_of(n_alternatives)
    return Pretraining(protocol.metrics[0], share, chosen, values, chance)


def _meeting(fit: Fitter, adapt: Adapt, known: NeuralDataset | None, share: float) -> Fitter:
    """Fits the newcomer's share of training trials, from scratch or adapting what the others' train part taught."""

    def meet(part: NeuralDataset, embeddings: Embeddings, seed: int) -> System:
        few = part.limit(share, seeding.numpy_generator(seed, "newcomer's share"))
        if known is None:
            return fit(few, embeddings, seed)
        if part.split is None:
            raise ValueError(
                "the newcomer's training part has no split; give the dataset one with with_split(...)."
            )
        return adapt(fit(known.with_split(part.split).part("train"), embeddings, seed), few, embeddings)

    return meet


def _adapt_decoder(recipe: Any) -> Adapt:
    def adapt(system: System, part: NeuralDataset, embeddings: Embeddings) -> System:
        decoder = checks.of_type("what the recipe fits", system, BrainDecoder)
        made: System = decoder.adapt(part, embeddings, settings=recipe.train, progress=False)
        return made

    return adapt


def sentences(found: Pretraining, target: float | None = None) -> list[str]:
    """What knowing other subjects before is worth, and how many a target needs."""
    name, means = found.metric.replace("_", " "), found.means()
    steps: Mapping[int, float] = dict(zip(found.numbers, means.tolist(), strict=True))
    by = ", ".join(f"{value:.3f} after {n}" for n, value in steps.items())
    lines = [
        f"{name} of a new subject with {found.share:.0%} of the training stimuli, by subjects known before: {by}."
    ]
    interval = found.gain(found.numbers[-1])
    if interval is not None:
        lines.append(
            f"{name}: over scratch {means[-1] - steps[0]:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}] after "
            f"{found.numbers[-1]}, over newcomers."
        )
    if target is not None:
        n = found.needed(target)
        lines.append(
            f"{name} of {target:g}, new subject: not reached after {found.numbers[-1]} subjects."
            if n is None
            else f"{name} of {target:g}, new subject: {n} subjects known before are enough."
        )
    return lines


def panels(found: Pretraining) -> list[tuple[str, str, dict[str, Any]]]:
    """The newcomer's score over the number of subjects known before."""
    payload = {
        "step": np.array(found.numbers), "series": {"mean of newcomers": found.means()}, "log": False,
        "section": "scores", "xlabel": "subjects known before", "ylabel": found.metric.replace("_", " "),
    }  # fmt: skip
    return [(f"What a new subject gains from others, {found.metric.replace('_', ' ')}", "curve", payload)]
