"""Pictures of a page, each encoded once: where one is shown again, the page points to the first."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from html import escape

import numpy as np

from braindec import plots


@dataclass
class Thumbnails:
    """The small pictures of one page.

    Parameters
    ----------
    max_size : int
        Pixels a side to which larger pictures are reduced.
    """

    max_size: int
    _made: dict[str, str] = field(default_factory=dict)

    def shown(self, image: np.ndarray, alt: str) -> str:
        """An element that shows this picture; the same pixels are kept once, whatever shows them.

        Parameters
        ----------
        image : uint8 array, shape (height, width, 3) or (height, width)
        alt : str
            What it shows, for readers who do not see it.
        """
        image = np.ascontiguousarray(image)
        # So long that no two pictures of a page share a name.
        name = "p" + hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:16]
        height, width = image.shape[:2]
        if name not in self._made:
            address = plots.thumbnail(image, self.max_size)
            self._made[name] = f'<image id="{name}" width="{width}" height="{height}" href="{address}"/>'
        return (
            f'<svg class="shot" role="img" aria-label="{escape(alt, quote=True)}" viewBox="0 0 {width} {height}">'
            f'<use href="#{name}"/></svg>'
        )

    def kept(self) -> str:
        """The pictures themselves, to stand once in the page; nothing where none was shown."""
        if not self._made:
            return ""
        made = "".join(self._made.values())
        return f'<svg class="kept" width="0" height="0" aria-hidden="true"><defs>{made}</defs></svg>'
