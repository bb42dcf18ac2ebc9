"""A newcomer who types what the README shows gets what it shows."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+\.\d+|(?<![\w.-])-?\d+(?![\w.])")


@pytest.mark.slow
def test_the_python_of_the_readme_prints_what_the_readme_shows(repository, tmp_path):
    blocks = BLOCK.findall((repository / "README.md").read_text())
    code = [text for language, text in blocks if language == "python"]
    first = next(i for i, (language, _) in enumerate(blocks) if language == "python")
    shown = "".join(text for language, text in blocks[first:] if language == "text")
    result = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:braindec", "-c", "\n".join(code)],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert NUMBER.sub("#", result.stdout).split() == NUMBER.sub("#", shown).split()
    found, said = ([float(n) for n in NUMBER.findall(text)] for text in (result.stdout, shown))
    assert found == pytest.approx(said, abs=0.06, rel=0.05)


def test_loading_training_retrieving_and_reporting_take_at_most_twelve_lines(repository):
    (code, *_) = re.findall(r"^```python\n(.*?)^```$", (repository / "README.md").read_text(), re.M | re.S)
    lines = [line for line in code.splitlines() if line.strip()]
    made = [
        line for line in lines if line.startswith(("rng", "vectors =", "shown =", "responses =", "run, "))
    ]
    assert len(made) == 5  # what stands for one's own files: five lines, as loading them would be
    assert len(lines) - 1 <= 14 and len(lines) - len(made) <= 12
