"""Pictures of several systems beside the presented ones: scores, what one adds to another, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import seeding
from braindec.evaluate.measures import Measured
from braindec.evaluate.scoring import Judged, scores_of
from braindec.protocols import Protocol
from braindec.stats.paired import paired_difference
from braindec.types import Score


@dataclass(frozen=True, eq=False)
class Compared:
    """Pictures of one subject's first test stimuli by system, presented ones beside, and what was measured of them.

    Parameters
    ----------
    ids : tuple of str
    presented : uint8 array, shape (n, height, width, 3)
    pictures : mapping of str to uint8 array, shape (n, height, width, 3)
        ``shuffled`` among them.
    measured : mapping of str to mapping of str to Measured
        By system and metric.
    texts : tuple of str
        What a captioner wrote of each, where one did.
    """

    ids: tuple[str, ...]
    presented: np.ndarray
    pictures: Mapping[str, np.ndarray]
    measured: Mapping[str, Mapping[str, Measured]]
    texts: tuple[str, ...] = ()

    def names(self, n: int) -> list[str]:
        """Of the first stimuli, with what was written of them."""
        if not self.texts:
            return list(self.ids[:n])
        return [f"{one}: {text}" for one, text in zip(self.ids[:n], self.texts[:n], strict=True)]


def scores(
    found: Mapping[str, Compared], null: Mapping[str, Mapping[str, np.ndarray]], protocol: Protocol, own: str
) -> tuple[Score, ...]:
    """Scores of the system named `own` and of the decoder of shuffled pairs, beside the null of all refits."""
    rows: list[Score] = []
    for system, name in (("braindec", own), ("shuffled", "shuffled")):
        judged = Judged(system, {}, {key: f.measured[name] for key, f in found.items()}, null,
                        sample_names={key: f.ids for key, f in found.items()})  # fmt: skip
        rows += scores_of(judged, protocol)
    return tuple(rows)


def differences(
    found: Compared,
    key: str,
    seed: int,
    own: tuple[str, str],
    other: tuple[str, str],
    purpose: tuple[str, ...],
) -> list[dict[str, Any]]:
    """What one system has more than another, paired over pictures, a line a metric; each a system and its words."""
    lines = []
    for metric, ours in found.measured[own[0]].items():
        draw = seeding.numpy_generator(seed, *purpose, metric)
        d = paired_difference(ours.per_sample, found.measured[other[0]][metric].per_sample, draw)
        interval = [float(d.interval.low), float(d.interval.high)]
        lines.append({"a": own[1], "b": other[1], "metric": metric, "key": key,
                      "difference": d.value, "interval": interval, "p": d.p, "n": d.n})  # fmt: skip
    return lines


def panels(
    found: Mapping[str, Compared], words: Mapping[str, str], title: str, grid: str, n: int = 10
) -> list[tuple[str, str, dict[str, Any]]]:
    """A table of every system's scores, and pictures by row for each subject; `words` names the systems shown."""
    metrics = list(next(iter(found.values())).measured[next(iter(words))])
    cells = [
        [key.replace("_", " "), words[name], *(f"{one.measured[name][m].value:.3f}" for m in metrics)]
        for key, one in found.items()
        for name in words
    ]
    columns = ["subject", "pictures", *(m.replace("_", " ") for m in metrics)]
    made: list[tuple[str, str, dict[str, Any]]] = [(title, "table", {"columns": columns, "rows": cells})]
    for key, one in found.items():
        payload = {
            "rows": {"presented": one.presented[:n]}
            | {words[name]: one.pictures[name][:n] for name in words},
            "captions": one.names(n),
            "caption": "The first test stimuli by name, not chosen. The last row is a decoder of shuffled pairs.",
        }
        made.append((f"{key.replace('_', ' ')}: {grid}", "image_grid", payload))
    return made
