"""Components of a folder that `save_pretrained` wrote: opened one by one, strictly, from safetensors alone."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from braindec import _compat, checks, store, weights
from braindec.weights import published

WRITE = "Write the folder with a pipeline's save_pretrained(folder), or download it whole."
LIBRARIES = ("diffusers", "transformers")
SCHEDULERS = (
    "DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler",
    "UniPCMultistepScheduler",
)  # fmt: skip
TABLES = re.compile(
    r"(^|\.)position_ids$"
)  # counted, not learnt: older files hold them, newer networks do not
DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Folder:
    """A pipeline's folder.

    Parameters
    ----------
    path : Path
    pipeline : str
        Its class, as `model_index.json` says.
    parts : dict of str to str
        Class of each component that is there.
    settings : dict
        What else `model_index.json` says.
    """

    path: Path
    pipeline: str
    parts: dict[str, str]
    settings: dict[str, Any]


def opened(path: str | Path, pipelines: tuple[str, ...]) -> Folder:
    """What lies in a folder; no component is opened yet, and no code of the folder is ever run.

    Raises
    ------
    FileNotFoundError
        If the folder or its `model_index.json` is not there.
    DownloadError
        If published weights are named that are not on this machine.
    DataFileError
        If it is of another pipeline, or a component is of another library.
    """
    folder = place(path)
    file = checks.existing_file(folder / "model_index.json", WRITE)
    index = store.read_json(file, WRITE)
    kind = index.get("_class_name") if isinstance(index, dict) else None
    if kind not in pipelines:
        raise checks.DataFileError(file, f"is of {kind}, expected {' or '.join(pipelines)}", WRITE)
    named = {key: value for key, value in index.items() if isinstance(value, list) and len(value) == 2}
    settings = {key: value for key, value in index.items() if key not in named and not key.startswith("_")}
    return Folder(
        folder, kind, {key: value[1] for key, value in named.items() if value[1] is not None}, settings
    )


def place(path: str | Path) -> Path:
    """A folder, or the one in which published weights of this name lie (`braindec pull NAME`)."""
    if not Path(path).is_dir() and str(path) in published.table():
        return published.folder_of(str(path))
    return checks.existing_folder(path, WRITE)


def model(
    folder: Folder,
    name: str,
    classes: tuple[str, ...],
    *,
    device: str = "cpu",
    dtype: str = "float32",
    variant: str = "",
) -> Any:
    """One network, every tensor read from its file, frozen, in eval mode.

    Parameters
    ----------
    folder : Folder
    name : str
        Of the component, e.g. "unet".
    classes : tuple of str
        Which it may be of diffusers or transformers.
    device, dtype : str
    variant : str
        Of the files, e.g. "fp16" for ``diffusion_pytorch_model.fp16.safetensors``.

    Raises
    ------
    DataFileError
        If it is of another class, weights are missing, left over or of other shapes, or no safetensors file is there.
    """
    if name not in folder.parts:
        raise checks.DataFileError(folder.path / "model_index.json", f"names no {name}", WRITE)
    return network(
        folder.path / name, folder.parts[name], classes, device=device, dtype=dtype, variant=variant
    )


def network(
    path: Path, kind: str | None, classes: tuple[str, ...], *, device: str, dtype: str, variant: str = ""
) -> Any:
    """See `model`, for a folder of one network; `kind` None: the class that its own config names."""
    path = place(path)
    file = checks.existing_file(path / "config.json", WRITE)
    config = store.read_json(file, WRITE)
    kind = config.get("_class_name") if kind is None else kind
    if kind not in classes:
        raise checks.DataFileError(file, f"is of {kind}, expected {' or '.join(classes)}", WRITE)
    if not any(path.glob("*.safetensors")):
        raise checks.DataFileError(
            path, "holds no .safetensors file", "Save it with safe_serialization=True."
        )
    cls = _class(kind)
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            made, info = cls.from_pretrained(
                path,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                variant=variant or None,
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            said = str(error).strip().splitlines()
            raise checks.DataFileError(
                path, f"cannot be opened as {kind} ({said[0][:200]})", WRITE
            ) from error
    _strict(path, kind, info)
    return made.to(device, getattr(torch, dtype)).requires_grad_(False).eval()


def scheduler(folder: Folder, name: str = "scheduler", classes: tuple[str, ...] = SCHEDULERS) -> Any:
    """A noise schedule of diffusers, as the folder sets it."""
    kind = folder.parts.get(name)
    if kind not in classes:
        raise checks.DataFileError(
            folder.path / "model_index.json",
            f"names {kind} as {name}, expected one of {', '.join(classes)}",
            WRITE,
        )
    checks.existing_folder(folder.path / name, WRITE)
    return _class(kind).from_pretrained(folder.path / name, local_files_only=True)


def tokenizer(folder: Folder, name: str = "tokenizer") -> Any:
    """CLIP's tokenizer."""
    if not folder.parts.get(name, "").startswith("CLIPTokenizer"):
        raise checks.DataFileError(
            folder.path / "model_index.json",
            f"names {folder.parts.get(name)} as {name}, expected CLIPTokenizer",
            WRITE,
        )
    checks.existing_folder(folder.path / name, WRITE)
    return _class("CLIPTokenizer").from_pretrained(folder.path / name, local_files_only=True)


