"""Several targets as one: their embeddings side by side, each with its share of the cosine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindec import checks, registry, store
from braindec.targets import JoinedTarget, Target


@dataclass(frozen=True)
class Config:
    """Settings of a joined target.

    Parameters
    ----------
    targets : tuple of Config
        Configs of at least two targets, of pictures, captions or labels in any mixture.
    weights : tuple of float
        A positive share for each; equal shares where empty. They are divided by their sum.
    normalised : bool
        Each part's embedding is divided by its length first: the cosine of two joined embeddings is then the weighted
        mean of the parts' cosines. Without, their squared distance is the weighted sum of the parts'.
    """

    targets: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    normalised: bool = True

    def __post_init__(self) -> None:
        for part in self.targets:
            if isinstance(part, dict | str):
                raise checks.ConfigError(
                    f"targets of `several` are Configs, written in the recipe's file, got {part!r}."
                )
            kind, name = registry.name_of(part)
            checks.one_of(f"kind of {name}", kind, ("targets",))
        if self.weights:
            checks.same_length("target", targets=self.targets, weights=self.weights)
            checks.finite("weights", np.array(self.weights))
            if min(self.weights) <= 0:
                raise ValueError(f"weights must be above 0, got {self.weights}.")


def build(config: Config) -> Several:
    """The target of a config; at least two targets must be named."""
    checks.at_least("number of targets", len(config.targets), 2)
    # A Config's own module builds it; it is there, because the Config is.
    return Several([sys.modules[type(c).__module__].build(c) for c in config.targets], config)


class Several(JoinedTarget):
    """Parts flattened, scaled and put side by side, (n, 1, sum of their sizes).

    Parameters
    ----------
    parts : sequence of Target
    config : Config
    """

    name = "several"

    def __init__(self, parts: Sequence[Target], config: Config) -> None:
        self.parts = tuple(parts)
        checks.unique("targets", [json.dumps(part.identity(), sort_keys=True) for part in parts])
        given = np.array(config.weights or [1.0] * len(parts))
        self.shares, self._normalised = given / given.sum(), config.normalised
        self.shape = (1, sum(part.shape[0] * part.shape[1] for part in parts))
        told = self.identity()
        self.space = f"several/{'+'.join(part.name for part in parts)}/{store.content_hash(told=told)[:12]}"

    def identity(self) -> dict[str, Any]:
        """The parts' identities, their shares and whether they have unit length."""
        return {
            "target": self.name, "parts": [part.identity() for part in self.parts],
            "shares": [float(s) for s in self.shares], "normalised": self._normalised,
        }  # fmt: skip

    def join(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (n, 1, dim); see `JoinedTarget.join`."""
        checks.same_length("target", parts=self.parts, values=values)
        found = []
        for part, share in zip(values, self.shares, strict=True):
            flat = np.asarray(part, np.float32).reshape(len(part), -1)
            if self._normalised:
                flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
            found.append(flat * np.float32(np.sqrt(share)))
        return np.concatenate(found, axis=1)[:, None]
