"""Does a brain go on with what it no longer sees? Models' features of films beside its responses and its answers.

The arrays may be anybody's: features (film, time, feature) of a model, responses (repeat, film, time, unit), answers
(repeat, film), and which frames are hidden. Films are held out whole: frames of one film never lie on both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindec import checks, seeding
from braindec.encoding import voxelwise
from braindec.evaluate import study
from braindec.maths.correlation import pearson
from braindec.maths.factors import factorise
from braindec.maths.folds import folds_by_count, folds_by_group
from braindec.stats.ceilings import repeatability_ceiling
from braindec.stats.paired import sign_flip_p

N_INNER = 4  # folds of films that a penalty is chosen by
FEWEST = 8  # films that must share a moment for a correlation over them


@dataclass(frozen=True, eq=False)
class Predicted:
    """How well held-out responses are predicted: correlation over films at equal moments, over its ceiling.

    Parameters
    ----------
    hidden, seen : float
        Mean over moments at which the ball (or whatever matters) is hidden, or seen.
    interval, null : (float, float), float array (n_null,)
        Of `hidden`: 95 % over films, the ceiling and the fits held fixed; and refits to films shuffled in training.
    moments, course : int array, float array (n_moments,)
        Frames since it was last seen, 0 and below before that, and the value at each.
    ceiling : float
        Of `hidden`: mean largest correlation that a perfect model could reach.
    predictions, shuffled : Tensor, shape (n_films, n_times, n_units); (n_null, n_films, n_times, n_units)
        Of each film by a model that did not see it, and by those refitted to shuffled films.
    """

    hidden: float
    seen: float
    interval: tuple[float, float]
    null: np.ndarray
    moments: np.ndarray
    course: np.ndarray
    ceiling: float
    predictions: Tensor
    shuffled: Tensor


def frames_hidden(hidden: np.ndarray) -> np.ndarray:
    """Frames since a film last showed it, (n_films, n_times): 1 on the first hidden frame, 0 on the last seen before.

    Earlier ones count down to that; frames after which nothing is hidden any more are minus the number of frames.

    Parameters
    ----------
    hidden : bool array, shape (n_films, n_times)
    """
    checks.n_axes("hidden", hidden, ("film", "time"))
    n_times = hidden.shape[1]
    times = np.arange(n_times)
    latest = np.maximum.accumulate(np.where(hidden, -1, times), 1)
    following = np.where(hidden, times, 2 * n_times)
    coming = np.minimum.accumulate(following[:, ::-1], 1)[:, ::-1]
    before = np.where(coming < n_times, times - coming + 1, -n_times)
    return np.where(hidden, times - latest, before)


def film_folds(n_films: int, n_folds: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Held-out films of each fold, drawn at random."""
    return folds_by_count(n_films, n_folds, seeding.torch_generator(seed, "film folds"))


def film_predictions(
    features: Tensor, responses: Tensor, folds: tuple[Tensor, ...], *, n_null: int = 0, seed: int = 0
) -> Tensor:
    """Responses to each film as a linear model of the others predicts them, then the same of shuffled films.

    Parameters
    ----------
    features : Tensor, shape (n_films, n_times, n_features)
    responses : Tensor, shape (n_films, n_times, n_units)
    folds : tuple of Tensor
        Held-out films (`film_folds`).
    n_null : int
        Refits with the films of the training part shuffled against their responses.
    seed : int

    Returns
    -------
    Tensor, shape (1 + n_null, n_films, n_times, n_units)
        A penalty for each unit is chosen by whole films of the training part.

    Raises
    ------
    ValueError
        If films or times differ in number, or a value is not finite.
    """
    checks.n_axes("features", features, ("film", "time", "feature"))
    checks.n_axes("responses", responses, ("film", "time", "unit"))
    n = checks.same_length("film", features=features, responses=responses)
    checks.same_length("time", features=features[0], responses=responses[0])
    _, n_times, n_units = responses.shape
    found = torch.zeros(1 + n_null, n, n_times, n_units)
    draw = seeding.torch_generator(seed, "films shuffled")
    for held in folds:
        train = torch.from_numpy(np.setdiff1d(np.arange(n), held.numpy()))
        orders = [train, *(train[torch.randperm(len(train), generator=draw)] for _ in range(n_null))]
        y = torch.cat([responses[order] for order in orders], -1).flatten(0, 1)  # (row, unit of each pairing)
        x = features[train].flatten(0, 1)
        mean, scale = x.mean(0), x.std(0).clamp_min(1e-6)
        inner = folds_by_group((torch.arange(len(train)) % N_INNER).repeat_interleave(n_times))
        model = voxelwise.fit_factorised(factorise((x - mean) / scale, inner), y)
        made = model.predict(((features[held] - mean) / scale).flatten(0, 1))
        found[:, held] = made.reshape(len(held), n_times, 1 + n_null, n_units).movedim(2, 0)
    return found


