"""What studies that fit no decoder share: features of stimuli, jackknifed intervals, a score and its twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.data import NeuralDataset
from braindec.evaluate import encode_features, encode_partition, encode_text
from braindec.stats.intervals import t_interval
from braindec.stats.permutation import p_value
from braindec.types import Report, Score

N_GROUPS = 10  # of stimuli, each left out once by the jackknife
COUNTED = {"1": "one object", "2": "two objects", "3": "three objects"}  # columns that count, as words
WORDS = {  # what a study's scores are, for its page
    "systems": {
        "braindec": "what was found",
        "shuffled": "the same where nothing is to be found: mean and middle 95 % of the null's draws",
    },
    "null": "mean of the same number where nothing is to be found, as the findings say; draws in brackets",
}
Panel = tuple[str, str, dict[str, Any]]


def features(
    dataset: NeuralDataset, specs: Sequence[str], cache: Path | None = None, seed: int = 0
) -> dict[str, Tensor]:
    """Features of the dataset's stimuli in named spaces (`encode_features`), float32 (n, dim) by name."""
    found = encode_features.feature_spaces(specs, dataset, cache=cache, seed=seed)
    return {
        spec: torch.from_numpy(space.of(dataset.stimulus_ids)).flatten(1) for spec, space in found.items()
    }


def channels(values: Tensor, positions: int = encode_features.GRID**2) -> Tensor:
    """Units of a layer whose features are (channel, position): the mean of each over positions, (n, channel)."""
    n, p = values.shape
    if p % positions:
        raise ValueError(f"{p} features are no whole number of channels at {positions} positions.")
    return values.reshape(n, p // positions, positions).mean(2)


def jackknife(
    statistic: Callable[..., Tensor | float], *rows: Tensor, seed: int = 0, strata: Tensor | None = None
) -> tuple[float, float]:
    """95 % interval of a statistic of stimuli, each of ten groups of them (or each of fewer stimuli) left out once.

    Parameters
    ----------
    statistic : callable
        Of all `rows`; gives a number.
    *rows : Tensor, shape (n, ...)
        Belong together row by row.
    seed : int
        Deals stimuli into groups.
    strata : Tensor, shape (n,), optional
        Rows of one number are spread over all groups, so that leaving a group out leaves some of each.

    Raises
    ------
    ValueError
        If there is one stimulus only.
    """
    n = checks.same_length("stimulus", **{f"rows_{i}": x for i, x in enumerate(rows)})
    checks.at_least("number of stimuli", n, 2)
    n_groups = min(N_GROUPS, n)
    order = torch.randperm(n, generator=seeding.torch_generator(seed, "jackknife")).argsort()
    if strata is not None:
        order = order[strata[order].argsort(stable=True)]
    group = torch.empty(n, dtype=torch.int64)
    group[order] = torch.arange(n) % n_groups
    values = np.array([float(statistic(*(x[group != g] for x in rows))) for g in range(n_groups)])
    error = np.sqrt((n_groups - 1) * values.var())
    found = t_interval(float(statistic(*rows)), float(error), n_groups)
    return found.low, found.high


def scores(
    name: str,
    value: float,
    interval: tuple[float, float],
    nulls: Any,
    n: int,
    *,
    protocol: str,
    chance: float = 0.0,
    subject: int | str = "simulated",
    modality: str = "model",
    **details: Any,
) -> list[Score]:
    """A score of a study, and what the same gives where nothing is shared (its nulls' mean and middle 95 %)."""
    drawn = np.asarray(nulls, dtype=float).ravel()
    mean = float(drawn.mean())
    common: dict[str, Any] = {
        "chance": chance, "null": mean, "n": n, "null_n": len(drawn), "details": details, "protocol": protocol,
        "subject": subject, "modality": modality,
    }  # fmt: skip
    low, high = np.quantile(drawn, [0.025, 0.975])
    ends, p = (float(interval[0]), float(interval[1])), p_value(float(value), drawn)
    return [
        Score(name=name, system="braindec", value=float(value), interval=ends, p=p, **common),
        Score(name=name, system="shuffled", value=mean, interval=(float(low), float(high)), **common),
    ]


def report(
    title: str, said: Sequence[str], found: Sequence[Score], panels: Sequence[Panel], limits: str, **run: Any
) -> Report:
    """A study's report: what it found in words first, what it does not show last."""
    first: Panel = ("What was found", "text", {"text": [f"- {line}" for line in said]})
    last: Panel = ("What this does not show", "text", {"text": limits, "section": "limits"})
    about = {"title": title, "summary": said[0], "said": list(said), "words": WORDS, **run}
    return Report(tuple(found), about, (first, *panels, last))


def bars(
    rows: Sequence[str], series: Mapping[str, Any], xlabel: str, *, intervals: Mapping[str, Any] | None = None,
    chance: float | None = None, caption: str = "", section: str = "scores",
) -> dict[str, Any]:  # fmt: skip
    """Payload of a bar figure: rows by series."""
    payload: dict[str, Any] = {"regions": list(rows), "series": series, "xlabel": xlabel, "section": section}
    if intervals:
        payload["intervals"] = intervals
    if chance is not None:
        payload["chance"] = chance
    return payload | ({"caption": caption} if caption else {})


def lines(
    x: Any, series: Mapping[str, Any], xlabel: str, ylabel: str, caption: str = "", section: str = "scores"
) -> dict[str, Any]:
    """Payload of a figure of lines."""
    payload = {
        "step": np.asarray(x),
        "series": series,
        "xlabel": xlabel,
        "ylabel": ylabel,
        "section": section,
    }
    return payload | ({"caption": caption} if caption else {})


def factors(dataset: NeuralDataset, prefix: str = "factor_") -> dict[str, np.ndarray]:
    """What is in each of the dataset's stimuli: bool (n,) by word, from the stimuli's table.

    Raises
    ------
    ValueError
        If the table has no such columns.
    """
    table = dataset.stimuli.table
    columns = [] if table is None else [c for c in table if c.startswith(prefix)]
    if table is None or not columns:
        raise ValueError(
            f"the stimuli of {dataset.name!r} have no columns {prefix!r}: their factors are not known."
        )
    row = {key: i for i, key in enumerate(dataset.stimuli.ids)}
    kept = [row[i] for i in dataset.stimulus_ids]
    spelled = [c.removeprefix(prefix).replace("_", " ") for c in columns]
    return {COUNTED.get(w, w): np.asarray(table[c])[kept].astype(bool) for w, c in zip(spelled, columns)}


def words(target: str, names: Sequence[str]) -> Tensor:
    """Embeddings (n, dim) of words by a target that embeds texts."""
    found = encode_text.meaning({str(i): name for i, name in enumerate(names)}, target, context=0)
    return torch.from_numpy(found.of(found.ids)).flatten(1)


def captions(dataset: NeuralDataset, target: str) -> Tensor:
    """Embeddings (n, dim) of the captions of the dataset's stimuli."""
    return torch.from_numpy(encode_partition.caption_space(dataset, target).of(dataset.stimulus_ids)).flatten(
        1
    )
