"""What `braindec doctor` knows beside packages and weights: memory, folders, variables, problems, what can be done."""

from __future__ import annotations

import locale
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Variables that change what braindec or its libraries do.
VARIABLES = (
    "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN", "TORCH_HOME", "XDG_CACHE_HOME", "TMPDIR",
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "PYTHONHASHSEED",
    "HDF5_USE_FILE_LOCKING", "HTTP_PROXY", "HTTPS_PROXY", "SLURM_JOB_ID", "WORLD_SIZE", "BRAINDEC_REAL_DATA",
    "BRAINDEC_PARITY",
)  # fmt: skip
SECRET = ("HF_TOKEN",)
# what -> (packages that it needs beside those that everything needs, how they are had)
TASKS = {
    "decode the simulated brains (braindec demo)": ((), ""),
    "prepare fMRI": (("nibabel", "nilearn"), "pip install nibabel nilearn"),
    "prepare EEG, MEG, iEEG": (("mne",), "pip install mne"),
    "prepare films": (("av",), "pip install 'braindec[video]'"),
    "decode into CLIP": (("open_clip",), "pip install open-clip-torch"),
    "decode into DINOv2, SigLIP, BERT, wav2vec": (("transformers",), "pip install 'braindec[models]'"),
    "draw pictures (diffusion)": (("diffusers", "transformers"), "pip install 'braindec[models]' diffusers"),
    "judge captions": (("sacrebleu", "rouge_score", "pycocoevalcap"), "pip install 'braindec[captions]'"),
    "decode EEG by its covariances": (("pyriemann",), "pip install 'braindec[riemann]'"),
    "search galleries of tens of millions": (("faiss",), "pip install 'braindec[faiss]'"),
    "decode while recording, from a stream of the lab": (("mne_lsl",), "pip install mne-lsl"),
    "prepare and judge on a cluster (SLURM)": (("submitit",), "pip install submitit"),
}
CONTAINER = Path("/sys/fs/cgroup")  # of this process, version 2
LITTLE_GB = 5.0  # of a disk
SHORT_GB = 3.0  # of memory: the demo takes less


def examine(packages: Mapping[str, str | None], place: Path) -> dict[str, Any]:
    """Memory, folders, variables, problems and tasks, as JSON values.

    Parameters
    ----------
    packages : mapping of str to str or None
        Versions by import name.
    place : Path
        The hub's cache.
    """
    free = free_memory_gb()
    folders = {
        "weights of the hub": place,
        "files of a moment": Path(tempfile.gettempdir()),
        "here": Path.cwd(),
    }
    disks = {what: _disk(folder) for what, folder in folders.items()}
    return {
        "free_memory_gb": free,
        "folders": disks,
        "variables": {name: _shown(name) for name in VARIABLES if os.environ.get(name)},
        "problems": [*_of_packages(packages), *_of_machine(disks, free)],
        "tasks": {what: _lacking(needed) for what, (needed, _) in TASKS.items()},
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """What a person reads of it."""
    out = ["", "folders"]
    for what, disk in found["folders"].items():
        can = "" if disk["writable"] else ", CANNOT BE WRITTEN"
        out.append(f"  {what:<20} {disk['free_gb']:>8.1f} GB free  {disk['place']}{can}")
    said = [f"  {name}={value}" for name, value in found["variables"].items()]
    out += ["", "environment", *(said or ["  no variable that matters here is set"]), "", "what can be done"]
    for what, lacking in found["tasks"].items():
        way = TASKS[what][1]
        out.append(f"  {'yes' if not lacking else 'no':<4} {what}{f': {way}' if lacking else ''}")
    out += ["", "known problems", *(f"  {line}" for line in found["problems"] or ["none found"])]
    return out


def free_memory_gb() -> float | None:
    """Memory that programs can still have, of this machine or of the container; None where the system does not say."""
    try:
        told = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(told["MemAvailable"].split()[0]) * 1024
        limit = CONTAINER / "memory.max"
        if limit.is_file() and limit.read_text().strip().isdigit():
            free = min(free, int(limit.read_text()) - _used())
    except (OSError, KeyError, ValueError):
        return None
    return round(free / 1e9, 1)


def _used() -> int:
    """Bytes of the container that are not given back on demand: files that were read count as used until then."""
    told = dict(line.split() for line in (CONTAINER / "memory.stat").read_text().splitlines())
    return int((CONTAINER / "memory.current").read_text()) - int(told["inactive_file"])


def _disk(folder: Path) -> dict[str, Any]:
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    return {"place": str(folder), "free_gb": round(free, 1), "writable": os.access(there, os.W_OK)}


def _shown(name: str) -> str:
    """The value; of what is secret only that it is set, of an address neither user nor password."""
    value = os.environ[name]
    if name in SECRET:
        return "(set)"
    parts = urlsplit(value) if "@" in value else None
    return (
        value
        if parts is None or not parts.hostname
        else f"{parts.scheme}://(user)@{parts.netloc.rpartition('@')[2]}"
    )


def _lacking(needed: tuple[str, ...]) -> list[str]:
    return [name for name in needed if util.find_spec(name) is None]


def _of_packages(packages: Mapping[str, str | None]) -> list[str]:
    """Combinations that are known to break."""
    found = []
    torch = packages.get("torch")
    if torch and _version(torch) < (2, 6):
        found.append(
            f"torch {torch} can be made to run code by a file of weights (CVE-2025-32434): pip install -U torch"
        )
    if torch and _torchvision_is_foreign():
        found.append(
            f"torchvision's compiled part does not load beside torch {torch}: braindec works all the same, nothing is "
            "to be done for it. Elsewhere import torchvision ends in 'operator torchvision::nms does not exist'; "
            "install both from one index: pip install -U torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu, or both from PyPI"
        )
    if sys.version_info < (3, 11, 13) and sys.version_info[:2] == (3, 11):
        found.append(
            f"Python {sys.version.split()[0]} unpacks some archives outside of their folder (CVE-2025-4517): use "
            "braindec unpack, or Python 3.11.13 and later"
        )
    return found


def _of_machine(disks: Mapping[str, Any], free: float | None) -> list[str]:
    found = [
        f"{what}: {disk['free_gb']} GB free in {disk['place']}; make room, or name another place"
        for what, disk in disks.items() if disk["free_gb"] < LITTLE_GB
    ]  # fmt: skip
    found += [
        f"{what}: {disk['place']} cannot be written" for what, disk in disks.items() if not disk["writable"]
    ]
    if free is not None and free < SHORT_GB:
        found.append(f"{free} GB of memory are free; stop other programs, or use smaller settings")
    if os.environ.get("OMP_WAIT_POLICY", "PASSIVE").upper() != "PASSIVE":
        found.append(
            "OMP_WAIT_POLICY lets threads spin: small models take ten times as long on shared machines; unset it"
        )
    if "utf" not in locale.getpreferredencoding(False).lower():
        found.append(
            "text is not UTF-8 here: set PYTHONUTF8=1, or files with accents in their names are not found"
        )
    return found


def _torchvision_is_foreign() -> bool:
    """Whether torchvision is here and its compiled part cannot be loaded beside this torch."""
    spec = util.find_spec("torchvision")
    if spec is None or spec.submodule_search_locations is None:
        return False
    from braindec import _compat

    return not _compat.torchvision_loads()


def _version(text: str) -> tuple[int, ...]:
    numbers = text.split("+")[0].split(".")[:2]
    return tuple(int(n) for n in numbers if n.isdigit())