def moment_correlations(predicted: Tensor, truth: Tensor, moments: np.ndarray, which: np.ndarray) -> Tensor:
    """Mean over units of the correlation over films, at each of `which` moments, (n_moments,).

    Parameters
    ----------
    predicted, truth : Tensor, shape (n_films, n_times, n_units)
    moments : int array, shape (n_films, n_times)
        `frames_hidden`: what all films share at a moment (the ball is further right, say) counts for nothing.
    which : int array
    """
    at = (torch.from_numpy(moments == m) for m in which)
    return torch.stack([pearson(predicted[rows], truth[rows], dim=0).mean() for rows in at])


def common_moments(moments: np.ndarray, fewest: int = FEWEST) -> np.ndarray:
    """Moments that at least so many films have, in order; never that of frames after which nothing is hidden."""
    values, counts = np.unique(moments, return_counts=True)
    return values[(counts >= fewest) & (values > -moments.shape[1])]


def predictivity(
    features: Tensor,
    responses: Tensor,
    hidden: np.ndarray,
    *,
    n_folds: int = 5,
    n_null: int = 20,
    seed: int = 0,
) -> Predicted:
    """How well a model's features predict responses to new films, while it is seen and while it is hidden.

    Parameters
    ----------
    features : Tensor, shape (n_films, n_times, n_features)
    responses : Tensor, shape (n_repeats, n_films, n_times, n_units)
        At least two repeats: their agreement is the ceiling.
    hidden : bool array, shape (n_films, n_times)
    n_folds, n_null, seed : int

    Raises
    ------
    ValueError
        If no moment is hidden in enough films, or shapes do not belong together.
    """
    checks.n_axes("responses", responses, ("repeat", "film", "time", "unit"))
    checks.same_length("film", features=features, responses=responses[0], hidden=hidden)
    moments, mean = frames_hidden(hidden), responses.mean(0)
    which = common_moments(moments, max(FEWEST, len(hidden) // 4))
    if not (which > 0).any():
        raise ValueError(
            f"hidden has no moment that {max(FEWEST, len(hidden) // 4)} of {len(hidden)} films share: give more films."
        )
    folds = film_folds(len(hidden), n_folds, seed)
    made = film_predictions(features, mean, folds, n_null=n_null, seed=seed)
    ceilings = torch.stack(
        [repeatability_ceiling(responses[:, torch.from_numpy(moments == m)]).mean() for m in which]
    ).clamp_min(1e-3)
    late, early = which > 0, which <= 0
    top = float(ceilings[late].mean())

    def unseen(predicted: Tensor, truth: Tensor, at: Tensor) -> float:
        return float(moment_correlations(predicted, truth, at.numpy(), which[late]).mean()) / top

    course = moment_correlations(made[0], mean, moments, which)
    return Predicted(
        float(course[late].mean()) / top,
        float(course[early].mean() / ceilings[early].mean()) if early.any() else float("nan"),
        study.jackknife(unseen, made[0], mean, torch.from_numpy(moments), seed=seed),
        np.array([unseen(one, mean, torch.from_numpy(moments)) for one in made[1:]]),
        which, (course / ceilings).numpy(), top, made[0], made[1:],
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Difference:
    """How much better one model predicts than another.

    Parameters
    ----------
    value, interval : float, (float, float)
        Difference of correlations over the first one's ceiling; 95 % over films.
    p : float
        Two-sided, of models that predict equally well: signs of what each film adds (`sign_flip_p`).
    null : float array, shape (n_null,)
        Of both refitted to shuffled films. It says what readouts that know nothing differ by, and is no test of equals:
        two good models differ more by chance, or less.
    """

    value: float
    interval: tuple[float, float]
    p: float
    null: np.ndarray


def difference(
    a: Predicted, b: Predicted, responses: Tensor, hidden: np.ndarray, *, after: int = 0, seed: int = 0
) -> Difference:
    """How much better `a` predicts than `b` when it was hidden for more than `after` frames.

    Parameters
    ----------
    a, b : Predicted
        Of the same responses.
    responses, hidden
        As given to `predictivity`.
    after : int
        In frames; at first a memory of what was seen may do.
    seed : int

    Notes
    -----
    What a film adds is its jackknife pseudovalue; the fits are held fixed. Films that show it again before are left out
    of `p`.
    """
    moments, mean = frames_hidden(hidden), responses.mean(0)
    late = a.moments[a.moments > after]
    if not len(late):
        raise ValueError(f"after must be below {a.moments.max()}, the longest that films share; got {after}.")

    def more(x: Tensor, y: Tensor, truth: Tensor, at: Tensor) -> float:
        both = (moment_correlations(one, truth, at.numpy(), late).mean() for one in (x, y))
        return float(next(both) - next(both)) / a.ceiling

    rows = a.predictions, b.predictions, mean, torch.from_numpy(moments)
    value = more(*rows)
    counted = torch.from_numpy(np.flatnonzero(np.isin(moments, late).any(1)))
    n = len(counted)
    others = np.array([more(*(x[counted[torch.arange(n) != i]] for x in rows)) for i in range(n)])
    draw = seeding.numpy_generator(seed, "signs of films")
    return Difference(
        value,
        study.jackknife(more, *rows, seed=seed),
        sign_flip_p(n * value - (n - 1) * others, draw),
        np.array([more(x, y, *rows[2:]) for x, y in zip(a.shuffled, b.shuffled, strict=True)]),
    )


@dataclass(frozen=True, eq=False)
class Answered:
    """How alike a model's errors and a brain's are, film by film.

    Parameters
    ----------
    value, interval, null : float, (float, float), float array (n_null,)
        Partial correlation over films, given the truth, over its ceiling; 95 % over films; readouts fitted to shuffled
        films.
    ceiling : float
    errors : float array, shape (n_films,)
        Of the model's readout, in units of the answers.
    """

    value: float
    interval: tuple[float, float]
    null: np.ndarray
    ceiling: float
    errors: np.ndarray


def error_likeness(
    features: Tensor,
    place: np.ndarray,
    answers: np.ndarray,
    *,
    n_folds: int = 5,
    n_null: int = 20,
    seed: int = 0,
) -> Answered:
    """Whether a model that answers by a linear readout at the end of films errs where a brain errs.

    Parameters
    ----------
    features : Tensor, shape (n_films, n_times, n_features)
    place : float array, shape (n_films, n_times)
        What is asked for (the ball's height). A readout is fitted to it in all frames of other films and never meets
        an answer; what it says of the last frame is the model's answer.
    answers : float array, shape (n_repeats, n_films)
        At least two repeats.
    n_folds, n_null, seed : int

    Notes
    -----
    Whoever always answers the mean errs as all do who shy away from extremes: the linear part of the truth is taken out
    of both errors first, and this answer is at zero. Errors of models and primates were compared so, without this, by
    Rajalingham et al. 2022, doi:10.1038/s41467-022-33581-6.
    """
    checks.same_length("film", features=features, place=place, answers=answers.T)
    height = torch.from_numpy(np.asarray(place, dtype=np.float32))
    y = height[:, -1]
    folds = film_folds(len(y), n_folds, seed)
    made = film_predictions(features.float(), height[..., None], folds, n_null=n_null, seed=seed)[
        :, :, -1, 0
    ]  # (1 + n_null, film)
    theirs = torch.from_numpy(np.asarray(answers, dtype=np.float32)) - y
    ceiling = float(repeatability_ceiling(torch.stack([_without(one, y) for one in theirs])[..., None])[0])
    top, mean = max(ceiling, 1e-3), theirs.mean(0)

    def alike(model: Tensor, brain: Tensor, right: Tensor) -> float:
        return float(pearson(_without(model - right, right), _without(brain, right), dim=0)) / top

    return Answered(
        alike(made[0], mean, y),
        study.jackknife(alike, made[0], mean, y, seed=seed),
        np.array([alike(one, mean, y) for one in made[1:]]),
        ceiling, (made[0] - y).numpy(),
    )  # fmt: skip


def _without(errors: Tensor, truth: Tensor) -> Tensor:
    """Errors without what is linear in the truth, (n_films,)."""
    x = truth - truth.mean()
    return errors - errors.mean() - x * (x @ errors) / x.square().sum().clamp_min(1e-12)


def mean_error_by_duration(
    errors: Mapping[str, np.ndarray], hidden: np.ndarray, n_bins: int = 5
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Mean size of errors of films that hide it for longer and longer: frames hidden (n_bins,), and sizes by name."""
    frames = hidden.sum(1)
    order = np.argsort(frames, kind="stable")
    parts = np.array_split(order, n_bins)
    return np.array([frames[p].mean() for p in parts]), {
        name: np.array([np.abs(np.asarray(e)[p]).mean() for p in parts]) for name, e in errors.items()
    }
