"""What stands in every result file: the machine, the versions, and the command to get the number again."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, threads of torch, the GPU that was used (None without) and what else kept the cores busy."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else None,
        "load_average": list(os.getloadavg()),
    }


def cpu_name() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of torch, numpy and further packages."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in ("torch", "numpy", *packages)
    }


def command(*places: str) -> str:
    """The command line; options that name a place of this machine are left out, with their value."""
    words = sys.argv[1:]
    gone = [i for i, word in enumerate(words) if word in places]
    told = [word for i, word in enumerate(words) if i not in gone and i - 1 not in gone]
    told = [word for word in told if word.partition("=")[0] not in places]
    threads = os.environ.get("OMP_NUM_THREADS")
    before = [f"OMP_NUM_THREADS={threads}"] if threads else []
    return " ".join([*before, "python", f"benchmarks/{Path(sys.argv[0]).name}", *told])
