"""Objects made of a body and parts, for synthetic datasets, and pixels of cortex that answer to their views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from braindec import checks
from braindec.maths import solids

MARGIN = 0.05  # edges of the cube that stay free around an object
BOX, ROUND, ROD = (0.1, 0.1), (1.0, 1.0), (0.1, 1.0)  # exponents: along the axis, and around it
FIELD = 10  # pixels of a view that receptive fields look at


@dataclass(frozen=True)
class Part:
    """A superquadric that may taper along its axis.

    Parameters
    ----------
    centre, radii : (x, y, z)
        In a unit of the object's own; radii are half the extent.
    exponents : (float, float)
        Along the axis, and around it: 0.1 is a box's, 1 a ball's.
    axis : int
        0, 1 or 2.
    taper : float
        Share of the width that is gone at the end of the axis, in [0, 1).
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    exponents: tuple[float, float] = ROUND
    axis: int = 2
    taper: float = 0.0

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Whether points (..., 3) lie inside, bool (...).

        Notes
        -----
        Inside-outside function of Barr 1981, doi:10.1109/MCG.1981.1673799, on coordinates divided by what tapers.
        """
        local = np.abs((points - np.array(self.centre)) / np.array(self.radii))
        along = local[..., self.axis]
        signed = (points[..., self.axis] - self.centre[self.axis]) / self.radii[self.axis]
        width = np.maximum(1 - self.taper * (np.clip(signed, -1, 1) + 1) / 2, 1e-6)
        first, second = (local[..., a] / width for a in range(3) if a != self.axis)
        power, around = 2 / self.exponents[0], 2 / self.exponents[1]
        ring = np.maximum(first, 1e-9) ** around + np.maximum(second, 1e-9) ** around
        return np.asarray(ring ** (power / around) + along**power <= 1)


def airplane(rng: np.random.Generator) -> list[Part]:
    """Body along y, wings, tail and fin."""
    length, width = 1.0, rng.uniform(0.09, 0.15)
    span, chord, at = rng.uniform(0.6, 1.1), rng.uniform(0.12, 0.26), rng.uniform(-0.2, 0.25)
    tail = rng.uniform(0.25, 0.45)
    return [
        Part((0, 0, 0), (width, length, width), ROUND, 1),
        Part((0, at, 0), (span, chord, 0.05), BOX, 1),
        Part((0, -0.85, 0.02), (tail, 0.1, 0.045), BOX, 1),
        Part((0, -0.85, 0.16), (0.045, 0.1, rng.uniform(0.12, 0.3)), BOX, 2),
    ]


def car(rng: np.random.Generator) -> list[Part]:
    """Body along y, a cabin and four wheels."""
    width, low = rng.uniform(0.35, 0.5), rng.uniform(0.13, 0.24)
    cabin, at = rng.uniform(0.3, 0.65), rng.uniform(-0.3, 0.2)
    wheel = rng.uniform(0.14, 0.22)
    parts = [
        Part((0, 0, 0), (width, 1.0, low), BOX),
        Part(
            (0, at, low + 0.15),
            (width * 0.9, cabin, rng.uniform(0.15, 0.28)),
            BOX,
            taper=rng.uniform(0.1, 0.5),
        ),
    ]
    for x in (-1, 1):
        parts += [Part((x * width, y, -low), (0.09, wheel, wheel), ROD, 0) for y in (-0.6, 0.6)]
    return parts


def chair(rng: np.random.Generator) -> list[Part]:
    """Seat, four legs, a back."""
    half, legs, back = rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.75)
    thick = rng.uniform(0.06, 0.11)
    parts = [
        Part((0, 0, 0), (half, half, 0.08), BOX),
        Part((0, half - 0.07, back), (half, 0.07, back), BOX),
    ]
    return parts + _legs(half - thick, half - thick, legs, thick)


def lamp(rng: np.random.Generator) -> list[Part]:
    """Foot, pole, a shade that tapers."""
    foot, shade, high = rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.55), rng.uniform(0.2, 0.45)
    return [
        Part((0, 0, -0.95), (foot, foot, 0.07), ROD),
        Part((0, 0, -0.2), (0.07, 0.07, 0.8), ROD),
        Part((0, 0, 0.95 - high), (shade, shade, high), ROD, taper=rng.uniform(0.2, 0.9)),
    ]


def table(rng: np.random.Generator) -> list[Part]:
    """A top, round or not, on four legs."""
    x, y, legs = rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.8)
    thick, is_round = rng.uniform(0.06, 0.12), rng.random() < 0.4
    reach = 0.6 if is_round else 1.0
    top = Part((0, 0, 0), (x, y, 0.08), ROD if is_round else BOX)
    return [top, *_legs(reach * x - thick, reach * y - thick, legs, thick)]


def sofa(rng: np.random.Generator) -> list[Part]:
    """A seat, a back, two arms."""
    x, y, back = rng.uniform(0.6, 1.0), rng.uniform(0.35, 0.5), rng.uniform(0.2, 0.5)
    arm, soft = rng.uniform(0.1, 0.2), (rng.uniform(0.1, 0.5),) * 2
    parts = [
        Part((0, 0, 0), (x, y, 0.18), soft),
        Part((0, y - 0.1, back), (x, 0.12, back + 0.15), soft),
    ]
    return parts + [Part((s * (x - arm), 0, 0.1), (arm, y, 0.26), soft) for s in (-1, 1)]


def _legs(x: float, y: float, long: float, thick: float) -> list[Part]:
    return [Part((a * x, b * y, -long), (thick, thick, long), BOX) for a in (-1, 1) for b in (-1, 1)]


KINDS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "airplane": airplane, "car": car, "chair": chair, "lamp": lamp, "table": table, "sofa": sofa,
}  # fmt: skip


def grid(parts: Sequence[Part], side: int) -> np.ndarray:
    """Parts together in the middle of the cube, as large as fits, bool (side, side, side)."""
    checks.at_least("parts", len(parts), 1)
    low = np.min([np.subtract(p.centre, p.radii) for p in parts], axis=0)
    high = np.max([np.add(p.centre, p.radii) for p in parts], axis=0)
    scale = (high - low).max() / (1 - 2 * MARGIN)
    place = (np.arange(side) + 0.5) / side - 0.5
    points = np.stack(np.meshgrid(place, place, place, indexing="ij"), -1) * scale + (low + high) / 2
    inside = np.zeros((side,) * 3, dtype=bool)
    for part in parts:
        inside |= part.holds(points)
    return inside


def draw(kind: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """An object of a kind with sizes of its own, bool (side, side, side)."""
    return grid(checks.known_key("kind", kind, KINDS)(rng), side)


def responses(
    grids: np.ndarray, n_frames: int, n_pixels: int, rng: np.random.Generator, *, noise: float = 1.0
) -> np.ndarray:
    """What pixels of cortex say while each object turns once, (object, frame, pixel) float32.

    Parameters
    ----------
    grids : bool array, shape (n, side, side, side)
    n_frames : int
        Views in equal steps.
    n_pixels : int
    rng : numpy Generator
    noise : float
        Standard deviation of each frame's noise, in standard deviations of a pixel's signal over objects and frames.

    Notes
    -----
    A pixel's receptive field is a Gaussian on views of 10 x 10 pixels, answering to how bright they are there or to
    whether the object is there. Half of a frame's signal is that of the frame before: blood is slow.
    """
    fields = np.stack([solids.signed_distance(one) for one in grids])
    turned = solids.views(fields, [360 * k / n_frames for k in range(n_frames)], side=2 * FIELD)
    small = turned[..., 0].reshape(len(fields), n_frames, FIELD, 2, FIELD, 2)
    bright = small.mean((3, 5), dtype=np.float64)
    there = (small < 255).mean((3, 5))
    place = np.arange(FIELD)
    centre, width = rng.uniform(0, FIELD - 1, (2, n_pixels, 1)), rng.uniform(0.7, 2.0, (n_pixels, 1))
    row, column = (np.exp(-(((place - c) / width) ** 2) / 2) for c in centre)
    weights = np.einsum("pr,pc->prc", row, column)
    likes = rng.random(n_pixels) < 0.5
    signal = np.where(
        likes,
        np.einsum("nfrc,prc->nfp", bright / 255, weights),
        np.einsum("nfrc,prc->nfp", there, weights),
    )
    signal -= signal.mean((0, 1))
    signal /= np.maximum(signal.std((0, 1)), 1e-9)
    slow = (signal + np.roll(signal, 1, axis=1)) / 2
    return (slow + noise * rng.standard_normal(slow.shape)).astype(np.float32)
