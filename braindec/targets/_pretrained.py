"""Models saved in folders, as targets ask for them: found on this machine, never downloaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from braindec import checks, store
from braindec.pretrained import config_digest, loaded, needs_transformers, quiet, weights_digest
from braindec.targets import _downloads
from braindec.targets._known import MODELS

__all__ = [
    "as_json", "config_digest", "folder_of", "image_processor", "loaded", "needs_transformers", "opened", "quiet",
    "weights_digest",
]  # fmt: skip

# Captioners of pictures whose AutoModel is another one than wrote the folder: their own class is opened.
CAPTIONERS = ("BlipForConditionalGeneration",)


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


def opened(model: str, kind: str, *, pooler: bool, of: tuple[str, ...] = CAPTIONERS) -> tuple[Path, Any]:
    """Folder and loaded model of transformers for the target `kind`; see `folder_of` and `loaded`.

    Parameters
    ----------
    of : tuple of str
        Classes that are opened as what they are; every other model as its AutoModel. Other than the default: a model
        of another class is refused.
    """
    needs_transformers(f"the target {kind}")
    folder = folder_of(model, kind)
    import transformers

    described = store.read_json(folder / "config.json", "Copy the model's folder whole.")
    own = [name for name in described.get("architectures") or () if name in of]
    if not own and of is not CAPTIONERS:
        checks.one_of(f"class of the model in {folder}", (described.get("architectures") or [None])[0], of)
    auto = getattr(transformers, own[0]) if own else transformers.AutoModel
    return folder, loaded(folder, auto.from_pretrained, pooler=pooler)


def image_processor(folder: Path) -> Any:
    """The image processor in a model's folder."""
    from transformers import AutoImageProcessor

    checks.existing_file(
        folder / "preprocessor_config.json", "Save the model's image processor into the folder of the model."
    )
    with quiet():
        # Pillow resizes as the models were trained, and on every machine alike.
        try:
            return AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, backend="pil"
            )
        except TypeError:  # before transformers 5
            return AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_fast=False
            )


def as_json(value: Any) -> Any:
    """Settings of an image processor as JSON values."""
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
