"""Models saved in folders: found on this machine, never downloaded, loaded strictly, told apart by their content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import Any

import torch

from braindec import _compat, checks, store
from braindec.targets import _downloads
from braindec.targets._known import MODELS

# Of a config, what says where it was saved and by which version, and so nothing of what the model computes.
NOT_CONTENT = ("_name_or_path", "transformers_version", "_diffusers_version", "dtype", "torch_dtype")
UNUSED = re.compile(r"(^|\.)masked_spec_embed$")  # a token that only training puts in
POOLERS = re.compile(r"(^|\.)pooler\.")


def folder_of(model: str, kind: str) -> Path:
    """The folder of a model: a folder's path, or a name whose download lies in the cache of huggingface_hub.

    Parameters
    ----------
    model : str
        Path of a folder written by ``save_pretrained``, or ``owner/name``.
    kind : str
        Name of the target, for the message.

    Raises
    ------
    DownloadError
        If it is nowhere on this machine; it says which command fetches it, how large it is and where to put it.
    """
    if (Path(model) / "config.json").is_file():
        return Path(model)
    named = re.fullmatch(r"[\w.-]+/[\w.-]+", model) is not None
    if named:
        known = MODELS.get(model)
        wanted = "*" if known is None or known.revision is None else known.revision
        snapshots = _downloads.repository_folder(model).glob(f"snapshots/{wanted}/config.json")
        by_hand = _downloads.repository_folder(model).glob(f"snapshots/{_downloads.BY_HAND}/config.json")
        found = sorted({*snapshots, *by_hand}, key=lambda path: path.stat().st_mtime)
        if found:
            return found[-1].parent
    raise checks.DownloadError(_how_to_get(model, kind, named))


def _how_to_get(model: str, kind: str, named: bool) -> str:
    if not named:
        return (
            f"target {kind!r} finds no model in the folder {model!r} (it needs config.json and the weights). Give a "
            "folder written by save_pretrained, or owner/name of a model that was downloaded before."
        )
    known = MODELS.get(model)
    revision = "" if known is None or known.revision is None else f" --revision {known.revision}"
    about = "" if known is None else f" ({known.megabytes} MB, licence {known.licence})"
    place = f"weights/{model.rpartition('/')[2]}"
    return (
        f"target {kind!r} needs the model {model!r}{about}, which is not on this machine; nothing is downloaded "
        f"unasked. Get it once with: hf download {model}{revision} --local-dir {place} and give model={place!r}; "
        f"without --local-dir it goes to {_downloads.repository_folder(model)}, where it is found by its name. On a "
        "machine without network, copy that folder there."
    )


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


def opened(model: str, kind: str, *, pooler: bool) -> tuple[Path, Any]:
    """Folder and loaded model of transformers for the target `kind`; see `folder_of` and `loaded`."""
    needs_transformers(f"the target {kind}")
    folder = folder_of(model, kind)
    from transformers import AutoModel

    return folder, loaded(folder, AutoModel.from_pretrained, pooler=pooler)


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
        model, info = auto(
            folder, local_files_only=True, use_safetensors=safe, weights_only=True, output_loading_info=True
        )
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
