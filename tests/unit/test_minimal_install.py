"""braindec works on a machine that has torch, h5py and scikit-learn but none of the format and image libraries."""

from __future__ import annotations

import subprocess
import sys

ABSENT = ("nibabel", "nilearn", "mne", "diffusers", "open_clip", "jsonargparse", "pooch")

# First on the meta path, it answers for the packages as if they were not installed.
BLOCK = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def without_packages(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in which `ABSENT` cannot be imported runs the code."""
    command = [sys.executable, "-c", BLOCK + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_the_block_really_hides_the_packages():
    code = "\n".join(
        f"try:\n    import {name}\nexcept ModuleNotFoundError:\n    pass\nelse:\n    sys.exit({name!r})"
        for name in ABSENT
    )
    result = without_packages(code)
    assert result.returncode == 0, result.stderr


def test_braindec_and_its_nouns_import():
    result = without_packages("import braindec, braindec.types, braindec.store, braindec.config, braindec.registry")
    assert result.returncode == 0, result.stderr
