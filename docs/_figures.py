"""The figures of docs/figures.md: its code is run in a temporary folder, its pictures are kept in docs/images."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

PAGE = Path(__file__).with_name("figures.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Writes them."""
    code = "\n".join(BLOCK.findall(PAGE.read_text()))
    with tempfile.TemporaryDirectory(prefix="braindec-figures-") as folder:
        with contextlib.chdir(folder):
            exec(compile(code, PAGE.name, "exec"), {"__name__": "figures"})
        for made in sorted(Path(folder).glob("figure-*.png")):
            shutil.copy(made, PAGE.parent / "images" / made.name)
            print(f"{made.name}: {made.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
