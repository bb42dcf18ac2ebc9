"""Models of transformers and diffusers in folders: loaded whole and strictly, told apart by their content alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import Any

import torch

from braindec import _compat, checks, store

# Of a config, what says where it was saved and by which version, and so nothing of what the model computes.
NOT_CONTENT = ("_name_or_path", "transformers_version", "_diffusers_version", "dtype", "torch_dtype")
UNUSED = re.compile(r"(^|\.)masked_spec_embed$")  # a token that only training puts in
POOLERS = re.compile(r"(^|\.)pooler\.")


def weights_digest(folder: Path) -> str:
    """sha256 of the weights in a folder; of several files, over their digests by name.

    Raises
    ------
    DataFileError
        If there are none.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise checks.DataFileError(
            folder, "holds no .safetensors file and no pytorch_model.bin", "Copy the model's folder whole."
        )
    digests = {file.name: store.sha256_of(file) for file in files}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def config_digest(folder: Path, name: str = "config.json") -> str:
    """sha256 of a JSON file without what says where it was saved: two copies of a model are one model."""
    content = store.read_json(folder / name, "Copy the model's folder whole.")
    kept = {k: v for k, v in content.items() if k not in NOT_CONTENT}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def needs_transformers(feature: str) -> None:
    """Refuses, with the line that installs it, where transformers is absent; else makes it importable."""
    if util.find_spec("transformers") is None:
        raise checks.needs_package("transformers", "models", feature)
    _compat.ensure_torchvision()


def loaded(folder: Path, auto: Callable[..., Any], *, pooler: bool) -> Any:
    """A model of transformers in float32 and eval mode, every tensor it uses read from the folder.

    Parameters
    ----------
    folder : Path
    auto : callable
        ``from_pretrained`` of a class.
    pooler : bool
        Whether the model's own pooling is used: some published files lack its weights.

    Raises
    ------
    DataFileError
        If weights are missing, which transformers would draw at random, or have other shapes.
    """
    safe = any(folder.glob("*.safetensors"))
    with quiet(), torch.random.fork_rng(devices=[]):
        try:
            model, info = auto(
                folder,
                local_files_only=True,
                use_safetensors=safe,
                weights_only=True,
                output_loading_info=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise checks.DataFileError(
                folder,
                f"cannot be opened ({said[0][:200]})",
                "Copy the model's folder whole; its code is never run.",
            ) from error
    missing = [key for key in info["missing_keys"] if not UNUSED.search(key)]
    if not pooler:
        missing = [key for key in missing if not POOLERS.search(key)]
    wrong = sorted([*missing, *(str(m) for m in info["mismatched_keys"])])
    if wrong:
        raise checks.DataFileError(
            folder,
            f"lacks weights of {type(model).__name__}: {', '.join(wrong[:3])} ({len(wrong)} in all)",
            "They would be drawn at random. Use another pooling or the whole checkpoint.",
        )
    return model.float().eval().requires_grad_(False)


def torch_file(path: str | Path, way_out: str, *, mmap: bool = False) -> Any:
    """What torch saved, opened as numbers alone: whatever else is in it is refused and not run.

    Parameters
    ----------
    path : path
    way_out : str
    mmap : bool
        Leave the tensors in the file; only of files of torch 1.6 and later.

    Raises
    ------
    DataFileError
        If the file is damaged, or asks for anything but tensors, numbers, text, lists and dictionaries.
    """
    path = checks.existing_file(path, way_out)
    _refuse_programs(path, way_out)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, LookupError, ValueError, TypeError,
            AttributeError, OSError, struct.error, OverflowError, MemoryError) as error:  # fmt: skip
        said = str(error).strip().splitlines()
        first = said[0].rstrip(".") if said else type(error).__name__
        raise checks.DataFileError(path, f"cannot be read as weights alone ({first})", way_out) from error


def _refuse_programs(path: Path, way_out: str) -> None:
    """TorchScript is a program in an archive of torch's own kind."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise checks.DataFileError(path, f"cannot be read as weights alone ({error})", way_out) from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise checks.DataFileError(path, "is a program (TorchScript) and not weights alone", way_out)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of transformers while weights are read."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
