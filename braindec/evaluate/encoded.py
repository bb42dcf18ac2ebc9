"""What encoding models of one subject found: settings, scores, ceilings, nulls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from braindec import encoding
from braindec.evaluate.encode_ceilings import Ceilings
from braindec.types import Space

CEILING = (
    0.3  # smallest training ceiling (correlation) of a voxel whose scores are given as shares of its ceiling
)
# Part of the layer in a voxel's kernel, tried beside the nuisance features': its penalty is then 1, 9, 1/9, 99, 1/99
# times theirs.
SHARES = (0.5, 0.1, 0.9, 0.01, 0.99)


@dataclass(frozen=True)
class Settings:
    """How encoding models are fitted and tested.

    Parameters
    ----------
    n_folds : int
        Of training stimuli, for the penalty and the layer of every voxel.
    n_null : int
        Refits with training stimuli permuted.
    n_permutations : int
        Reorderings of test responses for the p-values of voxels.
    ceiling : float
        Smallest training ceiling of a voxel that counts in means and is given a share of its ceiling.
    alphas : tuple of float
    shares : tuple of float
        Of the layer beside the nuisance features, each in (0, 1): what every voxel's two penalties are chosen from.
        ``(0.5,)`` gives both the same penalty.
    seed : int
    """

    n_folds: int = 5
    n_null: int = 19
    n_permutations: int = 499
    ceiling: float = CEILING
    alphas: tuple[float, ...] = encoding.ALPHAS
    shares: tuple[float, ...] = SHARES
    seed: int = 0


SETTINGS = Settings()


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoding models of one subject, and what they predict of the test part.

    Parameters
    ----------
    key : str
        ``sub-01_fmri``.
    layers : mapping of str to VoxelwiseEncoding
        Each with the nuisance features beside it: its weights are the layer's first, then theirs.
    share : float array, shape (n_layers, n_voxels)
        Part of the layer in the voxel's kernel; the rest is the nuisance features', which have a penalty of their own.
    cv, r, r2 : float array, shape (n_layers, n_voxels)
        Score of the layer with the nuisance features: cross-validated R^2 of training, correlation and R^2 of the test.
    alone : float array, shape (n_layers, n_voxels)
        Test R^2 of the layer without nuisance features.
    nuisance_r, nuisance_r2, nuisance_cv : float array, shape (n_voxels,)
        Of the nuisance features alone; 0 without any.
    chosen : int array, shape (n_voxels,)
        Layer with the best cross-validated score.
    ceilings : Ceilings or None
        Largest possible correlations with mean responses, by kind; None where nothing repeats.
    kept : bool array, shape (n_voxels,)
        Voxels that count in means: chosen by the training ceiling (all, where no training stimulus repeats).
    tested : Significance
        Of the chosen layers' test correlations.
    null : float array, shape (n_null, n_voxels)
        Test correlation of the chosen layers' models refitted to permuted training stimuli.
    predictions, nuisance_predictions, responses : float32 array, shape (n_test, n_voxels)
        Of the chosen layers with nuisance features, of these alone (the training mean without any), and mean responses.
    test_ids : tuple of str
    blocks : int array, shape (n_test,)
        Rows of one block are resampled together: each its own, or pieces of a continuous run.
    space : Space
    shape : tuple of int
        (n_voxels,), or (n_channels, n_times) that the voxel axis unfolds to.
    n_train : int
    times_s : float array, shape (n_times,), or None
        Seconds from onset of epochs' samples.
    """

    key: str
    layers: Mapping[str, encoding.VoxelwiseEncoding]
    share: np.ndarray
    cv: np.ndarray
    r: np.ndarray
    r2: np.ndarray
    alone: np.ndarray
    nuisance_r: np.ndarray
    nuisance_r2: np.ndarray
    nuisance_cv: np.ndarray
    chosen: np.ndarray
    ceilings: Ceilings | None
    kept: np.ndarray
    tested: encoding.Significance
    null: np.ndarray
    predictions: np.ndarray
    nuisance_predictions: np.ndarray
    responses: np.ndarray
    test_ids: tuple[str, ...]
    blocks: np.ndarray
    space: Space
    shape: tuple[int, ...]
    n_train: int
    times_s: np.ndarray | None = None
    settings: Settings = field(default_factory=Settings)

    @property
    def best(self) -> np.ndarray:
        """Test correlation of each voxel's chosen layer, (n_voxels,)."""
        return self.r[self.chosen, np.arange(self.r.shape[1])]

    @property
    def unique(self) -> np.ndarray:
        """Test R^2 of each layer beyond the nuisance features, (n_layers, n_voxels); never clipped."""
        return self.r2 - self.nuisance_r2

    @property
    def best_unique(self) -> np.ndarray:
        """The same of each voxel's chosen layer, (n_voxels,)."""
        return self.unique[self.chosen, np.arange(self.r.shape[1])]

    @property
    def ceiling(self) -> np.ndarray | None:
        """Largest possible correlation with the mean test responses, (n_voxels,), of the kind that leads."""
        return None if self.ceilings is None else self.ceilings.test[self.ceilings.kind]

    @property
    def training_ceiling(self) -> np.ndarray | None:
        """The same with mean training responses, from training repeats alone; None where none repeats."""
        return None if self.ceilings is None else self.ceilings.training.get(self.ceilings.kind)

    @property
    def normalised(self) -> encoding.Normalised | None:
        """The best correlations as shares of their ceiling."""
        if self.ceiling is None or self.training_ceiling is None:
            return None
        score, ceiling, training = (
            torch.from_numpy(np.asarray(v)) for v in (self.best, self.ceiling, self.training_ceiling)
        )
        return encoding.normalised(score, ceiling, training, self.settings.ceiling)
