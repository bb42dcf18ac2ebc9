"""Refits in forked processes: joblib's, of one thread each, that end with the command that asked for them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time

import joblib
import pytest
import torch
from tqdm.auto import tqdm

from braindec import checks, jobs, stopping
from braindec.evaluate import jobs as refitting


def refits(task, n, n_jobs=2):
    return refitting.refits(task, n, n_jobs=n_jobs, said="", progress=False)


def test_processes_that_refit_end_by_the_signals_of_their_pool_whatever_the_command_does_about_them():
    def handlers(number: int) -> list[bool]:
        return [signal.getsignal(s) == signal.SIG_DFL for s in (signal.SIGTERM, signal.SIGUSR1)]

    with stopping.obeyed():
        assert not any(handlers(0))
        assert refits(handlers, 4) == [[True, True]] * 4
        assert not any(handlers(0))


def test_a_function_within_a_function_over_large_tensors_gives_the_bits_of_one_process():
    data = torch.randn(600, 300, generator=torch.Generator().manual_seed(0))

    def solved(number: int) -> tuple[int, torch.Tensor]:
        order = torch.randperm(600, generator=torch.Generator().manual_seed(number))
        x = data[order]
        return os.getpid(), torch.linalg.solve(x.T @ x + torch.eye(300), x.T @ data[:, :9])

    alone, together = refits(solved, 5, 1), refits(solved, 5)
    assert {pid for pid, _ in alone} == {os.getpid()} and os.getpid() not in {pid for pid, _ in together}
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(alone, together, strict=True))
    assert not torch.equal(together[0][1], together[1][1])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_refit_moves_the_bar_and_in_a_process_keeps_to_one_thread(n_jobs):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with tqdm(total=6, file=io.StringIO()) as bar:
            threads = jobs.numbered(lambda _: torch.get_num_threads(), 6, n_jobs, bar)
            assert bar.n == 6
    finally:
        torch.set_num_threads(before)
    assert threads == [2 if n_jobs == 1 else 1] * 6


def test_an_error_of_a_refit_comes_to_who_asked_for_it():
    def task(number: int) -> None:
        if number == 3:
            raise checks.DataFileError("a.h5", "is damaged", "Copy it again.")

    with pytest.raises(checks.DataFileError, match=r"a\.h5.*is damaged"):
        refits(task, 6)


def test_joblib_s_own_pool_may_be_chosen_for_what_it_could_not_be_sent():
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):
        assert os.getpid() not in refits(lambda _: os.getpid(), 4, 1)


def test_a_refit_that_asks_for_refits_makes_them_itself():
    def inner(_: int) -> bool:
        own = os.getpid()
        return refits(lambda _: os.getpid(), 3) == [own] * 3

    assert refits(inner, 2) == [True, True]


# What a shell starts in the background ignores Ctrl-C, and so would whatever tests start there.
FOREVER = """
import os, signal, sys, time
from braindec import stopping
from braindec.evaluate import jobs

signal.signal(signal.SIGINT, signal.default_int_handler)

def task(number):
    open(f"{sys.argv[1]}-{os.getpid()}", "w").close()
    time.sleep(60)

with stopping.obeyed():
    jobs.refits(task, 4, n_jobs=2, said="", progress=False)
"""


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_command_that_is_told_to_stop_does_so_and_leaves_no_process_behind(tmp_path, number, code):
    command = subprocess.Popen(
        [sys.executable, "-c", FOREVER, str(tmp_path / "at-work")], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = [int(path.name.rpartition("-")[2]) for path in tmp_path.iterdir()]
    command.send_signal(number)
    try:
        said = command.communicate(timeout=30)[1].decode()
    finally:
        command.kill()
    assert command.returncode == code, said
    assert len(workers) == 2
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
