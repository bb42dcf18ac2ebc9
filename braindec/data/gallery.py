"""Embeddings of millions of pictures in files that are searched where they lie, without being read into memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from braindec import checks, store
from braindec.maths import coarse
from braindec.maths.coarse import Block

INDEX = "gallery.json"
FORMAT = 1
ROWS = 131_072  # of a shard: 400 MB of 768 float32 values
BLOCK = 65_536  # rows compared at once: 100 MB of 768 bfloat16 values
PRECISIONS = ("float32", "bfloat16")
WAY_OUT = "Write it with braindec.data.gallery.write(folder, parts, ...)."
Terms = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class _Shard:
    start: int
    coarse: np.ndarray  # uint16 (n, dim), a map of the file
    fine: np.ndarray | None  # int16 (n, dim)
    lengths: np.ndarray  # float32 (n, 2): of a row, and of what its coarse half lacks
    ids: store.Rows


@dataclass(frozen=True, eq=False)
class Gallery:
    """A collection of embeddings on disk.

    Parameters
    ----------
    folder : Path
    space : str
        Of the embeddings, e.g. ``"openclip/ViT-L-14/openai/pooled"``.
    shape : (int, int)
        Tokens and dims of one of them.
    precision : str
        ``"float32"``: to the bit what was written; ``"bfloat16"``: rounded to 8 bits, half the disk.
    n : int
        Embeddings.
    """

    folder: Path
    space: str
    shape: tuple[int, int]
    precision: str
    n: int
    shards: tuple[_Shard, ...]
    _terms: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.n

    def ids(self, rows: Sequence[int]) -> list[str]:
        """Names of rows, in the order asked for."""
        out = np.empty(len(rows), dtype=object)
        for shard, own, place in self._by_shard(np.asarray(rows)):
            out[place] = [name.decode() for name in shard.ids[own]]
        return list(out)

    def values(self, rows: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
        """float32 (n, n_tokens, n_dims) of rows, in the order asked for."""
        rows = np.asarray(rows)
        out = torch.empty(len(rows), int(np.prod(self.shape)))
        for shard, own, place in self._by_shard(rows):
            fine = None if shard.fine is None else torch.from_numpy(shard.fine[own])
            out[place] = coarse.joined(_bfloat16(shard.coarse[own]), fine)
        return out.numpy().reshape(-1, *self.shape)

    def parts(self, n_rows: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first row, float32 (n, n_tokens, n_dims)) of all rows in turn."""
        for start in range(0, self.n, n_rows):
            yield start, self.values(np.arange(start, min(start + n_rows, self.n)))

    def top_k(
        self,
        directions: Tensor,
        k: int,
        exact: Callable[[np.ndarray], Tensor],
        *,
        shift: Tensor | None = None,
        terms: Terms | None = None,
        name: str = "",
    ) -> tuple[Tensor, Tensor]:
        """The `k` most similar rows of each query; exactly those that a comparison with all of them would find.

        Parameters
        ----------
        directions : float32 Tensor, shape (n, n_tokens * n_dims)
            See `braindec.maths.coarse.top_k`.
        k : int
        exact : callable
            float32 (m, n_tokens, n_dims) -> similarity (n, m) in full.
        shift : Tensor, shape (n,), optional
        terms : callable, optional
            float32 Tensor (m, n_tokens * n_dims) -> scale and offset (m,) of these rows; None: 1 and 0.
        name : str
            Of these terms: they are computed once for each, in one pass over the gallery, and kept in memory.

        Returns
        -------
        values, rows : Tensor, shape (n, k)
        """
        checks.in_range("k", k, 1, self.n)
        checks.same_length("dim", directions=directions.T, gallery=range(int(np.prod(self.shape))))
        shift = torch.zeros(len(directions)) if shift is None else shift
        known = None if terms is None else self._terms_of(name, terms)
        return coarse.top_k(
            directions, shift, k, self._blocks(known), lambda rows: exact(self.values(rows.numpy()))
        )

    def verify(self) -> None:
        """Hashes every file; a search itself does not.

        Raises
        ------
        DataFileError
            If one is not what was written.
        """
        for shard in store.read_json(self.folder / INDEX, WAY_OUT)["shards"]:
            stored = store.Stored(self.folder / Path(shard["file"]).name)
            for name in stored.names:
                rows = stored.rows(name)
                for start in range(0, len(rows), BLOCK):
                    rows[start : start + BLOCK]  # blocks are hashed as they are read

    def _terms_of(self, name: str, terms: Terms) -> tuple[Tensor, Tensor]:
        if name not in self._terms:
            made = [terms(torch.from_numpy(part).flatten(1)) for _, part in self.parts(8192)]
            self._terms.clear()  # a decoder asks for its own again and again, and seldom for another's
            self._terms[name] = torch.cat([a for a, _ in made]), torch.cat([b for _, b in made])
        return self._terms[name]

    def _blocks(self, terms: tuple[Tensor, Tensor] | None) -> Iterator[Block]:
        for shard in self.shards:
            for low in range(0, len(shard.coarse), BLOCK):
                rows = slice(low, low + BLOCK)
                lengths, first = torch.from_numpy(shard.lengths[rows]), shard.start + low
                scale = offset = None
                if terms is not None:
                    scale, offset = (t[first : first + len(lengths)] for t in terms)
                    lengths = lengths * scale[:, None]
                reach, lost = lengths.amax(0).tolist()
                yield Block(first, _bfloat16(shard.coarse[rows]), scale, offset, reach, lost)

    def _by_shard(self, rows: np.ndarray) -> Iterator[tuple[_Shard, np.ndarray, np.ndarray]]:
        """Each shard with the rows asked of it, as it counts them, and their places in the answer."""
        if len(rows) and not (0 <= rows.min() and rows.max() < self.n):
            raise ValueError(f"rows must lie in [0, {self.n - 1}], got {rows.min()} to {rows.max()}.")
        of = np.searchsorted([shard.start for shard in self.shards], rows, side="right") - 1
        for number in np.unique(of):
            place = np.flatnonzero(of == number)
            yield self.shards[number], rows[place] - self.shards[number].start, place


