"""Pictures made for a region of the brain: guided by one encoding model, judged by another, beside what nature has.

The model that guides is pleased by construction, so its own opinion of the pictures is worth nothing. What counts is
what an encoding model over another network says of them, or the brain itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, encoding, seeding
from braindec.generators import _pipeline
from braindec.generators._guidance import PictureScore, Synthesiser
from braindec.targets import ImageTarget, differentiable
from braindec.targets._differentiable import Features

N_RESAMPLES = 2000
N_SHOWN = 8
LIMIT = (
    "Guide and judge are fitted to the same responses, so what is wrong with these is wrong with both. A synthesised "
    "picture lies where no training picture did, where both extrapolate: only the brain itself can say what it answers."
)
NATURAL, CHOSEN, UNGUIDED, RANDOM, GUIDED = (
    "natural, any", "natural, best for the guide", "made, not guided", "made for a random direction",
    "made for the region",
)  # fmt: skip
Truth = Callable[[np.ndarray], np.ndarray]  # pictures uint8 (n, height, width, 3) -> responses (n, n_voxels)


@dataclass(frozen=True, eq=False)
class PictureEncoding:
    """A region's responses to any picture, by features of one network.

    Parameters
    ----------
    network : str
        What tells networks apart: their weights, whichever layer is read.
    features : callable
        Pictures (n, 3, side, side) in [0, 1] to (n, n_features); gradients flow.
    mean, scale : Tensor, shape (n_features,)
        Features are (x - mean) * scale.
    lowest, highest : Tensor, shape (n_features,)
        Of the training pictures. A feature that leaves their range is moved to its edge: a unit that was silent but for
        one training picture would else carry every prediction. Gradients pass as if it had not been moved.
    model : VoxelwiseEncoding
    """

    network: str
    features: Features
    mean: Tensor
    scale: Tensor
    lowest: Tensor
    highest: Tensor
    model: encoding.VoxelwiseEncoding

    def standardised(self, pictures: Tensor) -> Tensor:
        """Features of pictures as the model takes them, (n, n_features)."""
        x = self.features(pictures)
        inside = torch.minimum(torch.maximum(x.detach(), self.lowest), self.highest)
        return (inside + x - x.detach() - self.mean) * self.scale

    def score(self, voxels: np.ndarray | None = None) -> PictureScore:
        """Mean predicted response of some voxels (mask or positions; None: all), as a score of pictures."""
        w, b = self.model.weights, self.model.intercept
        if voxels is not None:
            w, b = w[:, torch.as_tensor(voxels)], b[torch.as_tensor(voxels)]
        direction, offset = w.mean(1), b.mean()
        return lambda pictures: self.standardised(pictures) @ direction + offset

    def predict(
        self, images: np.ndarray, voxels: np.ndarray | None = None, batch_size: int = 64
    ) -> np.ndarray:
        """`score` of uint8 pictures (n, side, side, 3), float32 (n,)."""
        return scored(images, self.score(voxels), batch_size)


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Pictures for a region, and what judges say of them.

    Parameters
    ----------
    pictures : mapping of str to uint8 array, shape (n, height, width, 3)
        Made for the region, not guided, made for a random direction (of the first one), and the natural pictures that
        the guide likes best.
    judged : mapping of str to mapping of str to float array
        By judge (``"guide"``, ``"judge"``, and ``"truth"`` where the brain is known) and kind of picture: mean response
        of the region to each picture. Of random directions (n_random * n,).
    differences : mapping of (str, str) to (float, float, float)
        By judge and kind: how much higher the region responds to pictures that were made for it, with a 95 % interval
        over pictures (models and region stay as they are).
    about : mapping
        JSON values.
    controls : Controls
        For further regions.
    """

    pictures: Mapping[str, np.ndarray]
    judged: Mapping[str, Mapping[str, np.ndarray]]
    differences: Mapping[tuple[str, str], tuple[float, float, float]]
    about: Mapping[str, Any]
    controls: Controls

    def table(self) -> dict[str, Any]:
        """Payload of a report's table: a row a kind of picture."""
        judges = list(self.judged)
        rows = []
        for kind in (NATURAL, CHOSEN, UNGUIDED, RANDOM, GUIDED):
            cells = [f"{self.judged[judge][kind].mean():.2f}" for judge in judges]
            more = ["{:+.2f} [{:+.2f}, {:+.2f}]".format(*self.differences[judge, kind]) if kind != GUIDED else ""
                    for judge in judges if judge != "guide"]  # fmt: skip
            rows.append([kind, *cells, *more])
        columns = ["pictures", *(f"response by {j}" for j in judges),
                   *(f"made for the region - this, {j}" for j in judges if j != "guide")]  # fmt: skip
        caption = (
            "Mean response of the region, in units of the responses. The guide is shown, but it is no judge."
        )
        return {"columns": columns, "rows": rows, "caption": caption}

    def panels(self) -> list[tuple[str, str, dict[str, Any]]]:
        """For a report: the pictures, what judges say of them, and what that does not show."""
        grid = {"rows": {kind: images[:N_SHOWN] for kind, images in self.pictures.items()}}
        return [
            ("Pictures made for a region", "image_grid", grid),
            ("What the region answers", "table", self.table()),
            ("What this does not show", "text", {"text": LIMIT, "section": "limits"}),
        ]


