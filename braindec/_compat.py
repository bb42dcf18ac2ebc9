"""Makes torchvision, and all that imports it, importable beside a torch it was not compiled for."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
from pathlib import Path

import torch

# The two operators for which torchvision registers a meta function whether or not its C++ extension was loaded
# (torchvision/_meta_registrations.py); without the operators that registration, and so `import torchvision`, dies.
_MISSING_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept_alive: list[torch.library.Library] = []  # a collected Library takes its operators with it


@functools.cache
def ensure_torchvision() -> None:
    """Let torchvision, timm, open_clip, torchmetrics, diffusers and transformers be imported after this call.

    PyPI's torchvision is linked against CUDA. Beside a CPU-only torch its C++ extension cannot be loaded, and
    `import torchvision` ends in "operator torchvision::nms does not exist". Everything else in it is Python and works
    once the operators are declared. They stay without a kernel: calling one (box suppression) still raises
    torchvision's own error. Where the extension loads, and where torchvision is absent, nothing is declared.

    Notes
    -----
    Same report: pytorch/pytorch#157648, pytorch/vision#9077.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return
    if torchvision_loads():
        return
    # FRAGMENT, not DEF: a namespace may be defined once in a process, and others may have the same cure.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _MISSING_OPERATORS:
        library.define(operator)
    _kept_alive.append(library)


def torchvision_loads() -> bool:
    """Whether the C++ extension of torchvision is there and can be loaded beside this torch."""
    spec = importlib.util.find_spec("torchvision")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return any(_loads(file) for folder in folders for file in _extension_files(Path(folder)))


def _extension_files(folder: Path) -> list[Path]:
    candidates = [folder / f"_C{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    return [file for file in candidates if file.exists()]


def _loads(file: Path) -> bool:
    try:
        torch.ops.load_library(str(file))
    except OSError:
        return False
    return True
