"""Captioners of transformers from a folder, their vision tower taken out: predicted tokens stand in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from braindec import checks, pretrained, store
from braindec.weights import published

WAY_OUT = "Give a folder written by save_pretrained, with the model's weights and tokenizer."


def opened(folder: str, classes: tuple[str, ...], feature: str) -> tuple[Path, Any, Any]:
    """(folder, model, tokenizer) of a model of one of these classes, loaded strictly from safetensors.

    Parameters
    ----------
    folder : str
        As ``save_pretrained`` of model and tokenizer writes it, no code of it is run; or a name or repository of
        published weights that were pulled.
    classes : tuple of str
        Of transformers.
    feature : str
        For the message where transformers is absent.

    Raises
    ------
    MissingPackageError
        If transformers (extra `models`) is not installed.
    DownloadError
        If published weights are not on this machine; it says what fetches them.
    ConfigError
        If the folder holds a model of another class.
    DataFileError
        If weights are missing.
    """
    pretrained.needs_transformers(feature)
    import transformers

    path = _folder(folder)
    described = store.read_json(path / "config.json", WAY_OUT)
    name = checks.one_of(
        f"class of the model in {folder}", (described.get("architectures") or [None])[0], classes
    )
    if not any(path.glob("*.safetensors")):
        raise checks.DataFileError(path, "holds no .safetensors file", "Save the model with save_pretrained.")
    model = pretrained.loaded(path, getattr(transformers, name).from_pretrained, pooler=False)
    with pretrained.quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            path, local_files_only=True, trust_remote_code=False
        )
    return path, model, tokenizer


def _folder(model: str) -> Path:
    known = {name for entry in published.table().values() for name in (entry.name, entry.repository)}
    if not Path(model).is_dir() and model in known:
        return published.folder_of(model)
    return checks.existing_folder(model, WAY_OUT)


def space_of(folder: Path, model: Any, layers: str, pooling: str) -> str:
    """The space that the target `transformers_vision` makes of the same folder."""
    kind, digest = str(model.config.model_type), pretrained.weights_digest(folder)
    return f"transformers_vision/{kind}/{digest[:12]}/{layers}/{pooling}"


def identity_of(folder: Path, model: Any) -> dict[str, Any]:
    """Class, weights and settings of the model, as JSON values."""
    return {
        "model": type(model).__name__,
        "weights_sha256": pretrained.weights_digest(folder),
        "config_sha256": pretrained.config_digest(folder),
    }


class GivenTokens(nn.Module):
    """Stands where the vision tower stood, and puts out the tokens that it is given as pixels.

    ``generate`` copies what it calls pixels for every beam; tokens that go by that name are copied alike.

    Parameters
    ----------
    patch_size : int
        Of the tower; some models ask for it.
    """

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size

    def forward(self, pixel_values: Tensor, **told: Any) -> Any:
        """Tokens (n, n_tokens, dim) of (n, 1, n_tokens, dim), as every output that a model may ask for."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        tokens = pixel_values.squeeze(1)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, hidden_states=(tokens,))


def n_positions(vision: Any) -> int:
    """Patches of the pictures that a vision config is for."""
    size, patch = vision.image_size, vision.patch_size
    return (size // patch) ** 2
