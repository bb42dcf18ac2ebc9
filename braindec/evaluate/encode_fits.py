"""Every layer beside nuisance features, each with penalties of its own, judged on test rows and beside a null."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from braindec import encoding, seeding
from braindec.encoding.voxelwise import fit_factorised
from braindec.evaluate.encode_ceilings import Ceilings
from braindec.evaluate.encoded import Encoded, Settings
from braindec.maths.factors import factorise
from braindec.maths.folds import Folds
from braindec.types import Space

Pair = tuple[Tensor, Tensor]  # features of training rows and of test rows
VALUES_AT_ONCE = 1 << 26  # of permuted responses: 256 MB, and as many weights

LAYER, NUISANCE = "layer", "nuisance"


@dataclass(frozen=True, eq=False)
class Task:
    """One subject's features and responses, ready for ridge.

    Parameters
    ----------
    key : str
    layers : mapping of str to pair of Tensor, shapes (n_train, n_features) and (n_test, n_features)
    nuisance : such a pair, or None
    y, y_test : Tensor, shapes (n_train, n_voxels) and (n_test, n_voxels)
    folds : Folds
        Of training rows.
    reorder : callable (numpy Generator) -> int array, shape (n_train,)
        An order of training rows under which features and responses do not belong together.
    test : callable (prediction, truth, generator) -> Significance
    blocks : int array, shape (n_test,)
    test_ids : tuple of str
    ceilings : Ceilings or None
    space : Space
    shape : tuple of int
    times_s : float array or None
    about : mapping
        JSON values kept with the models.
    """

    key: str
    layers: Mapping[str, Pair]
    nuisance: Pair | None
    y: Tensor
    y_test: Tensor
    folds: Folds
    reorder: Callable[[np.random.Generator], np.ndarray]
    test: Callable[[Tensor, Tensor, np.random.Generator], encoding.Significance]
    blocks: np.ndarray
    test_ids: tuple[str, ...]
    ceilings: Ceilings | None
    space: Space
    shape: tuple[int, ...]
    times_s: np.ndarray | None
    about: Mapping[str, object]


def run(task: Task, settings: Settings) -> Encoded:
    """Fits, chooses a layer for every voxel by cross-validation, predicts the test part, and refits the null."""
    low = task.nuisance
    y, y_test = task.y, task.y_test
    low_made = y.mean(0).expand_as(y_test).contiguous()
    low_cv = np.zeros(y.shape[1], dtype=np.float32)
    if low is not None:
        low_model = _fit({NUISANCE: low[0]}, y, task.folds, settings)[0]
        low_made, low_cv = low_model.predict(low[1]), low_model.cv_score.numpy()
    fits = [_layer(task, name, pair, settings) for name, pair in task.layers.items()]
    cv = np.stack([model.cv_score.numpy() for model, _, _, _ in fits])
    best = cv.argmax(0)
    made = torch.stack([p for _, _, p, _ in fits])[torch.from_numpy(best), :, torch.arange(len(best))].T
    made = made.contiguous()
    training = None if task.ceilings is None else task.ceilings.training.get(task.ceilings.kind)
    kept = np.ones(len(best), dtype=bool) if training is None else training >= settings.ceiling
    none = np.zeros(len(best), dtype=np.float32)
    return Encoded(
        key=task.key, layers={name: model for name, (model, _, _, _) in zip(task.layers, fits)},
        share=np.stack([share for _, share, _, _ in fits]), cv=cv,
        r=np.stack([encoding.correlation(p, y_test).numpy() for _, _, p, _ in fits]),
        r2=np.stack([encoding.r2(p, y_test).numpy() for _, _, p, _ in fits]),
        alone=np.stack([alone for _, _, _, alone in fits]),
        nuisance_r=none if low is None else encoding.correlation(low_made, y_test).numpy(),
        nuisance_r2=none if low is None else encoding.r2(low_made, y_test).numpy(), nuisance_cv=low_cv,
        chosen=best, ceilings=task.ceilings, kept=kept,
        tested=task.test(made, y_test, seeding.numpy_generator(settings.seed, "encode permutations", task.key)),
        null=_null(task, best, settings), predictions=made.numpy(), nuisance_predictions=low_made.numpy(),
        responses=y_test.numpy(), test_ids=task.test_ids, blocks=task.blocks, space=task.space, shape=task.shape,
        n_train=len(y), times_s=task.times_s, settings=settings,
    )  # fmt: skip


def standardised(x: Tensor, x_test: Tensor) -> Pair:
    """Features of both parts, (n, n_features), with the training part's mean and standard deviation removed.

    Test values outside of the training range are moved to its edge: a unit that was silent but for one training
    stimulus would else come out a hundred deviations away, and carry every voxel with it.
    """
    mean, spread = x.mean(0), x.std(0)
    # A feature that is constant in training says nothing, and its deviation would be divided by rounding.
    scale = torch.where(
        spread > 1e-6 * spread.max().clamp_min(1e-12), 1 / spread.clamp_min(1e-12), torch.zeros(())
    )
    inside = torch.minimum(torch.maximum(x_test, x.amin(0)), x.amax(0))
    return (x - mean) * scale, (inside - mean) * scale


def _layer(
    task: Task, name: str, pair: Pair, settings: Settings
) -> tuple[encoding.VoxelwiseEncoding, np.ndarray, Tensor, np.ndarray]:
    """Model of a layer beside the nuisance features, its share, its predictions, and test R^2 of the layer alone."""
    x, x_test = pair
    own, share = _fit({LAYER: x}, task.y, task.folds, settings)
    alone = encoding.r2(own.predict(x_test), task.y_test).numpy()
    model, test = own, x_test
    if task.nuisance is not None:
        model, share = _fit({LAYER: x, NUISANCE: task.nuisance[0]}, task.y, task.folds, settings)
        test = torch.cat([x_test, task.nuisance[1]], 1)
    place = task.space if task.space.n_features == task.y.shape[1] else None
    about = {"layer": name, "n_layer_features": x.shape[1], "n_nuisance": model.n_features - x.shape[1]}
    model = replace(model, space=place, about={**task.about, **about})
    return model, share, model.predict(test), alone


def _fit(
    bands: Mapping[str, Tensor], y: Tensor, folds: Folds, settings: Settings
) -> tuple[encoding.VoxelwiseEncoding, np.ndarray]:
    """Ridge of one band, or banded ridge of two; with the first band's share of the kernel of each voxel."""
    if len(bands) == 1:
        (x,) = bands.values()
        model = fit_factorised(factorise(x, folds), y, alphas=settings.alphas)
        return model, np.ones(y.shape[1], dtype=np.float32)
    gammas = torch.tensor([[share, 1 - share] for share in settings.shares], dtype=torch.float64)
    found = encoding.fit_banded(bands, y, gammas=gammas, alphas=settings.alphas, folds=folds)
    return found.model, found.gamma[0].numpy()


