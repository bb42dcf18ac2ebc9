"""Many small pictures in few files, for pages that show thousands; and colours as numbers, for pages that draw."""

from __future__ import annotations

import io

import numpy as np

from braindec.plots import _style
from braindec.plots.pictures import THUMBNAIL_QUALITY

EDGE = 1  # pixels around each picture that repeat its border: a scaled neighbour does not shine in


def sheet(pictures: np.ndarray, columns: int) -> bytes:
    """WebP of pictures beside each other, row by row, each in a frame of `EDGE` pixels that repeat its border.

    Parameters
    ----------
    pictures : uint8 array, shape (n, height, width, 3) or (n, height, width, 4)
        With a fourth channel (opacity) nothing is lost in compression.
    columns : int
    """
    from PIL import Image

    n, height, width, channels = pictures.shape
    framed = np.pad(pictures, ((0, 0), (EDGE, EDGE), (EDGE, EDGE), (0, 0)), mode="edge")
    rows = -(-n // columns)
    whole = np.zeros((rows * columns, *framed.shape[1:]), dtype=np.uint8)
    whole[:n] = framed
    tall, wide = height + 2 * EDGE, width + 2 * EDGE
    whole = whole.reshape(rows, columns, tall, wide, channels).swapaxes(1, 2)
    image = Image.fromarray(whole.reshape(rows * tall, columns * wide, channels))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=THUMBNAIL_QUALITY, method=4, lossless=channels == 4)
    return out.getvalue()


def brain_pixels(values: np.ndarray, largest: float, side: int = 96) -> np.ndarray:
    """One brain seen from above as pixels on a scale about zero, empty where there is no brain: uint8 (h, w, 4).

    Parameters
    ----------
    values : array, shape (height, width)
        NaN is left empty.
    largest : float
        Where the colours end on both sides.
    side : int
        Pixels of the longer side, about: every value becomes a square of whole pixels.
    """
    import matplotlib

    values = np.asarray(values, dtype=float)
    colours = matplotlib.colormaps[_style.DIVERGING_MAP]((values / (largest or 1.0) + 1) / 2, bytes=True)
    colours = np.where(np.isnan(values)[..., None], 0, colours).astype(np.uint8)
    times = max(1, side // max(values.shape))
    return colours.repeat(times, 0).repeat(times, 1)


def colour_table(n: int = 64) -> list[str]:
    """The colours of maps that begin at zero, low to high, as ``#rrggbb``."""
    import matplotlib
    from matplotlib.colors import to_hex

    return [to_hex(c) for c in matplotlib.colormaps[_style.MAP](np.linspace(0, 1, n))]
