"""The import contracts hold, would notice a breach, and only the joints of the house load members by name."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

LOADERS = {"encoder", "decoder", "train", "evaluate", "recipe", "convert", "cli"}
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def rooms_of(repository: Path) -> list[str]:
    """Every room that the layers contract names."""
    contracts = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    return [room.strip(" ()") for layer in layers for room in layer.split("|")]


@pytest.fixture
def empty_house(repository, tmp_path) -> Path:
    """A package with all the rooms and nothing in them, under the contracts of the real one."""
    shutil.copy(repository / "pyproject.toml", tmp_path)
    for room in ["", *rooms_of(repository)]:
        (tmp_path / "braindec" / room).mkdir()
        (tmp_path / "braindec" / room / "__init__.py").touch()
    return tmp_path


def test_the_library_keeps_every_contract(repository):
    result = lint(repository)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_empty_house_keeps_every_contract(empty_house):
    result = lint(empty_house)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("stats", "import braindec.data"),
        ("adapters", "import braindec.losses"),
        ("train", "import braindec.decoder"),
        ("checks", "import braindec.seeding"),
        ("metrics", "def lazy():\n    import nibabel"),
        ("train", "import h5py"),
        ("targets", "import diffusers"),
        ("decoder", "from huggingface_hub import snapshot_download"),
        ("report", "import matplotlib.pyplot"),
        ("generators", "import open_clip"),
        ("protocols", "import mne"),
    ],
)
def test_a_breach_is_noticed(empty_house, room, line):
    (empty_house / "braindec" / room / "breach.py").write_text(line)
    assert f"braindec.{room}.breach" in lint(empty_house).stdout


def test_a_room_that_stands_in_no_layer_is_noticed(empty_house):
    (empty_house / "braindec" / "attic.py").touch()
    assert "attic" in lint(empty_house).stdout


def test_imports_for_type_checking_and_through_a_wall_s_door_are_allowed(empty_house):
    (empty_house / "braindec/stats/typed.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import braindec.data"
    )
    (empty_house / "braindec/autoencoders.py").write_text("import diffusers")
    (empty_house / "braindec/evaluate/reads.py").write_text("import braindec.data.door")
    (empty_house / "braindec/data/door.py").write_text("import nibabel, mne, h5py")
    result = lint(empty_house)
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_the_joints_load_members_by_name(repository):
    library = repository / "braindec"
    users = {
        file.relative_to(library).parts[0].removesuffix(".py")
        for file in library.rglob("*.py")
        if _loads(file)
    }
    assert users - {"registry"} <= LOADERS


def _loads(file: Path) -> bool:
    """Whether a file reaches for `registry.load`, by attribute or by name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "load"
            and ast.unparse(node.value).endswith("registry")
        ):
            return True
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("registry"):
            if any(alias.name == "load" for alias in node.names):
                return True
    return False
