"""`import braindec` and `braindec --help` answer at once."""

from __future__ import annotations

import subprocess
import sys
import time

HEAVY = (
    "torch",
    "numpy",
    "scipy",
    "sklearn",
    "h5py",
    "nibabel",
    "nilearn",
    "mne",
    "diffusers",
    "open_clip",
    "pandas",
)
N_RUNS = 5  # the fastest counts: a busy machine adds time, nothing takes any away


def answer(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_braindec_takes_at_most_300_ms():
    code = "import time; began = time.perf_counter(); import braindec; print(time.perf_counter() - began)"
    seconds = min(float(answer("-c", code)) for _ in range(N_RUNS))
    assert seconds <= 0.3


def test_importing_braindec_loads_no_heavy_package():
    loaded = answer("-c", "import sys, braindec; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_help_takes_at_most_500_ms():
    def seconds() -> float:
        began = time.perf_counter()
        assert "demo" in answer("-m", "braindec", "--help")
        return time.perf_counter() - began

    assert min(seconds() for _ in range(N_RUNS)) <= 0.5
