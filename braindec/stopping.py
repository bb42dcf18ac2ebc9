"""Signals that ask a run to end: kept for the end of a step while a loop runs, obeyed at once everywhere else."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

# A scheduler that gets 75 ("temporary failure", sysexits.h) may start the same command again; 128 + n is a shell's own
# code for a process that signal n ended.
EXIT_CODES = {"SIGTERM": 143, "SIGUSR1": 75, "SIGINT": 130}
NAMES = tuple(name for name in EXIT_CODES if hasattr(signal, name))  # Windows has no SIGUSR1


class Stopped(SystemExit):
    """A run that ended because a signal asked it to.

    Parameters
    ----------
    name : str
        One of `EXIT_CODES`; the exit code of the process follows from it.
    """

    def __init__(self, name: str):
        super().__init__(EXIT_CODES[name])
        self.name = name

    def __str__(self) -> str:
        return f"stopped by {self.name}"


class Asked:
    """Which signal has come since a loop began."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._earlier: dict[str, Any] = {}

    def come(self, number: int, frame: Any) -> None:
        """The handler: remembers the first signal; a second Ctrl-C does not wait."""
        name = signal.Signals(number).name
        if self.name == name == "SIGINT":
            raise KeyboardInterrupt
        self.name = self.name or name
        # No print: it may have been interrupted in the middle of one.
        said = (
            f"\n{name}: this step is finished, and saved if the run keeps checkpoints; then the run ends.\n"
        )
        os.write(2, said.encode())

    def obey(self, name: str) -> None:
        """Ends the process as it would have ended: by the handler that was there before, else by `Stopped`."""
        earlier = self._earlier.get(name)
        self.restore()
        if callable(earlier):  # Python's own for Ctrl-C, a cluster's for starting the job again
            signal.raise_signal(signal.Signals[name])
        raise Stopped(name)

    def take(self) -> None:
        """Replaces the handlers that are there; a signal that is ignored stays so."""
        for name in NAMES:
            number = signal.Signals[name]
            earlier = signal.getsignal(number)
            if earlier not in (None, signal.SIG_IGN):
                self._earlier[name] = signal.signal(number, self.come)

    def restore(self) -> None:
        """Puts the earlier handlers back."""
        while self._earlier:
            name, earlier = self._earlier.popitem()
            signal.signal(signal.Signals[name], earlier)


@contextlib.contextmanager
def deferred() -> Iterator[Asked]:
    """Inside, a signal only says so in `Asked.name`; one that nobody looked at is sent again afterwards.

    Handlers belong to the main thread; in another one nothing is changed and no signal comes.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    asked.take()
    try:
        yield asked
    finally:
        asked.restore()
    if asked.name is not None:
        signal.raise_signal(signal.Signals[asked.name])


@contextlib.contextmanager
def obeyed() -> Iterator[None]:
    """Inside, SIGTERM (and SIGUSR1) raise `Stopped`, so that files that are half written are removed."""

    def leave(number: int, frame: Any) -> None:
        raise Stopped(signal.Signals(number).name)

    earlier: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.Signals[name] for name in NAMES if name != "SIGINT"):
            if signal.getsignal(number) == signal.SIG_DFL:
                earlier[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def agreed(asked: Asked, together: Callable[[list[bool]], list[bool]]) -> str | None:
    """The signal that any process of a run has got.

    Parameters
    ----------
    asked : Asked
    together : callable
        Gives, for one bool a signal, whether any process has it.
    """
    flags = together([asked.name == name for name in NAMES])
    return next((name for name, flag in zip(NAMES, flags, strict=True) if flag), None)