@dataclass(frozen=True, eq=False)
class Controls:
    """Pictures that no region asked for, the same for all regions that one network guides.

    Parameters
    ----------
    unguided : uint8 array, shape (n_candidates, height, width, 3)
    random : tuple of uint8 arrays, shape (n, height, width, 3)
        For each random direction, those that lie furthest along it.
    """

    unguided: np.ndarray
    random: tuple[np.ndarray, ...]


def fit_pictures(
    target: ImageTarget, images: np.ndarray, responses: np.ndarray | Tensor, *, embedded: Tensor | None = None,
    **settings: Any,
) -> PictureEncoding:  # fmt: skip
    """An encoding model that answers to pictures.

    Parameters
    ----------
    target : ImageTarget
        With a differentiable transform, see `targets.differentiable`.
    images : uint8 array, shape (n, height, width, 3)
    responses : array, shape (n, n_voxels)
        To these pictures, repeats averaged.
    embedded : Tensor, shape (n, n_features), optional
        `features_of` these pictures, where several regions are fitted to them.
    settings
        Of `encoding.fit`.
    """
    x = features_of(target, images) if embedded is None else embedded
    checks.same_length("stimulus", images=images, responses=responses, embedded=x)
    mean, spread = x.mean(0), x.std(0)
    scale = torch.where(spread > 1e-6 * spread.max(), 1 / spread.clamp_min(1e-12), torch.zeros(()))
    y = torch.as_tensor(np.asarray(responses, dtype=np.float32))
    model = encoding.fit((x - mean) * scale, y, **settings)
    told = target.identity()
    network = f"{told.get('weights_sha256', target.space)}|{told.get('random_weights')}"
    return PictureEncoding(network, differentiable(target), mean, scale, x.amin(0), x.amax(0), model)


def features_of(target: ImageTarget, images: np.ndarray) -> Tensor:
    """What a target sees in uint8 pictures (n, height, width, 3): (n, n_features)."""
    return torch.from_numpy(target.embed_images(list(images))).flatten(1)


def pipeline(folder: str | Path, **settings: Any) -> Synthesiser:
    """A diffusers pipeline from a folder (`save_pretrained`), with settings of `generators._pipeline.Config`."""
    return _pipeline.load(_pipeline.Config(str(folder), **settings))


