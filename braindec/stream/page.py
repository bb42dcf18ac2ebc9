"""A page of this machine that shows what is being decoded: picture, what was retrieved, and how long it took."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from braindec import checks
from braindec.serving import Reply, Server, json_reply, serve
from braindec.stream.decoding import Decoded

Pictures = Callable[[str], np.ndarray]
"""A stimulus id to its picture, uint8 (height, width, 3)."""
MEDIA = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}


@dataclass(frozen=True, eq=False)
class _Shown:
    number: int
    decoded: Decoded
    known: bool


@dataclass(frozen=True, eq=False)
class _Drawn:
    number: int
    event: str | None
    picture: np.ndarray


class LivePage:
    """What was decoded last, for a browser that asks several times a second.

    Parameters
    ----------
    title : str
    pictures : callable
        Picture of a gallery stimulus; a KeyError where there is none.
    """

    def __init__(self, title: str, pictures: Pictures):
        self.title, self._pictures = title, pictures
        self._lock = threading.Lock()
        self._shown: _Shown | None = None
        self._drawn: _Drawn | None = None
        self._took: list[float] = []
        self._hits: list[bool] = []

    def show(self, decoded: Decoded, *, known: bool = False) -> int:
        """Puts an answer on the page, and gives its number.

        Parameters
        ----------
        decoded : Decoded
        known : bool
            Whether its event names what was presented: it is then shown beside, and hits are counted.
        """
        with self._lock:
            self._took.append(decoded.took_ms)
            if known:
                self._hits.append(decoded.found[0] == decoded.event)
            self._shown = _Shown(len(self._took), decoded, known)
            return self._shown.number

    def drawn(self, number: int, picture: np.ndarray, *, event: str | None = None) -> None:
        """Puts the picture of an answer on the page, which says of which one: drawing takes longer than decoding.

        Parameters
        ----------
        number : int
            What `show` gave.
        picture : uint8 array, shape (height, width, 3)
        event : str, optional
            What was presented, where that is known.
        """
        with self._lock:
            self._drawn = _Drawn(number, event, picture)

    def serve(self, port: int = 0) -> Server:
        """The page on this machine's loopback, see `braindec.serving.serve`."""
        static = {
            address: self._file(name)
            for address, name in (("/", "page.html"), ("/page.js", "page.js"), ("/page.css", "page.css"))
        }
        return serve(
            dynamic={
                **static,
                "/state.json": self._state,
                "/picture.png": self._picture,
                "/stimulus.png": self._stimulus,
            },
            port=port,
        )

    def state(self) -> dict[str, Any]:
        """What the page shows, as JSON values."""
        with self._lock:
            shown, drawn, took, hits = self._shown, self._drawn, list(self._took), list(self._hits)
        if shown is None:
            return {"title": self.title, "number": 0}
        p50, p99 = np.quantile(took, [0.5, 0.99], method="higher").tolist()
        d = shown.decoded
        return {
            "title": self.title, "number": shown.number, "event": d.event if shown.known else None,
            "found": list(d.found), "similarity": [float(v) for v in d.similarity], "took_ms": d.took_ms,
            "drawn": None if drawn is None else {"number": drawn.number, "event": drawn.event},
            "p50_ms": p50, "p99_ms": p99, "n": len(took),
            "hits": sum(hits) if hits else None, "n_known": len(hits),
        }  # fmt: skip

    def _file(self, name: str) -> Callable[[Mapping[str, str]], Reply]:
        body = (files("braindec.stream") / name).read_bytes()
        return lambda _: Reply(body, MEDIA[name.rpartition(".")[2]])

    def _state(self, _: Mapping[str, str]) -> Reply:
        return json_reply(self.state())

    def _picture(self, _: Mapping[str, str]) -> Reply:
        with self._lock:
            drawn = self._drawn
        if drawn is None:
            raise LookupError("no picture has been drawn yet.")
        return Reply(_png(drawn.picture), "image/png")

    def _stimulus(self, query: Mapping[str, str]) -> Reply:
        return Reply(_png(self._pictures(query.get("id", ""))), "image/png")


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    checks.one_of("picture type", str(picture.dtype), ["uint8"])
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()