def _null(task: Task, best: np.ndarray, settings: Settings) -> np.ndarray:
    """Each voxel's chosen layer refitted to reordered training responses, its penalties chosen anew."""
    generator = seeding.numpy_generator(settings.seed, "encode null", task.key)
    orders = [torch.from_numpy(task.reorder(generator)) for _ in range(settings.n_null)]
    out = np.zeros((settings.n_null, len(best)), dtype=np.float32)
    for number, (x, x_test) in enumerate(task.layers.values()):
        members = np.flatnonzero(best == number)
        if not len(members):
            continue
        bands, test = {LAYER: x}, x_test
        if task.nuisance is not None:
            bands[NUISANCE], test = task.nuisance[0], torch.cat([x_test, task.nuisance[1]], 1)
        y, truth = task.y[:, members], task.y_test[:, members]
        # Reorderings are further columns: what is factorised of the features serves all of them.
        at_once = max(1, VALUES_AT_ONCE // (max(len(y), test.shape[1]) * len(members)))
        for start in range(0, len(orders), at_once):
            some = orders[start : start + at_once]
            made = _fit(bands, torch.cat([y[order] for order in some], 1), task.folds, settings)[0].predict(
                test
            )
            r = encoding.correlation(made, truth.repeat(1, len(some))).reshape(len(some), -1)
            out[start : start + len(some), members] = r.numpy()
    return out