def synthesise_for_region(
    synthesiser: Synthesiser,
    guide: PictureEncoding,
    judge: PictureEncoding,
    natural: np.ndarray,
    n: int,
    *,
    seed: int,
    voxels: np.ndarray | None = None,
    strength: float = 1.0,
    n_steps: int | None = None,
    n_candidates: int | None = None,
    n_random: int = 2,
    truth: Truth | None = None,
    options: Mapping[str, Any] | None = None,
    controls: Controls | None = None,
) -> Synthesis:
    """Pictures that a region should respond to most, and whether it does.

    Parameters
    ----------
    synthesiser : Synthesiser
        A generator with `synthesise`: the shipped one, or a diffusers `pipeline`.
    guide, judge : PictureEncoding
        Of the same voxels, over different networks.
    natural : uint8 array, shape (n_natural, height, width, 3)
        Pictures among which the guide chooses the `n` best; neither model was fitted on them.
    n : int
        Pictures of each kind, at least 2.
    seed : int
        All kinds begin from the same noise.
    voxels : array, optional
        The region: mask or positions; all by default.
    strength, n_steps
        Of the guidance.
    n_candidates : int, optional
        Pictures that are made of each kind, of which the `n` that score highest are kept; natural ones are chosen from
        `natural` likewise. `n` by default.
    n_random : int
        Random directions of the guide's features, with natural pictures' covariance.
    truth : callable, optional
        ``truth(pictures) -> (n, n_voxels)``: the brain itself, where it is known.
    options : mapping, optional
        Further arguments of `synthesise`, for pictures of all kinds, e.g. ``image_embeddings`` (n_candidates, 1, dim)
        of the shipped generator.
    controls : Controls, optional
        From another region's `Synthesis` of the same arguments but for models, truth and voxels: guides over one
        network, fitted to the same pictures, have the same.

    Returns
    -------
    Synthesis

    Raises
    ------
    LeakageError
        If guide and judge read the same network.

    Notes
    -----
    Luo et al. 2023, "BrainDiVE", arXiv:2306.03089.
    """
    if guide.network == judge.network:
        raise checks.LeakageError(
            "guide and judge read the same network, and pictures made to please a network please it: the judgement "
            "would be circular. Fit the judge on features of another network."
        )
    checks.at_least("n", n, 2)
    checks.in_range("n", n, 2, len(natural))
    checks.at_least("n_random", n_random, 1)

    total = n if n_candidates is None else n_candidates
    checks.at_least("n_candidates", total, n)

    def made(score: PictureScore, strength: float) -> np.ndarray:
        noise = seeding.torch_generator(seed, "synthesis")  # anew, so that all begin alike
        return synthesiser.synthesise(
            score, total, generator=noise, strength=strength, n_steps=n_steps, **dict(options or {})
        )

    wanted = guide.score(voxels)
    if controls is None:
        along = _random_scores(guide, natural, n_random, seed)
        controls = Controls(made(wanted, 0.0), tuple(best_of(made(one, strength), one, n) for one in along))
    checks.same_length("random direction", controls=controls.random, n_random=range(n_random))
    pictures = {
        NATURAL: natural, CHOSEN: best_of(natural, wanted, n), UNGUIDED: best_of(controls.unguided, wanted, n),
        RANDOM: np.concatenate(controls.random), GUIDED: best_of(made(wanted, strength), wanted, n),
    }  # fmt: skip
    judges: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "guide": lambda x: guide.predict(x, voxels), "judge": lambda x: judge.predict(x, voxels),
    }  # fmt: skip
    if truth is not None:
        region = slice(None) if voxels is None else voxels
        judges["truth"] = lambda x: np.asarray(truth(x))[:, region].mean(1)
    judged = {name: {kind: ask(x) for kind, x in pictures.items()} for name, ask in judges.items()}
    rng = seeding.numpy_generator(seed, "synthesis intervals")
    differences = {
        (name, kind): _difference(found[GUIDED], found[kind], rng)
        for name, found in judged.items() for kind in (NATURAL, CHOSEN, UNGUIDED, RANDOM)
    }  # fmt: skip
    about = {
        "synthesiser": synthesiser.identity(), "strength": strength, "n": n, "n_candidates": total,
        "n_random": n_random, "n_natural": len(natural), "guide": guide.network, "judge": judge.network, "seed": seed,
    }  # fmt: skip
    shown = {k: (x[:n] if k == RANDOM else x) for k, x in pictures.items() if k != NATURAL}
    return Synthesis(shown, judged, differences, about, controls)


def scored(images: np.ndarray, score: PictureScore, batch_size: int = 64) -> np.ndarray:
    """A score of uint8 pictures (n, side, side, 3), float32 (n,)."""
    with torch.no_grad():
        parts = [score(as_tensor(images[i : i + batch_size])) for i in range(0, len(images), batch_size)]
    return torch.cat(parts).numpy()


def best_of(images: np.ndarray, score: PictureScore, n: int) -> np.ndarray:
    """The `n` pictures that score highest, best first."""
    return images[np.argsort(-scored(images, score), kind="stable")[:n]]


def as_tensor(images: np.ndarray) -> Tensor:
    """uint8 pictures (n, height, width, 3) as float32 (n, 3, height, width) in [0, 1]."""
    checks.n_axes("images", images, ("stimulus", "height", "width", "rgb"))
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def _random_scores(guide: PictureEncoding, natural: np.ndarray, n: int, seed: int) -> list[PictureScore]:
    """Directions that mean nothing to the region, drawn from what natural pictures vary in."""
    with torch.no_grad():
        x = torch.cat(
            [guide.standardised(as_tensor(natural[i : i + 64])) for i in range(0, len(natural), 64)]
        )
    drawn = encoding.random_directions(x, n, seeding.torch_generator(seed, "random directions"))
    return [_along(guide, direction / (x @ direction).std()) for direction in drawn.T]


def _along(guide: PictureEncoding, direction: Tensor) -> PictureScore:
    return lambda pictures: guide.standardised(pictures) @ direction


def _difference(ours: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean of ours minus mean of others, with a bootstrap interval over pictures."""
    a, b = (rng.choice(x, (N_RESAMPLES, len(x))).mean(1) for x in (ours, others))
    low, high = np.quantile(a - b, [0.025, 0.975])
    return float(ours.mean() - others.mean()), float(low), float(high)
