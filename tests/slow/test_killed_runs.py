"""A run that is killed over and over, in the middle of saving too, ends as one that never was."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

RUN = (
    "run", "haxby2001_category", "--smoke", "--set", "train.n_steps=90", "--set", "train.checkpoint_every=7",
    "--set", "train.validate_every=15", "--set", "train.ridge_start=False", "--set", "train.lr=0.01",
)  # fmt: skip

# Every file is written beside its place and then moved there. This process dies at one of these moves, just before or
# just after it.
DIES_WHILE_SAVING = """
import os, signal, sys
moves_left, before = int(sys.argv[1]), sys.argv[2] == "before"
move = os.replace

def replace(source, target, **places):
    global moves_left
    moves_left -= 1
    if moves_left == 0 and before:
        os.kill(os.getpid(), signal.SIGKILL)
    move(source, target, **places)
    if moves_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

os.replace = replace
from braindec.__main__ import main
sys.exit(main(sys.argv[3:]))
"""


def killed_while_saving(out, move, when, code=DIES_WHILE_SAVING):
    """Whether the run died at its move number `move`."""
    command = [sys.executable, "-c", code, str(move), when, *RUN, "--out", str(out)]
    return ended(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))


def killed_after(out, seconds):
    """Whether the run was killed after so many seconds; a shorter one ends by itself."""
    command = [sys.executable, "-m", "braindec", *RUN, "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return ended(process)


def ended(process):
    said = process.communicate(timeout=600)[0].decode()
    assert process.returncode in (0, -signal.SIGKILL), said[-2000:]
    return process.returncode != 0


def result(out):
    """(every file of the decoder, the report without when and how long)."""
    report = json.loads((out / "report.json").read_text())
    for key in ("date", "seconds"):
        report["run"].pop(key)
    files = (
        p for p in sorted((out / "decoder").iterdir()) if not p.name.startswith(".")
    )  # a dead writer's leftovers
    return {p.name: p.read_bytes() for p in files}, report


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(result, seconds) of the run that nobody disturbs."""
    out, began = tmp_path_factory.mktemp("whole"), time.monotonic()
    assert not killed_after(out, 600)
    return result(out), time.monotonic() - began


def finished(out):
    assert not killed_after(out, 600)
    return result(out)


def test_five_kills_at_random_moments_leave_no_trace(whole, tmp_path):
    expected, seconds = whole
    draw, kills = random.Random(0), 0
    while kills < 3:
        kills += killed_after(tmp_path, draw.uniform(0.3, 1.0) * seconds)
    while kills < 5:
        kills += killed_while_saving(tmp_path, draw.randint(2, 30), draw.choice(["before", "after"]))
    files, report = finished(tmp_path)
    assert {name for name in files if files[name] != expected[0].get(name)} == set()
    assert (files.keys(), report) == (expected[0].keys(), expected[1])


def test_a_kill_before_the_last_file_of_a_saved_decoder_leaves_no_trace(whole, tmp_path):
    """The manifest is written last, so a decoder without it is no decoder; the run writes it once more."""
    expected, _ = whole
    code = DIES_WHILE_SAVING.replace("moves_left -= 1", "moves_left -= str(target).endswith('manifest.json')")
    assert killed_while_saving(tmp_path, 1, "before", code)
    assert not (tmp_path / "decoder" / "manifest.json").exists()
    files, report = finished(tmp_path)
    assert {name for name in files if files[name] != expected[0].get(name)} == set()
    assert (files.keys(), report) == (expected[0].keys(), expected[1])
