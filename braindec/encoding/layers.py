"""Several feature spaces (layers, models) for the same voxels: the best one chosen, or all stacked with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from braindec import checks
from braindec.encoding.model import VoxelwiseEncoding
from braindec.encoding.voxelwise import ALPHAS
from braindec.maths import folds as fold_rules
from braindec.maths import ridge
from braindec.maths.factors import factorise
from braindec.maths.folds import Folds
from braindec.maths.tensors import Array, as_tensor, as_tensors

MOST_STACKED = 10  # the exact solver tries every set of active spaces


@dataclass(frozen=True, eq=False)
class LayeredEncoding:
    """An encoding model for every layer, and what each voxel makes of them.

    Parameters
    ----------
    models : mapping of str to VoxelwiseEncoding
        By layer, in order.
    shares : Tensor, shape (n_layers, n_voxels)
        Weight of each layer's prediction, >= 0, sum 1: one layer alone where it was chosen.
    """

    models: Mapping[str, VoxelwiseEncoding]
    shares: Tensor

    @property
    def names(self) -> tuple[str, ...]:
        """Layers in order."""
        return tuple(self.models)

    @property
    def cv_scores(self) -> Tensor:
        """Cross-validated score of every layer alone, (n_layers, n_voxels)."""
        return torch.stack([m.cv_score for m in self.models.values()])

    @property
    def chosen(self) -> Tensor:
        """Position of the layer with the largest share, int64 (n_voxels,)."""
        return self.shares.argmax(0)

    def predict(self, features: Mapping[str, Array]) -> Tensor:
        """Responses (n, n_voxels) to features by layer."""
        parts = (
            s * m.predict(checks.known_key("layer", n, features))
            for s, (n, m) in zip(self.shares, self.models.items())
        )
        return torch.stack(list(parts)).sum(0)


def fit_layers(
    layers: Mapping[str, Array],
    responses: Array,
    *,
    alphas: ridge.Alphas = ALPHAS,
    folds: Folds | int = 5,
    score: str = "r2",
    stacked: bool = False,
) -> LayeredEncoding:
    """A penalty for every layer and voxel, then a layer for every voxel, both chosen on held-out training rows.

    Parameters
    ----------
    layers : mapping of str to Tensor or array, shape (n_samples, n_features of the layer)
    responses : Tensor or array, shape (n_samples, n_voxels)
    alphas, folds, score
        As in `encoding.fit`. Judge the result on rows outside of these: the choice is then nested.
    stacked : bool
        Mix the layers' predictions with the weights that lessen the held-out error most (Lin et al. 2023,
        arXiv:2307.06973) instead of taking the best layer.

    Returns
    -------
    LayeredEncoding
    """
    given, responses = as_tensors("layer", layers), as_tensor("responses", responses)
    checks.same_length("sample", responses=responses, **given)
    rules = fold_rules.folds_by_count(len(responses), folds) if isinstance(folds, int) else folds
    models, errors = {}, []
    for name, x in given.items():
        factors = factorise(x, rules)
        fit = ridge.solve(factors, responses, alphas, per_target=True, score=score)
        scores = fit.cv_scores  # of one penalty there are none, but a layer is to be chosen all the same
        if scores is None:
            scores = ridge.cross_validate(factors, responses, alphas, score=score)
        best = scores.amax(0)
        about = {"layer": name}
        models[name] = VoxelwiseEncoding(*fit[:3], best, score, len(x), None, about)
        if stacked:
            errors.append(
                responses.to(fit.weights) - ridge.held_out_predictions(factors, responses, fit.alpha)
            )
    scores = torch.stack([m.cv_score for m in models.values()])
    if stacked:
        held_out = torch.stack(errors)
        shares = stacking_weights(held_out[:, held_out.isfinite().all(2).all(0)]).to(scores)
    else:
        shares = torch.nn.functional.one_hot(scores.argmax(0), len(scores)).T.to(scores)
    return LayeredEncoding(models, shares)


def stacking_weights(errors: Array) -> Tensor:
    """Weights >= 0 with sum 1 of the mixture of predictions with the least squared error, for every voxel.

    Parameters
    ----------
    errors : Tensor or array, shape (n_layers, n_samples, n_voxels)
        Truth minus held-out prediction.

    Returns
    -------
    Tensor, shape (n_layers, n_voxels)
        float64; the exact minimum: for each set of layers the mixture of those alone has a closed form, and the best
        admissible one is taken. At most 10 layers.
    """
    errors = as_tensor("errors", errors)
    n_layers, n_samples, n_voxels = checks.n_axes("errors", errors, ("layer", "sample", "voxel")).shape
    checks.in_range("number of layers to stack", n_layers, 1, MOST_STACKED)
    wide = errors.double()
    products = torch.einsum("isv,jsv->vij", wide, wide) / n_samples
    best = torch.full((n_voxels,), torch.inf, dtype=torch.float64, device=errors.device)
    weights = torch.zeros(n_voxels, n_layers, dtype=torch.float64, device=errors.device)
    for size in range(1, n_layers + 1):
        for active in combinations(range(n_layers), size):
            index = list(active)
            found, value = _mixture(products[:, index][:, :, index])
            better = (found >= -1e-12).all(1) & (value < best * (1 - 1e-12))
            best = torch.where(better, value, best)
            row = torch.zeros_like(weights)
            row[:, index] = found.clamp_min(0.0)
            weights = torch.where(better[:, None], row, weights)
    return (weights / weights.sum(1, keepdim=True)).T.contiguous()


def _mixture(products: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (voxel, layer) with sum 1 of least w P w, and that value; layers that are alike share by rounding."""
    size = products.shape[1]
    scale = products.diagonal(dim1=1, dim2=2).mean(1).clamp_min(torch.finfo(products.dtype).tiny)
    eye = torch.eye(size, dtype=products.dtype, device=products.device)
    solved = torch.linalg.solve(
        products / scale[:, None, None] + 1e-10 * eye, torch.ones_like(products[:, :, 0])
    )
    weights = solved / solved.sum(1, keepdim=True)
    return weights, torch.einsum("vi,vij,vj->v", weights, products, weights)
