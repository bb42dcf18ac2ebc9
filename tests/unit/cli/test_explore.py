"""The command that opens a run to look around in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from braindec import cli, report
from braindec.types import Report


@pytest.fixture
def run(rng, tmp_path):
    pictures = rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8)
    panel = ("sub-01 fmri", "image_grid", {"rows": {"presented": pictures}})
    report.write(Report((), {"title": "A run"}, (panel,)), tmp_path / "run")
    return tmp_path / "run"


def test_a_folder_is_written_where_one_is_named(run, tmp_path, capsys):
    assert cli.main(["explore", str(run), "--out", str(tmp_path / "made")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "made" / "index.html")
    assert (tmp_path / "made" / "index.html").is_file()


def test_a_folder_without_a_run_is_refused_in_a_line(tmp_path, capsys):
    assert cli.main(["explore", str(tmp_path / "nowhere"), "--out", str(tmp_path / "made")]) == cli.FAILED
    assert "does not exist. Make it with: braindec run" in capsys.readouterr().err


@contextmanager
def ended(process):
    """Kills a process that a failed test leaves running, which would be waited for."""
    try:
        yield
    finally:
        process.kill()


@pytest.mark.slow
def test_it_is_served_to_whoever_has_the_address_until_it_is_stopped(run):
    command = [sys.executable, "-m", "braindec", "explore", str(run), "--no-browser"]
    # What a shell starts in the background ignores Ctrl-C, and so would whatever tests start there.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as served, ended(served):  # fmt: skip
        address = served.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert "A run" in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address.partition("?")[0])
        served.send_signal(signal.SIGINT)
        assert served.wait(timeout=30) == cli.INTERRUPTED
