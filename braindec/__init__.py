"""braindec: from brain recordings to what a person saw, heard or read, and how brains and models represent it."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public names and the module that holds each; loaded on first use so that `import braindec` stays light.
_PUBLIC = {
    "BrainDecoder": "braindec.decoder",
    "NeuralDataset": "braindec.data",
    "QuickDecoder": "braindec.quick",
    "Recipe": "braindec.recipe",
    "Trials": "braindec.types",
    "Recording": "braindec.types",
    "StimulusSet": "braindec.types",
    "Embeddings": "braindec.types",
    "Score": "braindec.types",
    "Report": "braindec.types",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'braindec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
