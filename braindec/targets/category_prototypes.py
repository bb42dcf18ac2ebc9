"""Category prototypes: one point per label, all equally far from each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from braindec import checks
from braindec.targets import LabelTarget


@dataclass(frozen=True)
class Config:
    """Settings of category prototypes.

    Parameters
    ----------
    classes : tuple of str
        The labels, in the order of the embedding's dimensions.
    kind : {"one_hot", "simplex"}
        Unit vectors along the axes, or the same shifted to mean zero and rescaled to length one.
    """

    classes: tuple[str, ...] = ()
    kind: Literal["one_hot", "simplex"] = "one_hot"

    def __post_init__(self) -> None:
        checks.unique("classes", self.classes)
        checks.one_of("kind", self.kind, ("one_hot", "simplex"))


def build(config: Config) -> CategoryPrototypes:
    """The target of a config; its classes must be named."""
    return CategoryPrototypes(config)


class CategoryPrototypes(LabelTarget):
    """Prototypes of at least two classes."""

    name = "category_prototypes"

    def __init__(self, config: Config) -> None:
        n_classes = len(config.classes)
        checks.at_least("number of classes", n_classes, 2)
        self.config = config
        self.shape = (1, n_classes)
        names = "\n".join(config.classes)
        self.space = f"category_prototypes/{config.kind}/{hashlib.sha256(names.encode()).hexdigest()[:12]}"
        self.prototypes = np.eye(n_classes, dtype=np.float32)
        if config.kind == "simplex":
            centred = np.eye(n_classes) - 1 / n_classes
            self.prototypes = (centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype(np.float32)
        self._row = {label: i for i, label in enumerate(config.classes)}

    def identity(self) -> dict[str, Any]:
        """Kind and classes."""
        return {"target": self.name, "kind": self.config.kind, "classes": list(self.config.classes)}

    def embed(self, labels: Sequence[str]) -> np.ndarray:
        """Prototype of each label.

        Parameters
        ----------
        labels : sequence of str
            Any of the classes.

        Returns
        -------
        ndarray of float32, shape (n, 1, n_classes)

        Raises
        ------
        ConfigError
            If a label is not one of the classes.
        """
        rows = [checks.known_key("label", label, self._row) for label in labels]
        return self.prototypes[rows][:, None]
