"""Memory kept between steps: no new pages inside, everything given back outside."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
import torch

from braindec.maths import heap

MEGABYTES = 64
glibc = pytest.mark.skipif(heap._glibc() is None, reason="only glibc gives blocks back at once")


def faults(n_steps: int) -> int:
    """Pages that are new to the process while a block is filled `n_steps` times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n_steps):
        torch.ones(MEGABYTES, 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> float:
    """Megabytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


@glibc
def test_a_step_finds_the_memory_of_the_one_before():
    with heap.kept():
        faults(1)
        inside = faults(5)
    outside = faults(5)
    assert inside < 0.05 * outside


@glibc
def test_what_was_kept_is_given_back_by_the_last_one_out():
    before = resident()
    with heap.kept():
        with heap.kept():
            faults(1)
        assert resident() - before > 0.9 * MEGABYTES
    assert resident() - before < 0.3 * MEGABYTES


@glibc
def test_an_error_inside_gives_memory_back_too():
    before = resident()
    with pytest.raises(KeyError), heap.kept():
        faults(1)
        raise KeyError("x")
    assert resident() - before < 0.3 * MEGABYTES
    assert heap._users == 0


def test_other_systems_go_on_without(monkeypatch):
    monkeypatch.setattr(heap, "_glibc", lambda: None)
    with heap.kept():
        assert faults(1) >= 0
    assert heap._users == 0


@glibc
def test_a_thread_may_ask_for_large_blocks_inside():
    code = (
        "import threading, torch\n"
        "from braindec.maths import heap\n"
        "found = []\n"
        "with heap.kept():\n"
        "    thread = threading.Thread(target=lambda: found.append(float(torch.ones(2**26).sum())))\n"
        "    thread.start(); thread.join()\n"
        "print(found)\n"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == f"[{float(2**26)}]"
