"""A fitted encoding model: from features of stimuli to every voxel, kept with the place of its voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, store
from braindec.maths.gemm import mm
from braindec.maths.tensors import Array, as_tensor
from braindec.types import Space
from braindec.types.space_arrays import from_arrays, to_arrays

FORMAT = 1
ARRAYS = ("weights", "intercept", "alpha", "cv_score")


@dataclass(frozen=True, eq=False)
class VoxelwiseEncoding:
    """A linear encoding model; make one with `encoding.fit`.

    Parameters
    ----------
    weights : Tensor, shape (n_features, n_voxels)
        Response units per feature unit.
    intercept : Tensor, shape (n_voxels,)
    alpha : Tensor, shape (n_voxels,)
        Ridge penalty of each voxel.
    cv_score : Tensor, shape (n_voxels,)
        Score of held-out training rows at that penalty, mean over folds: what choices may be made by. It is the best of
        the candidates, so a little too high: judge a model on rows that no fold saw.
    score : str
        What `cv_score` is: ``"r2"``, ``"correlation"`` or ``"neg_mse"``.
    n : int
        Training rows.
    space : Space or None
        Place of the voxels (vertices, sensors): maps go back to the brain by it.
    about : mapping
        JSON values: which features, which subject, delays, ...
    """

    weights: Tensor
    intercept: Tensor
    alpha: Tensor
    cv_score: Tensor
    score: str
    n: int
    space: Space | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.n_axes("weights", self.weights, ("feature", "voxel"))
        checks.same_length(
            "voxel",
            weights=self.weights.T,
            intercept=self.intercept,
            alpha=self.alpha,
            cv_score=self.cv_score,
        )
        if self.space is not None and self.space.n_features != self.n_voxels:
            raise ValueError(
                f"space has {self.space.n_features} features but weights has {self.n_voxels} along axis 'voxel'; "
                "they must match."
            )

    @property
    def n_features(self) -> int:
        """Length of the feature axis."""
        return int(self.weights.shape[0])

    @property
    def n_voxels(self) -> int:
        """Length of the voxel axis."""
        return int(self.weights.shape[1])

    def predict(self, features: Array) -> Tensor:
        """Responses (n, n_voxels) to features (n, n_features)."""
        features = as_tensor("features", features)
        if checks.n_axes("features", features, ("sample", "feature")).shape[1] != self.n_features:
            raise ValueError(
                f"features has {features.shape[1]} along axis 'feature' but the model was fitted on {self.n_features}."
            )
        return mm(features.to(self.weights), self.weights).add_(self.intercept)

    def take(self, voxels: Array) -> VoxelwiseEncoding:
        """The same model of some voxels only (mask or positions); it no longer knows their place."""
        index = as_tensor("voxels", voxels).to(self.weights.device)
        return replace(
            self, weights=self.weights[:, index], intercept=self.intercept[index], alpha=self.alpha[index],
            cv_score=self.cv_score[index], space=None,
        )  # fmt: skip

    def save(self, path: str | Path) -> Path:
        """Writes one .h5 file, whole or not at all, with hashes over its content."""
        path = Path(path)
        config, places = ({}, {}) if self.space is None else to_arrays(self.space)
        with store.writer(path) as out:
            for name in ARRAYS:
                out.array(name, getattr(self, name).detach().cpu().numpy())
            for name, values in places.items():
                if values.size:
                    out.array(f"space/{name}", values)
            empty = [name for name, values in places.items() if not values.size]
            out.attributes({
                "content": "voxelwise encoding", "format": FORMAT, "score": self.score, "n": self.n,
                "about": dict(self.about), "space": None if self.space is None else config | {"empty": empty},
            })  # fmt: skip
        return path

    @classmethod
    def load(cls, path: str | Path) -> VoxelwiseEncoding:
        """Reads what `save` wrote.

        Raises
        ------
        DataFileError
            If the file is damaged, holds something else, or has another format.
        """
        stored = store.Stored(checks.existing_file(path, "An encoding model is written by its save(path)."))
        about = stored.attributes
        if about.get("content") != "voxelwise encoding" or about.get("format") != FORMAT:
            found = f"holds {about.get('content')!r} of format {about.get('format')!r}, not an encoding model"
            raise checks.DataFileError(Path(path), found, f"This version reads format {FORMAT}.")
        arrays = {name: torch.from_numpy(np.array(stored.array(name))) for name in ARRAYS}
        space = None
        if about["space"] is not None:
            empty = {name: np.empty(0, dtype=np.int64) for name in about["space"].get("empty", [])}
            space = from_arrays(about["space"], stored.group("space") | empty)
        return cls(**arrays, score=about["score"], n=int(about["n"]), space=space, about=about["about"])
