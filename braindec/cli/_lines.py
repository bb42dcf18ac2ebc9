"""Progress in a log: a line each time it is told, where a terminal's bar is written over and over."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO

UP = "\x1b[A"  # how a bar below another one finds its way back


class Lines:
    """A stream in which what would be written over the line before is a line of its own; all else goes as it is."""

    def __init__(self, stream: TextIO):
        self._stream, self._told = stream, ""

    def write(self, text: str) -> int:
        """What is written after a carriage return is a bar: told once, without what only clears the line."""
        first, *bars = text.replace(UP, "").split("\r")
        if first.strip("\n") or not self._told:
            self._stream.write(first)
            self._told = "" if first.strip("\n") else self._told
        for bar in filter(None, (bar.strip() for bar in bars)):
            if bar != self._told:
                self._stream.write(f"{bar}\n")
            self._told = bar
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def in_a_log() -> Iterator[None]:
    """Around a command: standard error in lines, unless it is a terminal."""
    before = sys.stderr
    if before is None or before.isatty():
        yield
        return
    stream: Any = Lines(before)
    sys.stderr = stream
    try:
        yield
    finally:
        sys.stderr = before
