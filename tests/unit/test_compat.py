"""The guard lets libraries that build on torchvision be imported, and does nothing where nothing is wrong."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from braindec import _compat

LIBRARIES = """
import torchvision.transforms, torchvision.models
import timm
import open_clip
import torchmetrics
from diffusers import PriorTransformer, UNet2DConditionModel
from transformers import CLIPModel
"""

# As torchvision does: a meta function for an operator that only the C++ extension defines.
BROKEN_TORCHVISION = """
import torch
for name in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{name}")(lambda dets, scores, iou_threshold: scores)
"""


def python(code: str, *, first_on_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter's answer; `first_on_path` comes before the installed packages."""
    prefix = f"import sys; sys.path.insert(0, {str(first_on_path)!r})\n" if first_on_path else ""
    command = [sys.executable, "-c", prefix + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture
def broken_torchvision(tmp_path: Path) -> Path:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN_TORCHVISION)
    (package / "_C.so").write_bytes(b"no shared library")
    return tmp_path


def test_every_library_on_top_of_torchvision_imports_after_the_guard():
    result = python(f"from braindec._compat import ensure_torchvision\nensure_torchvision()\n{LIBRARIES}")
    assert result.returncode == 0, result.stderr


def test_a_torchvision_without_its_extension_imports_only_after_the_guard(broken_torchvision):
    guarded = "from braindec._compat import ensure_torchvision\nensure_torchvision()\nimport torchvision"
    assert python(guarded, first_on_path=broken_torchvision).returncode == 0
    bare = python("import torchvision", first_on_path=broken_torchvision)
    assert "operator torchvision::nms does not exist" in bare.stderr


def test_a_declared_operator_has_no_kernel(broken_torchvision):
    code = (
        "from braindec._compat import ensure_torchvision\nensure_torchvision()\n"
        "import torch\ntorch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
    )
    assert "NotImplementedError" in python(code, first_on_path=broken_torchvision).stderr


def test_the_guard_may_be_called_again():
    _compat.ensure_torchvision()
    libraries = len(_compat._kept_alive)
    _compat.ensure_torchvision()
    assert len(_compat._kept_alive) == libraries <= 1


def test_the_guard_declares_nothing_without_torchvision(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(torch.library, "Library", lambda *a: pytest.fail("an operator was declared"))
    _compat.ensure_torchvision.__wrapped__()


def test_the_guard_declares_nothing_where_the_extension_loads(monkeypatch, broken_torchvision):
    loaded = []
    monkeypatch.syspath_prepend(broken_torchvision)
    monkeypatch.setattr(importlib.util, "find_spec", _spec_in(broken_torchvision))
    monkeypatch.setattr(torch.ops, "load_library", loaded.append)
    monkeypatch.setattr(torch.library, "Library", lambda *a: pytest.fail("an operator was declared"))
    _compat.ensure_torchvision.__wrapped__()
    assert [Path(path).name for path in loaded] == ["_C.so"]


def _spec_in(folder: Path):
    finder = importlib.machinery.FileFinder(str(folder), (importlib.machinery.SourceFileLoader, [".py"]))
    return lambda name: finder.find_spec(name)
