"""Pictures of scenes: 64x64 RGB, anti-aliased, the same bytes for the same scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    from braindec.data.simulated.scenes import Scene, SceneObject

IMAGE_SIZE = 64
RADIUS_PX = {"small": 8.0, "medium": 11.0, "large": 14.0}
SUPERSAMPLING = 3
COLOUR_RGB = {
    "red": (222, 38, 38), "orange": (245, 140, 20), "yellow": (248, 226, 40), "green": (40, 175, 60),
    "cyan": (40, 210, 220), "blue": (40, 90, 235), "purple": (145, 50, 200), "pink": (250, 130, 190),
}  # fmt: skip
BACKGROUND_RGB = {
    "black": (18, 18, 18), "grey": (128, 128, 128), "white": (238, 238, 238),
    "brown": (104, 66, 36), "navy": (26, 32, 88), "olive": (104, 112, 52),
}  # fmt: skip
DARKENED = 0.45  # the second colour of a texture is the first one, times this
STRIPE_PX, DOT_PX, CHECK_PX = 6.0, 6.0, 4.5
SHADE_RGB = 45.0  # a shaded background grows lighter by this much from top to bottom, and as much darker
LINE_RGB, LINE_PX = 32.0, 8
NEARNESS = {"small": 0.4, "medium": 0.7, "large": 1.0}  # what is larger is nearer; the background is at 0


def render(scene: Scene) -> np.ndarray:
    """Picture of a scene.

    Parameters
    ----------
    scene : Scene
        What to draw; later objects lie over earlier ones.

    Returns
    -------
    ndarray of uint8, shape (64, 64, 3)
        RGB, 0-255.
    """
    picture = _background(scene.background, scene.pattern)
    for thing in scene.objects:
        _draw_(picture, thing)
    return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)


def render_all(scenes: Sequence[Scene], progress: bool = False) -> np.ndarray:
    """Pictures of many scenes.

    Parameters
    ----------
    scenes : sequence of Scene
        What to draw.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    ndarray of uint8, shape (n_scenes, 64, 64, 3)
        RGB, 0-255.
    """
    pictures = np.empty((len(scenes), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    for i, scene in enumerate(tqdm(scenes, desc="render", disable=not progress)):
        pictures[i] = render(scene)
    return pictures


def nearness(scene: Scene) -> np.ndarray:
    """How near everything in a scene is, as its objects' sizes and overlaps tell.

    Parameters
    ----------
    scene : Scene
        Later objects lie over earlier ones.

    Returns
    -------
    ndarray of float32, shape (64, 64)
        0 for the background to 1 for large objects; edges are anti-aliased as in `render`.
    """
    return _covered(scene, NEARNESS)


def silhouette(scene: Scene) -> np.ndarray:
    """Share of each pixel that objects cover, whatever their colours: ndarray of float32, shape (64, 64), in [0, 1]."""
    return _covered(scene, dict.fromkeys(NEARNESS, 1.0))


def _covered(scene: Scene, values: dict[str, float]) -> np.ndarray:
    made = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.float32)
    for thing in scene.objects:
        (y0, y1, x0, x1), x, y = _place(thing)
        radius = RADIUS_PX[thing.size]
        cover = _average(_inside(thing.shape, x / radius, y / radius))[:, :, 0]
        patch = made[y0:y1, x0:x1]
        patch *= 1 - cover
        patch += cover * values[thing.size]
    return made


def _background(colour: str, pattern: str) -> np.ndarray:
    picture = np.empty((IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)
    picture[:] = BACKGROUND_RGB[colour]
    if pattern == "shaded":
        picture += np.linspace(-SHADE_RGB, SHADE_RGB, IMAGE_SIZE, dtype=np.float32)[:, None, None]
    if pattern == "lined":
        sign = -1.0 if colour in ("white", "grey") else 1.0
        picture[:, np.arange(IMAGE_SIZE) % LINE_PX < 2] += sign * LINE_RGB
    return np.clip(picture, 0, 255)


def _draw_(picture: np.ndarray, thing: SceneObject) -> None:
    radius = RADIUS_PX[thing.size]
    (y0, y1, x0, x1), x, y = _place(thing)
    inside = _inside(thing.shape, x / radius, y / radius)
    lit = inside & _texture(thing.texture, x, y)
    cover, light = _average(inside), _average(lit)
    colour = np.asarray(COLOUR_RGB[thing.colour], np.float32)
    patch = picture[y0:y1, x0:x1]
    patch *= 1 - cover
    patch += (light + DARKENED * (cover - light)) * colour


def _place(thing: SceneObject) -> tuple[tuple[int, int, int, int], np.ndarray, np.ndarray]:
    """(top, bottom, left, right) pixels around an object, and sample points from its centre in pixels."""
    radius = RADIUS_PX[thing.size]
    x0, x1 = _window(thing.x_px, radius)
    y0, y1 = _window(thing.y_px, radius)
    x = _sample_points(x0, x1)[None, :] - np.float32(thing.x_px)
    y = _sample_points(y0, y1)[:, None] - np.float32(thing.y_px)
    return (y0, y1, x0, x1), x, y


def _window(centre: float, radius: float) -> tuple[int, int]:
    return max(0, int(centre - radius) - 1), min(IMAGE_SIZE, int(centre + radius) + 2)


def _sample_points(start: int, stop: int) -> np.ndarray:
    n = (stop - start) * SUPERSAMPLING
    return (start + (np.arange(n) + 0.5) / SUPERSAMPLING).astype(np.float32)


def _average(mask: np.ndarray) -> np.ndarray:
    s = SUPERSAMPLING
    height, width = mask.shape[0] // s, mask.shape[1] // s
    return mask.reshape(height, s, width, s).mean((1, 3), dtype=np.float32)[:, :, None]


def _texture(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the bright colour of a texture is; x and y in pixels from the object's centre."""
    if name == "striped":
        return (x + y) % STRIPE_PX < STRIPE_PX / 2
    if name == "dotted":
        dx, dy = (x + DOT_PX / 2) % DOT_PX - DOT_PX / 2, (y + DOT_PX / 2) % DOT_PX - DOT_PX / 2
        return dx**2 + dy**2 > 1.9**2  # dark dots on the bright colour
    if name == "checkered":
        return (np.floor(x / CHECK_PX) + np.floor(y / CHECK_PX)) % 2 == 0
    return np.ones(np.broadcast_shapes(x.shape, y.shape), bool)


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where a shape of radius 1 is; u to the right, v downwards."""
    if shape == "square":
        return (np.abs(u) < 0.85) & (np.abs(v) < 0.85)
    if shape == "triangle":
        return (v < 0.8) & (v > -0.95) & (np.abs(u) < (v + 0.95) * 0.57)
    if shape == "cross":
        return ((np.abs(u) < 0.3) & (np.abs(v) < 1)) | ((np.abs(v) < 0.3) & (np.abs(u) < 1))
    r2 = u**2 + v**2
    if shape == "circle":
        return r2 < 0.95**2
    if shape == "ring":
        return (r2 < 1) & (r2 > 0.5**2)
    if shape == "crescent":
        return (r2 < 1) & ((u - 0.5) ** 2 + v**2 > 0.78**2)
    if shape == "heart":
        a, b = 1.15 * u, -1.15 * v + 0.12  # the classical sextic (a^2 + b^2 - 1)^3 < a^2 b^3
        return (a**2 + b**2 - 1) ** 3 < a**2 * b**3
    return _star(u, v, r2)


def _star(u: np.ndarray, v: np.ndarray, r2: np.ndarray) -> np.ndarray:
    """Five-pointed star: the edge between a tip at radius 1 and a notch at radius 0.42."""
    sector = np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + sector) % (2 * sector) - sector)  # 0 at a tip, `sector` at a notch
    radius = np.sqrt(r2)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    notch_x, notch_y = 0.42 * np.cos(sector), 0.42 * np.sin(sector)
    return (px - 1) * notch_y - py * (notch_x - 1) < 0
