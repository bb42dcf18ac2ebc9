"""Refits in forked processes: what the command does about signals is not theirs."""

from __future__ import annotations

import signal

from braindec import stopping
from braindec.evaluate import jobs


def test_processes_that_refit_end_by_the_signals_of_their_pool_whatever_the_command_does_about_them():
    def handlers(number: int) -> list[bool]:
        return [signal.getsignal(s) == signal.SIG_DFL for s in (signal.SIGTERM, signal.SIGUSR1)]

    with stopping.obeyed():
        assert not any(handlers(0))
        assert jobs.refits(handlers, 4, n_jobs=2, said="", progress=False) == [[True, True]] * 4
        assert not any(handlers(0))