def sha256_of(folders: Iterable[Path]) -> dict[str, str]:
    """sha256 of the weights in some folders, by ``folder/file``, for provenance."""
    files = [file for folder in folders for file in sorted(folder.glob("*.safetensors"))]
    return {f"{file.parent.name}/{file.name}": weights.sha256(file) for file in files}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no advice of the libraries while a folder is opened: `_strict` says what is wrong."""
    _compat.ensure_torchvision()
    needs_transformers()
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    levels = ours.get_verbosity(), theirs.get_verbosity()
    bar = theirs.is_progress_bar_enabled()
    ours.set_verbosity_error()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        ours.set_verbosity(levels[0])
        theirs.set_verbosity(levels[1])
        if bar:
            theirs.enable_progress_bar()


def needs_transformers() -> None:
    """Refuses, with the line that installs it, where transformers is absent."""
    try:
        import transformers  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise checks.needs_package("transformers", "models", "a pipeline from a folder") from error


def _class(kind: str | None) -> Any:
    """A class of the two libraries by its name; names come from our own tables, never from a folder alone."""
    _compat.ensure_torchvision()
    needs_transformers()
    import diffusers
    import transformers

    if kind == "UNetFlatConditionModel":
        from diffusers.pipelines.deprecated.versatile_diffusion import modeling_text_unet

        return modeling_text_unet.UNetFlatConditionModel
    if kind == "StableUnCLIPImageNormalizer":
        from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer

        return StableUnCLIPImageNormalizer
    return getattr(diffusers if hasattr(diffusers, str(kind)) else transformers, str(kind))


def _dtype_keyword(cls: Any) -> str:
    """The two libraries call it by other names."""
    return "torch_dtype" if cls.__module__.startswith("diffusers") else "dtype"


def _strict(path: Path, kind: str, info: dict[str, Any]) -> None:
    """Refuses what the libraries only warn of: weights that would be drawn at random or left aside."""
    wrong = [f"missing {key}" for key in sorted(info["missing_keys"])]
    wrong += [f"left over {key}" for key in sorted(info["unexpected_keys"]) if not TABLES.search(key)]
    wrong += [f"of another shape {key}" for key in sorted(map(str, info["mismatched_keys"]))]
    if wrong:
        raise checks.DataFileError(
            path, f"does not hold the weights of {kind}: {'; '.join(wrong[:3])} ({len(wrong)} in all)",
            "Use the whole folder that belongs to its config.",
        )  # fmt: skip
