"""A federation through folders: safetensors files that any shared disk or file transfer carries, and no pickle.

The server writes ``weights-00003.safetensors`` into a site's folder, the site ``update-00003.safetensors``; of a folder
that is synchronised, half a file is waited for. Whoever can write there can change the trunk: use a transfer that knows
who is who.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from braindec import checks, store
from braindec.decoder.brain_decoder import BrainDecoder
from braindec.decoder.federated import Config, Update, Weights
from braindec.decoder.site import Site

T = TypeVar("T")
DAY_S = 86_400.0


class Mailbox:
    """One site as the server sees it: its folder; an `Exchange`.

    Parameters
    ----------
    folder : path
        Of this site alone.
    settings : federated.Config
        A site with others does not answer.
    patience_s, every_s : float
        Seconds until an answer is given up, and between looks.
    """

    def __init__(
        self, folder: str | Path, settings: Config, *, patience_s: float = DAY_S, every_s: float = 1.0
    ):
        self.folder, self.settings = Path(folder), settings
        self.patience_s, self.every_s = patience_s, every_s

    def tell(self, number: int, weights: Weights) -> None:
        """Writes the weights; what lies there of other rounds is removed."""
        kept = (_weights(self.folder, number), _update(self.folder, number))
        _write(kept[0], weights, {"settings": self.settings.hash})
        for path in (*self.folder.glob("weights-*.safetensors"), *self.folder.glob("update-*.safetensors")):
            if path not in kept:
                path.unlink(missing_ok=True)

    def answer(self, number: int) -> Update:
        """Waits for the site's file, which must answer these very weights.

        Raises
        ------
        DataFileError
            If none has come in time.
        """
        path, asked = _update(self.folder, number), store.sha256_of(_weights(self.folder, number))

        def look() -> Update | None:
            found = _read(path)
            if found is None or found.about.get("answers") != asked:
                return None
            return Update(
                found.tensors, checks.of_type(f"n_trials of {path}", found.about.get("n_trials"), int)
            )

        return _waited(look, path, self.patience_s, self.every_s, "Look whether the site still runs.")


@dataclass(frozen=True, eq=False)
class _File:
    """What one file holds, read at once: the other side may remove it."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]
    sha256: str


def serve(site: Site, folder: str | Path, *, patience_s: float = DAY_S, every_s: float = 1.0) -> BrainDecoder:
    """A site's side: answers the server's files until the last round, and gives the site's decoder.

    Parameters
    ----------
    site : Site
        With a folder of its own where it may be stopped and started again: the same call goes on.
    folder : path
        The one that the server knows.
    patience_s, every_s : float
        Seconds until the server is given up, and between looks.

    Raises
    ------
    DataFileError
        If nothing new has come in time, or weights are of a federation of other settings.
    """
    place, rounds = Path(folder), site.settings.rounds

    def look() -> tuple[int, _File] | None:
        """The newest weights, once they are whole, where they were not answered."""
        path = max(place.glob("weights-*.safetensors"), default=None)
        found = None if path is None else _read(path)
        if path is None or found is None:
            return None
        if found.about.get("settings") != site.settings.hash:
            raise checks.DataFileError(
                path, "is of a federation with other settings", "Use one `Config` everywhere."
            )
        number = int(path.stem.rpartition("-")[2])
        said = _read(_update(place, number))
        return None if said is not None and said.about.get("answers") == found.sha256 else (number, found)

    while True:
        number, found = _waited(
            look, place / "weights-*", patience_s, every_s, "Look whether the server still runs."
        )
        site.tell(number, found.tensors)
        if number == rounds:
            return site.finish()
        made = site.answer(number)
        _write(_update(place, number), made.tensors, {"answers": found.sha256, "n_trials": made.n_trials})


def _weights(folder: Path, number: int) -> Path:
    return folder / f"weights-{number:05d}.safetensors"


def _update(folder: Path, number: int) -> Path:
    return folder / f"update-{number:05d}.safetensors"


def _write(path: Path, weights: Weights, about: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic_path(path) as temporary:
        # One entry alone: safetensors writes several in an order that changes from file to file.
        said = {"about": json.dumps(about, sort_keys=True)}
        save_file({name: t.contiguous() for name, t in weights.items()}, temporary, metadata=said)


def _read(path: Path) -> _File | None:
    """What a file of `_write` holds; None where there is none, or half of one."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        tensors = load(content)
    except (FileNotFoundError, SafetensorError):
        return None
    # The head: its length in 8 bytes, then JSON (huggingface.co/docs/safetensors); `load` leaves out what it says.
    head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    try:
        about = dict(json.loads(head.get("__metadata__", {}).get("about", "")))
    except ValueError as error:
        raise checks.DataFileError(path, "was not written by a federation", "Remove it.") from error
    return _File(tensors, about, hashlib.sha256(content).hexdigest())


def _waited(look: Callable[[], T | None], path: Path, patience_s: float, every_s: float, way_out: str) -> T:
    ends = time.monotonic() + patience_s
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > ends:
            raise checks.DataFileError(path, f"has not come, whole, within {patience_s:g} s", way_out)
        time.sleep(every_s)  # a shared or synchronised folder has no event to wait for
