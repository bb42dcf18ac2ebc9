"""Pictures in rows: what was presented beside what was decoded."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from braindec import checks
from braindec.plots import _style

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PHOTO_SIZE = 96  # pixels: larger pictures are photographs, for which JPEG is ten times smaller
MAX_SIZE = 192  # pixels a side in a page
THUMBNAIL_QUALITY = 86  # of 100: on scenes of 64 pixels no difference is seen beside the PNG


def encoded(image: np.ndarray, max_size: int = MAX_SIZE) -> str:
    """A picture as a `data:` address for a page: PNG up to 96 pixels a side, JPEG above.

    Parameters
    ----------
    image : uint8 array, shape (height, width, 3) or (height, width)
        In 0..255.
    max_size : int
        Larger pictures are reduced to this many pixels along the longer side.
    """
    picture, out = _reduced(image, max_size), io.BytesIO()
    small = max(picture.size) <= PHOTO_SIZE
    if small:
        picture.save(out, "PNG", optimize=True)
    else:
        picture.save(out, "JPEG", quality=88)
    return f"data:image/{'png' if small else 'jpeg'};base64,{base64.b64encode(out.getvalue()).decode()}"


def thumbnail(image: np.ndarray, max_size: int = MAX_SIZE) -> str:
    """A picture as a `data:` address of WebP, a third of `encoded`'s bytes: for pages that show hundreds.

    Parameters
    ----------
    image, max_size
        See `encoded`.
    """
    out = io.BytesIO()
    _reduced(image, max_size).convert("RGB").save(out, "WEBP", quality=THUMBNAIL_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def _reduced(image: np.ndarray, max_size: int) -> Picture:
    from PIL import Image

    picture = Image.fromarray(_checked(image))
    if max(picture.size) > max_size:
        picture.thumbnail((max_size, max_size), Image.Resampling.LANCZOS)
    return picture


def image_grid(
    rows: Mapping[str, np.ndarray], captions: Sequence[str] = (), *, size: float = 0.95, title: str = ""
) -> bytes:
    """PNG of named rows of pictures, a column an item.

    Parameters
    ----------
    rows : mapping of str to uint8 array, shape (n_items, height, width, 3)
        Label and pictures of each row, top to bottom.
    captions : sequence of str, optional
        One below each column.
    size : float
        Inches a picture.
    title : str
        Above the grid.
    """
    n = checks.same_length("item", **rows)
    with _style.style():
        height = len(rows) * size + 0.3 * bool(captions) + 0.3 * bool(title)
        made, axes = _style.figure(
            1.3 + n * size, height, dense=True, nrows=len(rows), ncols=n, squeeze=False
        )
        if title:
            made.suptitle(title, fontsize=11.5, fontweight="bold")
        for r, (label, images) in enumerate(rows.items()):
            for c, image in enumerate(images):
                panel = axes[r, c]
                panel.imshow(_checked(image), cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
                panel.set(xticks=[], yticks=[])
                panel.spines[:].set_visible(False)
            axes[r, 0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        for c, caption in enumerate(captions):
            axes[-1, c].set_xlabel(caption, fontsize=8, wrap=True)
        return _style.png(made)


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or (image.ndim == 3 and image.shape[2] not in (1, 3))
    ):
        raise ValueError(f"a picture must be uint8 (height, width, 3), got {image.dtype} {image.shape}.")
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
