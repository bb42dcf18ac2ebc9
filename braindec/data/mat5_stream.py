"""A struct array in a MATLAB file of version 5, element by element: a file larger than memory is read in pieces."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from braindec import checks
from braindec.data.damage import COPY_AGAIN, reading
from braindec.data.mat5_walk import BYTES, CHAR, COMPRESSED, HEAD, MATRIX, NUMERIC, STRUCT, Broken

BLOCK = 1 << 20  # bytes that are decompressed at a time
NUMBERS = {
    1: "<i1",
    2: "<u1",
    3: "<i2",
    4: "<u2",
    5: "<i4",
    6: "<u4",
    7: "<f4",
    9: "<f8",
    12: "<i8",
    13: "<u8",
}
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
Fields = Mapping[str, "Fields | None"]


def elements(path: str | Path, name: str, fields: Fields) -> Iterator[dict[str, Any]]:
    """The elements of a struct array in order, each with those of its fields that are asked for.

    Memory holds one element's fields and 1 MiB of the file. What is not asked for is passed over; a compressed variable
    is read to its end, so that its checksum is verified.

    Parameters
    ----------
    path : path
    name : str
        Of the variable.
    fields : mapping
        Field names; a value is None for numbers or text, and again such a mapping for a struct array in the field.

    Yields
    ------
    dict
        By field: float64 (n,) in MATLAB's order, a text, or a list of dicts; None where the field holds
        something else or nothing. A field that the file does not have is not there.

    Raises
    ------
    DataFileError
        If the file is damaged, no little-endian MATLAB file of version 5, or has no such struct array.
    """
    path, there = Path(path), list[str]()
    with reading(path, Broken), path.open("rb") as file:
        for stream, size in _variables(file, path.stat().st_size):
            stop = stream.at + size
            kind, dims, called = _head(stream, stop)
            if called == name:
                if kind != STRUCT:
                    raise checks.DataFileError(path, f"holds {name!r}, which is no struct array", COPY_AGAIN)
                yield from _elements(stream, stop, math.prod(dims), fields)
                stream.drain()
                return
            there.append(called)
    raise checks.DataFileError(path, f"lacks [{name!r}]; it has {sorted(there)}", COPY_AGAIN)


class _Stream:
    """Bytes that come in blocks, taken in order."""

    def __init__(self, blocks: Iterator[bytes]):
        self._blocks = blocks
        self._held = memoryview(b"")
        self.at = 0  # bytes taken so far

    def take(self, n: int) -> bytes:
        """The next n bytes."""
        return b"".join(self._pieces(n))

    def skip(self, n: int) -> None:
        """Passes over n bytes."""
        for _ in self._pieces(n):
            pass

    def drain(self) -> None:
        """Passes over all that is left."""
        for _ in self._blocks:
            pass

    def _pieces(self, n: int) -> Iterator[memoryview]:
        self.at += n
        while n:
            if not self._held:
                block = next(self._blocks, None)
                if block is None:
                    raise Broken(f"{n} bytes are missing")
                self._held = memoryview(block)
            piece, self._held = self._held[:n], self._held[n:]
            n -= len(piece)
            yield piece

    def tag(self, stop: int) -> tuple[int, int, bytes | None]:
        """(type, number of bytes, the bytes themselves where they stand in the tag)."""
        if self.at + 8 > stop:
            raise Broken("an element ends within its tag")
        held = self.take(8)
        first, n = struct.unpack("<II", held)
        if first >> 16:  # up to four bytes inside of the tag
            n = first >> 16
            if n > 4:
                raise Broken(f"a small element of {n} bytes")
            return first & 0xFFFF, n, held[4 : 4 + n]
        if self.at + n > stop:
            raise Broken(f"an element of {n} bytes where {stop - self.at} are left")
        return first, n, None

    def element(self, stop: int) -> tuple[int, bytes]:
        """Type and bytes of a small part: flags, dimensions, names, numbers, text."""
        kind, n, inside = self.tag(stop)
        if inside is not None:
            return kind, inside
        held = self.take(n)
        self.skip(min(-n % 8, stop - self.at))
        return kind, held


def _variables(file: BinaryIO, size: int) -> Iterator[tuple[_Stream, int]]:
    """Each variable as the stream of its parts, and their number of bytes."""
    if file.read(HEAD)[126:] != b"IM":
        raise Broken("no little-endian MATLAB file of version 5")
    while (at := file.tell()) < size:
        if at + 8 > size:
            raise Broken("the file ends within a tag")
        kind, n = struct.unpack("<II", file.read(8))
        if at + 8 + n > size:
            raise Broken(f"a variable of {n} bytes where {size - at - 8} are left")
        if kind == COMPRESSED:
            stream = _Stream(_inflated(file, n))
            kind, n_inside, _ = stream.tag(1 << 32)
            if kind == MATRIX:
                yield stream, n_inside
        elif kind == MATRIX:
            yield _Stream(_blocks(file, n)), n
        file.seek(at + 8 + n)


def _blocks(file: BinaryIO, n: int) -> Iterator[bytes]:
    while n:
        block = file.read(min(n, BLOCK))
        if not block:
            raise Broken(f"{n} bytes are missing")
        n -= len(block)
        yield block


def _inflated(file: BinaryIO, n: int) -> Iterator[bytes]:
    inflate = zlib.decompressobj()
    for packed in _blocks(file, n):
        block = inflate.decompress(packed, BLOCK)
        while block:
            yield block
            block = inflate.decompress(inflate.unconsumed_tail, BLOCK)
    if not inflate.eof:
        raise Broken("a compressed variable is cut")


def _head(stream: _Stream, stop: int) -> tuple[int, tuple[int, ...], str]:
    """Class, dimensions and name of an array."""
    _, flags = stream.element(stop)
    if len(flags) != 8:
        raise Broken("an array without flags")
    kind, held = stream.element(stop)
    if kind not in (5, 6) or len(held) % 4 or len(held) < 8:
        raise Broken("an array without dimensions")
    dims = struct.unpack(f"<{len(held) // 4}i", held)
    if min(dims) < 0:
        raise Broken(f"an array of the shape {dims}")
    _, name = stream.element(stop)
    return flags[0], dims, name.decode("latin-1")


def _elements(stream: _Stream, stop: int, n: int, fields: Fields) -> Iterator[dict[str, Any]]:
    _, held = stream.element(stop)
    length = struct.unpack("<i", held)[0] if len(held) == 4 else 0
    _, held = stream.element(stop)
    if length < 1 or len(held) % length:
        raise Broken("a struct without names of its fields")
    names = [held[i : i + length].split(b"\0")[0].decode("latin-1") for i in range(0, len(held), length)]
    if n * len(names) > (stop - stream.at) // 8:
        raise Broken(f"{n} elements of {len(names)} fields in {stop - stream.at} bytes")
    for _ in range(n):
        found: dict[str, Any] = {}
        for name in names:
            kind, size, _ = stream.tag(stop)
            if kind != MATRIX:
                raise Broken(f"an element of type {kind} in place of an array")
            end = stream.at + size
            if name in fields and size:
                found[name] = _value(stream, end, fields[name])
            elif name in fields:
                found[name] = None
            stream.skip(end - stream.at)
        yield found


def _value(stream: _Stream, stop: int, fields: Fields | None) -> Any:
    kind, dims, _ = _head(stream, stop)
    if fields is not None:
        return list(_elements(stream, stop, math.prod(dims), fields)) if kind == STRUCT else None
    if not math.prod(dims) or kind not in (CHAR, *NUMERIC):
        return None
    stored, held = stream.element(stop)
    if kind == CHAR:
        if stored not in TEXTS:
            raise Broken(f"text of type {stored}")
        return held.decode(TEXTS[stored])
    if stored not in NUMBERS or len(held) != math.prod(dims) * BYTES[stored]:
        raise Broken(f"an array of the shape {dims} in {len(held)} bytes of type {stored}")
    return np.frombuffer(held, NUMBERS[stored]).astype(np.float64)
