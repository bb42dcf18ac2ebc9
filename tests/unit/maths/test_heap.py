"""Memory kept between steps: no new pages inside, everything given back outside."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from braindec.maths import heap

MEGABYTES = 64
glibc = pytest.mark.skipif(heap._glibc() is None, reason="only glibc gives blocks back at once")


CODE = """
import json, resource, torch
from braindec.maths import heap


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def filled(n_steps):
    # Pages that are new to the process in the last five steps.
    for step in range(n_steps):
        if step == n_steps - 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        x = torch.ones(64, 2**18)
        y = [x * 2, torch.ones(10)]
        del x, y
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


found = {"start": resident()}
with heap.kept():
    with heap.kept():
        found["new"] = filled(30)
        found["after 30"] = resident()
        filled(60)
    found["inside"] = resident()
found["outside"] = resident()
try:
    with heap.kept():
        filled(5)
        raise KeyError
except KeyError:
    found["after an error"] = resident()
found["users"] = heap._users
print(json.dumps(found))
"""


@glibc
def test_a_step_finds_the_memory_of_the_one_before_and_the_last_one_out_gives_it_back():
    # In a process of its own: what others hold and free beside it would be counted too.
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    # Of the pages of ten blocks, which would all be new without: rarely one of them finds no gap that fits.
    assert found["new"] < 0.15 * 10 * MEGABYTES * 256
    assert found["inside"] == pytest.approx(found["after 30"], abs=MEGABYTES)  # the gaps do not grow
    assert found["inside"] - found["start"] > 0.8 * MEGABYTES
    assert found["outside"] - found["start"] < 0.3 * MEGABYTES
    assert found["after an error"] - found["start"] < 0.3 * MEGABYTES
    assert found["users"] == 0


def test_other_systems_go_on_without(monkeypatch):
    monkeypatch.setattr(heap, "_glibc", lambda: None)
    with heap.kept():
        assert heap._users == 0 or heap._glibc() is None
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
