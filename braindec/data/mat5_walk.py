"""Walks through a MATLAB file of version 5 before scipy reads it, which dies on a cell whose bytes are not there."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

from braindec import checks
from braindec.data.damage import COPY_AGAIN

HEAD = 128  # bytes before the first element
MATRIX, COMPRESSED = 14, 15
BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 2,
    5: 4,
    6: 4,
    7: 4,
    9: 8,
    12: 8,
    13: 8,
    16: 1,
    17: 2,
    18: 4,
}  # of a value, by type
CELL, STRUCT, CHAR = 1, 2, 4
NUMERIC = range(6, 16)
MOST_DEPTH = 32


class Broken(Exception):
    """What is wrong, in words."""


def check(path: Path) -> None:
    """Refuses a little-endian file in which an array asks for more bytes than there are; others pass unread.

    Raises
    ------
    DataFileError
        If the elements of the file do not fit into each other.
    """
    content = path.read_bytes()
    if content[126:128] != b"IM":
        return
    try:
        at = HEAD
        while at < len(content):
            kind, n, start, end = _tag(content, at, len(content))
            if kind == COMPRESSED:
                inner = zlib.decompress(content[start : start + n])
                inner_kind, inner_n, inner_start, _ = _tag(inner, 0, len(inner))
                if inner_kind == MATRIX:
                    _matrix(inner, inner_start, inner_start + inner_n, 0)
                end = start + n  # compressed elements are not padded
            elif kind == MATRIX:
                _matrix(content, start, start + n, 0)
            at = end
    except (Broken, zlib.error) as error:
        raise checks.DataFileError(path, f"is damaged ({error})", COPY_AGAIN) from error


def _tag(data: bytes, at: int, stop: int) -> tuple[int, int, int, int]:
    """(type, number of bytes, where they begin, where the next element begins)."""
    if at + 8 > stop:
        raise Broken("an element ends within its tag")
    first, second = struct.unpack_from("<II", data, at)
    if first >> 16:  # up to four bytes inside of the tag
        kind, n, start, end = first & 0xFFFF, first >> 16, at + 4, at + 8
        if n > 4:
            raise Broken(f"a small element of {n} bytes")
    else:
        kind, n, start = first, second, at + 8
        end = start + n + (-n % 8)
    if start + n > stop:
        raise Broken(f"an element of {n} bytes where {stop - start} are left")
    return kind, n, start, end


def _matrix(data: bytes, start: int, stop: int, depth: int) -> None:
    if start == stop:
        return  # an empty array
    if depth > MOST_DEPTH:
        raise Broken("arrays nested too deeply")
    _, n, at, end = _tag(data, start, stop)
    if n != 8:
        raise Broken("an array without flags")
    kind = data[at]
    complex_ = bool(data[at + 1] & 0x08)
    if kind not in (CELL, STRUCT, CHAR, *NUMERIC):
        return  # objects and sparse arrays are not asked for
    dims_kind, n, at, end = _tag(data, end, stop)
    if dims_kind not in (5, 6) or n % 4 or n < 8:
        raise Broken("an array without dimensions")
    dims = struct.unpack_from(f"<{n // 4}i", data, at)
    if min(dims) < 0:
        raise Broken(f"an array of the shape {dims}")
    _, _, _, end = _tag(data, end, stop)  # its name
    count = math.prod(dims)
    if kind in (CELL, STRUCT):
        _children(data, end, stop, kind, count, depth)
        return
    for _ in range(2 if complex_ and kind != CHAR else 1):
        if not count and end >= stop:
            return
        value_kind, n, _, end = _tag(data, end, stop)
        if value_kind not in BYTES or (kind != CHAR and n != count * BYTES[value_kind]):
            raise Broken(f"an array of the shape {dims} in {n} bytes of type {value_kind}")


def _children(data: bytes, at: int, stop: int, kind: int, count: int, depth: int) -> None:
    """The arrays in a cell array, or in all fields of a struct."""
    if kind == STRUCT:
        _, n, start, at = _tag(data, at, stop)
        length = struct.unpack_from("<i", data, start)[0] if n == 4 else 0
        _, n, _, at = _tag(data, at, stop)
        if length < 1 or n % length:
            raise Broken("a struct without names of its fields")
        count *= n // length
    if count > (stop - at) // 8:
        raise Broken(f"{count} arrays in {stop - at} bytes")
    for _ in range(count):
        child, n, start, at = _tag(data, at, stop)
        if child != MATRIX:
            raise Broken(f"an element of type {child} in place of an array")
        _matrix(data, start, start + n, depth + 1)