def write(
    folder: str | Path,
    parts: Iterable[tuple[Sequence[str], np.ndarray]],
    *,
    space: str,
    precision: str = "float32",
    about: dict[str, Any] | None = None,
    shard_rows: int = ROWS,
) -> Gallery:
    """Writes a gallery from embeddings that come in parts, a shard in memory at a time.

    Parameters
    ----------
    folder : path
        New or empty.
    parts : iterable of (ids, float array (n, n_tokens, n_dims) or (n, n_dims))
        Ids are names, file names or addresses.
    space : str
        Of the embeddings; a decoder of another space will refuse the gallery.
    precision : str
        See `Gallery`.
    about : dict, optional
        What else is worth knowing (collection, licence), as JSON.
    shard_rows : int
        Of a file.

    Raises
    ------
    ConfigError
        If the folder holds something.
    ValueError
        If embeddings are of several shapes, or hold NaN or infinity, or there are none.
    """
    checks.one_of("precision", precision, PRECISIONS)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise checks.ConfigError(f"{folder} holds something already; name a new folder.")
    shards: list[dict[str, Any]] = []
    shape: tuple[int, ...] | None = None
    for ids, values in _in_shards(parts, shard_rows):
        shape = values.shape[1:] if shape is None else shape
        if values.shape[1:] != shape:
            raise ValueError(f"embeddings of {shape} are followed by some of {values.shape[1:]}.")
        shards.append(_write_shard(folder / f"shard-{len(shards):05d}.h5", ids, values, precision))
    if shape is None:
        raise ValueError("a gallery needs at least one embedding.")
    content = {"format": FORMAT, "space": space, "shape": list(shape), "precision": precision,
               "n": sum(s["n"] for s in shards), "shards": shards, "about": about or {}}  # fmt: skip
    store.write_json(folder / INDEX, content)
    return open_gallery(folder)


def open_gallery(folder: str | Path) -> Gallery:
    """A gallery that `write` left.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DataFileError
        If a file is missing or its head is damaged; rows are checked by `Gallery.verify`.
    """
    folder = Path(folder)
    content = store.read_json(folder / INDEX, WAY_OUT)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise checks.DataFileError(folder / INDEX, "is no gallery that this version reads", WAY_OUT)
    shards, start = [], 0
    for shard in content["shards"]:
        shards.append(_open_shard(folder / Path(shard["file"]).name, start, content["precision"]))
        if len(shards[-1].coarse) != shard["n"]:
            raise checks.DataFileError(folder / shard["file"], "has another number of rows", WAY_OUT)
        start += shard["n"]
    n_tokens, n_dims = content["shape"]
    return Gallery(folder, content["space"], (n_tokens, n_dims), content["precision"], start, tuple(shards))


def _in_shards(
    parts: Iterable[tuple[Sequence[str], np.ndarray]], n_rows: int
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Ids and values regrouped, `n_rows` at a time."""
    ids: list[str] = []
    waiting: list[np.ndarray] = []
    for names, values in parts:
        values = np.asarray(values, dtype=np.float32)
        values = values[:, None] if values.ndim == 2 else values
        checks.n_axes("embeddings", values, ("entry", "token", "dim"))
        checks.same_length("entry", ids=names, embeddings=values)
        ids, waiting = [*ids, *names], [*waiting, values]
        while len(ids) >= n_rows:
            joined = np.concatenate(waiting)
            yield ids[:n_rows], joined[:n_rows]
            ids, waiting = ids[n_rows:], [joined[n_rows:]]
    if ids:
        yield ids, np.concatenate(waiting)


def _write_shard(path: Path, ids: Sequence[str], values: np.ndarray, precision: str) -> dict[str, Any]:
    flat = torch.from_numpy(values.reshape(len(values), -1))
    checks.finite("embeddings", flat)
    upper, lower = coarse.split(flat)
    if precision == "bfloat16":
        flat = upper.float()
    names = np.array([name.encode() for name in ids])
    with store.writer(path) as out:
        for name, rows in (
            ("coarse", upper.view(torch.int16).numpy().view(np.uint16)),
            *((("fine", lower.numpy()),) if precision == "float32" else ()),
            ("lengths", torch.stack([flat.norm(dim=1), (flat - upper.float()).norm(dim=1)], dim=1).numpy()),
            ("ids", names),
        ):
            out.bulk(name, rows.shape, rows.dtype).append(rows)
        out.attributes({"precision": precision})
    return {"file": path.name, "n": len(values)}


def _open_shard(path: Path, start: int, precision: str) -> _Shard:
    stored = store.Stored(path)
    fine = _mapped(stored.rows("fine")) if precision == "float32" else None
    lengths = stored.rows("lengths")
    return _Shard(start, _mapped(stored.rows("coarse")), fine, lengths[:], stored.rows("ids"))


def _mapped(rows: store.Rows) -> np.ndarray:
    offset, _ = rows.placed()
    # Copy on write: torch warns of arrays that cannot be written, and nothing here writes.
    return np.memmap(rows.path, dtype=rows.dtype, mode="c", offset=offset, shape=rows.shape)


def _bfloat16(bits: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(bits).view(np.int16)).view(torch.bfloat16)


def name_of(*tensors: Tensor | None) -> str:
    """A name that is the same for the same numbers; see `Gallery.top_k`."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(b"none" if tensor is None else tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
