"""Every member computes elsewhere what it computes on the CPU; no GPU is needed to see that nothing was left behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


OF_MODULES = "adapter or backbone or loss or prior"
# With a device that is registered in Python, transformers leaves the numbers of places of these networks unset.
UNSET = "transformers_text or caption_text or minilm or transformers_vision"


@pytest.mark.parametrize("kinds", [OF_MODULES, f"not ({OF_MODULES} or {UNSET})"])
def test_what_runs_on_another_device_gives_the_same(kinds, tmp_path):
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-m", "not slow and not soak",
        "-k", kinds, "--basetemp", str(tmp_path / "inner"), str(HERE / "device_cases.py"),
    ]  # fmt: skip
    run = subprocess.run(
        command,
        cwd=HERE.parents[1],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert int(re.findall(r"(\d+) passed", run.stdout)[-1]) > 40
