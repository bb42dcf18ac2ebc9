"""The network behind the brains serves for nothing else: neither target nor generator nor metric may know it."""

from __future__ import annotations

import ast
from pathlib import Path

import braindec

PACKAGE = Path(braindec.__file__).parent
NETWORK = "braindec.data.simulated.network"


def _names(path: Path) -> set[str]:
    """Modules and members that a file imports, and every text in it that names a file of weights."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {node.value} if node.value.endswith(".safetensors") else set()
    return found


def _users(*names: str) -> set[str]:
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "recipes").rglob("*.py")]
    return {p.stem for p in files if set(names) & _names(p)}


def test_only_the_brains_features_come_from_the_network():
    assert _users(NETWORK) == {"stimuli", "preferring"}
    assert _users("scene_network.safetensors") == {"network"}


def test_targets_and_generators_are_found_by_the_same_search():
    assert {"brain_decoder", "demo"} & _users("braindec.targets.tiny_openclip", "braindec.targets")
