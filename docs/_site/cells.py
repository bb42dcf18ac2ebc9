"""Notebooks as pages: their text, their code and the outputs that are stored in them."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from gathered import SOURCES

PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def notebook_pages(repository: Path) -> dict[str, str | bytes]:
    """Markdown of each notebook by its page's address, its pictures beside it, and a list of them all."""
    found: dict[str, str | bytes] = {}
    rows = ["| notebook | |", "| --- | --- |"]
    for path in sorted(repository.glob("notebooks/*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        markdown, pictures = _page(cells, path.stem)
        found[f"notebooks/{path.stem}.md"] = markdown
        SOURCES[f"notebooks/{path.stem}.md"] = f"notebooks/{path.name}"
        found |= {f"notebooks/{name}": content for name, content in pictures.items()}
        rows.append(f"| [{_title(markdown, path.stem)}]({path.stem}.md) | `notebooks/{path.name}` |")
    about = "# Notebooks\n\nShort, and run by the tests: what they show is what they print."
    found["notebooks/index.md"] = (
        about + "\n\n" + ("\n".join(rows) if len(rows) > 2 else "There are none yet.") + "\n"
    )
    return found


def _title(markdown: str, name: str) -> str:
    head = re.search(r"^# (.+)$", markdown, re.MULTILINE)
    return head[1].strip() if head else name


def _page(cells: list[dict[str, Any]], name: str) -> tuple[str, dict[str, bytes]]:
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in cells:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source:
            parts.append(f"```python\n{source}\n```")
            for output in cell.get("outputs", []):
                shown, picture = _output(output, f"{name}-{len(pictures) + 1}")
                parts.append(shown)
                pictures |= picture
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _output(output: dict[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """An output as Markdown, and the picture that it is."""
    if output["output_type"] == "stream":
        text = ANSI.sub("", "".join(output["text"])).rstrip()
        return (_text(text) if output["name"] == "stdout" and text else ""), {}
    data = output.get("data", {})
    for kind, ending in PICTURES.items():
        if kind in data:
            content = "".join(data[kind])
            picture = content.encode() if kind == "image/svg+xml" else base64.b64decode(content)
            return f"![output of the cell above]({name}.{ending})", {f"{name}.{ending}": picture}
    if "text/html" in data:
        return re.sub(r"\n\s*\n", "\n", "".join(data["text/html"])), {}
    return _text("".join(data.get("text/plain", "")).rstrip()), {}


def _text(text: str) -> str:
    return f"```text\n{text}\n```" if text else ""
